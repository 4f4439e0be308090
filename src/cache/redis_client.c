/* SPDX-License-Identifier: MIT */
/*
 * Redis as a cache: GET for readers, DEL for erasures. Each has a connection of its own for as long
 * as it takes. After a failure no request asks Redis until the queue's thread has got an answer.
 * The thread tries it after pauses that double up to some seconds. This only spares requests the
 * time-out of a Redis that is away.
 *
 *   key: parley:<layout>:<tenant>:<session id>
 */
#include "cache_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

static const int64_t pause_first_us = 100 * 1000, pause_last_us = 3 * 1000 * 1000;
static const int64_t probe_us = 1000 * 1000;

struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key)
{
    struct cache_redis_key out;
    const int n = snprintf(out.text, sizeof out.text, "parley:%s:%.*s:%.*s", r->layout,
                           SV_ARG(key.tenant), SV_ARG(key.id));
    out.n = n > 0 && (size_t)n < sizeof out.text ? (size_t)n : 0;
    return out;
}

/* ---- whether it is in use ---- */

bool cache_redis_is_usable(const struct cache_redis *r)
{
    return atomic_load_explicit(&r->pause_until_us, memory_order_relaxed) == 0;
}

bool cache_redis_is_due(const struct cache_redis *r)
{
    const int64_t now = clock_mono_us();
    return cache_redis_is_usable(r) ? now - atomic_load(&r->success_us) >= probe_us
                                    : now >= atomic_load(&r->pause_until_us);
}

static void say(enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "cache", "redis");
    if (reason[0])
        log_str(&line, "reason", reason);
    log_end(&line);
}

/* Closes those that nobody uses: where one was lost the others are, too. */
static void close_idle(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    struct cache_conn *list = r->idle;
    r->idle = NULL;
    pthread_mutex_unlock(&r->lock);
    while (list) {
        struct cache_conn *conn = list;
        list = conn->next;
        cache_conn_close(conn);
        free(conn);
    }
}

/* What ends in a pause has begun before it, and says nothing that is new. */
void cache_redis_failed(struct cache_redis *r, const char *why)
{
    pthread_mutex_lock(&r->lock);
    const int64_t now = clock_mono_us();
    const bool news = r->pause_us == 0;
    if (now >= atomic_load(&r->pause_until_us)) {
        r->pause_us = news                              ? pause_first_us
                      : r->pause_us * 2 < pause_last_us ? r->pause_us * 2
                                                        : pause_last_us;
        atomic_store(&r->pause_until_us, now + r->pause_us);
        snprintf(r->reason, sizeof r->reason, "%s", why);
    }
    pthread_mutex_unlock(&r->lock);
    if (news)
        say(LOG_WARN, "cache_down", why);
    close_idle(r);
}

void cache_redis_succeeded(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    const int64_t now = clock_mono_us();
    const bool counts = now >= atomic_load(&r->pause_until_us), news = counts && r->pause_us != 0;
    if (counts) {
        atomic_store(&r->success_us, now);
        atomic_store(&r->pause_until_us, 0);
        r->pause_us = 0;
        r->reached = true;
        r->reason[0] = '\0';
    }
    pthread_mutex_unlock(&r->lock);
    if (news)
        say(LOG_INFO, "cache_up", "");
}

/* ---- connections ---- */

/* NULL: there is none; why says why. *fresh: it was opened just now. */
static struct cache_conn *acquire(struct cache_redis *r, struct deadline until, bool *fresh,
                                  char why[128])
{
    pthread_mutex_lock(&r->lock);
    struct cache_conn *conn = r->idle;
    if (conn)
        r->idle = conn->next;
    pthread_mutex_unlock(&r->lock);
    *fresh = !conn;
    if (conn)
        return conn;
    conn = calloc(1, sizeof *conn);
    if (conn && cache_conn_open(conn, &r->url, until))
        return conn;
    snprintf(why, 128, "%s", conn ? conn->why : "no memory for a connection");
    free(conn);
    return NULL;
}

static void release(struct cache_redis *r, struct cache_conn *conn, bool keep)
{
    if (!keep) {
        cache_conn_close(conn);
        free(conn);
        return;
    }
    pthread_mutex_lock(&r->lock);
    conn->next = r->idle;
    r->idle = conn;
    pthread_mutex_unlock(&r->lock);
}

bool cache_redis_call(struct cache_redis *r, struct deadline until, cache_redis_fn fn, void *arg)
{
    char why[128] = "no answer in time";
    const struct deadline both = deadline_earlier(deadline_in_ms(r->timeout_ms), until);
    bool done = false, fresh = false;
    while (!done && !fresh && !deadline_passed(both)) {
        struct cache_conn *conn = acquire(r, both, &fresh, why);
        if (!conn)
            break;
        done = fn(r, conn, both, arg);
        snprintf(why, sizeof why, "%s", conn->why);
        release(r, conn, done);
        if (!done && !deadline_passed(both))
            close_idle(r);
    }
    if (done)
        cache_redis_succeeded(r);
    else if (!deadline_passed(until)) /* else it may have been the request that had no time */
        cache_redis_failed(r, why);
    return done;
}

/* ---- commands ---- */

struct get {
    struct arena *arena;
    struct cache_redis_key name;
    struct sv stored; /* out: a copy; absent: a miss */
};

static bool get_on(struct cache_redis *r, struct cache_conn *conn, struct deadline until, void *arg)
{
    struct get *get = arg;
    redisReply *reply;
    const struct sv words[] = {SV("GET"), {get->name.text, get->name.n}};
    (void)r;
    if (!cache_conn_append(conn, words, ARRAY_LEN(words)) || !cache_conn_reply(conn, until, &reply))
        return false;
    /* Somebody has put another type under the key: a miss, which the next SET mends. */
    bool fine = reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "WRONGTYPE", 9) == 0;
    if (reply->type == REDIS_REPLY_STRING)
        get->stored = arena_dup(get->arena, (struct sv){reply->str, reply->len});
    freeReplyObject(reply);
    return fine;
}

bool cache_redis_get(struct cache_redis *r, struct request_ctx *ctx, struct cache_key key,
                     struct cache_value *out)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    struct get get = {ctx->arena, cache_redis_key(r, key), SV_NONE};
    if (get.name.n == 0 || !cache_redis_is_usable(r))
        return false;
    ctx_will_wait(ctx);
    if (!cache_redis_call(r, ctx->deadline, get_on, &get) || !get.stored.p)
        return false;
    if (cache_codec_decode(get.stored, key, true, out))
        return true;
    cache_count_mismatch(&r->mismatches, "redis", key);
    arena_rewind(ctx->arena, mark);
    return false;
}

struct delete
{
    const struct cache_redis_key *keys;
    size_t n;
};

static bool delete_on(struct cache_redis *r, struct cache_conn *conn, struct deadline until,
                      void *arg)
{
    const struct delete *d = arg;
    bool fine = true;
    (void)r;
    for (size_t i = 0; fine && i < d->n; i++) {
        const struct sv words[] = {SV("DEL"), {d->keys[i].text, d->keys[i].n}};
        fine = cache_conn_append(conn, words, ARRAY_LEN(words));
    }
    for (size_t i = 0; fine && i < d->n; i++)
        fine = cache_conn_reply_ok(conn, until);
    return fine;
}

bool cache_redis_delete(struct cache_redis *r, struct deadline until,
                        const struct cache_redis_key *keys, size_t n)
{
    struct delete d = {keys, n};
    for (size_t i = 0; i < n; i++)
        cache_queue_put(r->queue, &keys[i], NULL, SV_NONE, 0);
    return cache_redis_is_usable(r) && cache_redis_call(r, until, delete_on, &d);
}

/* A Redis that answers but takes no writes (a replica, a full disk) is not in use. */
void cache_redis_probe(struct cache_redis *r)
{
    const struct cache_redis_key key = {"parley:probe", 12};
    struct delete d = {&key, 1};
    (void)cache_redis_call(r, deadline_in_ms(2 * (int64_t)r->timeout_ms), delete_on, &d);
}

/* ---- the client ---- */

void cache_redis_status(struct cache_redis *r, struct cache_status *out)
{
    pthread_mutex_lock(&r->lock);
    out->redis = r->reached && r->pause_us == 0 ? CACHE_UP : CACHE_DOWN;
    snprintf(out->reason, sizeof out->reason, "%s",
             r->reached || r->pause_us > 0 ? r->reason : "not reached yet");
    pthread_mutex_unlock(&r->lock);
    out->mismatches += atomic_load(&r->mismatches);
}

struct cache_redis *cache_redis_open(const struct cache_settings *settings,
                                     struct metrics_slot *slot)
{
    char why[160];
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->timeout_ms = settings->redis_timeout_ms > 0 ? settings->redis_timeout_ms : 1;
    r->memory = settings->shared ? settings->shared->memory : NULL;
    r->layout = settings->layout ? settings->layout : "";
    r->slot = slot;
    pthread_mutex_init(&r->lock, NULL);
    if (cache_url_parse(settings->redis_url, &r->url, why, sizeof why))
        r->queue = cache_queue_open(r);
    else
        log_say(LOG_ERROR, "cache_url", "%s", why);
    if (r->queue)
        return r;
    cache_redis_close(r);
    return NULL;
}

void cache_redis_close(struct cache_redis *r)
{
    if (!r)
        return;
    cache_queue_close(r->queue);
    close_idle(r);
    pthread_mutex_destroy(&r->lock);
    explicit_bzero(&r->url, sizeof r->url);
    free(r);
}

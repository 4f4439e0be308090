/* SPDX-License-Identifier: MIT */
/*
 * The Redis client: GET for readers, DEL for erasures, and the commands of the queue. A caller has
 * a connection to itself for as long as its commands take.
 *
 *   key: parley:<layout>:<tenant>:<session id>
 */
#include "cache_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key)
{
    struct cache_redis_key out;
    const int n = snprintf(out.text, sizeof out.text, "parley:%s:%.*s:%.*s", r->layout,
                           SV_ARG(key.tenant), SV_ARG(key.id));
    out.n = n > 0 && (size_t)n < sizeof out.text ? (size_t)n : 0;
    return out;
}

/* ---- connections ---- */

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

/* NULL: there is none, for the reason in why. *fresh: it was opened just now. */
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

/* When one connection was lost, so are the idle ones: they are closed. */
bool cache_redis_call(struct cache_redis *r, struct deadline until, cache_redis_fn fn, void *arg)
{
    char why[128] = "no answer in time";
    const struct deadline both = deadline_earlier(deadline_in_ms(r->timeout_ms), until);
    bool done = false, fresh = false;
    while (!done && !fresh && !deadline_passed(both)) {
        struct cache_conn *conn = acquire(r, both, &fresh, why);
        if (!conn)
            break;
        done = fn(conn, both, arg);
        snprintf(why, sizeof why, "%s", conn->why);
        release(r, conn, done);
        if (!done && !deadline_passed(both))
            close_idle(r);
    }
    if (done) {
        cache_breaker_succeeded(&r->breaker);
    } else if (!deadline_passed(until)) { /* else the request may have had no time */
        cache_breaker_failed(&r->breaker, why);
        close_idle(r);
    }
    return done;
}

/* ---- commands ---- */

struct redis_get {
    struct arena *arena;
    struct cache_redis_key key;
    struct sv stored; /* out: a copy; absent: a miss */
};

static bool get_on(struct cache_conn *conn, struct deadline until, void *arg)
{
    struct redis_get *get = arg;
    redisReply *reply;
    const struct sv args[] = {SV("GET"), {get->key.text, get->key.n}};
    if (!cache_conn_append(conn, args, ARRAY_LEN(args)) || !cache_conn_reply(conn, until, &reply))
        return false;
    /* Another program stored another type under the key: a miss, and the next SET replaces it. */
    bool ok = reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "WRONGTYPE", 9) == 0;
    if (reply->type == REDIS_REPLY_STRING)
        get->stored = arena_dup(get->arena, (struct sv){reply->str, reply->len});
    freeReplyObject(reply);
    return ok;
}

bool cache_redis_get(struct cache_redis *r, struct request_ctx *ctx, struct cache_key key,
                     struct cache_value *out)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    struct redis_get get = {ctx->arena, cache_redis_key(r, key), SV_NONE};
    if (get.key.n == 0 || !cache_breaker_is_closed(&r->breaker))
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

struct redis_delete {
    const struct cache_redis_key *keys;
    size_t n;
};

static bool delete_on(struct cache_conn *conn, struct deadline until, void *arg)
{
    const struct redis_delete *d = arg;
    bool ok = true;
    for (size_t i = 0; ok && i < d->n; i++) {
        const struct sv args[] = {SV("DEL"), {d->keys[i].text, d->keys[i].n}};
        ok = cache_conn_append(conn, args, ARRAY_LEN(args));
    }
    for (size_t i = 0; ok && i < d->n; i++)
        ok = cache_conn_reply_ok(conn, until);
    return ok;
}

bool cache_redis_delete(struct cache_redis *r, struct deadline until,
                        const struct cache_redis_key *keys, size_t n)
{
    struct redis_delete d = {keys, n};
    return cache_breaker_is_closed(&r->breaker) && cache_redis_call(r, until, delete_on, &d);
}

/* A write: a Redis that answers but refuses writes (a replica, a full disk) is not in use. */
void cache_redis_probe(struct cache_redis *r)
{
    const struct cache_redis_key key = {"parley:probe", 12};
    struct redis_delete d = {&key, 1};
    (void)cache_redis_call(r, deadline_in_ms(2 * (int64_t)r->timeout_ms), delete_on, &d);
}

/* ---- the client ---- */

void cache_redis_status(struct cache_redis *r, struct cache_status *out)
{
    struct cache_breaker *b = &r->breaker;
    pthread_mutex_lock(&b->lock);
    out->redis = b->reached && b->pause_us == 0 ? CACHE_UP : CACHE_DOWN;
    snprintf(out->reason, sizeof out->reason, "%s",
             b->reached || b->pause_us > 0 ? b->reason : "not reached yet");
    pthread_mutex_unlock(&b->lock);
    out->mismatches += atomic_load(&r->mismatches);
}

struct cache_redis *cache_redis_open(const struct cache_settings *settings)
{
    char why[160];
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->timeout_ms = settings->redis_timeout_ms > 0 ? settings->redis_timeout_ms : 1;
    r->layout = settings->layout ? settings->layout : "";
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->breaker.lock, NULL);
    if (cache_url_parse(settings->redis_url, &r->url, why, sizeof why))
        return r;
    log_say(LOG_ERROR, "cache_url", "%s", why);
    cache_redis_close(r);
    return NULL;
}

void cache_redis_close(struct cache_redis *r)
{
    if (!r)
        return;
    close_idle(r);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->breaker.lock);
    explicit_bzero(&r->url, sizeof r->url);
    free(r);
}

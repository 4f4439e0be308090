/* SPDX-License-Identifier: MIT */
/*
 * The Redis client: commands on pooled connections. A caller has a connection to itself for as long
 * as its commands take.
 *
 * A circuit breaker spares requests the time-out of a Redis that is away. After a failure no
 * request asks Redis, until the queue's thread has had an answer. That thread tries after pauses,
 * which double: up to half a second, and up to half a minute where Redis answers and refuses.
 *
 * With Sentinels the same thread finds the master. Every failure forgets the master, so each try
 * asks the Sentinels first. No request waits for a Sentinel.
 */
#include "cache_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

static const int64_t pause_first_us = 100 * 1000, pause_lost_us = 500 * 1000,
                     pause_refused_us = 30 * 1000 * 1000;
static const int64_t probe_after_us = 1000 * 1000, steady_after_us = 10 * 1000 * 1000;

/* ---- the circuit breaker ---- */

bool cache_redis_is_in_use(const struct cache_redis *r)
{
    return atomic_load_explicit(&r->pause_us, memory_order_relaxed) == 0;
}

bool cache_redis_probe_is_due(const struct cache_redis *r)
{
    return clock_mono_us() >= atomic_load(&r->probe_at_us);
}

static void endpoint_text(const struct cache_endpoint *at, char *out, size_t n)
{
    if (at->port == 0)
        snprintf(out, n, "%s", at->host);
    else
        snprintf(out, n, strchr(at->host, ':') ? "[%s]:%d" : "%s:%d", at->host, at->port);
}

/* fault NULL: Redis is up. */
static void log_change(const struct cache_endpoint *at, const struct cache_fault *fault)
{
    char endpoint[272];
    struct log_line line;
    endpoint_text(at, endpoint, sizeof endpoint);
    log_begin(&line, fault ? LOG_WARN : LOG_INFO, fault ? "cache_down" : "cache_up");
    log_str(&line, "cache", "redis");
    log_str(&line, "endpoint", endpoint);
    if (fault)
        log_str(&line, "reason", fault->why);
    log_end(&line);
}

/* After a pause, and where Redis refuses again soon after the probe succeeded: twice as long. */
static int64_t next_pause(const struct cache_redis *r, int64_t now, bool lasting)
{
    const bool again = r->pause_us > 0 || (lasting && now < r->steady_at_us);
    const int64_t pause = again ? 2 * r->last_pause_us : pause_first_us;
    const int64_t longest = lasting ? pause_refused_us : pause_lost_us;
    return pause < longest ? pause : longest;
}

/* fault NULL: a success. A command that began before the last failure does not count: its server
 * may be another one by now. Nor does one that ends within a pause. */
static void record(struct cache_redis *r, unsigned failures, const struct cache_fault *fault)
{
    pthread_mutex_lock(&r->lock);
    const int64_t now = clock_mono_us(), pause = r->pause_us;
    const struct cache_endpoint at = r->at;
    const bool counts = failures == r->failures && (pause == 0 || now >= r->probe_at_us);
    if (counts && !fault) {
        r->pause_us = 0;
        r->probe_at_us = now + probe_after_us;
        r->reason[0] = '\0';
        if (pause > 0)
            r->steady_at_us = now + steady_after_us;
    } else if (counts) {
        r->last_pause_us = next_pause(r, now, fault->lasting);
        r->pause_us = r->last_pause_us;
        r->probe_at_us = now + r->pause_us;
        snprintf(r->reason, sizeof r->reason, "%s", fault->why);
        r->failures++;
        while (r->n_idle > 0)
            redisFree(r->idle[--r->n_idle]);
        if (r->url.master[0])
            r->at = (struct cache_endpoint){.host = ""};
    }
    pthread_mutex_unlock(&r->lock);
    if (counts && !fault == (pause > 0))
        log_change(&at, fault);
}

/* ---- pooled connections ---- */

static redisContext *pop_idle(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    redisContext *conn = r->n_idle > 0 ? r->idle[--r->n_idle] : NULL;
    pthread_mutex_unlock(&r->lock);
    return conn;
}

static void close_idle(struct cache_redis *r)
{
    for (redisContext *conn; (conn = pop_idle(r));)
        redisFree(conn);
}

static void release(struct cache_redis *r, unsigned failures, redisContext *conn, bool keep)
{
    pthread_mutex_lock(&r->lock);
    keep = keep && failures == r->failures && r->n_idle < ARRAY_LEN(r->idle);
    if (keep)
        r->idle[r->n_idle++] = conn;
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        redisFree(conn);
}

static struct cache_endpoint endpoint_of(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    const struct cache_endpoint at = r->at;
    pthread_mutex_unlock(&r->lock);
    return at;
}

/* When one connection was lost, so are the idle ones: they are closed. */
bool cache_redis_run(struct cache_redis *r, struct deadline until, struct cache_command *commands,
                     size_t n)
{
    struct cache_fault fault = {.why = "no answer in time"};
    const struct deadline both = deadline_earlier(deadline_in_ms(r->timeout_ms), until);
    const unsigned failures = r->failures;
    bool done = false, fresh = false;
    while (!done && !fresh && !deadline_passed(both)) {
        redisContext *conn = pop_idle(r);
        fresh = !conn;
        if (fresh) {
            const struct cache_endpoint at = endpoint_of(r);
            conn = cache_conn_open(&r->url, &at, false, both, &fault);
        }
        if (!conn)
            break;
        done = cache_conn_run(conn, both, commands, n, &fault);
        release(r, failures, conn, done);
        if (!done && !deadline_passed(both))
            close_idle(r);
    }
    if (!done && deadline_passed(until))
        return false; /* the request may have had no time */
    record(r, failures, done ? NULL : &fault);
    return done;
}

/* ---- the probe ---- */

static bool ask_sentinel(struct cache_redis *r, size_t i, struct deadline until,
                         struct cache_fault *fault)
{
    char words[2][256] = {"", ""};
    uint64_t port = 0;
    struct cache_command ask = {
        {SV("SENTINEL"), SV("get-master-addr-by-name"), sv_from(r->url.master)},
        .n = 3,
        .words = words};
    redisContext *conn = cache_conn_open(&r->url, &r->url.at[i], true, until, fault);
    if (!conn)
        return false;
    snprintf(fault->why, sizeof fault->why, "a Sentinel knows no master of that name");
    const bool named = cache_conn_run(conn, until, &ask, 1, fault) &&
                       sv_to_u64(sv_from(words[1]), &port) && port > 0 && port <= 65535;
    redisFree(conn);
    if (!named)
        return false;
    r->sentinel = i;
    pthread_mutex_lock(&r->lock);
    r->at.port = (int)port;
    memcpy(r->at.host, words[0], sizeof r->at.host);
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* Asks the Sentinels in turn, the last good one first. Each gets its share of what is left of the
 * time-out. */
static bool find_master(struct cache_redis *r, struct cache_fault *fault)
{
    const struct deadline end = deadline_in_ms(r->timeout_ms);
    const size_t first = r->sentinel, n = r->url.n_at;
    for (size_t i = 0; i < n; i++) {
        const struct deadline share = deadline_in_ms(deadline_left_ms(end) / (int)(n - i));
        if (ask_sentinel(r, (first + i) % n, share, fault))
            return true;
    }
    fault->lasting = false;
    return false;
}

/* The commands that serving needs, under keys like those of sessions. A Redis that answers but
 * refuses one (a replica, a full disk or memory, a user without the right) is not in use. A node of
 * a cluster refuses the DEL: the two keys are in different slots. */
void cache_redis_probe(struct cache_redis *r)
{
    const struct cache_redis_key a = cache_redis_key(r, (struct cache_key){SV(""), SV("probe-a")}),
                                 b = cache_redis_key(r, (struct cache_key){SV(""), SV("probe-b")});
    const struct sv key = {a.text, a.n};
    struct cache_command commands[] = {
        {{SV("SET"), key, SV("1"), SV("PX"), SV("10000")}, .n = 5, .must = true},
        {{SV("GET"), key}, .n = 2, .must = true},
        {{SV("DEL"), key, {b.text, b.n}}, .n = 3, .must = true}};
    struct cache_fault fault = {.why = "no Sentinel answered in time"};
    if (!endpoint_of(r).host[0] && !find_master(r, &fault))
        record(r, r->failures, &fault);
    else if (!cache_redis_run(r, deadline_in_ms(2 * (int64_t)r->timeout_ms), commands,
                              ARRAY_LEN(commands)))
        r->sentinel++; /* this one may name a master that is gone */
}

/* ---- the client ---- */

struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key)
{
    struct cache_redis_key out;
    const int n = snprintf(out.text, sizeof out.text, "parley:%d.%lld:%.*s:%.*s", r->layout.format,
                           (long long)r->layout.page_bytes, SV_ARG(key.tenant), SV_ARG(key.id));
    out.n = n > 0 && (size_t)n < sizeof out.text ? (size_t)n : 0;
    return out;
}

struct cache_redis *cache_redis_open(const struct cache_settings *settings)
{
    char why[320];
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct cache_redis){.timeout_ms = settings->redis_timeout_ms,
                              .layout = settings->layout,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .last_pause_us = pause_first_us,
                              .reason = "not reached yet"};
    if (cache_url_parse(settings->redis_url, &r->url, why, sizeof why)) {
        if (r->url.master[0])
            r->pause_us = pause_first_us; /* not in use before the master is found */
        else
            r->at = r->url.at[0];
        return r;
    }
    log_say(LOG_ERROR, "cache_url", "%s", why);
    cache_redis_close(r);
    return NULL;
}

void cache_redis_status(struct cache_redis *r, struct cache_status *out)
{
    pthread_mutex_lock(&r->lock);
    snprintf(out->reason, sizeof out->reason, "%s", r->reason);
    endpoint_text(&r->at, out->endpoint, sizeof out->endpoint);
    out->redis_unencrypted = cache_endpoint_is_remote(&r->at);
    pthread_mutex_unlock(&r->lock);
    out->redis = out->reason[0] ? CACHE_DOWN : CACHE_UP;
}

void cache_redis_close(struct cache_redis *r)
{
    if (!r)
        return;
    close_idle(r);
    pthread_mutex_destroy(&r->lock);
    explicit_bzero(&r->url, sizeof r->url);
    free(r);
}

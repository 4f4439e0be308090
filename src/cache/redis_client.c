/* SPDX-License-Identifier: MIT */
/*
 * The Redis client: commands on pooled connections. A caller has a connection to itself for as long
 * as its commands take.
 *
 * A circuit breaker spares requests the time-out of a Redis that is away. After a failure no
 * request asks Redis, until the queue's thread has had an answer. That thread tries after pauses,
 * which double up to some seconds.
 */
#include "cache_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

static const int64_t pause_first_us = 100 * 1000, pause_last_us = 3 * 1000 * 1000;
static const int64_t probe_after_us = 1000 * 1000;

/* ---- the circuit breaker ---- */

bool cache_redis_is_in_use(const struct cache_redis *r)
{
    return atomic_load_explicit(&r->pause_us, memory_order_relaxed) == 0;
}

bool cache_redis_probe_is_due(const struct cache_redis *r)
{
    return clock_mono_us() >= atomic_load(&r->probe_at_us);
}

static void log_change(bool up, const char *why)
{
    struct log_line line;
    log_begin(&line, up ? LOG_INFO : LOG_WARN, up ? "cache_up" : "cache_down");
    log_str(&line, "cache", "redis");
    if (!up)
        log_str(&line, "reason", why);
    log_end(&line);
}

/* A command that ends within a pause began before it, and so does not count. */
static void record(struct cache_redis *r, bool succeeded, const char *why)
{
    pthread_mutex_lock(&r->lock);
    const int64_t now = clock_mono_us(), pause = r->pause_us;
    const bool counts = pause == 0 || now >= r->probe_at_us;
    if (counts && succeeded) {
        r->pause_us = 0;
        r->probe_at_us = now + probe_after_us;
        r->reason[0] = '\0';
    } else if (counts) {
        const int64_t longer = pause == 0 ? pause_first_us : 2 * pause;
        r->pause_us = longer < pause_last_us ? longer : pause_last_us;
        r->probe_at_us = now + r->pause_us;
        snprintf(r->reason, sizeof r->reason, "%s", why);
    }
    pthread_mutex_unlock(&r->lock);
    if (counts && succeeded == (pause > 0))
        log_change(succeeded, why);
}

/* ---- connections ---- */

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

static void release(struct cache_redis *r, redisContext *conn, bool keep)
{
    pthread_mutex_lock(&r->lock);
    keep = keep && r->n_idle < ARRAY_LEN(r->idle);
    if (keep)
        r->idle[r->n_idle++] = conn;
    pthread_mutex_unlock(&r->lock);
    if (!keep)
        redisFree(conn);
}

/* When one connection was lost, so are the idle ones: they are closed. */
bool cache_redis_run(struct cache_redis *r, struct deadline until, struct cache_command *commands,
                     size_t n)
{
    char why[CACHE_WHY_MAX] = "no answer in time";
    const struct deadline both = deadline_earlier(deadline_in_ms(r->timeout_ms), until);
    bool done = false, fresh = false;
    while (!done && !fresh && !deadline_passed(both)) {
        redisContext *conn = pop_idle(r);
        fresh = !conn;
        if (fresh)
            conn = cache_conn_open(&r->url, both, why);
        if (!conn)
            break;
        done = cache_conn_run(conn, both, commands, n, why);
        release(r, conn, done);
        if (!done && !deadline_passed(both))
            close_idle(r);
    }
    if (!done && deadline_passed(until))
        return false; /* the request may have had no time */
    record(r, done, why);
    if (!done)
        close_idle(r);
    return done;
}

/* A write: a Redis that answers but refuses writes (a replica, a full disk) is not in use. */
void cache_redis_probe(struct cache_redis *r)
{
    struct cache_command del = {{SV("DEL"), SV("parley:probe")}, .n = 2};
    (void)cache_redis_run(r, deadline_in_ms(2 * (int64_t)r->timeout_ms), &del, 1);
}

/* ---- the client ---- */

struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key)
{
    struct cache_redis_key out;
    const int n = snprintf(out.text, sizeof out.text, "parley:%s:%.*s:%.*s", r->layout,
                           SV_ARG(key.tenant), SV_ARG(key.id));
    out.n = n > 0 && (size_t)n < sizeof out.text ? (size_t)n : 0;
    return out;
}

struct cache_redis *cache_redis_open(const struct cache_settings *settings)
{
    char why[160];
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    *r = (struct cache_redis){.timeout_ms = settings->redis_timeout_ms,
                              .layout = settings->layout,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .reason = "not reached yet"};
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
    explicit_bzero(&r->url, sizeof r->url);
    free(r);
}

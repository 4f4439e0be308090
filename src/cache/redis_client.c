/* SPDX-License-Identifier: MIT */
/*
 * The Redis client: commands on pooled connections. A caller has a connection to itself for as long
 * as its commands take.
 *
 * A circuit breaker spares requests the time-out of a Redis that is away. After a failure no
 * request asks Redis, until the queue's thread has had an answer. That thread tries after pauses,
 * which double up to some seconds.
 *
 * hiredis encodes and decodes. This file waits with poll(2), since a time-out of hiredis is for
 * each read(2) and not for the whole reply. Only functions that hiredis 0.14 and 1.x have in common
 * are used.
 */
#include "cache_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

static const int64_t pause_first_us = 100 * 1000, pause_last_us = 3 * 1000 * 1000;
static const int64_t probe_after_us = 1000 * 1000;

/* ---- one connection ---- */

static bool conn_failed(char why[CACHE_WHY_MAX], const char *text)
{
    snprintf(why, CACHE_WHY_MAX, "%s", text);
    return false;
}

static bool conn_lost(const redisContext *conn, char why[CACHE_WHY_MAX])
{
    return conn_failed(why, conn->errstr[0] ? conn->errstr : "the connection was lost");
}

static bool wait_for(const redisContext *conn, short events, struct deadline until,
                     char why[CACHE_WHY_MAX])
{
    /* The deadline also ends a wait where there is always something to read. */
    while (!deadline_passed(until)) {
        struct pollfd p = {.fd = conn->fd, .events = events};
        const int n = poll(&p, 1, deadline_left_ms(until));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return conn_failed(why, "poll failed");
    }
    return conn_failed(why, "no answer in time");
}

static bool append_command(redisContext *conn, const struct cache_command *command)
{
    const char *p[ARRAY_LEN(command->args)];
    size_t len[ARRAY_LEN(command->args)];
    for (int i = 0; i < command->n; i++) {
        p[i] = command->args[i].p;
        len[i] = command->args[i].n;
    }
    return redisAppendCommandArgv(conn, command->n, p, len) == REDIS_OK;
}

/* NULL: why says so. */
static redisReply *next_reply(redisContext *conn, struct deadline until, char why[CACHE_WHY_MAX])
{
    void *reply = NULL;
    bool good = redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    while (good && !reply) {
        if (!wait_for(conn, POLLIN, until, why))
            return NULL;
        good =
            redisBufferRead(conn) == REDIS_OK && redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    }
    if (!good)
        conn_lost(conn, why);
    return reply;
}

/* "Out of memory" concerns this value alone: others may be smaller. "Wrong type": another program
 * stored something else under the key, which the next SET replaces. */
static bool is_fault_of_redis(const char *error)
{
    return strncmp(error, "OOM", 3) != 0 && strncmp(error, "WRONGTYPE", 9) != 0;
}

/* Sends commands and reads every reply. False, and why is set: an error of the connection or of
 * Redis (one of a value alone counts as a success). The connection must be closed then: a late
 * reply would be taken for the answer to the next command. */
static bool conn_run(redisContext *conn, struct deadline until, struct cache_command *commands,
                     size_t n, char why[CACHE_WHY_MAX])
{
    bool good = true;
    for (size_t i = 0; i < n; i++)
        if (!append_command(conn, &commands[i]))
            return conn_lost(conn, why);
    for (int done = 0; !done;) {
        if (redisBufferWrite(conn, &done) != REDIS_OK)
            return conn_lost(conn, why);
        if (!done && !wait_for(conn, POLLOUT, until, why))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = next_reply(conn, until, why);
        if (!reply)
            return false;
        commands[i].accepted = reply->type != REDIS_REPLY_ERROR;
        if (!commands[i].accepted && is_fault_of_redis(reply->str))
            good = conn_failed(why, reply->str);
        if (commands[i].arena && reply->type == REDIS_REPLY_STRING)
            commands[i].answer = arena_dup(commands[i].arena, (struct sv){reply->str, reply->len});
        freeReplyObject(reply);
    }
    return good;
}

/* At most one round trip. A connect that fails later is an error of the first write. */
static bool log_in(redisContext *conn, const struct cache_url *url, struct deadline until,
                   char why[CACHE_WHY_MAX])
{
    char db[16];
    struct cache_command commands[2];
    const struct sv user = sv_from(url->user), password = sv_from(url->password);
    size_t count = 0;
    if (user.n > 0 && password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), user, password}, .n = 3};
    else if (password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), password}, .n = 2};
    if (url->db != 0) {
        snprintf(db, sizeof db, "%d", url->db);
        commands[count++] = (struct cache_command){{SV("SELECT"), sv_from(db)}, .n = 2};
    }
    return conn_run(conn, until, commands, count, why);
}

/* Connects, authenticates, selects the database. NULL: see why. */
static redisContext *conn_open(const struct cache_url *url, struct deadline until,
                               char why[CACHE_WHY_MAX])
{
    /* This looks up a host's name with getaddrinfo, which does not know the deadline. An address or
     * a socket avoids that. */
    redisContext *conn = url->local ? redisConnectUnixNonBlock(url->path)
                                    : redisConnectNonBlock(url->host, url->port);
    if (!conn) {
        conn_failed(why, "no memory for a connection");
        return NULL;
    }
    if (conn->err || (!url->local && redisEnableKeepAlive(conn) != REDIS_OK)) {
        conn_lost(conn, why);
    } else {
        (void)fcntl(conn->fd, F_SETFD, FD_CLOEXEC);
        if (log_in(conn, url, until, why))
            return conn;
    }
    redisFree(conn);
    return NULL;
}

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
            conn = conn_open(&r->url, both, why);
        if (!conn)
            break;
        done = conn_run(conn, both, commands, n, why);
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

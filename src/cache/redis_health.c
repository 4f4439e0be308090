/* SPDX-License-Identifier: MIT */
/*
 * Whether Redis is up, as this process sees it, and the way back when it was not.
 *
 * Down: no request asks Redis. cache_maintain probes, at a growing pause. A write of which Redis
 * could not be told is a debt: what Redis holds for that session may be stale. Debts are not kept
 * one by one. Before the tier is up again the epoch of Redis is raised instead, which leaves every
 * value behind that was stored so far and everything that is still under way (a command that timed
 * out may be executed at any later time). So the way back is the same after one debt and after a
 * million, and holds for every worker and host that uses this Redis.
 */
#include "redis_internal.h"

#include <stdio.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

enum link_result cache_redis_attempt(struct cache_redis *r, struct deadline until, cache_link_fn fn,
                                     void *arg, struct cache_link **kept, char *why)
{
    enum link_result result = LINK_LOST;
    int left = CACHE_ATTEMPTS_MAX;
    for (bool fresh = false; left > 0; fresh = true) {
        struct cache_link *l;
        result = cache_pool_take(r, fresh, until, &l, why);
        if (result != LINK_DONE)
            return result;
        result = fn(l, until, arg);
        if (result == LINK_DONE && kept) {
            *kept = l;
            return result;
        }
        snprintf(why, sizeof l->why, "%s", l->why);
        cache_pool_put(r, l, result == LINK_DONE);
        /* An error or a foreign value would come again; after a time-out no time is left. */
        if (result != LINK_LOST && result != LINK_EPOCH)
            return result;
        /* Where one idle link was closed by Redis or is of an old epoch, the others are too. */
        cache_pool_flush(r);
        /* Lost: once more. An epoch is raised by each worker that comes back, one after another. */
        left = result == LINK_EPOCH || !fresh ? left - 1 : 0;
    }
    return result;
}

bool cache_redis_at_fault(enum link_result result)
{
    return result == LINK_LOST || result == LINK_STALLED || result == LINK_REFUSED;
}

struct deadline cache_redis_deadline(const struct cache_redis *r, const struct request_ctx *ctx,
                                     bool *shortened)
{
    struct deadline full = deadline_in_ms(r->timeout_ms);
    struct deadline until = deadline_earlier(full, ctx->deadline);
    *shortened = until.at_us < full.at_us;
    return until;
}

static void log_state(enum log_level level, const char *event, const char *reason, uint64_t debts)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "tier", "redis");
    if (reason)
        log_str(&line, "reason", reason);
    log_int(&line, "writes_untold", (int64_t)debts);
    log_end(&line);
}

void cache_redis_failed(struct cache_redis *r, enum link_result result, const char *why, bool debt)
{
    pthread_mutex_lock(&r->lock);
    bool was_up = r->up;
    r->up = false;
    r->stalled = result == LINK_STALLED;
    if (debt)
        r->debts++;
    if (was_up) {
        r->life++;
        r->pause_ms = CACHE_PAUSE_MIN_MS;
        r->probe_at_us = clock_mono_us() + r->pause_ms * INT64_C(1000);
    }
    if (why)
        snprintf(r->reason, sizeof r->reason, "%s", why);
    uint64_t debts = r->debts - r->debts_met;
    pthread_mutex_unlock(&r->lock);
    if (!was_up)
        return;
    log_state(LOG_WARN, "cache_down", why, debts);
    cache_pool_flush(r);
}

/* A refused connect costs microseconds and proves that nobody reads from Redis at this moment; a
 * time-out would cost every write its full length. */
bool cache_redis_worth_telling(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    bool worth = r->up || !r->stalled;
    pthread_mutex_unlock(&r->lock);
    return worth;
}

/* arg: whether to raise the epoch. */
static enum link_result probe(struct cache_link *l, struct deadline until, void *arg)
{
    const bool *raise = arg;
    redisReply *reply;
    if (*raise)
        return cache_link_epoch(l, true, until);
    enum link_result r = cache_link_append(l, (struct sv[]){SV("PING")}, 1);
    if (r == LINK_DONE)
        r = cache_link_reply(l, until, &reply);
    if (r != LINK_DONE)
        return r;
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(l->why, sizeof l->why, "%s", reply->str);
        r = LINK_REFUSED;
    }
    freeReplyObject(reply);
    return r;
}

static void probe_succeeded(struct cache_redis *r, uint64_t debts)
{
    pthread_mutex_lock(&r->lock);
    bool was_up = r->up;
    uint64_t met = debts - r->debts_met;
    r->debts_met = debts;
    /* A debt made while the epoch was being raised may be of a write that came after it: once
     * more at the next probe. */
    if (!was_up && r->debts == r->debts_met) {
        r->up = true;
        r->stalled = false;
        r->reason[0] = '\0';
        r->pause_ms = CACHE_PAUSE_MIN_MS;
    }
    bool up = r->up;
    pthread_mutex_unlock(&r->lock);
    if (up && !was_up)
        log_state(LOG_INFO, "cache_up", NULL, met);
}

static void probe_failed(struct cache_redis *r, enum link_result result, const char *why)
{
    cache_redis_failed(r, result, why, false);
    pthread_mutex_lock(&r->lock);
    r->probe_at_us = clock_mono_us() + r->pause_ms * INT64_C(1000);
    r->pause_ms = r->pause_ms * 2 < CACHE_PAUSE_MAX_MS ? r->pause_ms * 2 : CACHE_PAUSE_MAX_MS;
    pthread_mutex_unlock(&r->lock);
}

void cache_redis_probe(struct cache_redis *r)
{
    char why[128] = "";
    pthread_mutex_lock(&r->lock);
    bool due = r->up || clock_mono_us() >= r->probe_at_us;
    uint64_t debts = r->debts;
    bool raise = debts != r->debts_met;
    pthread_mutex_unlock(&r->lock);
    if (!due)
        return;
    enum link_result result =
        cache_redis_attempt(r, deadline_in_ms(r->timeout_ms), probe, &raise, NULL, why);
    if (result == LINK_DONE)
        probe_succeeded(r, debts);
    else
        probe_failed(r, result, why);
}

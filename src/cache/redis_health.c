/* SPDX-License-Identifier: MIT */
/*
 * Whether Redis is in use: the breaker of the host, and how a call is tried. Closed, it is opened
 * by the first failure that says something about Redis; from then on no request of the host asks
 * Redis, and probes look at a growing pause whether it is back. What an open breaker means for
 * readers and writers is in redis_host.c.
 */
#include "redis_internal.h"

#include <stdio.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

enum link_result cache_redis_attempt(struct cache_redis *r, struct deadline until, cache_link_fn fn,
                                     void *arg, struct cache_link **kept, char *why, bool look)
{
    enum link_result result = LINK_LOST;
    bool fresh = false, lost = false;
    for (int left = CACHE_ATTEMPTS_MAX; left > 0; left--) {
        struct cache_link *l;
        result = cache_pool_take(r, fresh, until, &l, why);
        if (result != LINK_DONE)
            return result;
        uint64_t epoch = atomic_load(&r->host->epoch);
        cache_link_expect(l, epoch);
        result = fn(l, until, arg);
        if (result == LINK_DONE && kept) {
            *kept = l;
            return result;
        }
        snprintf(why, sizeof l->why, "%s", l->why);
        cache_pool_put(r, l, result == LINK_DONE || result == LINK_EPOCH);
        if (result == LINK_EPOCH) {
            if (look)
                cache_host_look(r);
            else
                atomic_store(&r->host->poll_at_us, 0);
            if (atomic_load(&r->host->epoch) == epoch)
                return result;
            continue;
        }
        /* An error or a foreign value would come again; after a time-out no time is left. */
        if (result != LINK_LOST || lost)
            return result;
        /* Where one idle link was closed by Redis, the others are too. Once more on a fresh one. */
        cache_pool_flush(r);
        fresh = true;
        lost = true;
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

static void say(struct cache_redis *r, enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    pthread_mutex_lock(&r->lock);
    snprintf(r->reason, sizeof r->reason, "%s", reason);
    pthread_mutex_unlock(&r->lock);
    if (!event)
        return;
    log_begin(&line, level, event);
    log_str(&line, "tier", "redis");
    if (reason[0])
        log_str(&line, "reason", reason);
    log_end(&line);
}

/* Each time it opens, and at each probe that fails, the next probe is further away. */
static void postpone(struct cache_redis *r)
{
    struct cache_host *h = r->host;
    const int64_t min_us = cache_pause_min_us(r), max_us = r->lease_ms * INT64_C(1000);
    int64_t pause_us = atomic_load(&h->pause_us);
    if (pause_us < min_us)
        pause_us = min_us;
    atomic_store(&h->probe_at_us, clock_mono_us() + pause_us);
    atomic_store(&h->pause_us, pause_us * 2 < max_us ? pause_us * 2 : max_us);
}

void cache_host_open(struct cache_redis *r, const char *why)
{
    struct cache_host *h = r->host;
    uint64_t life = atomic_load(&h->life);
    if (!(life & 1) || !atomic_compare_exchange_strong(&h->life, &life, life + 1))
        return;
    atomic_store(&h->poll_at_us, 0);
    postpone(r);
    say(r, LOG_WARN, "cache_down", why);
    cache_pool_flush(r);
}

/* A Redis that answers but takes no writes (a replica, a full disk) is not back. */
static enum link_result probe_on(struct cache_link *l, struct deadline until, void *arg)
{
    redisReply *reply;
    (void)arg;
    enum link_result r =
        cache_link_append(l, (struct sv[]){SV("DEL"), SV(CACHE_EPOCH_KEY ":probe")}, 2);
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

void cache_host_check(struct cache_redis *r)
{
    struct cache_host *h = r->host;
    char why[128] = "";
    if (!(atomic_load(&h->life) & 1) ||
        !cache_host_claim(&h->poll_at_us, r->poll_ms * INT64_C(1000)))
        return;
    enum link_result result =
        cache_redis_attempt(r, deadline_in_ms(r->timeout_ms), probe_on, NULL, NULL, why, false);
    if (result == LINK_DONE)
        atomic_store(&h->pause_us, cache_pause_min_us(r));
    else if (cache_redis_at_fault(result))
        cache_host_open(r, why);
}

void cache_host_probe(struct cache_redis *r)
{
    struct cache_host *h = r->host;
    uint64_t life = atomic_load(&h->life);
    char why[128] = "";
    if ((life & 1) || !cache_host_claim(&h->probe_at_us, r->timeout_ms * INT64_C(2000)))
        return;
    enum link_result result =
        cache_redis_attempt(r, deadline_in_ms(r->timeout_ms), probe_on, NULL, NULL, why, false);
    if (result == LINK_DONE) {
        if (!atomic_compare_exchange_strong(&h->life, &life, life + 1))
            return;
        atomic_store(&h->poll_at_us, 0);
        say(r, LOG_INFO, life ? "cache_up" : NULL, "");
        return;
    }
    postpone(r);
    uint64_t unknown = 0;
    bool first = atomic_compare_exchange_strong(&h->life, &unknown, 2);
    say(r, LOG_WARN, first ? "cache_down" : NULL, why);
}

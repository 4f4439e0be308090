/* SPDX-License-Identifier: MIT */
/*
 * The Redis tier. Two keys a session, in one hash slot:
 *
 *   parley:{<tenant>:<id>}:<epoch>:v   the value (cache_codec.c)
 *   parley:{<tenant>:<id>}:<epoch>:f   the fence: the token of the last writer
 *
 * and one for all: parley:epoch. The rules are in the scripts (redis_scripts.c); what a reader and
 * a writer do with them in redis_read.c and redis_write.c; what happens when Redis is away in
 * redis_health.c.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

struct cache_redis *cache_redis_self(struct cache_tier *t)
{
    return (struct cache_redis *)t; /* its first member */
}

static void redis_status(struct cache_tier *t, struct cache_status *out)
{
    struct cache_redis *r = cache_redis_self(t);
    pthread_mutex_lock(&r->lock);
    out->redis = r->up ? CACHE_UP : CACHE_DOWN;
    memcpy(out->reason, r->reason, sizeof out->reason);
    pthread_mutex_unlock(&r->lock);
    out->mismatches += atomic_load(&r->mismatches);
}

static void redis_maintain(struct cache_tier *t)
{
    cache_redis_probe(cache_redis_self(t));
}

/* A worker that leaves with a debt tries once more to have it met. */
static void redis_close(struct cache_tier *t)
{
    struct cache_redis *r = cache_redis_self(t);
    if (r->debts != r->debts_met) {
        r->probe_at_us = 0;
        cache_redis_probe(r);
    }
    cache_pool_free(r);
    pthread_mutex_destroy(&r->lock);
    explicit_bzero(&r->url, sizeof r->url);
    free(r);
}

static const struct cache_tier_ops redis_ops = {
    .name = "redis",
    .metric = METRICS_REDIS,
    .read = cache_redis_read,
    .fill = cache_redis_fill,
    .fence = cache_redis_fence,
    .settle = cache_redis_settle,
    .status = redis_status,
    .maintain = redis_maintain,
    .close = redis_close,
};

struct cache_tier *cache_redis_open(const struct cache_settings *settings,
                                    const struct cache_url *url, struct metrics_slot *slot)
{
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->tier.ops = &redis_ops;
    r->url = *url;
    r->timeout_ms = settings->redis_timeout_ms > 0 ? settings->redis_timeout_ms : 1;
    r->fence_ms = settings->fence_ms > 0 ? settings->fence_ms : 1;
    r->value_max = settings->value_max;
    r->slot = slot;
    r->pause_ms = CACHE_PAUSE_MIN_MS;
    if (pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return NULL;
    }
    /* Not up before Redis has answered: the first probe decides. */
    snprintf(r->reason, sizeof r->reason, "not reached yet");
    cache_redis_probe(r);
    if (!r->up)
        log_say(LOG_WARN, "cache_down", "Redis is away: %s", r->reason);
    return &r->tier;
}

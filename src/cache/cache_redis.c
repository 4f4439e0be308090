/* SPDX-License-Identifier: MIT */
/*
 * The Redis tier. Two keys a session, in one hash slot:
 *
 *   parley:{<tenant>:<id>}:<epoch>:v   the value (cache_codec.c)
 *   parley:{<tenant>:<id>}:<epoch>:f   the fence: the token of the last writer
 *
 * and one for all: parley:epoch, the marker. The rules are in the scripts (redis_scripts.c); what a
 * reader and a writer do with them in redis_read.c and redis_write.c; how hosts agree when Redis is
 * away, emptied or replaced in redis_host.c; the breaker in redis_health.c. For a host that is
 * alone all that but the breaker is left to the memory tier: redis_store.c.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/uuid.h"

struct cache_redis *cache_redis_self(struct cache_tier *t)
{
    return (struct cache_redis *)t; /* its first member */
}

static void redis_status(struct cache_tier *t, struct cache_status *out)
{
    struct cache_redis *r = cache_redis_self(t);
    uint64_t life = atomic_load(&r->host->life);
    out->redis = life & 1 ? CACHE_UP : CACHE_DOWN;
    out->mismatches += atomic_load(&r->mismatches);
    if ((life & 1) && !r->table && r->authority.ask && !cache_host_leased(r, life))
        snprintf(out->reason, sizeof out->reason, "not read: no lease on the cache epoch");
    if (life & 1)
        return;
    pthread_mutex_lock(&r->lock);
    /* Another worker may have been the one to find out. */
    snprintf(out->reason, sizeof out->reason, "%s", r->reason[0] ? r->reason : "out of reach");
    pthread_mutex_unlock(&r->lock);
}

static void redis_close(struct cache_tier *t)
{
    struct cache_redis *r = cache_redis_self(t);
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
    .poll = cache_redis_poll,
    .close = redis_close,
};

static const struct cache_tier_ops store_ops = {
    .name = "redis",
    .metric = METRICS_REDIS,
    .read = cache_store_read,
    .fill = cache_store_fill,
    .fence = cache_store_fence,
    .settle = cache_store_settle,
    .status = redis_status,
    .poll = cache_store_poll,
    .close = redis_close,
};

struct cache_tier *cache_redis_open(const struct cache_settings *settings,
                                    const struct cache_url *url, struct metrics_slot *slot)
{
    struct cache_redis *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->table = settings->one_host && settings->shared ? settings->shared->memory : NULL;
    r->tier.ops = r->table ? &store_ops : &redis_ops;
    r->url = *url;
    r->seed = random_u64();
    r->timeout_ms = settings->redis_timeout_ms > 0 ? settings->redis_timeout_ms : 1;
    r->fence_ms = settings->fence_ms > 0 ? settings->fence_ms : 1;
    r->value_max = settings->value_max;
    r->slot = slot;
    r->authority = settings->authority;
    r->one_host = settings->one_host;
    r->lease_ms = settings->lease_ms > 0 ? settings->lease_ms : CACHE_LEASE_MS;
    r->hold_ms = settings->hold_ms > 0 ? settings->hold_ms : CACHE_HOLD_MS;
    r->poll_ms = settings->poll_ms > 0 ? settings->poll_ms : CACHE_POLL_MS;
    r->host = settings->shared ? &settings->shared->host : &r->own;
    cache_set_at_least(&r->host->fence_us, r->fence_ms * INT64_C(1000));
    if (pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return NULL;
    }
    snprintf(r->reason, sizeof r->reason, "not reached yet");
    cache_host_probe(r);
    return &r->tier;
}

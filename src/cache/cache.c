/* SPDX-License-Identifier: MIT */
/* What a request does with the caches: memory first, then Redis. */
#include "parley/cache/cache.h"

#include <stdlib.h>
#include <unistd.h>

#include "cache_internal.h"
#include "memory_internal.h"

struct cache {
    struct memory_table *memory; /* borrowed; NULL: none */
    struct cache_redis *redis;   /* owned; NULL: none */
    struct cache_queue *queue;   /* owned; NULL where redis is */
    pid_t self;
    int64_t quarantine_us, value_ms;
    size_t value_max;
    struct metrics_slot *slot; /* may be NULL */
    _Atomic uint64_t mismatches;
};

struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    const int quarantine_ms = settings->quarantine_ms > 0 ? settings->quarantine_ms : 1;
    c->memory = settings->shared ? settings->shared->memory : NULL;
    c->self = getpid();
    c->quarantine_us = quarantine_ms * INT64_C(1000);
    c->value_ms = settings->value_seconds * 1000;
    c->value_max = settings->value_max;
    c->slot = slot;
    if (c->memory)
        memory_quarantine_ms(c->memory, quarantine_ms);
    if (!settings->redis_url || !settings->redis_url[0])
        return c;
    c->redis = cache_redis_open(settings);
    c->queue = c->redis ? cache_queue_open(c->redis, c->memory, slot) : NULL;
    if (c->queue)
        return c;
    cache_close(c);
    return NULL;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    cache_queue_close(c->queue);
    cache_redis_close(c->redis);
    free(c);
}

bool cache_has_memory(const struct cache *c)
{
    return c->memory != NULL;
}

struct cache_snapshot cache_snapshot(struct cache *c, struct cache_key key)
{
    if (!c->memory)
        return (struct cache_snapshot){.usable = true};
    return memory_snapshot(c->memory, key, clock_mono_us());
}

static bool find_in_memory(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                           const struct cache_snapshot *snapshot, struct cache_found *out)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    struct sv stored;
    if (!memory_find(c->memory, snapshot, clock_mono_us(), ctx->arena, &stored, &out->current))
        return false;
    out->from = METRICS_MEMORY;
    if (cache_codec_decode(stored, key, false, &out->value))
        return true;
    cache_count_mismatch(&c->mismatches, "memory", key);
    arena_rewind(ctx->arena, mark);
    return false;
}

static void count_miss(struct cache *c, enum metrics_source from)
{
    if (c->slot)
        metrics_add(&c->slot->source_misses[from], 1);
}

bool cache_find(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                const struct cache_snapshot *snapshot, bool redis_too, struct cache_found *out)
{
    if (c->memory && find_in_memory(c, ctx, key, snapshot, out))
        return true;
    if (c->memory)
        count_miss(c, METRICS_MEMORY);
    /* Only a value of memory can be current. */
    *out = (struct cache_found){.current = false};
    if (!redis_too || !c->redis)
        return false;
    const int64_t began = clock_mono_us();
    const bool found = cache_redis_get(c->redis, ctx, key, &out->value);
    ctx->trace.cache_us += clock_mono_us() - began;
    out->from = METRICS_REDIS;
    if (!found)
        count_miss(c, METRICS_REDIS);
    return found;
}

void cache_put(struct cache *c, struct request_ctx *ctx, struct cache_key key,
               const struct cache_snapshot *snapshot, bool redis_too,
               const struct cache_value *value)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    const int64_t ttl_ms = value->ttl_ms < c->value_ms ? value->ttl_ms : c->value_ms;
    struct sv stored;
    if (ttl_ms <= 0 || value->bytes.n > c->value_max)
        return;
    /* The deletion of a session raises the epoch. */
    if (c->memory && !memory_is_current(c->memory, snapshot))
        return;
    if (c->memory && cache_codec_encode(ctx->arena, key, value, false, &stored))
        (void)memory_store(c->memory, c->self, snapshot, stored, clock_mono_us() + ttl_ms * 1000);
    arena_rewind(ctx->arena, mark);
    if (!redis_too || !c->redis || !cache_breaker_is_closed(&c->redis->breaker) ||
        !cache_codec_encode(ctx->arena, key, value, true, &stored))
        return;
    const struct cache_redis_key redis_key = cache_redis_key(c->redis, key);
    cache_queue_push(c->queue, &redis_key, snapshot, stored, ttl_ms);
    arena_rewind(ctx->arena, mark);
}

void cache_raise_epoch(struct cache *c, struct cache_snapshot *snapshot, bool in_doubt)
{
    if (!c->memory)
        return;
    if (in_doubt)
        memory_quarantine(c->memory, snapshot->hash, clock_mono_us() + c->quarantine_us);
    const uint64_t was = memory_raise(c->memory, snapshot->hash);
    /* With two writers it is unknown which of them committed last. */
    snapshot->usable = snapshot->usable && was == snapshot->epoch && !in_doubt;
    snapshot->epoch = was + 1;
}

void cache_remove(struct cache *c, struct cache_key key, bool redis_too)
{
    if (c->memory)
        memory_remove(c->memory, c->self, memory_snapshot(c->memory, key, 0).hash);
    if (!redis_too || !c->redis)
        return;
    const struct cache_redis_key redis_key = cache_redis_key(c->redis, key);
    cache_queue_push(c->queue, &redis_key, NULL, SV_NONE, 0);
}

bool cache_erase(struct cache *c, struct request_ctx *ctx, const struct cache_key *keys, size_t n)
{
    for (size_t i = 0; c->memory && i < n; i++)
        memory_remove(c->memory, c->self, memory_snapshot(c->memory, keys[i], 0).hash);
    struct cache_redis_key *redis_keys = arena_array(ctx->arena, n, sizeof *redis_keys);
    if (!c->redis)
        return true;
    if (!redis_keys)
        return false;
    /* The queue repeats the DELs after the SETs that it may be sending now. */
    for (size_t i = 0; i < n; i++) {
        redis_keys[i] = cache_redis_key(c->redis, keys[i]);
        cache_queue_push(c->queue, &redis_keys[i], NULL, SV_NONE, 0);
    }
    /* Without epochs a reader may be about to store what it read before. */
    return cache_redis_delete(c->redis, ctx->deadline, redis_keys, n) && c->memory;
}

void cache_status(struct cache *c, struct cache_status *out)
{
    *out = (struct cache_status){.redis = CACHE_OFF, .mismatches = atomic_load(&c->mismatches)};
    if (c->memory) {
        out->memory_bytes = c->memory->n_stripes * sizeof(struct memory_stripe);
        out->memory_used = memory_used(c->memory);
    }
    if (c->redis)
        cache_redis_status(c->redis, out);
}

void cache_probe(struct cache *c)
{
    if (c->redis)
        cache_redis_probe(c->redis);
}

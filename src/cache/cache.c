/* SPDX-License-Identifier: MIT */
/* What a request does with the caches: memory first, then Redis. */
#include "cache_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "parley/obs/log.h"

struct cache {
    struct cache_shared *memory; /* borrowed; NULL: none */
    struct cache_redis *redis;   /* owned; NULL: none */
    struct cache_queue *queue;   /* owned; NULL where redis is */
    struct cache_settings set;
    pid_t self;
    struct metrics_slot *slot, own_slot; /* own_slot: where cache_open gets none */
    _Atomic uint64_t mismatches;
};

struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->memory = settings->shared && settings->shared->n_stripes > 0 ? settings->shared : NULL;
    c->set = *settings;
    c->self = getpid();
    c->slot = slot ? slot : &c->own_slot;
    if (!settings->redis_url || !settings->redis_url[0])
        return c;
    c->redis = cache_redis_open(settings);
    c->queue = c->redis ? cache_queue_open(c->redis, c->memory, c->slot) : NULL;
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

/* Logs the 1st, 2nd, 4th, 8th … only: requests may ask for one bad key very often. */
static void count_mismatch(struct cache *c, const char *where, struct cache_key key)
{
    struct log_line line;
    const uint64_t n = atomic_fetch_add(&c->mismatches, 1) + 1;
    if ((n & (n - 1)) != 0)
        return;
    log_begin(&line, LOG_ERROR, "cache_mismatch");
    log_str(&line, "cache", where);
    log_sv(&line, "tenant", key.tenant);
    log_sv(&line, "session_id", key.id);
    log_int(&line, "mismatches", (int64_t)n);
    log_end(&line);
}

/* SV_NONE: a miss. */
static struct sv read_from_redis(struct cache *c, struct request_ctx *ctx, struct cache_key key)
{
    const struct cache_redis_key name = cache_redis_key(c->redis, key);
    struct cache_command get = {{SV("GET"), {name.text, name.n}}, .n = 2, .arena = ctx->arena};
    if (name.n == 0 || !cache_redis_is_in_use(c->redis))
        return SV_NONE;
    const int64_t began = clock_mono_us();
    ctx_will_wait(ctx);
    const bool done = cache_redis_run(c->redis, ctx->deadline, &get, 1);
    ctx->trace.cache_us += clock_mono_us() - began;
    return done ? get.answer : SV_NONE;
}

/* stored: what was found in out->from, or SV_NONE. The value of another key, or a damaged one, is a
 * miss as well. */
static bool decode_found(struct cache *c, struct cache_key key, struct sv stored,
                         struct cache_found *out)
{
    const bool redis = out->from == METRICS_REDIS;
    if (stored.p && cache_codec_decode(stored, key, redis, &out->value))
        return true;
    if (stored.p)
        count_mismatch(c, redis ? "redis" : "memory", key);
    metrics_add(&c->slot->source_misses[out->from], 1);
    return false;
}

bool cache_find(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                const struct cache_snapshot *snapshot, bool redis_too, struct cache_found *out)
{
    if (c->memory) {
        const struct sv stored =
            memory_find(c->memory, snapshot, clock_mono_us(), ctx->arena, &out->current);
        out->from = METRICS_MEMORY;
        if (decode_found(c, key, stored, out))
            return true;
    }
    /* Only a value of memory can be current. */
    *out = (struct cache_found){.from = METRICS_REDIS};
    return redis_too && c->redis && decode_found(c, key, read_from_redis(c, ctx, key), out);
}

size_t cache_value_max(const struct cache *c)
{
    return c->set.value_max;
}

void cache_put(struct cache *c, struct request_ctx *ctx, struct cache_key key,
               const struct cache_snapshot *snapshot, bool redis_too,
               const struct cache_value *value)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    const int64_t longest_ms = c->set.value_seconds * 1000;
    const int64_t ttl_ms = value->ttl_ms < longest_ms ? value->ttl_ms : longest_ms;
    struct sv stored;
    if (ttl_ms <= 0 || value->bytes.n > c->set.value_max)
        return;
    /* The deletion of a session raises the epoch. */
    if (c->memory && !memory_is_current(c->memory, snapshot))
        return;
    if (c->memory && cache_codec_encode(ctx->arena, key, value, false, &stored))
        (void)memory_store(c->memory, c->self, snapshot, stored, clock_mono_us() + ttl_ms * 1000);
    arena_rewind(ctx->arena, mark);
    if (!redis_too || !c->redis || !cache_redis_is_in_use(c->redis) ||
        !cache_codec_encode(ctx->arena, key, value, true, &stored))
        return;
    const struct cache_redis_key name = cache_redis_key(c->redis, key);
    cache_queue_push(c->queue, &name, snapshot, stored, ttl_ms);
    arena_rewind(ctx->arena, mark);
}

void cache_raise_epoch(struct cache *c, struct cache_snapshot *snapshot, bool in_doubt)
{
    if (!c->memory)
        return;
    const int64_t until_us = in_doubt ? deadline_in_ms(c->set.quarantine_ms).at_us : 0;
    const uint64_t was = memory_raise(c->memory, snapshot->hash, until_us);
    /* With two writers it is unknown which of them committed last. */
    snapshot->usable = snapshot->usable && was == snapshot->epoch && !in_doubt;
    snapshot->epoch = was + 1;
}

void cache_remove(struct cache *c, struct cache_key key, bool redis_too)
{
    if (c->memory)
        memory_remove(c->memory, memory_snapshot(c->memory, key, 0).hash);
    if (!redis_too || !c->redis)
        return;
    const struct cache_redis_key name = cache_redis_key(c->redis, key);
    cache_queue_push(c->queue, &name, NULL, SV_NONE, 0);
}

bool cache_erase(struct cache *c, struct request_ctx *ctx, const struct cache_key *keys, size_t n)
{
    /* The queue repeats the DELs after the SETs that it may be sending now. */
    for (size_t i = 0; i < n; i++)
        cache_remove(c, keys[i], true);
    if (!c->redis)
        return true;
    struct cache_redis_key *names = arena_array(ctx->arena, n, sizeof *names);
    struct cache_command *commands = arena_array(ctx->arena, n, sizeof *commands);
    if (!names || !commands)
        return false;
    for (size_t i = 0; i < n; i++) {
        names[i] = cache_redis_key(c->redis, keys[i]);
        commands[i] = (struct cache_command){{SV("DEL"), {names[i].text, names[i].n}}, .n = 2};
    }
    /* Without epochs a reader may be about to store what it read before. */
    return cache_redis_is_in_use(c->redis) &&
           cache_redis_run(c->redis, ctx->deadline, commands, n) && c->memory;
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

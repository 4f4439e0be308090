/* SPDX-License-Identifier: MIT */
/* The caches without a Redis: none, or away. What they do with one is in tests/service/cache. */
#include "../suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../../src/cache/cache_internal.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};
static const char *const away = "unix:///nonexistent/redis.sock";
enum found { MISS, OUTDATED, CURRENT };

struct rig {
    struct cache_shared *shared;
    struct cache *cache;
    struct request_ctx *ctx;
    struct metrics_slot slot;
};

static void rig_close(void *arg)
{
    struct rig *r = arg;
    cache_close(r->cache);
}

/* Until the next one or the end of the test. */
static struct rig *rig_open(size_t memory, const char *url)
{
    struct request_ctx *ctx = test_ctx();
    struct rig *r = arena_zalloc(ctx->arena, sizeof *r);
    r->ctx = ctx;
    r->shared = cache_shared_map(memory);
    const struct cache_settings settings = {.shared = r->shared,
                                            .redis_url = url,
                                            .redis_timeout_ms = 50,
                                            .quarantine_ms = 3600 * 1000,
                                            .value_seconds = 60,
                                            .value_max = 1000,
                                            .layout = {1, 2}};
    r->cache = cache_open(&settings, &r->slot);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r->cache);
    CU_ASSERT_EQUAL(arena_defer(ctx->arena, rig_close, r), ERR_NONE);
    return r;
}

static void store_version(struct rig *r, const struct cache_snapshot *s, int64_t version)
{
    const struct cache_value v = {{7, version, 1}, 1000000, SV("bytes")};
    cache_put(r->cache, r->ctx, key, s, true, &v);
}

/* The version, and whether it is current, with a snapshot of now. */
static enum found read_version(struct rig *r, int64_t *version)
{
    const struct cache_snapshot s = cache_snapshot(r->cache, key);
    struct cache_found f;
    *version = 0;
    if (!cache_find(r->cache, r->ctx, key, &s, true, &f))
        return MISS;
    CU_ASSERT(f.from == METRICS_MEMORY && sv_eq(f.value.bytes, SV("bytes")));
    *version = f.value.stamp.version;
    return f.current ? CURRENT : OUTDATED;
}

TEST(writers)
{
    int64_t version;
    struct rig *r = rig_open(1, "");
    struct cache_snapshot a = cache_snapshot(r->cache, key), b = a, c;
    store_version(r, &a, 1);
    CU_ASSERT(read_version(r, &version) == CURRENT && version == 1);
    /* One writer: its own value is current. */
    cache_raise_epoch(r->cache, &a, false);
    CU_ASSERT(read_version(r, &version) == OUTDATED && version == 1);
    store_version(r, &a, 2);
    CU_ASSERT(read_version(r, &version) == CURRENT && version == 2);
    /* Two writers: neither the second one nor an earlier reader knows which committed last. */
    cache_raise_epoch(r->cache, &b, false);
    store_version(r, &b, 3);
    store_version(r, &a, 3);
    CU_ASSERT(read_version(r, &version) == OUTDATED && version == 2);
    /* In doubt: nothing is current for a request that begins now. */
    c = cache_snapshot(r->cache, key);
    cache_raise_epoch(r->cache, &c, true);
    store_version(r, &c, 4);
    c = cache_snapshot(r->cache, key);
    CU_ASSERT_FALSE(c.usable);
    store_version(r, &c, 4);
    CU_ASSERT(read_version(r, &version) == OUTDATED && version == 2);
}

/* A reader began before the deletion and stores after it. Fails if the epoch is not compared, or a
 * removal does nothing: tests/mutants/cache-put-under-old-snapshot,
 * tests/mutants/cache-remove-does-nothing. */
TEST(deleted)
{
    int64_t version;
    for (int erased = 0; erased < 2; erased++) {
        struct rig *r = rig_open(1, "");
        struct cache_snapshot reader = cache_snapshot(r->cache, key), writer = reader;
        store_version(r, &reader, 1);
        cache_raise_epoch(r->cache, &writer, false);
        if (erased)
            CU_ASSERT(cache_erase(r->cache, r->ctx, &key, 1))
        else
            cache_remove(r->cache, key, true);
        store_version(r, &reader, 1);
        CU_ASSERT_EQUAL(read_version(r, &version), MISS);
    }
}

/* value_max, value_seconds, and lives that are over. */
TEST(limits)
{
    static char bytes[1001];
    static const struct {
        size_t n;
        int64_t ttl_ms, kept_ms; /* 0: not kept */
    } rows[] = {{1000, 5000, 5000}, {1001, 5000, 0},       {0, 5000, 5000}, {5, 60000, 60000},
                {5, 60001, 60000},  {5, INT64_MAX, 60000}, {5, 0, 0},       {5, -1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool current;
        struct rig *r = rig_open(1, "");
        const struct cache_snapshot s = cache_snapshot(r->cache, key);
        const struct cache_value v = {{7, 1, 1}, rows[i].ttl_ms, {bytes, rows[i].n}};
        const int64_t before = clock_mono_us() + rows[i].kept_ms * 1000;
        cache_put(r->cache, r->ctx, key, &s, false, &v);
        const int64_t after = clock_mono_us() + rows[i].kept_ms * 1000;
        struct cache_shared *t = r->shared;
        CU_ASSERT_EQUAL(memory_find(t, &s, before - 1, r->ctx->arena, &current).p != NULL,
                        rows[i].kept_ms > 0);
        CU_ASSERT_PTR_NULL(memory_find(t, &s, after, r->ctx->arena, &current).p);
    }
}

/* Another key's value under this key's hash, and one cut short: counted, and not returned. */
TEST(foreign_value)
{
    const struct cache_key other = {SV("default"), SV("s2")};
    const struct cache_value v = {{7, 1, 1}, 60000, SV("bytes")};
    const int64_t until = clock_mono_us() + INT64_C(60000000);
    for (int i = 0; i < 3; i++) {
        struct cache_status status;
        struct sv stored;
        int64_t version;
        struct rig *r = rig_open(1, "");
        const struct cache_snapshot s = cache_snapshot(r->cache, key);
        CU_ASSERT(cache_codec_encode(r->ctx->arena, i == 0 ? other : key, &v, false, &stored));
        stored.n -= i == 1;
        CU_ASSERT(memory_store(r->shared, 1, &s, stored, until));
        CU_ASSERT_EQUAL(read_version(r, &version), i < 2 ? MISS : CURRENT);
        cache_status(r->cache, &status);
        CU_ASSERT_EQUAL(status.mismatches, i < 2);
        CU_ASSERT_EQUAL(r->slot.source_misses[METRICS_MEMORY], i < 2);
    }
}

static void count(void *arg)
{
    ++*(int *)arg;
}

/* With and without memory, without Redis and with one that is away: no call fails, before_wait is
 * not called for memory, and a cache that is not there has no misses. */
TEST(without_redis)
{
    static const struct {
        size_t memory;
        const char *url;
        enum cache_state state;
    } rows[] = {{0, "", CACHE_OFF},
                {1 << 20, "", CACHE_OFF},
                {0, away, CACHE_DOWN},
                {1 << 20, away, CACHE_DOWN},
                {0, "redis://127.0.0.1:1", CACHE_DOWN}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cache_status status;
        struct cache_found f;
        int waits = 0;
        struct rig *r = rig_open(rows[i].memory, rows[i].url);
        const struct cache_snapshot s = cache_snapshot(r->cache, key);
        CU_ASSERT_FALSE(cache_find(r->cache, r->ctx, key, &s, true, &f));
        const bool off = rows[i].state == CACHE_OFF;
        CU_ASSERT_EQUAL(r->slot.source_misses[METRICS_MEMORY], rows[i].memory > 0);
        CU_ASSERT_EQUAL(r->slot.source_misses[METRICS_REDIS], !off);
        store_version(r, &s, 1);
        r->ctx->before_wait = (struct ctx_hook){count, &waits};
        CU_ASSERT_EQUAL(cache_find(r->cache, r->ctx, key, &s, rows[i].memory == 0, &f),
                        rows[i].memory > 0);
        CU_ASSERT_EQUAL(f.current, rows[i].memory > 0);
        CU_ASSERT(waits == 0 || (rows[i].memory == 0 && !off));
        cache_remove(r->cache, key, true);
        CU_ASSERT_EQUAL(cache_erase(r->cache, r->ctx, &key, 1), off);
        cache_probe(r->cache);
        cache_status(r->cache, &status);
        CU_ASSERT_EQUAL(status.redis, rows[i].state);
        CU_ASSERT_EQUAL(status.reason[0] == '\0', off);
        CU_ASSERT_EQUAL(status.memory_bytes > 0, rows[i].memory > 0);
        CU_ASSERT(status.memory_bytes <= rows[i].memory);
        CU_ASSERT_EQUAL(status.memory_used > 0, rows[i].memory > 0);
        cache_shared_reap(r->shared, 1, 1000);
        cache_shared_outdate(r->shared);
    }
    cache_close(NULL);
}

enum { THREADS = 4, STEPS = 2000 };

static void *use(void *arg)
{
    struct rig *r = arg;
    struct arena *a = arena_create(1 << 20);
    struct request_ctx ctx;
    for (int i = 0; i < STEPS; i++) {
        char id[8];
        const struct cache_key k = {SV("default"), {id, (size_t)snprintf(id, 8, "s%d", i % 5)}};
        const struct cache_value v = {{7, i, 1}, 60000, k.id};
        struct cache_snapshot s = cache_snapshot(r->cache, k);
        struct cache_found f;
        struct cache_status status;
        arena_reset(a);
        ctx_init(&ctx, a, deadline_in_ms(1000), SV("default"), SV("r"));
        if (cache_find(r->cache, &ctx, k, &s, i % 3 == 0, &f))
            CU_ASSERT(sv_eq(f.value.bytes, k.id));
        if (i % 7 == 0)
            cache_raise_epoch(r->cache, &s, false);
        if (i % 11 == 0)
            cache_remove(r->cache, k, true);
        else if (i % 97 == 0)
            (void)!cache_erase(r->cache, &ctx, &k, 1);
        else
            cache_put(r->cache, &ctx, k, &s, true, &v);
        cache_status(r->cache, &status);
    }
    arena_destroy(a);
    return NULL;
}

/* For ThreadSanitizer (tests/analysis/under), with a Redis that is away and a queue that is not
 * empty at the end. */
TEST(at_once)
{
    pthread_t thread[THREADS];
    struct rig *r = rig_open(1, away);
    for (int i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL(pthread_create(&thread[i], NULL, use, r), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CU_ASSERT_EQUAL(r->slot.source_hits[METRICS_REDIS], 0);
}

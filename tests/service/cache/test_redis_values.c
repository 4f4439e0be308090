/* SPDX-License-Identifier: MIT */
/* Values in Redis: which are found, and which are not. */
#include <stdio.h>
#include <string.h>

#include "../../../src/cache/cache_internal.h"
#include "../../unit/suite.h"
#include "support.h"

static const struct cache_key key = {{"default", 7}, {"telegram:1", 10}};
static const struct cache_key other = {{"default", 7}, {"telegram:2", 10}};
static const struct cache_key tenant = {{"another", 7}, {"telegram:1", 10}};

static void round_trip(void)
{
    struct cache_found f;
    struct rig *rig = rig_open(NULL);
    const struct cache_snapshot s = cache_snapshot(rig->cache, key);
    CU_ASSERT_FALSE(cache_find(rig->cache, &rig->r.ctx, key, &s, true, &f));
    CU_ASSERT_EQUAL(rig->slot->source_misses[METRICS_REDIS], 1);
    put_version(rig->cache, key, 5);
    EVENTUALLY(sets_of(rig) == 1);
    CU_ASSERT_FALSE(cache_find(rig->cache, &rig->r.ctx, key, &s, false, &f));
    CU_ASSERT(cache_find(rig->cache, &rig->r.ctx, key, &s, true, &f));
    CU_ASSERT(cache_stamp_eq(f.value.stamp, (struct cache_stamp){7, 5, 9}));
    CU_ASSERT(sv_eq(f.value.bytes, SV("default/telegram:1/5")));
    CU_ASSERT(f.from == METRICS_REDIS && !f.current);
    CU_ASSERT(rig->r.ctx.trace.cache_us > 0);
    CU_ASSERT_EQUAL(find_version(rig->cache, other), 0);
    CU_ASSERT_EQUAL(find_version(rig->cache, tenant), 0);
    cache_remove(rig->cache, key, true);
    EVENTUALLY(!is_in_redis(rig, key));
    rig_close(rig);
}

/* Fails if an erasure leaves it to the queue, or if what waits in the queue is sent after it:
 * tried. Without memory there are no epochs, and an erasure is never confirmed. */
static void erased(void)
{
    struct request r;
    char ids[40][16];
    struct cache_key keys[40];
    struct cache_settings settings = rig_settings();
    struct rig *rig = rig_open(&settings);
    request_begin(&r, 10000);
    CU_ASSERT_FALSE(cache_erase(rig->cache, &r.ctx, &key, 1));
    request_end(&r);
    rig_close(rig);
    settings.shared = cache_shared_map(1);
    rig = rig_open(&settings);
    request_begin(&r, 10000);
    for (int i = 0; i < 40; i++)
        keys[i] = key_numbered(ids[i], i);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 40; i += 2)
            put_version(rig->cache, keys[i], 1);
        put_version(rig->cache, keys[39], 1);
        EVENTUALLY(is_in_redis(rig, keys[39]));
        put_version(rig->cache, keys[0], 1);
        CU_ASSERT(cache_erase(rig->cache, &r.ctx, keys, 40));
        CU_ASSERT_FALSE(is_in_redis(rig, keys[39]));
        /* The SET that was being sent may come after it, and the queue's DEL after that. */
        put_version(rig->cache, other, round + 1);
        EVENTUALLY(is_in_redis(rig, other));
        CU_ASSERT_EQUAL(admin(rig, "DBSIZE"), 1);
        admin(rig, "FLUSHALL");
    }
    request_end(&r);
    rig_close(rig);
}

/* No value lives longer in Redis than it may, and large ones are not kept. */
static void limits(void)
{
    static const struct {
        int64_t ttl_ms, kept_ms;
        size_t n;
    } rows[] = {
        {60000, 60000, 1}, {900000, 600000, 1},       {INT64_MAX, 600000, 1},    {0, 0, 1},
        {-1, 0, 1},        {60000, 60000, VALUE_MAX}, {60000, 0, VALUE_MAX + 1},
    };
    struct cache_settings settings = rig_settings();
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        /* Also with a memory, for which the largest are too large. */
        settings.shared = i % 2 ? cache_shared_map(1) : NULL;
        struct rig *rig = rig_open(&settings);
        struct cache_snapshot s = cache_snapshot(rig->cache, key);
        struct cache_value v = value_of(&rig->r, key, 1, rows[i / 2].n);
        v.ttl_ms = rows[i / 2].ttl_ms;
        v.bytes.n = rows[i / 2].n;
        cache_put(rig->cache, &rig->r.ctx, key, &s, true, &v);
        s = cache_snapshot(rig->cache, other);
        v = value_of(&rig->r, other, 1, 1);
        cache_put(rig->cache, &rig->r.ctx, other, &s, true, &v);
        EVENTUALLY(is_in_redis(rig, other));
        const long long ms = admin(rig, "PTTL parley:1.2:default:telegram:1");
        if (rows[i / 2].kept_ms > 0)
            CU_ASSERT(ms > rows[i / 2].kept_ms - 50000 && ms <= rows[i / 2].kept_ms)
        else
            CU_ASSERT_EQUAL(ms, -2);
        rig_close(rig);
    }
}

enum stored { LIST, GARBAGE, EMPTY, SHORT, FLIPPED, NO_CHECKSUM, OTHERS, TENANTS, OWN };

static void set_foreign(struct rig *rig, struct request *r, enum stored what)
{
    const struct cache_key of = what == OTHERS ? other : what == TENANTS ? tenant : key;
    struct cache_value v = value_of(r, of, 4, 0);
    struct sv stored;
    CU_ASSERT(cache_codec_encode(r->arena, of, &v, what != NO_CHECKSUM, &stored));
    char *p = arena_alloc(r->arena, stored.n);
    memcpy(p, stored.p, stored.n);
    p[70] = (char)(p[70] ^ (what == FLIPPED));
    stored = (struct sv){p, stored.n - (what == SHORT)};
    admin(rig, "DEL parley:1.2:default:telegram:1");
    if (what == LIST)
        admin(rig, "LPUSH parley:1.2:default:telegram:1 x");
    else
        admin_set(rig, key, what == GARBAGE ? SV("garbage") : what == EMPTY ? SV("") : stored);
}

/* Anything but the key's own value is a miss, and the next put or removal replaces it. Fails if the
 * checksum or the identity is not compared: tests/mutants/cache-checksum-not-compared,
 * tests/mutants/cache-identity-not-compared. */
static void not_its_own(void)
{
    for (enum stored what = LIST; what <= OWN; what++) {
        struct rig *rig = rig_open(NULL);
        set_foreign(rig, &rig->r, what);
        CU_ASSERT_EQUAL(find_version(rig->cache, key), what == OWN ? 4 : 0);
        CU_ASSERT_EQUAL(mismatches_of(rig->cache), what != OWN && what != LIST);
        CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
        put_version(rig->cache, key, 5);
        EVENTUALLY(sets_of(rig) == 1);
        CU_ASSERT_EQUAL(find_version(rig->cache, key), 5);
        set_foreign(rig, &rig->r, what);
        cache_remove(rig->cache, key, true);
        EVENTUALLY(!is_in_redis(rig, key));
        CU_ASSERT_EQUAL(lost_of(rig), 0);
        rig_close(rig);
    }
}

/* Values of another layout, and of another database of Redis, are not found. */
static void layouts_and_databases(void)
{
    char url[300];
    struct rig *rig = rig_open(NULL);
    for (int i = 0; i < 2; i++) {
        struct cache_settings settings = rig_settings();
        snprintf(url, sizeof url, "%s?db=3", settings.redis_url);
        if (i == 0)
            settings.layout.page_bytes++;
        else
            settings.redis_url = url;
        struct rig *b = rig_open(&settings);
        put_version(rig->cache, key, 5);
        EVENTUALLY(find_version(rig->cache, key) == 5);
        CU_ASSERT_EQUAL(find_version(b->cache, key), 0);
        put_version(b->cache, key, 6);
        EVENTUALLY(find_version(b->cache, key) == 6);
        CU_ASSERT_EQUAL(find_version(rig->cache, key), 5);
        rig_close(b);
    }
    rig_close(rig);
}

/* Memory has the key's entry under the current epoch, but newer values have overwritten its bytes.
 * The value of Redis is not current. Fails if it counts as current:
 * tests/mutants/cache-redis-hit-is-current. */
static void overwritten_in_memory(void)
{
    struct cache_found f;
    struct cache_settings settings = rig_settings();
    settings.shared = cache_shared_map(1);
    struct rig *rig = rig_open(&settings);
    const struct cache_snapshot s = cache_snapshot(rig->cache, key);
    put_version(rig->cache, key, 5);
    CU_ASSERT(cache_find(rig->cache, &rig->r.ctx, key, &s, false, &f) && f.current);
    for (int i = 10; i < 16; i++) {
        char id[16];
        put_sized(rig->cache, key_numbered(id, i), 1, 60000);
    }
    EVENTUALLY(sets_of(rig) == 7);
    CU_ASSERT_FALSE(cache_find(rig->cache, &rig->r.ctx, key, &s, false, &f));
    CU_ASSERT_FALSE(f.current);
    CU_ASSERT(cache_find(rig->cache, &rig->r.ctx, key, &s, true, &f));
    CU_ASSERT(f.from == METRICS_REDIS && f.value.stamp.version == 5 && !f.current);
    rig_close(rig);
}

/* A value that is put after its session was deleted is not stored. Fails if a put compares no
 * epoch: tests/mutants/cache-put-under-old-snapshot. */
static void put_after_a_deletion(void)
{
    struct cache_settings settings = rig_settings();
    settings.shared = cache_shared_map(1);
    struct rig *rig = rig_open(&settings);
    const struct cache_snapshot reader = cache_snapshot(rig->cache, key);
    struct cache_snapshot writer = reader;
    cache_raise_epoch(rig->cache, &writer, false);
    cache_remove(rig->cache, key, true);
    const struct cache_value v = value_of(&rig->r, key, 1, 0);
    cache_put(rig->cache, &rig->r.ctx, key, &reader, true, &v);
    put_version(rig->cache, other, 1);
    EVENTUALLY(is_in_redis(rig, other));
    CU_ASSERT_FALSE(is_in_redis(rig, key));
    CU_ASSERT_EQUAL(find_version(rig->cache, key), 0);
    rig_close(rig);
}

SUITE(redis_values, "cache/redis_values", {"round trip", round_trip}, {"erased", erased},
      {"limits", limits}, {"not its own", not_its_own},
      {"layouts and databases", layouts_and_databases},
      {"overwritten in memory", overwritten_in_memory},
      {"put after a deletion", put_after_a_deletion})

/* SPDX-License-Identifier: MIT */
/* The memory tier in front of a real Redis. */
#include "../../unit/suite.h"

#include <stdlib.h>
#include <unistd.h>

#include "../../unit/cache/interleave.h"
#include "support.h"

/* The orders of tests/unit/cache/interleave.h, with both tiers. */
static void any_order(void)
{
    struct interleave it;
    struct rig rig;
    if (!rig_open(&rig))
        return;
    struct cache_settings settings = rig_settings(&rig.link, rig.shared);
    interleave_run(&settings, 10000, 0, &it);
    interleave_judge(&it);
    rig_close(&rig);
}

/* The same with values that are too large for the memory tier, so that what is found is found in
 * Redis. Fails if a stamp's epochs are not compared, or if what a bar forbids is read:
 * tests/plants/cache-store-*.patch. */
static void any_order_in_redis(void)
{
    struct interleave it;
    struct rig rig;
    if (!rig_open(&rig))
        return;
    struct cache_settings settings = rig_settings(&rig.link, rig.shared);
    settings.value_max = 2 * VALUE_MAX;
    settings.redis_timeout_ms = 5000;
    interleave_run(&settings, 3000, VALUE_MAX, &it);
    interleave_judge(&it);
    rig_close(&rig);
}

static struct cache *worker(struct rig *rig, struct cache_shared *shared, struct metrics_slot *slot)
{
    struct cache_settings settings = rig_settings(&rig->link, shared);
    struct cache *c = cache_open(&settings, slot);
    CU_ASSERT(c && polled(c));
    return c;
}

/* What one worker finds in Redis, all find in memory. Fails if a hit behind the memory tier is not
 * offered to it: tried. */
static void hit_in_redis_fills_memory(void)
{
    struct rig rig;
    struct cache_key key = {SV("default"), SV("warm")};
    if (!rig_open(&rig))
        return;
    struct cache_shared *shared = cache_shared_map(1 << 20);
    struct cache *c = worker(&rig, shared, rig.slot), *d = worker(&rig, shared, rig.slot);
    fill_version(c, key, 5);
    push_out(c);
    uint64_t redis = rig.slot->tier_hits[METRICS_REDIS];
    uint64_t memory = rig.slot->tier_hits[METRICS_MEMORY];
    CU_ASSERT_EQUAL(read_version(c, key), 5);
    CU_ASSERT_EQUAL(read_version(d, key), 5);
    CU_ASSERT_EQUAL(read_version(c, key), 5);
    CU_ASSERT_EQUAL(rig.slot->tier_hits[METRICS_REDIS], redis + 1);
    CU_ASSERT_EQUAL(rig.slot->tier_hits[METRICS_MEMORY], memory + 2);
    cache_close(c);
    cache_close(d);
    cache_shared_unmap(shared);
    rig_close(&rig);
}

/* The memory tier does its part while Redis is gone. */
static void without_redis(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence fence;
    struct cache_key key = {SV("default"), SV("alone")};
    if (!rig_open(&rig))
        return;
    struct cache_shared *shared = cache_shared_map(1 << 20);
    struct cache *c = worker(&rig, shared, NULL);
    redis_control("kill");
    fill_version(c, key, 5);
    CU_ASSERT_EQUAL(read_version(c, key), 5);
    request_begin(&r);
    struct cache_value v = value_of(&r, key, 6);
    CU_ASSERT_EQUAL(cache_fence(c, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT(fence.had && fence.old.version == 5);
    CU_ASSERT_EQUAL(cache_settle(c, &r.ctx, key, &fence, &v), ERR_NONE);
    request_end(&r);
    CU_ASSERT_EQUAL(read_version(c, key), 6);
    CU_ASSERT_EQUAL(state_of(c), CACHE_DOWN);
    redis_control("start");
    cache_close(c);
    cache_shared_unmap(shared);
    rig_close(&rig);
}

struct late {
    struct cache *cache;
    struct cache_key key;
    int64_t found;
};

static void *read_late(void *arg)
{
    struct late *l = arg;
    l->found = read_version(l->cache, l->key);
    return NULL;
}

/* While a reader waits for Redis a writer is done; what the reader found is not put back into
 * memory. Fails if a reader of Redis stores what it found there under the epoch of that time and
 * not of its beginning: tried. */
static void a_note_is_older_than_the_value(void)
{
    struct rig rig;
    pthread_t thread;
    struct late late = {.key = {SV("default"), SV("late")}};
    if (!rig_open(&rig))
        return;
    struct cache_shared *shared = cache_shared_map(1 << 20);
    struct cache_settings patient = rig_settings(&rig.link, shared);
    patient.redis_timeout_ms = 20000;
    late.cache = cache_open(&patient, NULL);
    CU_ASSERT(polled(late.cache));
    fill_version(late.cache, late.key, 5);
    push_out(late.cache);
    redis_control("pause");
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, read_late, &late), 0);
    usleep(200 * 1000);
    write_version(late.cache, late.key, 6);
    redis_control("resume");
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(late.found, 5);
    CU_ASSERT_EQUAL(read_version(late.cache, late.key), 6);
    push_out(late.cache);
    CU_ASSERT_EQUAL(read_version(late.cache, late.key), 0);
    cache_close(late.cache);
    cache_shared_unmap(shared);
    rig_close(&rig);
}

SUITE(cache_memory, "cache/memory", {"10,000 orders with both tiers", any_order},
      {"3,000 orders in Redis", any_order_in_redis},
      {"a hit in Redis fills memory", hit_in_redis_fills_memory}, {"without Redis", without_redis},
      {"a note is older than the value", a_note_is_older_than_the_value})

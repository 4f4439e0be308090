/* SPDX-License-Identifier: MIT */
/* The chain without Redis: off, and away. What it does with Redis is in tests/service/cache. */
#include "../suite.h"

#include <stdlib.h>
#include <string.h>

#include "parley/cache/cache.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};

/* A whole read and a whole write; nothing may come of them. */
static void use(struct cache *c, struct metrics_slot *slot)
{
    struct arena *a = arena_create(1 << 20);
    struct request_ctx ctx;
    struct cache_value value = {1, 1, 1000, SV("x")};
    struct cache_ticket ticket;
    struct cache_fence fence;
    ctx_init(&ctx, a, deadline_in_ms(2000), SV("default"), SV("r"));
    memset(&ticket, 0xff, sizeof ticket);
    memset(&fence, 0xff, sizeof fence);
    CU_ASSERT_FALSE(cache_read(c, &ctx, key, &value, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    cache_fill(c, &ctx, key, &ticket, &value);
    cache_fence(c, &ctx, key, &fence);
    CU_ASSERT_FALSE(fence.set);
    CU_ASSERT_FALSE(fence.had);
    CU_ASSERT_FALSE(fence.in_doubt);
    cache_settle(c, &ctx, key, &fence, &value);
    CU_ASSERT_PTR_NULL(ctx.trace.tier);
    CU_ASSERT_EQUAL(slot->tier_hits[METRICS_REDIS], 0);
    CU_ASSERT_EQUAL(slot->cache_fills, 0);
    arena_destroy(a);
}

static void off(void)
{
    struct metrics_slot *slot = calloc(1, sizeof *slot);
    struct cache_settings settings = {NULL, "", 50, 1000, 1 << 16};
    struct cache *c = cache_open(&settings, slot);
    struct cache_status status;
    use(c, slot);
    cache_maintain(c);
    cache_status(c, &status);
    CU_ASSERT_EQUAL(status.redis, CACHE_OFF);
    CU_ASSERT_STRING_EQUAL(status.reason, "");
    /* A tier that is not there misses nothing. */
    CU_ASSERT_EQUAL(slot->tier_misses[METRICS_REDIS], 0);
    CU_ASSERT_EQUAL(slot->cache_fence_failures, 0);
    cache_close(c);
    cache_close(NULL);
    free(slot);
}

static void away(void)
{
    struct metrics_slot *slot = calloc(1, sizeof *slot);
    struct cache_settings settings = {NULL, "unix:///nonexistent/redis.sock", 50, 1000, 1 << 16};
    struct cache *c = cache_open(&settings, slot);
    struct cache_status status;
    use(c, slot);
    cache_status(c, &status);
    CU_ASSERT_EQUAL(status.redis, CACHE_DOWN);
    CU_ASSERT_PTR_NOT_NULL(strstr(status.reason, "No such file"));
    CU_ASSERT_EQUAL(slot->tier_misses[METRICS_REDIS], 1);
    CU_ASSERT_EQUAL(slot->cache_fence_failures, 1);
    cache_close(c);
    free(slot);
}

static void away_without_slot(void)
{
    struct metrics_slot *slot = calloc(1, sizeof *slot);
    struct cache_settings settings = {NULL, "redis://127.0.0.1:1", 50, 1000, 1 << 16};
    struct cache *c = cache_open(&settings, NULL);
    use(c, slot);
    cache_close(c);
    free(slot);
}

SUITE(chain, "cache/cache", {"off", off}, {"away", away},
      {"away, nothing counted", away_without_slot})

/* SPDX-License-Identifier: MIT */
/* The chain without Redis: off, and away. What it does with Redis is in tests/service/cache. */
#include "../suite.h"

#include <stdlib.h>
#include <string.h>

#include "parley/cache/cache.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};

static enum err nobody(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                       struct cache_record *out)
{
    (void)arg, (void)what, (void)n, (void)until, (void)out;
    return ERR_UNAVAILABLE;
}

static struct cache_settings settings_for(const char *url)
{
    return (struct cache_settings){.redis_url = url,
                                   .redis_timeout_ms = 50,
                                   .fence_ms = 1000,
                                   .value_max = 1 << 16,
                                   .authority = {NULL, nobody},
                                   .lease_ms = 10};
}

/* A whole read and a whole write; nothing may come of them. away: nobody can say that no other host
 * reads from Redis, so that the write may not be made, and not be acknowledged if it was. */
static void use(struct cache *c, struct metrics_slot *slot, bool away)
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
    CU_ASSERT_EQUAL(cache_fence(c, &ctx, key, &fence), away ? ERR_UNAVAILABLE : ERR_NONE);
    CU_ASSERT_FALSE(fence.set);
    CU_ASSERT_FALSE(fence.had);
    CU_ASSERT_FALSE(fence.in_doubt);
    CU_ASSERT_EQUAL(cache_settle(c, &ctx, key, &fence, &value),
                    away ? ERR_OUTCOME_UNKNOWN : ERR_NONE);
    CU_ASSERT_PTR_NULL(ctx.trace.tier);
    CU_ASSERT_EQUAL(slot->tier_hits[METRICS_REDIS], 0);
    CU_ASSERT_EQUAL(slot->cache_fills, 0);
    arena_destroy(a);
}

/* Answers, and counts the questions. */
static enum err count_asked(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                            struct cache_record *out)
{
    (void)n;
    (void)until;
    CU_ASSERT_EQUAL(what, CACHE_HOLD);
    ++*(int *)arg;
    *out = (struct cache_record){1, true, true};
    return ERR_NONE;
}

/* Without Redis the record hears of it before the first write, and once. Fails if it does not. */
static void record_is_told(void)
{
    int asked = 0;
    struct metrics_slot *slot = calloc(1, sizeof *slot);
    struct cache_settings settings = settings_for("");
    struct cache *c = cache_open(&settings, slot);
    struct request_ctx ctx;
    struct cache_fence fence;
    struct arena *a = arena_create(1 << 16);
    ctx_init(&ctx, a, deadline_in_ms(2000), SV("default"), SV("r"));
    CU_ASSERT_EQUAL(cache_fence(c, &ctx, key, &fence), ERR_UNAVAILABLE);
    cache_close(c);
    settings.authority = (struct cache_authority){&asked, count_asked};
    c = cache_open(&settings, slot);
    CU_ASSERT_EQUAL(asked, 0);
    use(c, slot, false);
    CU_ASSERT_EQUAL(asked, 1);
    use(c, slot, false);
    CU_ASSERT_EQUAL(asked, 1);
    cache_close(c);
    arena_destroy(a);
    free(slot);
}

static void off(void)
{
    struct metrics_slot *slot = calloc(1, sizeof *slot);
    struct cache_settings settings = settings_for("");
    settings.authority.ask = NULL;
    struct cache *c = cache_open(&settings, slot);
    struct cache_status status;
    use(c, slot, false);
    cache_poll(c);
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
    struct cache_settings settings = settings_for("unix:///nonexistent/redis.sock");
    struct cache *c = cache_open(&settings, slot);
    struct cache_status status;
    use(c, slot, true);
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
    struct cache_settings settings = settings_for("redis://127.0.0.1:1");
    struct cache *c = cache_open(&settings, NULL);
    use(c, slot, true);
    cache_close(c);
    free(slot);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

/* How often a read says that it is about to wait; kept: after a write that memory has kept. */
static int said(struct cache *c, bool kept)
{
    struct arena *a = arena_create(1 << 20);
    struct request_ctx ctx;
    struct cache_value value = {1, 1, 60000, SV("x")};
    struct cache_ticket ticket;
    struct cache_fence fence = {.set = false};
    int n = 0;
    ctx_init(&ctx, a, deadline_in_ms(2000), SV("default"), SV("r"));
    if (kept && cache_fence(c, &ctx, key, &fence) == ERR_NONE)
        CU_ASSERT_EQUAL(cache_settle(c, &ctx, key, &fence, &value), ERR_NONE);
    ctx.before_wait = (struct ctx_hook){count, &n};
    CU_ASSERT_EQUAL(cache_read(c, &ctx, key, &value, &ticket), kept);
    arena_destroy(a);
    return n;
}

/* A thread that watches must not wait for Redis, and need not give the watch for what is in memory.
 * Fails if either is not so: tried. */
static void who_waits_says_so(void)
{
    struct cache_settings settings = settings_for("unix:///nonexistent/redis.sock");
    struct cache *c = cache_open(&settings, NULL);
    CU_ASSERT_EQUAL(said(c, false), 1);
    cache_close(c);
    settings.shared = cache_shared_map(1 << 20);
    c = cache_open(&settings, NULL);
    CU_ASSERT_EQUAL(said(c, false), 1);
    cache_close(c);
    settings.redis_url = "";
    settings.authority.ask = NULL;
    c = cache_open(&settings, NULL);
    CU_ASSERT_EQUAL(said(c, true), 0);
    cache_close(c);
    cache_shared_unmap(settings.shared);
}

SUITE(chain, "cache/cache", {"who waits says so", who_waits_says_so}, {"off", off},
      {"the record is told", record_is_told}, {"away", away},
      {"away, nothing counted", away_without_slot})

/* SPDX-License-Identifier: MIT */
/*
 * Redis behind the memory tier of a host that is alone: what is found there is used only if the
 * table vouches for it. "Fails if …": tests/plants/cache-store-*.patch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "../../unit/suite.h"
#include "hosts.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};
static const struct cache_key other = {{"default", 7}, {"s2", 2}};
static const struct cache_key foreign = {{"acme", 4}, {"s1", 2}};
enum { BAR_MS = 100, STORED_MAX = 512 };

/* One table, two workers. */
struct store {
    struct rig rig;
    struct cache_shared *shared;
    struct cache *a, *b;
};

static struct cache *worker(struct store *s, struct cache_shared *shared)
{
    struct cache_settings settings = rig_settings(&s->rig.link, shared);
    settings.fence_ms = BAR_MS;
    struct cache *c = cache_open(&settings, s->rig.slot);
    CU_ASSERT(c && polled(c));
    return c;
}

static bool store_open(struct store *s)
{
    if (!rig_open(&s->rig))
        return false;
    memset(s->rig.slot, 0, sizeof *s->rig.slot);
    s->shared = cache_shared_map(1 << 20);
    s->a = worker(s, s->shared);
    s->b = worker(s, s->shared);
    return true;
}

static void store_close(struct store *s)
{
    cache_close(s->a);
    cache_close(s->b);
    cache_shared_unmap(s->shared);
    rig_close(&s->rig);
}

/* From Redis, and from nowhere else. */
static void expect_in_redis(struct store *s, struct cache *c, struct cache_key k, int64_t version)
{
    uint64_t before = s->rig.slot->tier_hits[METRICS_REDIS];
    CU_ASSERT_EQUAL(read_version(c, k), version);
    CU_ASSERT_EQUAL(s->rig.slot->tier_hits[METRICS_REDIS], before + (version > 0));
}

static uint64_t mismatches(struct cache *c)
{
    struct cache_status status;
    cache_status(c, &status);
    return status.mismatches;
}

static void name_of(struct cache_key k, char out[64])
{
    snprintf(out, 64, "parley:{%.*s:%.*s}:one:v", SV_ARG(k.tenant), SV_ARG(k.id));
}

static size_t stored(struct store *s, struct cache_key k, char out[STORED_MAX])
{
    char name[64];
    name_of(k, name);
    redisReply *reply = redisCommand(s->rig.admin, "GET %s", name);
    size_t n = reply && reply->type == REDIS_REPLY_STRING ? reply->len : 0;
    CU_ASSERT(n > 0 && n <= STORED_MAX);
    memcpy(out, n > 0 ? reply->str : "", n);
    freeReplyObject(reply);
    return n;
}

static void put(struct store *s, struct cache_key k, const char *p, size_t n)
{
    char name[64];
    name_of(k, name);
    freeReplyObject(redisCommand(s->rig.admin, "SET %s %b PX 60000", name, p, n));
}

/* A miss and a fill; what is kept is in Redis alone. */
static void keep_in_redis(struct store *s, struct cache_key k, int64_t version)
{
    push_out(s->a);
    fill_version(s->a, k, version);
    push_out(s->a);
}

/* What a write leaves behind in Redis is what was there, and nobody reads it. Fails if the bucket's
 * epoch is not compared. */
static void written_since(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    keep_in_redis(&s, key, 1);
    expect_in_redis(&s, s.b, key, 1);
    write_version(s.b, key, 2);
    push_out(s.b);
    expect_in_redis(&s, s.a, key, 0);
    /* Nor does what comes back. */
    char old[STORED_MAX];
    size_t n = stored(&s, key, old);
    keep_in_redis(&s, key, 2);
    expect_in_redis(&s, s.b, key, 2);
    put(&s, key, old, n);
    push_out(s.b);
    expect_in_redis(&s, s.a, key, 0);
    store_close(&s);
}

/* A reader that was slow stores what nobody believes. Fails if a value is stored under the epoch of
 * its storing. */
static void stored_late(void)
{
    struct store s;
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    if (!store_open(&s))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(s.a, &r.ctx, key, &v, &ticket));
    write_version(s.b, key, 2);
    v = value_of(&r, key, 1);
    cache_fill(s.a, &r.ctx, key, &ticket, &v);
    request_end(&r);
    push_out(s.b);
    expect_in_redis(&s, s.b, key, 0);
    expect_in_redis(&s, s.a, key, 0);
    store_close(&s);
}

/* Of a write in doubt, and of one whose worker died, nobody knows when it is committed: as long as
 * that may be nothing is found in Redis and nothing stored, and what was there before is left
 * behind. Fails if bars are not looked at, or if the epoch of all is not compared. */
static void in_doubt_and_dead(void)
{
    for (int dead = 0; dead < 2; dead++) {
        struct store s;
        struct request r;
        struct cache_fence fence;
        if (!store_open(&s))
            return;
        keep_in_redis(&s, key, 1);
        request_begin(&r);
        CU_ASSERT_EQUAL(cache_fence(s.a, &r.ctx, key, &fence), ERR_NONE);
        fence.in_doubt = true;
        int64_t began = clock_mono_us();
        if (dead)
            cache_shared_bury(s.shared, 1);
        else
            CU_ASSERT_EQUAL(cache_settle(s.a, &r.ctx, key, &fence, NULL), ERR_NONE);
        request_end(&r);
        expect_in_redis(&s, s.b, key, 0);
        char before[STORED_MAX], after[STORED_MAX];
        size_t n = stored(&s, key, before);
        fill_version(s.b, key, 1);
        expect_in_redis(&s, s.b, key, 0);
        if (clock_mono_us() - began < BAR_MS * 1000)
            CU_ASSERT(stored(&s, key, after) == n && memcmp(before, after, n) == 0);
        put(&s, key, before, n);
        usleep((BAR_MS + 20) * 1000);
        push_out(s.b);
        expect_in_redis(&s, s.b, key, 0);
        keep_in_redis(&s, key, 2);
        expect_in_redis(&s, s.b, key, 2);
        store_close(&s);
    }
}

/* Another start of the service, whose epochs are the same numbers. Fails if the table's identity is
 * not compared. */
static void another_start(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    keep_in_redis(&s, key, 1);
    expect_in_redis(&s, s.b, key, 1);
    struct cache_shared *shared = cache_shared_map(1 << 20);
    struct cache *c = worker(&s, shared);
    expect_in_redis(&s, c, key, 0);
    CU_ASSERT_EQUAL(mismatches(c), 0);
    fill_version(c, key, 2);
    push_out(c);
    expect_in_redis(&s, c, key, 2);
    push_out(s.a);
    expect_in_redis(&s, s.a, key, 0);
    CU_ASSERT_EQUAL(mismatches(s.a), 0);
    cache_close(c);
    cache_shared_unmap(shared);
    store_close(&s);
}

/* Another session's, another tenant's, a value under another one's stamp, one that is damaged
 * anywhere or cut: none is given out. Fails if the stamp is not part of what is checked. */
static void not_its_own(void)
{
    struct store s;
    char old[STORED_MAX], text[STORED_MAX], copy[STORED_MAX];
    if (!store_open(&s))
        return;
    fill_version(s.a, key, 1);
    CU_ASSERT_EQUAL(read_version(s.a, other), 0);
    size_t n = stored(&s, key, old);
    put(&s, other, old, n);
    put(&s, foreign, old, n);
    CU_ASSERT_EQUAL(read_version(s.a, other), 0);
    CU_ASSERT_EQUAL(read_version(s.a, foreign), 0);
    CU_ASSERT_EQUAL(mismatches(s.a), 2);
    write_version(s.a, key, 2);
    keep_in_redis(&s, key, 2);
    CU_ASSERT_EQUAL(stored(&s, key, text), n);
    for (size_t i = 0; i < n; i++) {
        memcpy(copy, text, n);
        copy[i] = (char)(copy[i] ^ 1);
        put(&s, key, copy, n);
        CU_ASSERT_EQUAL(read_version(s.b, key), 0);
        put(&s, key, text, i);
        CU_ASSERT_EQUAL(read_version(s.b, key), 0);
        /* The old value, more and more of the new stamp in front of it. */
        memcpy(copy, old, n);
        memcpy(copy, text, i);
        put(&s, key, copy, n);
        CU_ASSERT_NOT_EQUAL(read_version(s.b, key), 1);
    }
    CU_ASSERT_EQUAL(state_of(s.b), CACHE_UP);
    push_out(s.b);
    put(&s, key, text, n);
    expect_in_redis(&s, s.b, key, 2);
    store_close(&s);
}

static void another_type(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    CU_ASSERT_EQUAL(admin_int(&s.rig, "LPUSH parley:{default:s1}:one:v x"), 1);
    expect_in_redis(&s, s.a, key, 0);
    CU_ASSERT_EQUAL(mismatches(s.a), 0);
    CU_ASSERT_EQUAL(state_of(s.a), CACHE_UP);
    keep_in_redis(&s, key, 1);
    expect_in_redis(&s, s.b, key, 1);
    store_close(&s);
}

static long long commands(struct store *s)
{
    char text[8192];
    admin_text(&s->rig, "INFO stats", text, sizeof text);
    const char *at = strstr(text, "total_commands_processed:");
    CU_ASSERT_PTR_NOT_NULL(at);
    return at ? strtoll(strchr(at, ':') + 1, NULL, 10) : 0;
}

/* A write asks Redis for nothing, and needs it for nothing. */
static void no_word_to_redis(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    fill_version(s.a, key, 1);
    CU_ASSERT_EQUAL(read_version(s.b, other), 0); /* takes what was not waited for */
    long long before = commands(&s);
    for (int i = 0; i < 100; i++)
        write_version(s.b, key, 2 + i);
    CU_ASSERT_EQUAL(read_version(s.a, key), 101);
    CU_ASSERT_EQUAL(commands(&s), before + 1);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fence_failures, 0);
    store_close(&s);
}

/* A fill is not waited for. What Redis says to it is nobody else's answer. Fails if it is taken for
 * that of the next command. */
static void nobody_waits_for_a_fill(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    keep_in_redis(&s, key, 1);
    keep_in_redis(&s, other, 2);
    uint64_t fills = s.rig.slot->cache_fills;
    fill_version(s.a, foreign, 3);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fills, fills);
    expect_in_redis(&s, s.a, key, 1);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fills, fills + 1);
    /* Refused: counted, and nothing more. */
    freeReplyObject(redisCommand(s.rig.admin, "CONFIG SET maxmemory 1"));
    const struct cache_key full = {SV("default"), SV("full")};
    fill_version(s.a, full, 4);
    expect_in_redis(&s, s.a, other, 2);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fills, fills + 1);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fills_refused, 1);
    CU_ASSERT_EQUAL(state_of(s.a), CACHE_UP);
    CU_ASSERT_EQUAL(mismatches(s.a), 0);
    freeReplyObject(redisCommand(s.rig.admin, "CONFIG SET maxmemory 0"));
    store_close(&s);
}

/* Killed, started with what it had saved, emptied, stopped: none of it makes a read wrong. */
static void what_becomes_of_redis(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    keep_in_redis(&s, key, 1);
    keep_in_redis(&s, other, 1);
    admin_int(&s.rig, "SAVE");
    write_version(s.a, key, 2);
    keep_in_redis(&s, key, 2);
    redis_control("kill");
    push_out(s.a);
    expect_in_redis(&s, s.a, key, 0);
    CU_ASSERT_EQUAL(state_of(s.b), CACHE_DOWN);
    redis_control("start");
    rig_reconnect(&s.rig);
    CU_ASSERT(polled(s.a));
    /* What was written since is as it was, and what was not is right. */
    expect_in_redis(&s, s.a, key, 0);
    expect_in_redis(&s, s.a, other, 1);
    keep_in_redis(&s, key, 2);
    expect_in_redis(&s, s.b, key, 2);
    admin_int(&s.rig, "FLUSHALL");
    push_out(s.a);
    expect_in_redis(&s, s.a, key, 0);
    CU_ASSERT_EQUAL(state_of(s.a), CACHE_UP);
    hosts_forget();
    store_close(&s);
}

/* Nobody asks Redis, and it is found out all the same; so is that it is back. */
static void found_out_by_the_poll(void)
{
    struct store s;
    if (!store_open(&s))
        return;
    redis_control("kill");
    for (int i = 0; i < 4000 && state_of(s.a) == CACHE_UP; i++) {
        cache_poll(s.b);
        usleep(1000);
    }
    CU_ASSERT_EQUAL(state_of(s.a), CACHE_DOWN);
    redis_control("start");
    rig_reconnect(&s.rig);
    CU_ASSERT(polled(s.b));
    CU_ASSERT_EQUAL(state_of(s.a), CACHE_UP);
    store_close(&s);
}

/* While PostgreSQL is away what is current is still found; what is not is not. */
static void without_the_record(void)
{
    struct store s;
    struct request r;
    struct cache_value v;
    if (!store_open(&s))
        return;
    fill_version(s.a, other, 1);
    write_version(s.a, other, 2);
    keep_in_redis(&s, key, 1);
    s.rig.link.away = true;
    request_begin(&r);
    CU_ASSERT(cache_read_unverified(s.b, &r.ctx, key, &v));
    CU_ASSERT_EQUAL(v.version, 1);
    CU_ASSERT_STRING_EQUAL(r.ctx.trace.tier, "redis");
    CU_ASSERT_FALSE(cache_read_unverified(s.b, &r.ctx, other, &v));
    request_end(&r);
    expect_in_redis(&s, s.b, key, 1);
    store_close(&s);
}

/* What hosts that share a Redis had there before one was alone is not read after it either: it is
 * not told of the writes meanwhile, and the record is. Fails if it is not. */
static void shared_before_and_after(void)
{
    struct rig rig;
    if (!rig_open(&rig))
        return;
    fill_version(rig.cache, key, 1);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    cache_close(rig.cache);
    struct cache_shared *shared = cache_shared_map(1 << 20), *none = cache_shared_map(0);
    struct cache_settings one = rig_settings(&rig.link, shared);
    struct cache_settings many = rig_settings(&rig.link, none);
    struct cache *alone = cache_open(&one, NULL);
    CU_ASSERT_EQUAL(read_version(alone, key), 0);
    const long holds = rig.authority.holds;
    write_version(alone, key, 2);
    CU_ASSERT_EQUAL(rig.authority.holds, holds + 1);
    cache_close(alone);
    rig.cache = cache_open(&many, NULL);
    CU_ASSERT(polled(rig.cache));
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    cache_shared_unmap(shared);
    rig_close(&rig);
    cache_shared_unmap(none);
}

SUITE(redis_store, "service/cache/redis_store", {"written since", written_since},
      {"stored late", stored_late}, {"in doubt and dead", in_doubt_and_dead},
      {"another start", another_start}, {"not its own", not_its_own},
      {"another type", another_type}, {"no word to Redis", no_word_to_redis},
      {"nobody waits for a fill", nobody_waits_for_a_fill},
      {"what becomes of Redis", what_becomes_of_redis},
      {"found out by the poll", found_out_by_the_poll}, {"without the record", without_the_record},
      {"shared before and after", shared_before_and_after})

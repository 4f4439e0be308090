/* SPDX-License-Identifier: MIT */
/* The table of the memory tier, and the tier alone in its chain. */
#include "../suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../../src/cache/memory_internal.h"

static const struct cache_key one = {{"default", 7}, {"s1", 2}};
static const int64_t soon = INT64_C(1000000), later = INT64_C(2000000); /* times of the table */

struct rig {
    struct cache_shared *shared;
    struct memory_table *t;
    struct cache *cache;
    struct arena *arena;
    struct request_ctx ctx;
};

static void rig_open(struct rig *r, size_t bytes, int fence_ms)
{
    struct cache_settings settings = {.redis_url = "", .fence_ms = fence_ms, .value_max = 1 << 20};
    settings.shared = r->shared = cache_shared_map(bytes);
    r->t = r->shared->memory;
    r->cache = cache_open(&settings, NULL);
    r->arena = arena_create(64 << 20);
    ctx_init(&r->ctx, r->arena, deadline_in_ms(10000), SV("default"), SV("r"));
}

static void rig_close(struct rig *r)
{
    cache_close(r->cache);
    cache_shared_unmap(r->shared);
    arena_destroy(r->arena);
}

static struct cache_key key_numbered(struct rig *r, int i)
{
    return (struct cache_key){SV("default"), arena_printf(r->arena, "k%d", i)};
}

static bool store(struct rig *r, struct cache_key key, struct sv bytes)
{
    struct cache_note note = memory_note(r->t, key, soon);
    return memory_store(r->t, 1, &note, bytes, later);
}

static bool found_at(struct rig *r, struct cache_key key, struct sv bytes, int64_t now)
{
    struct cache_note note = memory_note(r->t, key, soon);
    struct sv out;
    int64_t until;
    return memory_find(r->t, &note, now, r->arena, &out, &until) && sv_eq(out, bytes) &&
           until == later;
}

static bool found(struct rig *r, struct cache_key key, struct sv bytes)
{
    return found_at(r, key, bytes, soon);
}

static struct sv bytes_of(struct rig *r, size_t n, char c)
{
    char *p = arena_alloc(r->arena, n);
    memset(p, c, n);
    return (struct sv){p, n};
}

/* Fails if the end of a value is not copied when it is no whole word, or a life is not looked at.
 */
static void store_and_find(void)
{
    struct rig r;
    rig_open(&r, 1, 1000);
    CU_ASSERT_FALSE(found(&r, one, SV("value")));
    for (size_t n = 1; n < 40; n++) {
        CU_ASSERT(store(&r, one, bytes_of(&r, n, 'x')));
        CU_ASSERT(found(&r, one, bytes_of(&r, n, 'x')));
    }
    struct sv value = bytes_of(&r, 39, 'x');
    CU_ASSERT(found_at(&r, one, value, later - 1));
    CU_ASSERT_FALSE(found_at(&r, one, value, later));
    CU_ASSERT_FALSE(found(&r, (struct cache_key){SV("default"), SV("s2")}, value));
    CU_ASSERT_FALSE(found(&r, (struct cache_key){SV("other"), SV("s1")}, value));
    /* Stored in the place it has: it takes no more of the ring. */
    CU_ASSERT(memory_used(r.t) < 256);
    rig_close(&r);
}

static void too_large(void)
{
    struct rig r;
    rig_open(&r, 1, 1000);
    const size_t most = MEMORY_RING_WORDS / 4 * 8;
    CU_ASSERT(store(&r, one, bytes_of(&r, most, 'x')));
    CU_ASSERT(found(&r, one, bytes_of(&r, most, 'x')));
    CU_ASSERT_FALSE(store(&r, one, bytes_of(&r, most + 1, 'y')));
    CU_ASSERT_FALSE(store(&r, one, SV("")));
    rig_close(&r);
}

/* Three times what fits, on the way twice round the ring: the newest are there, nothing is mixed
 * up. Fails if what newer values have overwritten is still given out. */
static void evicts_the_oldest(void)
{
    struct rig r;
    enum { N = 160, SIZE = 5000 };
    int there = 0;
    rig_open(&r, 1, 1000);
    for (int i = 0; i < N; i++)
        CU_ASSERT(store(&r, key_numbered(&r, i), bytes_of(&r, SIZE, (char)('0' + i % 64))));
    for (int i = 0; i < N; i++) {
        struct cache_note note = memory_note(r.t, key_numbered(&r, i), soon);
        struct sv out;
        int64_t until;
        if (!memory_find(r.t, &note, soon, r.arena, &out, &until))
            continue;
        CU_ASSERT(sv_eq(out, bytes_of(&r, SIZE, (char)('0' + i % 64))));
        CU_ASSERT(i >= N - 1 - MEMORY_RING_WORDS * 8 / SIZE);
        there++;
    }
    CU_ASSERT(there > 20);
    CU_ASSERT_EQUAL(memory_used(r.t), MEMORY_RING_WORDS * sizeof(uint64_t));
    rig_close(&r);
}

/* As many keys as share their entries are all kept. Fails if the first value of a stripe is taken
 * for an empty entry. */
static void all_ways(void)
{
    struct rig r;
    struct cache_key keys[MEMORY_WAYS];
    int n = 0;
    rig_open(&r, 1, 1000);
    for (int i = 0; n < MEMORY_WAYS; i++) {
        struct cache_key key = key_numbered(&r, i);
        if ((memory_note(r.t, key, soon).hash >> 16) % (MEMORY_ENTRIES / MEMORY_WAYS) == 0)
            keys[n++] = key;
    }
    for (int i = 0; i < n; i++)
        CU_ASSERT(store(&r, keys[i], keys[i].id));
    for (int i = 0; i < n; i++)
        CU_ASSERT(found(&r, keys[i], keys[i].id));
    rig_close(&r);
}

/* Two keys of one bucket: a writer of the one takes the other away, and neither finds the other's.
 */
static void one_bucket(void)
{
    struct rig r;
    struct cache_note a, b;
    int i = 0;
    rig_open(&r, 1, 1000);
    a = memory_note(r.t, one, soon);
    do {
        b = memory_note(r.t, key_numbered(&r, i++), soon);
    } while (a.hash % MEMORY_BUCKETS != b.hash % MEMORY_BUCKETS);
    struct cache_key other = key_numbered(&r, i - 1);
    CU_ASSERT(store(&r, one, SV("one")) && store(&r, other, SV("other")));
    CU_ASSERT(found(&r, one, SV("one")) && found(&r, other, SV("other")));
    memory_raise(r.t, a.hash);
    CU_ASSERT_FALSE(found(&r, one, SV("one")) || found(&r, other, SV("other")));
    rig_close(&r);
}

/* What was noted before a writer came is neither stored nor found. */
static void old_epochs(void)
{
    struct rig r;
    struct sv out;
    int64_t until;
    rig_open(&r, 1, 0);
    struct cache_note before = memory_note(r.t, one, soon);
    memory_raise(r.t, before.hash);
    CU_ASSERT_FALSE(memory_store(r.t, 1, &before, SV("old"), later));
    CU_ASSERT(store(&r, one, SV("new")));
    CU_ASSERT_FALSE(memory_find(r.t, &before, soon, r.arena, &out, &until));
    CU_ASSERT(found(&r, one, SV("new")));
    rig_close(&r);
}

/* A stripe that somebody holds is neither waited for nor written, and free when he is buried. Fails
 * if a burial frees what another process holds. */
static void held_stripe(void)
{
    struct rig r;
    rig_open(&r, 1, 1000);
    CU_ASSERT(store(&r, one, SV("value")));
    struct memory_stripe *s = &r.t->stripe[0];
    s->word = (UINT64_C(77) << MEMORY_PID_SHIFT) + s->word + 1;
    CU_ASSERT_FALSE(found(&r, one, SV("value")));
    CU_ASSERT_FALSE(store(&r, one, SV("other")));
    memory_bury(r.t, 78, soon - 1000000);
    CU_ASSERT_EQUAL(s->word % 2, 1);
    memory_bury(r.t, 77, soon - 1000000);
    CU_ASSERT_EQUAL(s->word % 2, 0);
    CU_ASSERT_EQUAL(s->word >> MEMORY_PID_SHIFT, 0);
    CU_ASSERT_FALSE(found(&r, one, SV("value")));
    CU_ASSERT(store(&r, one, SV("other")) && found(&r, one, SV("other")));
    rig_close(&r);
}

/* For as long as the longest write may take, of any worker so far. */
static void burial_bars(void)
{
    struct rig r;
    rig_open(&r, 1, 1000);
    memory_bar_ms(r.t, 500);
    CU_ASSERT(store(&r, one, SV("value")));
    memory_bury(r.t, 77, soon);
    CU_ASSERT_FALSE(memory_note(r.t, one, soon + 999999).usable);
    CU_ASSERT(memory_note(r.t, one, soon + 1000000).usable);
    /* A later bar that ends earlier takes nothing away. */
    memory_bury(r.t, 77, soon - 500000);
    CU_ASSERT_FALSE(memory_note(r.t, one, soon + 999999).usable);
    CU_ASSERT_FALSE(found_at(&r, one, SV("value"), soon + 1000000));
    rig_close(&r);
}

static bool read_version(struct rig *r, struct cache_key key, int64_t version)
{
    struct cache_value v;
    struct cache_ticket ticket;
    return cache_read(r->cache, &r->ctx, key, &v, &ticket) && v.version == version &&
           v.ttl_ms <= 60000 && v.ttl_ms > 0 && !ticket.usable;
}

static void write_version(struct rig *r, int64_t version, bool in_doubt)
{
    struct cache_fence fence;
    struct cache_value v = {7, version, 60000, SV("bytes")};
    CU_ASSERT_EQUAL(cache_fence(r->cache, &r->ctx, one, &fence), ERR_NONE);
    fence.in_doubt = in_doubt;
    CU_ASSERT_EQUAL(cache_settle(r->cache, &r->ctx, one, &fence, &v), ERR_NONE);
}

/* Through the calls of the cache: a write is found, its fence gives it to the next writer, and
 * after one in doubt nothing is found or taken. */
static void as_a_tier(void)
{
    struct rig r;
    struct cache_status status;
    struct cache_fence fence;
    struct cache_ticket ticket;
    struct cache_value v;
    rig_open(&r, 3 << 20, 3600 * 1000);
    write_version(&r, 3, false);
    CU_ASSERT(read_version(&r, one, 3));
    CU_ASSERT_STRING_EQUAL(r.ctx.trace.tier, "memory");
    CU_ASSERT_EQUAL(cache_fence(r.cache, &r.ctx, one, &fence), ERR_NONE);
    CU_ASSERT(fence.had && fence.old.version == 3 && sv_eq(fence.old.bytes, SV("bytes")));
    CU_ASSERT(read_version(&r, one, 3)); /* a fence drops nothing */
    CU_ASSERT_EQUAL(cache_settle(r.cache, &r.ctx, one, &fence, NULL), ERR_NONE);
    CU_ASSERT_FALSE(read_version(&r, one, 3));
    write_version(&r, 4, true);
    CU_ASSERT_FALSE(cache_read(r.cache, &r.ctx, one, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    write_version(&r, 5, false); /* the one in doubt may be the later one */
    CU_ASSERT_FALSE(read_version(&r, one, 5));
    cache_status(r.cache, &status);
    CU_ASSERT(status.memory_bytes > 2 << 20 && status.memory_bytes <= 3 << 20);
    CU_ASSERT(status.memory_used > 0 && status.memory_used < 1024);
    CU_ASSERT_EQUAL(status.mismatches, 0);
    rig_close(&r);
}

/* Somebody else's value under this key's hash, and a damaged one: counted, and not given out. Fails
 * if the identity in front of a value is not compared. */
static void foreign_value(void)
{
    struct rig r;
    struct cache_status status;
    struct cache_value v = {7, 1, 60000, SV("secret")};
    const struct cache_key other = {SV("default"), SV("s2")};
    struct sv stored;
    rig_open(&r, 1, 1000);
    struct cache_note note = memory_note(r.t, one, clock_mono_us());
    const int64_t until = clock_mono_us() + INT64_C(60000000);
    CU_ASSERT(memory_encode(r.arena, other, &v, &stored));
    CU_ASSERT(memory_store(r.t, 1, &note, stored, until));
    CU_ASSERT_FALSE(read_version(&r, one, 1));
    CU_ASSERT(memory_encode(r.arena, one, &v, &stored));
    CU_ASSERT(memory_store(r.t, 1, &note, stored, until));
    CU_ASSERT(read_version(&r, one, 1));
    CU_ASSERT(memory_store(r.t, 1, &note, (struct sv){stored.p, stored.n - 1}, until));
    CU_ASSERT_FALSE(read_version(&r, one, 1));
    cache_status(r.cache, &status);
    CU_ASSERT_EQUAL(status.mismatches, 2);
    rig_close(&r);
}

static void without_memory(void)
{
    struct cache_shared *shared = cache_shared_map(0);
    struct cache_settings settings = {.shared = shared, .redis_url = "", .fence_ms = 1000};
    struct cache *c = cache_open(&settings, NULL);
    struct cache_status status;
    cache_status(c, &status);
    CU_ASSERT_EQUAL(status.memory_bytes, 0);
    cache_shared_bury(shared, 1);
    cache_close(c);
    cache_shared_unmap(shared);
    cache_shared_unmap(NULL);
}

SUITE(memory, "cache/memory", {"store and find", store_and_find}, {"too large", too_large},
      {"the oldest is evicted", evicts_the_oldest}, {"all ways", all_ways},
      {"one bucket", one_bucket}, {"old epochs", old_epochs}, {"a held stripe", held_stripe},
      {"a burial bars", burial_bars}, {"as a tier", as_a_tier}, {"a foreign value", foreign_value},
      {"without memory", without_memory})

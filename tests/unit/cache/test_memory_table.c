/* SPDX-License-Identifier: MIT */
/* The table of the memory that the workers of a host share. */
#include "../suite.h"

#include <string.h>

#include "../../../src/cache/cache_internal.h"

static const struct cache_key one = {{"default", 7}, {"s1", 2}};
/* Times of the table, years after those of the clock. */
static const int64_t soon = INT64_C(1) << 50, later = (INT64_C(1) << 50) + 1000000;
enum found { MISS, OUTDATED, CURRENT };

struct rig {
    struct cache_shared *shared;
    struct cache_shared *t;
    struct arena *arena;
};

/* One stripe. */
static struct rig *rig_open(void)
{
    struct arena *a = test_ctx()->arena;
    struct rig *r = arena_zalloc(a, sizeof *r);
    *r = (struct rig){.shared = cache_shared_map(1), .arena = a};
    r->t = r->shared;
    return r;
}

static struct cache_snapshot snap(struct rig *r, struct cache_key key)
{
    return memory_snapshot(r->t, key, soon);
}

static struct cache_key key_numbered(struct rig *r, int i)
{
    return (struct cache_key){SV("default"), arena_printf(r->arena, "k%d", i)};
}

static bool store(struct rig *r, struct cache_key key, struct sv bytes)
{
    const struct cache_snapshot s = snap(r, key);
    return memory_store(r->t, 1, &s, bytes, later);
}

static enum found read_with(struct rig *r, const struct cache_snapshot *s, struct sv bytes,
                            int64_t now)
{
    bool current;
    const struct sv out = memory_find(r->t, s, now, r->arena, &current);
    if (!out.p)
        return MISS;
    CU_ASSERT(sv_eq(out, bytes));
    return current ? CURRENT : OUTDATED;
}

static enum found read_now(struct rig *r, struct cache_key key, struct sv bytes)
{
    const struct cache_snapshot s = snap(r, key);
    return read_with(r, &s, bytes, soon);
}

static struct sv bytes_of(struct rig *r, size_t n, char c)
{
    char *p = arena_alloc(r->arena, n);
    memset(p, c, n);
    return (struct sv){p, n};
}

/* Fails if the last word of a value is not copied unless it is whole, or if until_us is not
 * checked. */
TEST(store_and_find)
{
    struct rig *r = rig_open();
    CU_ASSERT_EQUAL(read_now(r, one, SV("value")), MISS);
    for (size_t n = 1; n < 40; n++) {
        CU_ASSERT(store(r, one, bytes_of(r, n, 'x')));
        CU_ASSERT_EQUAL(read_now(r, one, bytes_of(r, n, 'x')), CURRENT);
    }
    const struct sv value = bytes_of(r, 39, 'x');
    const struct cache_snapshot s = snap(r, one);
    CU_ASSERT_EQUAL(read_with(r, &s, value, later - 1), CURRENT);
    CU_ASSERT_EQUAL(read_with(r, &s, value, later), MISS);
    CU_ASSERT_EQUAL(read_now(r, (struct cache_key){SV("default"), SV("s2")}, value), MISS);
    CU_ASSERT_EQUAL(read_now(r, (struct cache_key){SV("other"), SV("s1")}, value), MISS);
    /* Stored in place: it takes no more of the ring. */
    CU_ASSERT(memory_used(r->t) < 256);
    memory_remove(r->t, s.hash);
    CU_ASSERT_EQUAL(read_now(r, one, value), MISS);
    memory_remove(r->t, s.hash);
    CU_ASSERT_EQUAL(r->t->stripe[0].lock % 2, 0);
}

TEST(too_large)
{
    struct rig *r = rig_open();
    const size_t most = MEMORY_RING_WORDS / 4 * 8;
    CU_ASSERT(store(r, one, bytes_of(r, most, 'x')));
    CU_ASSERT_EQUAL(read_now(r, one, bytes_of(r, most, 'x')), CURRENT);
    CU_ASSERT_FALSE(store(r, one, bytes_of(r, most + 1, 'y')));
    CU_ASSERT_FALSE(store(r, one, SV("")));
}

/* Three times what fits: the newest values are there, and none is mixed up. Fails if overwritten
 * words are still returned. */
TEST(evicts_the_oldest)
{
    struct rig *r = rig_open();
    enum { N = 160, SIZE = 5000 };
    int there = 0;
    for (int i = 0; i < N; i++)
        CU_ASSERT(store(r, key_numbered(r, i), bytes_of(r, SIZE, (char)('0' + i % 64))));
    for (int i = 0; i < N; i++) {
        if (!read_now(r, key_numbered(r, i), bytes_of(r, SIZE, (char)('0' + i % 64))))
            continue;
        CU_ASSERT(i >= N - 1 - MEMORY_RING_WORDS * 8 / SIZE);
        there++;
    }
    CU_ASSERT(there > 20);
    CU_ASSERT_EQUAL(memory_used(r->t), MEMORY_RING_WORDS * sizeof(uint64_t));
}

/* All keys that share their entries fit. Fails if the first value of a stripe is taken for a free
 * entry.
 */
TEST(all_ways)
{
    struct rig *r = rig_open();
    struct cache_key keys[MEMORY_WAYS];
    int n = 0;
    for (int i = 0; n < MEMORY_WAYS; i++) {
        struct cache_key key = key_numbered(r, i);
        if ((snap(r, key).hash >> 16) % (MEMORY_ENTRIES / MEMORY_WAYS) == 0)
            keys[n++] = key;
    }
    for (int i = 0; i < n; i++)
        CU_ASSERT(store(r, keys[i], keys[i].id));
    for (int i = 0; i < n; i++)
        CU_ASSERT_EQUAL(read_now(r, keys[i], keys[i].id), CURRENT);
}

/* ---- what is current ---- */

enum event { RAISE, RAISE_OTHER, OUTDATE, QUARANTINE, REAP };

static void happen(struct rig *r, enum event event, uint64_t hash)
{
    switch (event) {
    case RAISE:
        memory_raise(r->t, hash, 0);
        break;
    case RAISE_OTHER:
        memory_raise(r->t, hash + 1, 0);
        break;
    case OUTDATE:
        cache_shared_outdate(r->shared);
        break;
    case QUARANTINE:
        memory_raise(r->t, hash, soon + 500);
        break;
    case REAP:
        cache_shared_reap(r->t, 77, soon / 1000 + 1);
        break;
    }
}

/* What a value that was stored before an event is under a snapshot of before it and of after it,
 * and whether each of these may store. Fails if a put compares no epoch, or ignores the quarantine:
 * tests/mutants/cache-put-under-old-snapshot, tests/mutants/cache-quarantine-ignored. */
TEST(currency)
{
    static const struct {
        enum event event;
        enum found before, after; /* found with a snapshot of before the event, and of after it */
        bool may_before, may_after;
    } rows[] = {
        {RAISE, OUTDATED, OUTDATED, false, true},   {RAISE_OTHER, CURRENT, CURRENT, true, true},
        {OUTDATE, OUTDATED, OUTDATED, false, true}, {QUARANTINE, OUTDATED, OUTDATED, false, false},
        {REAP, OUTDATED, OUTDATED, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig *r = rig_open();
        const struct cache_snapshot before = snap(r, one);
        CU_ASSERT(memory_store(r->t, 1, &before, SV("v1"), later));
        CU_ASSERT_EQUAL(read_with(r, &before, SV("v1"), soon), CURRENT);
        happen(r, rows[i].event, before.hash);
        const struct cache_snapshot after = snap(r, one);
        CU_ASSERT_EQUAL(read_with(r, &before, SV("v1"), soon), rows[i].before);
        CU_ASSERT_EQUAL(read_with(r, &after, SV("v1"), soon), rows[i].after);
        CU_ASSERT_EQUAL(memory_is_current(r->t, &before), rows[i].may_before);
        CU_ASSERT_EQUAL(memory_is_current(r->t, &after), rows[i].may_after);
        CU_ASSERT_EQUAL(memory_store(r->t, 1, &after, SV("v2"), later), rows[i].may_after);
        CU_ASSERT_EQUAL(memory_store(r->t, 1, &before, SV("v2"), later), rows[i].may_before);
    }
}

/* A value that was stored after the snapshot is not current under it. */
TEST(stored_under_a_newer_epoch)
{
    struct rig *r = rig_open();
    const struct cache_snapshot before = snap(r, one);
    memory_raise(r->t, before.hash, 0);
    CU_ASSERT(store(r, one, SV("new")));
    CU_ASSERT_EQUAL(read_with(r, &before, SV("new"), soon), OUTDATED);
    CU_ASSERT_EQUAL(read_now(r, one, SV("new")), CURRENT);
}

/* A quarantine ends at its time, and a later, shorter one does not end it earlier, of a bucket and
 * of all. */
TEST(quarantines_end)
{
    struct rig *r = rig_open();
    const uint64_t hash = snap(r, one).hash;
    memory_raise(r->t, hash, soon + 500);
    memory_raise(r->t, hash, soon + 400);
    CU_ASSERT_FALSE(memory_snapshot(r->t, one, soon + 499).usable);
    CU_ASSERT(memory_snapshot(r->t, one, soon + 500).usable);
    const int64_t before = clock_mono_us();
    cache_shared_reap(r->t, 77, soon / 1000);
    cache_shared_reap(r->t, 78, 1);
    CU_ASSERT_FALSE(memory_snapshot(r->t, one, before + soon / 1000 * 1000 - 1).usable);
    CU_ASSERT(memory_snapshot(r->t, one, clock_mono_us() + soon).usable);
}

/* ---- a stripe that a dead or stopped writer has locked ---- */

/* Nobody waits for it or writes to it; a removal ends the value's life. Fails if a
 * reap unlocks the stripe of another process, or if a removal does nothing: tried. */
TEST(locked_stripe)
{
    for (int removed = 0; removed < 2; removed++) {
        struct rig *r = rig_open();
        CU_ASSERT(store(r, one, SV("value")));
        struct memory_stripe *s = &r->t->stripe[0];
        const uint64_t held = (UINT64_C(77) << MEMORY_PID_SHIFT) + s->lock + 1;
        s->lock = held;
        CU_ASSERT_EQUAL(read_now(r, one, SV("value")), MISS);
        CU_ASSERT_FALSE(store(r, one, SV("other")));
        if (removed)
            memory_remove(r->t, snap(r, one).hash);
        cache_shared_reap(r->t, 78, 0);
        CU_ASSERT_EQUAL(s->lock, held);
        /* The stopped writer continues. */
        s->lock = ((held + 1) << 24) >> 24;
        CU_ASSERT_EQUAL(read_now(r, one, SV("value")), removed ? MISS : OUTDATED);
        s->lock = held;
        cache_shared_reap(r->t, 77, 0);
        CU_ASSERT_EQUAL(s->lock % 2, 0);
        CU_ASSERT_EQUAL(s->lock >> MEMORY_PID_SHIFT, 0);
        /* What the dead writer had begun is gone. */
        CU_ASSERT_EQUAL(read_now(r, one, SV("value")), MISS);
        CU_ASSERT(store(r, one, SV("other")));
        CU_ASSERT_EQUAL(read_now(r, one, SV("other")), CURRENT);
    }
}

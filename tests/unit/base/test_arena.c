/* SPDX-License-Identifier: MIT */
#include "parley/base/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../suite.h"

enum { MIB = 1024 * 1024 };

static bool all_bytes(const unsigned char *p, size_t n, unsigned char value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

TEST(allocations_are_aligned_and_apart)
{
    struct arena *a = arena_create(MIB);
    unsigned char *before = NULL;
    size_t before_n = 0;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(a, n);
        CU_ASSERT_EQUAL((uintptr_t)p % _Alignof(max_align_t), 0);
        CU_ASSERT_PTR_NOT_EQUAL(p, before); /* also for zero bytes */
        memset(p, 'n', n);
        if (before)
            CU_ASSERT_TRUE(all_bytes(before, before_n, 'b'));
        memset(p, 'b', n);
        before = p;
        before_n = n;
    }
    arena_destroy(a);
}

/* Fails if the limit looks at one block instead of all: tried. */
TEST(limit_is_hard)
{
    struct arena *a = arena_create(200000);
    CU_ASSERT_PTR_NULL(arena_alloc(a, 200001));
    CU_ASSERT_PTR_NULL(arena_alloc(a, SIZE_MAX));
    CU_ASSERT_PTR_NULL(arena_alloc(a, SIZE_MAX - 8));
    size_t got = 0;
    while (arena_alloc(a, 1000))
        got += 1000;
    CU_ASSERT_TRUE(got >= 196000 && got <= 200000);
    CU_ASSERT_TRUE(arena_used(a) <= 200000);

    /* After refusals the arena still works, and a reset frees all of it. */
    arena_reset(a);
    CU_ASSERT_EQUAL(arena_used(a), 0);
    CU_ASSERT_PTR_NOT_NULL(arena_alloc(a, 200000));
    CU_ASSERT_PTR_NULL(arena_alloc(a, 1));
    arena_destroy(a);
}

TEST(array_refuses_an_overflow)
{
    struct arena *a = arena_create(MIB);
    CU_ASSERT_PTR_NULL(arena_array(a, SIZE_MAX / 8 + 2, 8)); /* 8 after wrapping around */
    CU_ASSERT_PTR_NOT_NULL(arena_array(a, 10, 8));
    CU_ASSERT_PTR_NOT_NULL(arena_array(a, 0, 8));
    arena_destroy(a);
}

/* Fails if block_wipe does not write zeros: tried. */
TEST(reset_wipes_what_was_used)
{
    struct arena *a = arena_create(MIB);
    unsigned char *p = arena_alloc(a, 5000);
    memset(p, 's', 5000);
    arena_reset(a);
    unsigned char *again = arena_alloc(a, 5000);
    CU_ASSERT_PTR_EQUAL(again, p); /* the first block is kept */
    CU_ASSERT_TRUE(all_bytes(again, 5000, 0));
    arena_destroy(a);
}

/* Fails if arena_rewind wipes only when it frees blocks: tried. */
TEST(rewind_wipes_after_the_mark_only)
{
    struct arena *a = arena_create(MIB);
    unsigned char *kept = arena_alloc(a, 100);
    memset(kept, 'k', 100);
    struct arena_mark mark = arena_get_mark(a);
    size_t used = arena_used(a);
    unsigned char *gone = arena_alloc(a, 100);
    memset(gone, 'g', 100);
    /* More than fits the first block: the rewind has blocks to free. */
    for (int i = 0; i < 40; i++)
        memset(arena_alloc(a, 10000), 'x', 10000);

    arena_rewind(a, mark);
    CU_ASSERT_EQUAL(arena_used(a), used);
    CU_ASSERT_TRUE(all_bytes(kept, 100, 'k'));
    unsigned char *again = arena_alloc(a, 100);
    CU_ASSERT_PTR_EQUAL(again, gone);
    CU_ASSERT_TRUE(all_bytes(again, 100, 0));
    arena_destroy(a);
}

struct log {
    char names[16];
    size_t n;
};

struct step {
    struct log *log;
    char name;
};

static void log_name(void *arg)
{
    const struct step *s = arg;
    s->log->names[s->log->n++] = s->name;
}

/* Fails if defers run first in, first out, or not in one of rewind, reset and destroy: tried. */
TEST(defers_run_last_in_first_out)
{
    struct log t = {"", 0};
    struct step s[] = {{&t, 'a'}, {&t, 'b'}, {&t, 'c'}, {&t, 'd'}};
    struct arena *a = arena_create(MIB);
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s[0]), ERR_NONE);
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s[1]), ERR_NONE);
    struct arena_mark mark = arena_get_mark(a);
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s[2]), ERR_NONE);
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s[3]), ERR_NONE);
    CU_ASSERT_STRING_EQUAL(t.names, "");

    arena_rewind(a, mark);
    CU_ASSERT_STRING_EQUAL(t.names, "dc");
    arena_reset(a);
    CU_ASSERT_STRING_EQUAL(t.names, "dcba");
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s[2]), ERR_NONE);
    arena_destroy(a);
    CU_ASSERT_STRING_EQUAL(t.names, "dcbac");
}

struct check {
    unsigned char *bytes;
    bool intact;
};

static void check_bytes(void *arg)
{
    struct check *w = arg;
    w->intact = all_bytes(w->bytes, 64, 'w');
}

/* A deferred free may use arena memory that is older than itself, in any block. Fails if blocks are
 * freed or wiped before the defers have run: tried. */
TEST(defers_run_before_the_wipe)
{
    struct arena *a = arena_create(MIB);
    struct check w = {NULL, false};
    while (arena_used(a) < 100000)
        w.bytes = arena_alloc(a, 1000);
    memset(w.bytes, 'w', 64);
    CU_ASSERT_EQUAL(arena_defer(a, check_bytes, &w), ERR_NONE);
    arena_reset(a);
    CU_ASSERT_TRUE(w.intact);
    arena_destroy(a);
}

TEST(defer_without_memory_runs_at_once)
{
    struct log t = {"", 0};
    struct step s = {&t, 'x'};
    struct arena *a = arena_create(1024);
    while (arena_alloc(a, 16))
        ;
    CU_ASSERT_EQUAL(arena_defer(a, log_name, &s), ERR_NOMEM);
    CU_ASSERT_STRING_EQUAL(t.names, "x");
    arena_destroy(a);
    CU_ASSERT_STRING_EQUAL(t.names, "x"); /* not a second time */
}

TEST(grow_in_place_and_by_copy)
{
    struct arena *a = arena_create(MIB);
    unsigned char *p = arena_grow(a, NULL, 0, 10);
    memset(p, 'p', 10);
    unsigned char *same = arena_grow(a, p, 10, 5000);
    CU_ASSERT_PTR_EQUAL(same, p);
    CU_ASSERT_TRUE(all_bytes(same, 10, 'p'));
    memset(same, 'q', 5000);

    unsigned char *next = arena_alloc(a, 1);
    *next = 'z';
    unsigned char *moved = arena_grow(a, same, 5000, 6000);
    CU_ASSERT_PTR_NOT_EQUAL(moved, same);
    CU_ASSERT_TRUE(all_bytes(moved, 5000, 'q'));
    CU_ASSERT_EQUAL(*next, 'z');

    /* Across blocks, and over the limit. */
    unsigned char *big = arena_grow(a, moved, 6000, 300000);
    CU_ASSERT_TRUE(all_bytes(big, 5000, 'q'));
    CU_ASSERT_PTR_NULL(arena_grow(a, big, 300000, 2 * MIB));
    CU_ASSERT_PTR_NULL(arena_grow(a, big, 300000, SIZE_MAX));
    CU_ASSERT_PTR_EQUAL(arena_grow(a, big, 300000, 100), big);
    arena_destroy(a);
}

/* A large block is a mapping, which grows without a copy: the limit then counts it once. Fails if
 * arena_grow does not call block_grow, or block_grow does not set the size: tried. */
TEST(large_blocks_grow)
{
    struct arena *a = arena_create(10 * MIB);
    const struct arena_mark mark = arena_get_mark(a);
    size_t n = 2 * MIB;
    unsigned char *p = arena_alloc(a, n);
    CU_ASSERT_TRUE(all_bytes(p, n, 0));
    for (; n < 9 * MIB; n += MIB) {
        memset(p, 'p', n);
        p = arena_grow(a, p, n, n + MIB);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        CU_ASSERT_TRUE(all_bytes(p, n, 'p'));
        CU_ASSERT_TRUE(all_bytes(p + n, MIB, 0));
    }
    CU_ASSERT_PTR_NULL(arena_grow(a, p, n, 10 * MIB + 1));
    CU_ASSERT_TRUE(all_bytes(p, n - MIB, 'p'));
    /* What follows it keeps it from growing in place. */
    memset(arena_alloc(a, 16), 'z', 16);
    CU_ASSERT_PTR_NULL(arena_grow(a, p, n, n + MIB));
    arena_rewind(a, mark);
    CU_ASSERT_EQUAL(arena_used(a), 0);
    CU_ASSERT_TRUE(all_bytes(arena_alloc(a, 9 * MIB), 9 * MIB, 0));
    arena_destroy(a);
}

TEST(zalloc_dup_and_printf)
{
    struct arena *a = arena_create(MIB);
    unsigned char *dirty = arena_alloc(a, 0);
    CU_ASSERT_PTR_NOT_NULL(dirty);
    CU_ASSERT_TRUE(all_bytes(arena_zalloc(a, 100), 100, 0));

    struct sv s = arena_dup(a, SV("ab\0c"));
    CU_ASSERT_EQUAL(s.n, 4);
    CU_ASSERT_EQUAL(memcmp(s.p, "ab\0c", 5), 0); /* and a NUL */
    CU_ASSERT_PTR_NOT_NULL(arena_dup(a, SV_NONE).p);
    CU_ASSERT_STRING_EQUAL(arena_printf(a, "%s-%d", "x", 42).p, "x-42");
    CU_ASSERT_EQUAL(arena_printf(a, "%2000d", 1).n, 2000);
    arena_destroy(a);

    struct arena *small = arena_create(64);
    CU_ASSERT_PTR_NULL(arena_printf(small, "%100d", 1).p);
    CU_ASSERT_PTR_NULL(arena_dup(small, arena_printf(small, "%63d", 1)).p);
    arena_destroy(small);
    arena_destroy(NULL);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

/* Fails if block_wipe leaves the bytes readable: tried. */
TEST(freed_bytes_are_poisoned)
{
    struct arena *a = arena_create(MIB);
    struct arena_mark mark = arena_get_mark(a);
    unsigned char *p = arena_alloc(a, 13);
    CU_ASSERT_FALSE(__asan_address_is_poisoned(p + 12));
    CU_ASSERT_TRUE(__asan_address_is_poisoned(p + 13));
    arena_rewind(a, mark);
    CU_ASSERT_TRUE(__asan_address_is_poisoned(p));
    arena_destroy(a);
}
#endif

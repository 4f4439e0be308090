/* SPDX-License-Identifier: MIT */
/*
 * Readers and writers of a cache, advanced one step at a time in an order that a seed decides, on a
 * record that is a number. The version that a read finds must not be below what was known when it
 * began: what a writer had been answered, and what a writer that is dead or in doubt had committed.
 */
#ifndef PARLEY_TESTS_INTERLEAVE_H
#define PARLEY_TESTS_INTERLEAVE_H

#include <stdint.h>

#include "parley/cache/cache.h"

enum { INTERLEAVE_FENCE_MS = 1 };

struct interleave {
    uint64_t seed, steps, hits, stale, foreign;
    /* How often each of these was among the orders. */
    uint64_t late_fill;         /* a writer was answered between a reader's look and its fill */
    uint64_t two_writers;       /* one began before another had ended */
    uint64_t killed_committed;  /* buried with its commit untold */
    uint64_t committed_buried;  /* committed after its burial */
    uint64_t committed_doubted; /* committed after its end in doubt */
    uint64_t filled_after_bar;  /* read while a bar stood, filled when it was over */
};
/* Two workers of one host, with a memory tier of the test's own in front of the Redis that settings
 * name; NULL: the memory tier alone. Each value is of size bytes and some. The seed is that of
 * PARLEY_TEST_SEED, or a random one, and is printed. */
void interleave_run(const struct cache_settings *redis, unsigned rounds, int size,
                    struct interleave *out);
/* Prints the counts; nothing stale or foreign, and every order there. */
void interleave_judge(const struct interleave *it);

#endif

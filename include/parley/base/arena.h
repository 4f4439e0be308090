/* SPDX-License-Identifier: MIT */
/*
 * Memory of one request. An arena is reset and wiped between requests, and has a hard limit, so
 * that no request takes more than its share. Handlers never call free(): deferred frees release
 * objects of other libraries (PGresult, redisReply) with the arena, last in, first out, in
 * arena_rewind, arena_reset and arena_destroy.
 *
 * One thread at a time. Memory is aligned for any type, and zeroed only by arena_zalloc. Pointers
 * are valid until the arena is rewound past them, reset or destroyed.
 */
#pragma once

#include "parley/base/sv.h"

struct arena;
struct arena_mark {
    void *block;
    size_t used;
    void *defers;
};

/* limit: the most bytes between two resets. NULL: no memory. */
struct arena *arena_create(size_t limit);
void arena_destroy(struct arena *a); /* NULL is fine */

/* n bytes, or NULL when the limit is reached or malloc fails. n == 0 gives a valid pointer. */
MUSTCHECK void *arena_alloc(struct arena *a, size_t n);
MUSTCHECK void *arena_zalloc(struct arena *a, size_t n);
/* count * size bytes, NULL also when the product overflows. */
MUSTCHECK void *arena_array(struct arena *a, size_t count, size_t size);
/* Grows the newest allocation in place where possible, else copies. p may be NULL. */
MUSTCHECK void *arena_grow(struct arena *a, void *p, size_t old_n, size_t new_n);
/* A copy, with a NUL after it. SV_NONE: no memory. The copy of an absent view is empty. */
MUSTCHECK struct sv arena_dup(struct arena *a, struct sv s);
MUSTCHECK struct sv arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Runs fn(arg) when the arena is rewound past here, reset or destroyed. Without memory for that,
 * fn(arg) runs at once and ERR_NOMEM is returned: nothing leaks either way. */
MUSTCHECK enum err arena_defer(struct arena *a, void (*fn)(void *), void *arg);

/* A point to rewind to, for work that is repeated. */
struct arena_mark arena_get_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

/* Runs every deferred free, wipes what was used, and keeps the first block. */
void arena_reset(struct arena *a);
size_t arena_used(const struct arena *a);

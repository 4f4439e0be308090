/* SPDX-License-Identifier: MIT */
/*
 * Per-request memory. An arena belongs to one handler thread, is reset (and wiped) between
 * requests, and has a hard limit, so that no request can take more than its share. Deferred frees
 * bind foreign objects (PGresult, json_object, redisReply) to the request's life: handlers have no
 * free(). They run last in, first out, in arena_rewind, arena_reset and arena_destroy alike.
 *
 * Thread rule: one thread at a time. Memory is aligned for any type and NOT zeroed unless the name
 * says so. Pointers live until the arena is rewound past them, reset or destroyed.
 */
#ifndef PARLEY_BASE_ARENA_H
#define PARLEY_BASE_ARENA_H

#include <stddef.h>

#include "parley/base/err.h"
#include "parley/base/sv.h"

struct arena;
struct arena_mark {
    void *block;
    size_t used;
    void *defers;
};

/* A new arena that will hand out at most limit bytes between resets. NULL: no memory. */
struct arena *arena_create(size_t limit);
void arena_destroy(struct arena *a); /* NULL is fine */

/* n bytes, or NULL when the limit is reached or malloc fails. n == 0 gives a valid pointer. */
MUSTCHECK void *arena_alloc(struct arena *a, size_t n);
MUSTCHECK void *arena_zalloc(struct arena *a, size_t n);
/* count * size bytes, NULL also when the product overflows. */
MUSTCHECK void *arena_array(struct arena *a, size_t count, size_t size);
/* Grows the newest allocation in place where possible, else copies. p may be NULL. */
MUSTCHECK void *arena_grow(struct arena *a, void *p, size_t old_n, size_t new_n);
/* A copy with a NUL behind it (not counted). p == NULL in the result means no memory: the copy of
 * an absent view is an empty one. */
MUSTCHECK struct sv arena_dup(struct arena *a, struct sv s);
MUSTCHECK struct sv arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Runs fn(arg) when the arena is rewound past here, reset or destroyed. When there is no memory to
 * note it, fn(arg) runs at once and ERR_NOMEM is returned: nothing leaks either way. */
MUSTCHECK enum err arena_defer(struct arena *a, void (*fn)(void *), void *arg);

/* A point to come back to, for work that is tried again. */
struct arena_mark arena_get_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

/* Runs every deferred free, wipes what was used, keeps the first block. */
void arena_reset(struct arena *a);
size_t arena_used(const struct arena *a);

#endif

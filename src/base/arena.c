/* SPDX-License-Identifier: MIT */
#include "parley/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Free bytes are poisoned, so that AddressSanitizer finds a use after a rewind or reset. Without it
 * these macros do nothing. */
#include <sanitizer/asan_interface.h>

enum { ALIGN = _Alignof(max_align_t), FIRST_BLOCK = 64 * 1024, BLOCK_MAX = 1024 * 1024 };

/* used is a multiple of ALIGN. before: what is used of the older blocks. A block of BLOCK_MAX or
 * more is a mapping of its own: it takes memory only where it was written, and grows without a
 * copy. When it is destroyed, the kernel takes its memory back at once and wipes it. */
struct block {
    struct block *older;
    size_t size, used, before;
    _Alignas(max_align_t) unsigned char data[];
};

/* In the arena itself. */
struct defer {
    struct defer *older;
    void (*fn)(void *);
    void *arg;
};

struct arena {
    struct block *first, *newest;
    struct defer *defers;
    size_t limit;
};

/* Not 0 for zero bytes: each pointer is different. The caller checks that n is far below SIZE_MAX.
 */
static size_t rounded_up(size_t n)
{
    return n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN;
}

static struct block *block_create(struct block *older, size_t size)
{
    struct block *b = size < BLOCK_MAX ? malloc(sizeof(*b) + size)
                                       : mmap(NULL, sizeof(*b) + size, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!b || b == MAP_FAILED)
        return NULL;
    *b = (struct block){older, size, 0, older ? older->before + older->used : 0};
    ASAN_POISON_MEMORY_REGION(b->data, b->size);
    return b;
}

/* Wipes what is used beyond keep: the next request must not see the bytes of this one. */
static void block_wipe(struct block *b, size_t keep)
{
    ASAN_UNPOISON_MEMORY_REGION(b->data + keep, b->used - keep);
    explicit_bzero(b->data + keep, b->used - keep);
    ASAN_POISON_MEMORY_REGION(b->data + keep, b->used - keep);
    b->used = keep;
}

static void block_destroy(struct block *b)
{
    if (b->size < BLOCK_MAX)
        block_wipe(b, 0);
    ASAN_UNPOISON_MEMORY_REGION(b->data, b->size);
    if (b->size < BLOCK_MAX)
        free(b);
    else
        (void)munmap(b, sizeof(*b) + b->size);
}

/* Grows the newest block to n bytes. The block may move. False: it stays as it is. */
static bool block_grow(struct arena *a, size_t n)
{
    struct block *b = a->newest;
    ASAN_UNPOISON_MEMORY_REGION(b->data, b->size);
    void *moved = mremap(b, sizeof(*b) + b->size, sizeof(*b) + n, MREMAP_MAYMOVE);
    if (moved != MAP_FAILED) {
        a->newest = moved;
        a->newest->size = n;
    }
    ASAN_POISON_MEMORY_REGION(a->newest->data + a->newest->used, a->newest->size - a->newest->used);
    return moved != MAP_FAILED;
}

struct arena *arena_create(size_t limit)
{
    struct arena *a = malloc(sizeof(*a));
    if (!a)
        return NULL;
    struct block *first = block_create(NULL, FIRST_BLOCK);
    if (!first) {
        free(a);
        return NULL;
    }
    *a = (struct arena){first, first, NULL, limit};
    return a;
}

void arena_destroy(struct arena *a)
{
    if (!a)
        return;
    arena_reset(a);
    block_destroy(a->first);
    free(a);
}

size_t arena_used(const struct arena *a)
{
    return a->newest->before + a->newest->used;
}

/* Blocks grow with the request, so that a large request does not need hundreds of them. */
static struct block *block_for(struct arena *a, size_t need)
{
    struct block *b = a->newest;
    if (need <= b->size - b->used)
        return b;
    size_t size = b->size < BLOCK_MAX ? b->size * 2 : BLOCK_MAX;
    b = block_create(b, need > size ? need : size);
    if (b)
        a->newest = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t left = a->limit - arena_used(a);
    if (n > left || rounded_up(n) > left)
        return NULL;
    struct block *b = block_for(a, rounded_up(n));
    if (!b)
        return NULL;
    void *p = b->data + b->used;
    b->used += rounded_up(n);
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t n = 0;
    if (__builtin_mul_overflow(count, size, &n))
        return NULL;
    return arena_alloc(a, n);
}

void *arena_grow(struct arena *a, void *p, size_t old_n, size_t new_n)
{
    if (!p)
        return arena_alloc(a, new_n);
    if (new_n <= old_n)
        return p;
    struct block *b = a->newest;
    unsigned char *at = p;
    size_t left = a->limit - arena_used(a), more = rounded_up(new_n) - rounded_up(old_n);
    bool newest = at + rounded_up(old_n) == b->data + b->used;
    bool fits = newest && new_n - old_n <= left && more <= left;
    /* Grows by more than is asked for, because a text grows in many small steps. */
    if (fits && more > b->size - b->used && at == b->data && b->size >= BLOCK_MAX &&
        block_grow(a, rounded_up(new_n) + BLOCK_MAX)) {
        b = a->newest;
        p = b->data;
    }
    if (fits && more <= b->size - b->used) {
        b->used += more;
        ASAN_UNPOISON_MEMORY_REGION((char *)p + old_n / ALIGN * ALIGN,
                                    new_n - old_n / ALIGN * ALIGN);
        return p;
    }
    void *moved = arena_alloc(a, new_n);
    if (moved)
        memcpy(moved, p, old_n);
    return moved;
}

struct sv arena_dup(struct arena *a, struct sv s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return SV_NONE;
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct sv){p, s.n};
}

struct sv arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    struct sv out = SV_NONE;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
        out = (struct sv){p, (size_t)n};
    }
    va_end(again);
    va_end(ap);
    return out;
}

enum err arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
    struct defer *d = arena_alloc(a, sizeof(*d));
    if (!d) {
        fn(arg);
        return ERR_NOMEM;
    }
    *d = (struct defer){a->defers, fn, arg};
    a->defers = d;
    return ERR_NONE;
}

struct arena_mark arena_get_mark(const struct arena *a)
{
    return (struct arena_mark){a->newest, a->newest->used, a->defers};
}

void arena_rewind(struct arena *a, struct arena_mark m)
{
    /* Before any wipe: a deferred free may read the arena. */
    while (a->defers != m.defers) {
        struct defer *d = a->defers;
        a->defers = d->older;
        d->fn(d->arg);
    }
    while (a->newest != m.block) {
        struct block *b = a->newest;
        a->newest = b->older;
        block_destroy(b);
    }
    block_wipe(a->newest, m.used);
}

void arena_reset(struct arena *a)
{
    arena_rewind(a, (struct arena_mark){a->first, 0, NULL});
}

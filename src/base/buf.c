/* SPDX-License-Identifier: MIT */
#include "parley/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes room for n more bytes. Doubling keeps the bytes copied, and those lost in the arena, in
 * proportion to the text. */
static bool buf_room(struct buf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n <= b->cap - b->n)
        return true;
    size_t need = 0, cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    char *p = NULL;
    if (!__builtin_add_overflow(b->n, n, &need)) {
        cap = cap < need ? need : cap < 64 ? 64 : cap;
        p = arena_grow(b->arena, b->p, b->cap, cap);
        if (!p && cap > need) /* the arena is nearly full: the exact size may still fit */
            p = arena_grow(b->arena, b->p, b->cap, cap = need);
    }
    b->failed = !p;
    if (p) {
        b->p = p;
        b->cap = cap;
    }
    return p != NULL;
}

void buf_init(struct buf *b, struct arena *a, size_t first_cap)
{
    *b = (struct buf){.arena = a};
    if (first_cap > 0)
        (void)buf_room(b, first_cap);
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !buf_room(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_putc(struct buf *b, char c)
{
    if (!buf_room(b, 1))
        return;
    b->p[b->n++] = c;
}

void buf_sv(struct buf *b, struct sv s)
{
    buf_put(b, s.p, s.n);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    if (b->failed)
        return;
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t room = b->cap - b->n;
    int n = vsnprintf(room > 0 ? b->p + b->n : NULL, room, fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < room) {
        b->n += (size_t)n;
    } else if (buf_room(b, (size_t)n + 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    buf_put(b, digits + at, sizeof(digits) - at);
}

void buf_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_putc(b, '-');
    /* Unsigned negation is defined for INT64_MIN too. */
    buf_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

struct sv buf_get(const struct buf *b)
{
    /* Nothing written is empty, not absent. */
    return (struct sv){b->p ? b->p : "", b->n};
}

/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer in an arena. Callers write without checking, and check failed once at the
 * end: after a failure to grow nothing more is written.
 */
#pragma once

#include "parley/base/arena.h"

struct buf {
    struct arena *arena; /* borrowed */
    char *p;
    size_t n, cap;
    bool failed;
};

void buf_init(struct buf *b, struct arena *a, size_t first_cap);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_putc(struct buf *b, char c);
void buf_sv(struct buf *b, struct sv s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
/* What was written so far, borrowed until the buffer grows. */
struct sv buf_get(const struct buf *b);
#define BUF_LIT(b, lit) buf_put((b), (lit), sizeof(lit) - 1)

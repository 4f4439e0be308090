/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROOM = 64 << 20 };

void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

void fuzz_open(struct fuzz *f)
{
    f->arena = arena_create(ROOM);
    DEMAND(f->arena);
    ctx_init(&f->ctx, f->arena, deadline_in_ms(60000), SV("default"), SV("fuzz"));
}

void fuzz_close(struct fuzz *f)
{
    arena_destroy(f->arena);
}

void fuzz_refused(const struct request_ctx *ctx, enum err e)
{
    DEMAND(e == ctx->err.err);
    DEMAND(e == ERR_INVALID || e == ERR_NOT_FOUND || e == ERR_URI_TOO_LONG);
    DEMAND(utf8_valid(sv_from(ctx->err.field), NULL));
    DEMAND(utf8_valid(sv_from(ctx->err.detail), NULL));
}

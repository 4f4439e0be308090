/* SPDX-License-Identifier: MIT */
/* What clang's analyser cannot see from another file: these return the failure that they are given.
 * Without it every failure might be ERR_NONE, with nothing written. */
#include "parley/base/ctx.h"

#define ctx_fail(ctx, e, ...)  (ctx_fail(ctx, e, __VA_ARGS__), (e))
#define ctx_fault(ctx, e, ...) (ctx_fault(ctx, e, __VA_ARGS__), (e))
#define ctx_nomem(ctx)         (ctx_nomem(ctx), ERR_NOMEM)

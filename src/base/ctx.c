/* SPDX-License-Identifier: MIT */
#include "parley/base/ctx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void ctx_init(struct request_ctx *ctx, struct arena *arena, struct deadline deadline,
              struct sv tenant, struct sv request_id)
{
    *ctx = (struct request_ctx){
        .arena = arena,
        .deadline = deadline,
        .tenant = tenant,
        .request_id = request_id,
    };
}

/* Takes the last multi-byte character off a text that was cut: half a character would make JSON
 * that holds the text invalid. */
static void drop_last_character(char *s)
{
    size_t n = strlen(s);
    while (n > 0 && ((unsigned char)s[n - 1] & 0xc0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)s[n - 1] >= 0xc0)
        n--;
    s[n] = '\0';
}

static void PRINTF_LIKE(3, 0) format_text(char *out, size_t size, const char *fmt, va_list ap)
{
    if (vsnprintf(out, size, fmt, ap) >= (int)size)
        drop_last_character(out);
}

enum err ctx_fail(struct request_ctx *ctx, enum err e, const char *slug, const char *field,
                  const char *fmt, ...)
{
    if (ctx->err.err != ERR_NONE)
        return e;
    ctx->err.err = e;
    ctx->err.slug = slug;
    if (field && snprintf(ctx->err.field, sizeof(ctx->err.field), "%s", field) >=
                     (int)sizeof(ctx->err.field))
        drop_last_character(ctx->err.field);
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        format_text(ctx->err.detail, sizeof(ctx->err.detail), fmt, ap);
        va_end(ap);
    }
    return e;
}

enum err ctx_fault(struct request_ctx *ctx, enum err e, const char *fmt, ...)
{
    va_list ap;
    if (ctx->err.err != ERR_NONE)
        return e;
    ctx->err.err = e;
    va_start(ap, fmt);
    format_text(ctx->err.cause, sizeof(ctx->err.cause), fmt, ap);
    va_end(ap);
    return e;
}

enum err ctx_nomem(struct request_ctx *ctx)
{
    return ctx_fault(ctx, ERR_NOMEM, "the request's memory limit is reached (%zu bytes in use)",
                     arena_used(ctx->arena));
}

void ctx_will_wait(struct request_ctx *ctx)
{
    const struct ctx_hook hook = ctx->before_wait;
    ctx->before_wait.fn = NULL;
    if (hook.fn)
        hook.fn(hook.arg);
}

void ctx_clear_error(struct request_ctx *ctx)
{
    ctx->err = (struct err_info){.err = ERR_NONE};
}

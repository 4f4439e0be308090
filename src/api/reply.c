/* SPDX-License-Identifier: MIT */
/* The frame of an answer: what is the same in all interfaces. */
#include "handler.h"

struct jout api_begin(struct http_response *res, int status)
{
    struct jout j;
    res->status = status;
    res->content_type = "application/json";
    jout_init(&j, &res->body);
    return j;
}

enum err api_etag(struct request_ctx *ctx, struct http_response *res, struct sv tag)
{
    struct buf quoted;
    buf_init(&quoted, ctx->arena, tag.n + 2);
    buf_putc(&quoted, '"');
    buf_sv(&quoted, tag);
    buf_putc(&quoted, '"');
    if (!tag.p || quoted.failed)
        return ctx_nomem(ctx);
    http_response_header(res, "ETag", buf_get(&quoted));
    return ERR_NONE;
}

enum err api_validator(struct request_ctx *ctx, struct http_response *res, bool degraded,
                       struct sv tag)
{
    if (!degraded)
        return api_etag(ctx, res, tag);
    api_mark_degraded(res);
    return ERR_NONE;
}

void api_mark_degraded(struct http_response *res)
{
    http_response_header(res, "X-Parley-Degraded", SV("database-away"));
}

void api_write_degraded(struct jout *j, bool degraded)
{
    if (!degraded)
        return;
    jput_bool(j, "degraded", true);
}

void api_replayed(struct http_response *res, const struct session_receipt *receipt)
{
    if (receipt->replayed)
        http_response_header(res, "Idempotent-Replayed", SV("true"));
}

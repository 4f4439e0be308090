/* SPDX-License-Identifier: MIT */
/* What answers of all interfaces share: the beginning, entity tags, marks of degraded ones. */
#include "handler.h"

#include <string.h>

struct json_writer api_begin(struct http_response *res, int status)
{
    res->status = status;
    res->content_type = "application/json";
    return (struct json_writer){.b = &res->body};
}

struct json_writer api_begin_object(struct http_response *res, int status)
{
    struct json_writer j = api_begin(res, status);
    json_write_object_open(&j);
    return j;
}

enum err api_set_etag(struct api_call *c, bool degraded, struct sv tag)
{
    if (degraded) {
        api_mark_degraded(c->res);
        return ERR_NONE;
    }
    struct sv quoted = tag.p ? arena_printf(c->ctx->arena, "\"%.*s\"", SV_ARG(tag)) : SV_NONE;
    if (!quoted.p)
        return ctx_nomem(c->ctx);
    http_response_header(c->res, "ETag", quoted);
    if (c->unless.given && http_condition_has(&c->unless, tag))
        c->res->status = 304;
    return ERR_NONE;
}

enum err api_set_etag_session(struct api_call *c, char kind)
{
    const struct session *s = &c->session;
    const int64_t version = kind == 's' ? s->state_version : s->version;
    const uint64_t mark = kind == 's' ? s->state_mark : s->mark;
    return api_set_etag(c, s->degraded,
                        http_etag(c->ctx->arena, s->generation, kind, version, mark));
}

enum err api_set_etag_receipt(struct api_call *c)
{
    const struct session_receipt *r = &c->receipt;
    return api_set_etag(c, false,
                        http_etag(c->ctx->arena, r->generation, 'v', r->version, r->mark));
}

const char *api_renamed(struct request_ctx *ctx, const char *detail, const char *word,
                        const char *name)
{
    const char *at = strstr(detail, word);
    const struct sv text = at ? arena_printf(ctx->arena, "%.*s%s%s", (int)(at - detail), detail,
                                             name, at + strlen(word))
                              : SV_NONE;
    return text.p ? text.p : detail;
}

void api_mark_degraded(struct http_response *res)
{
    http_response_header(res, "X-Parley-Degraded", SV("database-away"));
}

void api_write_degraded(struct json_writer *j, bool degraded)
{
    if (degraded)
        json_put_bool(j, "degraded", true);
}

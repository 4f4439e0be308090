/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <string.h>

struct http_rig *http_rig(const char *method, const char *target)
{
    struct request_ctx *ctx = test_ctx();
    struct http_rig *r = arena_zalloc(ctx->arena, sizeof(*r));
    CU_ASSERT_PTR_NOT_NULL_FATAL(r);
    r->ctx = ctx;
    r->req.method_text = sv_from(method);
    r->req.method = http_method_parse(r->req.method_text);
    r->req.target = sv_from(target);
    r->req.headers = r->headers;
    http_response_init(&r->res, ctx->arena);
    return r;
}

void http_rig_send(struct http_rig *r, const char *name, struct sv value)
{
    r->headers[r->req.n_headers++] = (struct http_pair){sv_from(name), value};
}

static const char *cstring(struct http_rig *r, struct sv s)
{
    struct sv copy = arena_dup(r->ctx->arena, s);
    return copy.p ? copy.p : "";
}

const char *http_rig_header(struct http_rig *r, const char *name)
{
    for (size_t i = 0; i < r->res.n_headers; i++)
        if (strcmp(r->res.headers[i].name, name) == 0)
            return cstring(r, r->res.headers[i].value);
    return "";
}

const char *http_rig_body(struct http_rig *r)
{
    return cstring(r, buf_get(&r->res.body));
}

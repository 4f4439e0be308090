/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <string.h>

#include <CUnit/CUnit.h>

void http_rig_open(struct http_rig *r, size_t limit, const char *method, struct sv target)
{
    memset(r, 0, sizeof(*r));
    r->arena = arena_create(limit);
    CU_ASSERT_PTR_NOT_NULL(r->arena);
    ctx_init(&r->ctx, r->arena, deadline_in_ms(60000), SV("default"), SV("req-1"));
    r->req.method_text = sv_from(method);
    r->req.method = http_method_parse(r->req.method_text);
    r->req.target = target;
    http_response_init(&r->res, r->arena);
}

void http_rig_close(struct http_rig *r)
{
    arena_destroy(r->arena);
}

static const char *cstring(struct http_rig *r, struct sv s)
{
    struct sv copy = arena_dup(r->arena, s);
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

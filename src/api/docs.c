/* SPDX-License-Identifier: MIT */
/* The description of all interfaces, /openapi.json, and the page that shows it, /docs: files of
 * docs/ that the build puts into the program (embed.sh). Whoever has no key may read them, too. */
#include "handler.h"
#include "interface.h"
#include "parley/http/conditional.h"
#include "parley/http/problem.h"

/* Made by embed.sh: bytes, how many, entity tag; and the headers of the page, which allow its own
 * script and style and nothing else. */
extern const char docs_openapi[], docs_openapi_tag[];
extern const char docs_page[], docs_page_tag[], docs_page_policy[];
extern const size_t docs_openapi_n, docs_page_n;

static enum err answer(struct request_ctx *ctx, const struct http_call *call,
                       struct http_response *res, const char *type, struct sv bytes,
                       const char *tag)
{
    struct http_condition unless;
    TRY(api_no_params(ctx, call->req));
    TRY(http_condition_parse(ctx, "If-None-Match", http_header_get(call->req, "if-none-match"),
                             false, &unless));
    TRY(api_etag(ctx, res, sv_from(tag)));
    http_response_header(res, "Cache-Control", SV("no-cache"));
    res->status = 304;
    if (unless.given && http_condition_has(&unless, sv_from(tag)))
        return ERR_NONE;
    res->status = 200;
    res->content_type = type;
    buf_sv(&res->body, bytes);
    return ERR_NONE;
}

static enum err openapi(struct request_ctx *ctx, const struct http_call *call,
                        struct http_response *res)
{
    return answer(ctx, call, res, "application/json", (struct sv){docs_openapi, docs_openapi_n},
                  docs_openapi_tag);
}

static enum err page(struct request_ctx *ctx, const struct http_call *call,
                     struct http_response *res)
{
    http_response_header(res, "Content-Security-Policy", sv_from(docs_page_policy));
    return answer(ctx, call, res, "text/html; charset=utf-8", (struct sv){docs_page, docs_page_n},
                  docs_page_tag);
}

static const char *const prefixes[] = {"/docs", "/openapi.json", NULL};
static const struct http_route routes[] = {
    {HTTP_GET, "/openapi.json", "openapi_json", openapi},
    {HTTP_GET, "/docs", "docs_page", page},
};

const struct api_interface docs_interface = {
    {routes, ARRAY_LEN(routes), http_problem, true},
    prefixes,
    true,
};

/* SPDX-License-Identifier: MIT */
/* Dispatch: the checks of a request in order, its route, its handler, its problem document. */
#include "parley/http/route.h"

#include <string.h>

const struct http_route *http_table_at(const struct http_table *table, size_t i)
{
    return (const void *)((const char *)table->routes + i * table->stride);
}

static bool pattern_matches(const char *pattern, const struct http_request *req,
                            struct http_call *call)
{
    struct sv rest = sv_from(pattern + 1);
    size_t captured = 0;
    memset(call->captures, 0, sizeof(call->captures));
    for (size_t i = 0; i < req->n_segments; i++) {
        if (!rest.p)
            return false;
        struct sv part = sv_cut(&rest, '/');
        if (sv_eq(part, SV("*")) && req->segments[i].n > 0)
            call->captures[captured++] = req->segments[i];
        else if (!sv_eq(part, req->segments[i]))
            return false;
    }
    return !rest.p;
}

/* The index of the route. Without one it is table->n, and *allowed has a bit for each method of the
 * path. */
static size_t find_route(const struct http_table *table, const struct http_request *req,
                         struct http_call *call, unsigned *allowed)
{
    const enum http_method wanted = req->method == HTTP_HEAD ? HTTP_GET : req->method;
    *allowed = 0;
    for (size_t i = 0; i < table->n; i++) {
        call->route = http_table_at(table, i);
        if (!pattern_matches(call->route->pattern, req, call))
            continue;
        if (call->route->method == wanted)
            return i;
        *allowed |= 1u << call->route->method;
        if (call->route->method == HTTP_GET)
            *allowed |= 1u << HTTP_HEAD;
    }
    return table->n;
}

/* The methods of a path; absent without memory. */
static struct sv allowed_methods(struct request_ctx *ctx, unsigned allowed)
{
    struct buf b;
    buf_init(&b, ctx->arena, 64);
    allowed |= 1u << HTTP_OPTIONS;
    for (enum http_method m = HTTP_GET; m < HTTP_OTHER; m++)
        if (allowed & (1u << m))
            buf_printf(&b, "%s%s", b.n > 0 ? ", " : "", http_method_name(m));
    return b.failed ? (struct sv){NULL, 0} : buf_get(&b);
}

/* q=0, with up to three decimals that are 0 too (RFC 9110, section 12.4.2). */
static bool is_zero_weight(struct sv param)
{
    struct sv value = param;
    const struct sv name = sv_cut(&value, '=');
    if (!sv_eq_nocase(name, SV("q")) || !sv_starts_with(value, SV("0")))
        return false;
    while (value.n > 0 && (value.p[0] == '0' || value.p[0] == '.'))
        sv_skip(&value, 1);
    return value.n == 0;
}

/* Whether a media range in Accept matches JSON, or the lines of JSON of an export. Weights other
 * than 0 do not matter, since there is one form only. */
static bool allows_json(struct sv accept)
{
    while (accept.p) {
        struct sv params = sv_trim(sv_cut(&accept, ','));
        struct sv range = sv_trim(sv_cut(&params, ';'));
        bool json = sv_eq(range, SV("*/*")) || sv_eq_nocase(range, SV("application/*")) ||
                    sv_eq_nocase(range, SV("application/json")) ||
                    sv_eq_nocase(range, SV("application/x-ndjson")) ||
                    sv_eq_nocase(range, SV("application/problem+json"));
        while (params.p)
            json = !is_zero_weight(sv_trim(sv_cut(&params, ';'))) && json;
        if (json)
            return true;
    }
    return false;
}

/* Several lines of Accept are one list (RFC 9110, section 5.3). An empty line counts as absent. */
static bool accepts_json(const struct http_request *req)
{
    bool given = false;
    for (size_t i = 0; i < req->n_headers; i++) {
        if (!sv_eq(req->headers[i].name, SV("accept")) || req->headers[i].value.n == 0)
            continue;
        given = true;
        if (allows_json(req->headers[i].value))
            return true;
    }
    return !given;
}

/* Why there is no such path, where the path shows a likely reason. */
static const char *no_route(const struct http_request *req)
{
    static const struct {
        struct sv beginning;
        const char *detail;
    } likely[] = {{SV_INIT("/conversations"), HTTP_OPENAI_BASE},
                  {SV_INIT("/v1/threads"),
                   "There is no such path: the URL of LangGraph's SDK is without /v1."},
                  {SV_INIT("/v1/v1/"), "There is no such path: /v1 is there twice."},
                  {SV_INIT("/v1/session/"), "There is no such path: it is /v1/sessions."},
                  {SV_INIT("/v1/user/"), "There is no such path: it is /v1/users."},
                  {SV_INIT("/v1/chat/"), HTTP_NO_MODEL},
                  {SV_INIT("/v1/responses"), HTTP_NO_MODEL},
                  {SV_INIT("/v1/models"), HTTP_NO_MODEL},
                  {SV_INIT("/sessions"), "There is no such path: the native API is below /v1."}};
    for (size_t i = 0; i < req->n_segments && req->n_segments > 1; i++)
        if (req->segments[i].n == 0)
            return "There is no such path: it has an empty segment. Leave out the slash that is "
                   "too many, or add the id that is missing.";
    for (size_t i = 0; i < ARRAY_LEN(likely); i++)
        if (sv_starts_with(req->target, likely[i].beginning))
            return likely[i].detail;
    return HTTP_NO_ROUTE;
}

static enum err check_body(struct request_ctx *ctx, const struct http_request *req)
{
    const struct sv coding = http_header_get(req, "content-encoding");
    if ((req->body.n > 0 || req->body_too_large || req->body_refused) && coding.n > 0 &&
        !sv_eq_nocase(coding, SV("identity")))
        return ctx_fail(ctx, ERR_MEDIA_TYPE, NULL, "Content-Encoding",
                        "A body must be sent as it is, without a content coding.");
    if (req->body_too_large)
        return ctx_fail(ctx, ERR_TOO_LARGE, NULL, NULL,
                        "The body may have %zu bytes (PARLEY_MAX_BODY).", req->body_too_large);
    if (req->body_refused)
        return ctx_fail(ctx, ERR_OVERLOAD, NULL, NULL,
                        "Other large bodies have the memory (PARLEY_BODY_MEMORY); nothing was "
                        "changed. Try again.");
    return ERR_NONE;
}

static enum err run_route(struct request_ctx *ctx, const struct http_table *table,
                          struct http_request *req, struct http_call *call, size_t *route,
                          struct http_response *res)
{
    unsigned allowed = 0;
    TRY(http_headers_check(ctx, req));
    TRY(http_target_parse(ctx, req));
    if (!table->any_type && !accepts_json(req))
        return ctx_fail(ctx, ERR_NOT_ACCEPTABLE, NULL, "Accept", "Answers are application/json.");
    *route = find_route(table, req, call, &allowed);
    if (*route == table->n && allowed == 0)
        return ctx_fail(ctx, ERR_NOT_FOUND, "no_such_route", NULL, "%s", no_route(req));
    if (*route == table->n) {
        const struct sv methods = allowed_methods(ctx, allowed);
        res->status = 204;
        if (req->method != HTTP_OPTIONS) {
            ctx->err.detail_is_sent = true;
            (void)ctx_fail(ctx, ERR_METHOD, NULL, NULL,
                           "This path does not have the method %.*s. Allowed: %.*s.",
                           (int)(req->method_text.n > 20 ? 20 : req->method_text.n),
                           req->method_text.p, (int)methods.n, methods.p ? methods.p : "");
            table->problem(ctx, req, res);
        }
        if (methods.p)
            http_response_header(res, "Allow", methods);
        return ERR_NONE;
    }
    ctx->trace.route = call->route->name;
    TRY(check_body(ctx, req));
    TRY(call->route->handler(ctx, call, res));
    if (res->body.failed)
        return ctx_nomem(ctx);
    return ERR_NONE;
}

size_t http_dispatch(struct request_ctx *ctx, const struct http_table *table, void *service,
                     struct http_request *req, struct http_response *res)
{
    struct http_call call = {.req = req, .service = service};
    size_t route = table->n;
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    enum err e = ctx->err.err;
    if (e == ERR_NONE)
        e = run_route(ctx, table, req, &call, &route, res);
    if (e != ERR_NONE) {
        if (ctx->err.err == ERR_NONE)
            ctx->err.err = e;
        /* The handler's memory is freed first, so that the problem document fits. */
        arena_rewind(ctx->arena, mark);
        table->problem(ctx, req, res);
        if (strcmp(ctx->err.field, "Content-Encoding") == 0)
            http_response_header(res, "Accept-Encoding", SV("identity"));
    }
    http_response_header(res, "X-Request-Id", ctx->request_id);
    http_response_header(res, "Cache-Control", sv_from(res->cache_control));
    http_response_header(res, "X-Content-Type-Options", SV("nosniff"));
    return route;
}

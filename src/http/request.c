/* SPDX-License-Identifier: MIT */
/* Reading a request's method, headers, parameters and conditions. */
#include "parley/http/request.h"

#include <inttypes.h>
#include <stdio.h>

const char *http_method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",        [HTTP_HEAD] = "HEAD",   [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",        [HTTP_PATCH] = "PATCH", [HTTP_DELETE] = "DELETE",
        [HTTP_OPTIONS] = "OPTIONS"};
    return names[method];
}

enum http_method http_method_parse(struct sv text)
{
    enum http_method m = HTTP_GET;
    while (m != HTTP_OTHER && !sv_eq(text, sv_from(http_method_name(m))))
        m++;
    return m;
}

struct sv http_pair_get(const struct http_pair *pairs, size_t n, const char *name)
{
    const struct sv wanted = sv_from(name);
    for (size_t i = 0; i < n; i++)
        if (sv_eq(pairs[i].name, wanted))
            return pairs[i].value;
    return SV_NONE;
}

static enum err check_header(struct request_ctx *ctx, const struct http_request *req,
                             const char *name)
{
    unsigned seen = 0;
    for (size_t i = 0; i < req->n_headers; i++) {
        const struct sv v = req->headers[i].value;
        if (!sv_eq_nocase(req->headers[i].name, sv_from(name)))
            continue;
        if (++seen > 1)
            return ctx_fail(ctx, ERR_INVALID, "repeated_header", name,
                            "The header is given twice.");
        for (size_t c = 0; c < v.n; c++)
            if (((unsigned char)v.p[c] < 0x20 && v.p[c] != '\t') || v.p[c] == 0x7f)
                return ctx_fail(ctx, ERR_INVALID, "invalid_header", name,
                                "The header contains a control character.");
    }
    return ERR_NONE;
}

/* nginx before 1.23 forwards a repeated header twice. Which one were used would be chance, so each
 * header that parley reads may be sent once only. */
enum err http_headers_check(struct request_ctx *ctx, const struct http_request *req)
{
    static const char *const once[] = {"Content-Type",  "Idempotency-Key", "If-Match",
                                       "If-None-Match", "X-Parley-User",   "Authorization",
                                       "X-Api-Key",     "X-Request-Id",    "Content-Encoding"};
    for (size_t i = 0; i < ARRAY_LEN(once); i++)
        TRY(check_header(ctx, req, once[i]));
    return ERR_NONE;
}

bool http_trace(const struct http_request *req, struct sv *trace, struct sv *parent)
{
    enum { TRACE = 3, TRACE_LEN = 32, PARENT = 36, PARENT_LEN = 16, LEN = 55 };
    const struct sv text = http_header_get(req, "traceparent"),
                    zeros = SV("00000000000000000000000000000000");
    char start[LEN + 2];
    int n = 0, seen = 0;
    for (size_t i = 0; i < req->n_headers; i++)
        seen += sv_eq(req->headers[i].name, SV("traceparent"));
    if (seen != 1 || text.n < LEN)
        return false;
    snprintf(start, sizeof start, "%.*s", (int)text.n, text.p);
    (void)sscanf(start, "%*2[0-9a-f]-%*32[0-9a-f]-%*16[0-9a-f]-%*2[0-9a-f]%n", &n);
    *trace = (struct sv){text.p + TRACE, TRACE_LEN};
    *parent = (struct sv){text.p + PARENT, PARENT_LEN};
    /* A later version may have more, after a hyphen. */
    const bool ends = text.n == LEN || (text.p[LEN] == '-' && !sv_starts_with(text, SV("00")));
    return n == LEN && ends && !sv_starts_with(text, SV("ff")) && !sv_eq(*trace, zeros) &&
           !sv_starts_with(zeros, *parent);
}

enum err http_param_once(struct request_ctx *ctx, const struct http_request *req, const char *name)
{
    size_t seen = 0;
    for (size_t i = 0; i < req->n_params; i++)
        seen += sv_eq(req->params[i].name, sv_from(name));
    return seen < 2 ? ERR_NONE
                    : ctx_fail(ctx, ERR_INVALID, "repeated_parameter", name,
                               "The parameter is given twice.");
}

enum err http_param_i64(struct request_ctx *ctx, const struct http_request *req, const char *name,
                        int64_t min, int64_t max, int64_t fallback, int64_t *out)
{
    struct sv value = http_param_get(req, name);
    int64_t v = fallback;
    if (value.p && (!sv_to_i64(value, &v) || v < min || v > max))
        return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", name,
                        "%s must be an integer from %lld to %lld.", name, (long long)min,
                        (long long)max);
    *out = v;
    return ERR_NONE;
}

enum err http_params_only(struct request_ctx *ctx, const struct http_request *req,
                          const struct names *known)
{
    for (size_t i = 0; i < req->n_params; i++) {
        const struct sv name = req->params[i].name;
        struct sv key = name;
        const struct sv kind = sv_cut(&key, '.');
        if (names_index(known, name) < known->n ||
            (key.p &&
             names_index(known, arena_printf(ctx->arena, "%.*s.KEY", SV_ARG(kind))) < known->n))
            continue;
        ctx->err.field_is_sent = true;
        return ctx_fail(ctx, ERR_INVALID, "unknown_parameter", name.p,
                        "There is no such query parameter here.%s",
                        names_hint(ctx->arena, known, name));
    }
    return ERR_NONE;
}

/* ---- conditions ---- */

/* Takes one entity tag off the front of *rest, W/"…" or "…" (RFC 9110, section 8.8.3), and the
 * comma after it; after the last tag *rest is absent. W/ is ignored: a tag stands for what is
 * stored, and only a proxy that compresses weakens it. */
static bool take_tag(struct sv *rest, struct sv *tag)
{
    *rest = sv_trim(*rest);
    if (sv_starts_with(*rest, SV("W/")))
        sv_skip(rest, 2);
    if (!sv_starts_with(*rest, SV("\"")))
        return false;
    sv_skip(rest, 1);
    *tag = sv_cut(rest, '"');
    for (size_t i = 0; i < tag->n; i++)
        if (tag->p[i] <= 0x20 || tag->p[i] >= 0x7f)
            return false;
    return rest->p && sv_trim(sv_cut(rest, ',')).n == 0;
}

enum err http_condition_parse(struct request_ctx *ctx, const char *header, struct sv value,
                              struct http_condition *out)
{
    struct sv rest = value, tag;
    *out = (struct http_condition){.given = value.p, .any = sv_eq(sv_trim(value), SV("*"))};
    while (rest.p && !out->any) {
        if (!take_tag(&rest, &tag))
            return ctx_fail(ctx, ERR_INVALID, "invalid_header", header,
                            "It must be * or a list of quoted entity tags.");
        if (out->n == HTTP_ETAGS_MAX)
            return ctx_fail(ctx, ERR_INVALID, "invalid_header", header,
                            "There may be at most %d entity tags.", HTTP_ETAGS_MAX);
        out->tags[out->n++] = tag;
    }
    return ERR_NONE;
}

bool http_condition_has(const struct http_condition *c, struct sv tag)
{
    if (c->any)
        return true;
    for (size_t i = 0; i < c->n; i++)
        if (sv_eq(c->tags[i], tag))
            return true;
    return false;
}

struct sv http_etag(struct arena *a, int64_t generation, char kind, int64_t version, uint64_t mark)
{
    return arena_printf(a, "%" PRId64 ".%c%" PRId64 ".%" PRIx64, generation, kind, version, mark);
}

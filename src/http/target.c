/* SPDX-License-Identifier: MIT */
/* The request target is split before it is decoded (RFC 3986, sections 2.4 and 3.3), so that an
 * encoded slash stays inside its segment and nothing is decoded twice. */
#include "parley/http/request.h"

#include "parley/base/encode.h"

static enum err bad_target(struct request_ctx *ctx, const char *field, const char *why)
{
    ctx->err.field_is_sent = true;
    return ctx_fail(ctx, ERR_INVALID, "invalid_target", field, "%s", why);
}

/* plus: '+' is a space, as in a query. field: for errors. A NUL follows *out, and none is in it. */
static enum err decode(struct request_ctx *ctx, struct sv s, bool plus, const char *field,
                       struct sv *out)
{
    char *p = arena_alloc(ctx->arena, s.n + 1);
    size_t n = 0;
    if (!p)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '%') {
            const int byte = percent_read((struct sv){s.p + i, s.n - i});
            if (byte < 0)
                return bad_target(ctx, field, "A percent sign must be followed by two hex digits.");
            c = (unsigned char)byte;
            i += 2;
            if (c < 0x20 || c == 0x7f)
                return bad_target(ctx, field, "Control characters are not allowed.");
        } else if (c <= 0x20 || c == 0x7f) {
            return bad_target(ctx, field, "Control characters and spaces are not allowed.");
        } else if (c == '+' && plus) {
            c = ' ';
        }
        p[n++] = (char)c;
    }
    p[n] = '\0';
    *out = (struct sv){p, n};
    if (!utf8_valid(*out, NULL))
        return bad_target(ctx, field, "It is not valid UTF-8.");
    return ERR_NONE;
}

enum err http_segment_decode(struct request_ctx *ctx, struct sv segment, struct sv *out)
{
    return decode(ctx, segment, false, "path", out);
}

static enum err parse_path(struct request_ctx *ctx, struct http_request *req, struct sv path)
{
    if (path.n == 0 || path.p[0] != '/')
        return bad_target(ctx, "path", "The path must begin with a slash.");
    sv_skip(&path, 1);
    while (path.p) {
        struct sv segment = sv_cut(&path, '/');
        if (req->n_segments == HTTP_SEGMENTS_MAX)
            return ctx_fail(ctx, ERR_NOT_FOUND, "no_such_route", NULL, HTTP_NO_ROUTE);
        TRY(http_segment_decode(ctx, segment, &req->segments[req->n_segments]));
        req->n_segments++;
    }
    return ERR_NONE;
}

static enum err parse_param(struct request_ctx *ctx, struct http_request *req, struct sv pair)
{
    struct http_pair param;
    struct sv value = pair;
    struct sv name = sv_cut(&value, '=');
    TRY(decode(ctx, name, true, "query", &param.name));
    TRY(decode(ctx, value.p ? value : SV(""), true, param.name.p, &param.value));
    if (req->n_params == HTTP_PARAMS_MAX)
        return bad_target(ctx, "query", "There are too many parameters.");
    req->params[req->n_params++] = param;
    return ERR_NONE;
}

enum err http_target_parse(struct request_ctx *ctx, struct http_request *req)
{
    if (req->target.n > HTTP_URI_MAX)
        return ctx_fail(ctx, ERR_URI_TOO_LONG, NULL, NULL,
                        "The request target is longer than %d bytes.", HTTP_URI_MAX);
    struct sv query = req->target;
    struct sv path = sv_cut(&query, '?');
    TRY(parse_path(ctx, req, path));
    while (query.p) {
        struct sv pair = sv_cut(&query, '&');
        if (pair.n > 0)
            TRY(parse_param(ctx, req, pair));
    }
    return ERR_NONE;
}

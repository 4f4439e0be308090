/* SPDX-License-Identifier: MIT */
#include "parley/http/conditional.h"

#include <inttypes.h>

static enum err malformed(struct request_ctx *ctx, const char *header)
{
    return ctx_fail(ctx, ERR_INVALID, "invalid_header", header,
                    "It must be * or a list of quoted entity tags.");
}

/* Takes one entity tag off the front of *rest: W/"…" or "…" (RFC 9110, section 8.8.3). W/ is
 * ignored: a tag stands for what is stored, and only a proxy that compresses weakens it. */
static bool take_tag(struct sv *rest, struct sv *tag)
{
    if (sv_starts_with(*rest, SV("W/")))
        sv_skip(rest, 2);
    if (rest->n < 2 || rest->p[0] != '"')
        return false;
    sv_skip(rest, 1);
    size_t n = 0;
    while (n < rest->n && rest->p[n] > 0x20 && rest->p[n] < 0x7f && rest->p[n] != '"')
        n++;
    if (n == rest->n || rest->p[n] != '"')
        return false;
    *tag = (struct sv){rest->p, n};
    sv_skip(rest, n + 1);
    return true;
}

enum err http_condition_parse(struct request_ctx *ctx, const char *header, struct sv value,
                              struct http_condition *out)
{
    *out = (struct http_condition){.given = value.p != NULL};
    if (!value.p)
        return ERR_NONE;
    struct sv rest = sv_trim(value);
    if (sv_eq(rest, SV("*"))) {
        out->any = true;
        return ERR_NONE;
    }
    for (;;) {
        struct sv tag;
        if (!take_tag(&rest, &tag))
            return malformed(ctx, header);
        if (out->n == HTTP_ETAGS_MAX)
            return ctx_fail(ctx, ERR_INVALID, "invalid_header", header,
                            "There may be at most %d entity tags.", HTTP_ETAGS_MAX);
        out->tags[out->n++] = tag;
        rest = sv_trim(rest);
        if (rest.n == 0)
            return ERR_NONE;
        if (rest.p[0] != ',')
            return malformed(ctx, header);
        sv_skip(&rest, 1);
        rest = sv_trim(rest);
    }
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

/* SPDX-License-Identifier: MIT */
/* Reads ids, user, conditions and idempotency key of a request. */
#include "handler.h"

#include "parley/base/utf8.h"

enum err api_session_id(struct request_ctx *ctx, const char *name, struct sv *id)
{
    if (session_id_valid(*id))
        return session_id_canonical(ctx, id);
    return ctx_fail(ctx, ERR_INVALID, "invalid_id", name,
                    "A %s is 1 to %d of A-Z a-z 0-9 . _ : - and neither . nor ..", name,
                    SESSION_ID_MAX);
}

/* Web servers resolve "." and ".." between slashes before they pass a path on, even if encoded, so
 * such a user could not be named in a path. */
static bool has_dot_segment(struct sv user)
{
    while (user.p) {
        struct sv segment = sv_cut(&user, '/');
        if (sv_eq(segment, SV(".")) || sv_eq(segment, SV("..")))
            return true;
    }
    return false;
}

bool api_user_valid(struct sv user)
{
    for (size_t i = 0; i < user.n; i++)
        if ((unsigned char)user.p[i] < 0x20 || user.p[i] == 0x7f)
            return false;
    /* Unlike a body, a header was not checked for UTF-8 before. */
    return user.n >= 1 && user.n <= API_USER_MAX && utf8_valid(user, NULL) &&
           !has_dot_segment(user);
}

enum err api_user(struct request_ctx *ctx, const struct http_request *req, struct sv *out)
{
    *out = http_header_get(req, "x-parley-user");
    if (!out->p || api_user_valid(*out))
        return ERR_NONE;
    return ctx_fail(ctx, ERR_INVALID, "invalid_header", "X-Parley-User",
                    "A user is named by " API_USER_RULE ".");
}

static enum err read_key(struct request_ctx *ctx, const struct http_request *req,
                         struct session_precondition *out)
{
    out->key = http_header_get(req, "idempotency-key");
    if (!out->key.p)
        return ERR_NONE;
    bool printable = true;
    for (size_t i = 0; i < out->key.n; i++)
        printable = printable && out->key.p[i] > 0x20 && out->key.p[i] < 0x7f;
    if (!printable || out->key.n == 0 || out->key.n > SESSION_KEY_MAX)
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "Idempotency-Key",
                        "A key is 1 to %d printable ASCII characters without spaces.",
                        SESSION_KEY_MAX);
    return http_fingerprint(ctx, req, &out->fingerprint);
}

static enum err read_conditions(struct request_ctx *ctx, const struct http_request *req,
                                struct session_precondition *out)
{
    struct http_condition *match = arena_alloc(ctx->arena, sizeof(*match)), none;
    if (!match)
        return ctx_nomem(ctx);
    TRY(http_condition_parse(ctx, "If-Match", http_header_get(req, "if-match"), true, match));
    TRY(http_condition_parse(ctx, "If-None-Match", http_header_get(req, "if-none-match"), false,
                             &none));
    if (none.given && (!none.any || req->method != HTTP_PUT))
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "If-None-Match",
                        "On a write it may only be *, and only on a PUT.");
    out->create_only = none.given;
    if (match->given && req->method == HTTP_PUT)
        return ctx_fail(
            ctx, ERR_INVALID, "invalid_header", "If-Match",
            "A PUT gets or creates a session and changes none, so it takes no If-Match.");
    if (match->given && !match->any) {
        out->if_match = match->tags;
        out->n_if_match = match->n;
    }
    return ERR_NONE;
}

enum err api_precondition(struct request_ctx *ctx, const struct http_request *req,
                          struct session_precondition *out)
{
    *out = (struct session_precondition){.create_only = false};
    TRY(api_user(ctx, req, &out->user));
    TRY(read_key(ctx, req, out));
    return read_conditions(ctx, req, out);
}

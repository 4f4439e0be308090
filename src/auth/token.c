/* SPDX-License-Identifier: MIT */
/* Tokens that a bot's own server makes: a compact JWS (RFC 7515) with Ed25519 (RFC 8037), and the
 * claims of a JWT (RFC 7519). */
#include "auth_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/encode.h"
#include "parley/json/json_reader.h"

/* LEEWAY_S: how far the clock of the bot's server may be ahead. exp itself has no leeway. */
enum { TOKEN_MAX = 2048, AHEAD_S = 24 * 3600, LEEWAY_S = 60 };

struct members {
    struct sv alg, kid, sub, sid, scope;
    const struct json_node *crit, *aud, *exp, *nbf;
};

/* Members of the header, and claims. */
#define AT(name) 0, offsetof(struct members, name), 0, 0
static const struct json_field fields[] = {
    {"alg", JSON_STRING, AT(alg)}, {"kid", JSON_STRING, AT(kid)}, {"crit", JSON_ANY, AT(crit)},
    {"sub", JSON_STRING, AT(sub)}, {"sid", JSON_STRING, AT(sid)}, {"scope", JSON_STRING, AT(scope)},
    {"aud", JSON_ANY, AT(aud)},    {"exp", JSON_ANY, AT(exp)},    {"nbf", JSON_ANY, AT(nbf)}};

/* Reads the JSON object that a part of a token encodes. */
static enum err read_part(struct request_ctx *ctx, struct sv part, struct members *out)
{
    const size_t n = part.n * 3 / 4;
    char *text = arena_alloc(ctx->arena, n + 1);
    struct json_doc doc;
    if (!text)
        return ctx_nomem(ctx);
    text[n] = '\0';
    if (!base64url_read(part, text, n))
        return ERR_INVALID;
    TRY(json_doc_parse(ctx, (struct sv){text, n}, json_nothing, &doc));
    const struct json_input in = {ctx, &doc, doc.nodes, ""};
    return json_read(&in, fields, JSON_IGNORED, out);
}

enum err credential_parse(struct request_ctx *ctx, struct sv text, struct credential *out)
{
    if (key_parse(text, &out->id, &out->secret))
        return ERR_NONE;
    struct members m = {.crit = NULL};
    struct sv rest = text;
    const struct sv header = sv_cut(&rest, '.');
    out->claims = sv_cut(&rest, '.');
    if (text.n > TOKEN_MAX || !base64url_read(rest, out->signature, sizeof(out->signature)))
        return ERR_INVALID;
    out->signed_text = (struct sv){text.p, header.n + 1 + out->claims.n};
    TRY(read_part(ctx, header, &m));
    const bool known = sv_eq(m.alg, SV("EdDSA")) && !m.crit && key_id_parse(m.kid, &out->id);
    return known ? ERR_NONE : ERR_INVALID;
}

/* A NumericDate (RFC 7519, section 2), which may have a fraction. */
static double seconds(const struct json_node *node)
{
    return node && node->type == JSON_IS_NUMBER ? strtod(node->raw.p, NULL) : (double)NAN;
}

enum err token_claims(struct request_ctx *ctx, struct sv claims, int64_t now_us)
{
    struct members m = {.exp = NULL};
    const enum err e = read_part(ctx, claims, &m);
    if (e == ERR_INVALID)
        ctx->err.slug = "invalid_token"; /* the field and the reason stay */
    if (e != ERR_NONE)
        return ctx->err.err = e == ERR_INVALID ? ERR_UNAUTHENTICATED : e;
    const double now = (double)now_us / 1e6, exp = seconds(m.exp);
    const struct sv user = ctx->only_user;
    const bool read = sv_eq(m.scope, SV("read")), write = sv_eq(m.scope, SV("write"));
    const struct {
        bool wrong;
        const char *claim, *why;
    } checks[] = {
        {!(exp > now), "exp", "has passed, or is no number of seconds"},
        {exp > now + AHEAD_S + LEEWAY_S, "exp", "is more than 24 hours ahead"},
        {m.nbf && !(seconds(m.nbf) <= now + LEEWAY_S), "nbf", "has not come, or is no number"},
        {m.aud, "aud", "is there, and parley has no name that it could be"},
        {m.scope.p && !read && !write, "scope", "is neither read nor write"},
        {write && ctx->read_only, "scope", "is more than that of the key"},
        {m.sub.p && !auth_user_valid(m.sub), "sub", "is no id of a user"},
        {m.sub.p && user.p && !sv_eq(m.sub, user), "sub", "is not the user of the key"},
        {m.sid.p && !id_valid(m.sid), "sid", "is no id of a session"},
        {!m.sub.p && !m.sid.p && !user.p, "sub", "or sid is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        if (checks[i].wrong)
            return ctx_fail(ctx, ERR_UNAUTHENTICATED, "invalid_token", checks[i].claim,
                            "The token's %s %s.", checks[i].claim, checks[i].why);
    ctx->read_only = ctx->read_only || read;
    if (m.sub.p)
        ctx->only_user = m.sub;
    ctx->only_session = m.sid;
    if (exp * 1e6 < (double)ctx->key_expires_at)
        ctx->key_expires_at = (int64_t)(exp * 1e6);
    return ERR_NONE;
}

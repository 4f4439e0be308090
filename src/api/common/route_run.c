/* SPDX-License-Identifier: MIT */
/* From a route to its handler: reads what the route's table entry names, in one order for all. */
#include "handler.h"

#include <string.h>

#include "parley/base/encode.h"

/* ---- ids, user, conditions and idempotency key ---- */

enum err api_session_id(struct request_ctx *ctx, const char *name, struct sv *id)
{
    if (!id->p || id_valid(*id))
        return session_id_canonical(ctx, SESSION_PREFIX, id);
    return ctx_fail(ctx, ERR_INVALID, "invalid_id", name,
                    "%s must be " ID_RULE ". Percent-encode it in a path.", name);
}

/* UTF-8''%E6%9D%8E (RFC 8187, section 3.2), for clients whose headers hold ASCII only. Other text
 * is the user itself. False: a percent sign without two hex digits. */
static bool decode_user(struct request_ctx *ctx, struct sv *user)
{
    struct sv rest = *user;
    const struct sv charset = sv_cut(&rest, '\'');
    (void)sv_cut(&rest, '\''); /* the language */
    if (!sv_eq_nocase(charset, SV("UTF-8")) || !rest.p)
        return true;
    struct buf b;
    buf_init(&b, ctx->arena, rest.n + 1);
    while (rest.n > 0) {
        const int byte = rest.p[0] == '%' ? percent_read(rest) : (unsigned char)rest.p[0];
        if (byte < 0)
            return false;
        buf_putc(&b, (char)byte);
        sv_skip(&rest, rest.p[0] == '%' ? 3 : 1);
    }
    *user = b.failed ? SV_NONE : buf_get(&b);
    return true;
}

static enum err read_user(struct request_ctx *ctx, const struct http_request *req, struct sv *out)
{
    *out = http_header_get(req, "x-parley-user");
    if (!out->p) {
        *out = ctx->only_user;
        return ERR_NONE;
    }
    /* nginx from 1.23 on joins two headers in this way (RFC 9110, section 5.3). The result names
     * neither of the two users. */
    if (out->n > 0 && memmem(out->p, out->n, ", ", 2))
        return ctx_fail(ctx, ERR_INVALID, "repeated_header", "X-Parley-User",
                        "The header is given twice, or its user has a comma and a space: send it "
                        "as UTF-8'' and the user percent-encoded.");
    if (!decode_user(ctx, out))
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "X-Parley-User",
                        "After UTF-8'' a percent sign must be followed by two hex digits.");
    if (!out->p)
        return ctx_nomem(ctx);
    if (!auth_user_valid(*out))
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "X-Parley-User",
                        "A user is named by " AUTH_USER_RULE ".");
    return ERR_NONE;
}

/* Keys are unique in a tenant. Those of a restricted API key have a space of their own, so that its
 * holder cannot take the keys of others. */
static enum err restrict_key(struct request_ctx *ctx, struct sv *key)
{
    const struct sv parts[] = {SV("restricted key"), ctx->only_user, ctx->only_session, *key};
    unsigned char digest[SHA256_LEN];
    if (!ctx->only_user.p && !ctx->only_session.p)
        return ERR_NONE;
    sha256_parts(parts, ARRAY_LEN(parts), digest);
    char *text = arena_alloc(ctx->arena, BASE64URL_LEN(SHA256_LEN) + 1);
    if (!text)
        return ctx_nomem(ctx);
    base64url_write(digest, SHA256_LEN, text);
    *key = (struct sv){text, BASE64URL_LEN(SHA256_LEN)};
    return ERR_NONE;
}

/* The fingerprint (draft-ietf-httpapi-idempotency-key-header-07, section 2.4): two requests with
 * one key are the same if and only if they have the same method, target, user and body. */
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
    TRY(restrict_key(ctx, &out->key));
    const struct sv parts[] = {req->method_text, req->target, out->user, req->body};
    unsigned char *digest = arena_alloc(ctx->arena, SHA256_LEN);
    if (!digest)
        return ctx_nomem(ctx);
    sha256_parts(parts, ARRAY_LEN(parts), digest);
    out->fingerprint = (struct sv){(const char *)digest, SHA256_LEN};
    return ERR_NONE;
}

/* If-Match, and If-None-Match: * of a PUT. */
static enum err read_conditions(struct request_ctx *ctx, const struct http_request *req,
                                bool creates, struct http_condition *match,
                                struct session_precondition *out)
{
    struct http_condition none;
    TRY(http_condition_parse(ctx, "If-Match", http_header_get(req, "if-match"), match));
    TRY(http_condition_parse(ctx, "If-None-Match", http_header_get(req, "if-none-match"), &none));
    if (none.given && (!none.any || !creates || req->method != HTTP_PUT))
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "If-None-Match",
                        "On a write it may only be *, and only on a PUT of a session.");
    out->create_only = none.given;
    if (match->given && creates)
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "If-Match",
                        "The request changes no session, so there is nothing to match.");
    out->must_exist = match->given;
    if (match->given && !match->any) {
        out->if_match = match->tags;
        out->n_if_match = match->n;
    }
    return ERR_NONE;
}

/* ---- what the key or the token allows ---- */

enum { NAMES_SESSION = API_SESSION | API_CONVERSATION | API_THREAD };

/* A token for a session without a user does not say who its user is, so its client may not say so
 * either. */
static enum err check_scope(struct api_call *c, unsigned takes)
{
    struct request_ctx *ctx = c->ctx;
    struct sv session = ctx->only_session, user = c->precondition.user;
    const bool bound = ctx->only_user.p || session.p;
    const bool foreign = bound && user.p && !sv_eq(user, ctx->only_user);
    if (ctx->read_only && (takes & API_PRECONDITIONS))
        return ctx_fail(ctx, ERR_FORBIDDEN, "read_only_key", NULL,
                        "The key or the token is for reading only.");
    if (session.p && (!(takes & (NAMES_SESSION | API_ANY_TOKEN)) || (takes & API_FORKS)))
        return ctx_fail(ctx, ERR_FORBIDDEN, "session_token", NULL,
                        "The token is for one session, and for nothing beyond it.");
    TRY(session_id_canonical(ctx, SESSION_PREFIX, &session));
    if ((takes & NAMES_SESSION) && (foreign || (session.p && !sv_eq(session, c->id))))
        return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such session.");
    return foreign ? ctx_fail(ctx, ERR_FORBIDDEN, "wrong_user", "X-Parley-User",
                              "The key or the token is for another user.")
                   : ERR_NONE;
}

/* ---- what a route names ---- */

const struct api_param api_no_params[] = {{.name = NULL}};

static enum err read_message_name(struct api_call *c)
{
    const struct sv name = c->message.id;
    uint64_t seq = 0;
    size_t digits = 0;
    while (digits < name.n && name.p[digits] >= '0' && name.p[digits] <= '9')
        digits++;
    const bool number =
        name.n > 0 && digits == name.n && !sv_eq(http_param_get(c->req, "by"), SV("id"));
    if (number ? !sv_to_u64(name, &seq) || seq == 0 : !id_valid(name))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_id", "message_id",
                        "A message is named by its seq, or by its message_id: with ?by=id if that "
                        "is a number.");
    if (number) {
        seq = seq < INT64_MAX ? seq : INT64_MAX; /* which no message has */
        c->message = (struct session_message_name){.seq = (int64_t)seq};
        return ERR_NONE;
    }
    return session_id_canonical(c->ctx, MESSAGE_PREFIX, &c->message.id);
}

static enum err read_path_user(struct api_call *c)
{
    struct sv header;
    if (!id_valid(c->id))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_id", "user_id",
                        "A user is named by " ID_RULE ".");
    TRY(read_user(c->ctx, c->req, &header));
    const struct sv only = c->ctx->only_user;
    if ((header.p && !sv_eq(header, c->id)) || (only.p && !sv_eq(only, c->id)))
        return ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such user.");
    return ERR_NONE;
}

/* OpenAI's clients get ERR_NOT_FOUND for a malformed id too, as for an unknown one. */
static enum err read_names(struct api_call *c, unsigned takes)
{
    if (takes & (API_SESSION | API_THREAD))
        TRY(api_session_id(c->ctx, takes & API_THREAD ? "thread_id" : "session_id", &c->id));
    if (takes & API_CONVERSATION)
        TRY(id_valid(c->id)
                ? session_id_canonical(c->ctx, SESSION_PREFIX, &c->id)
                : ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such conversation."));
    if (takes & API_PATH_USER)
        TRY(read_path_user(c));
    if (takes & API_MESSAGE)
        TRY(read_message_name(c));
    if (takes & API_ITEM)
        TRY(id_valid(c->message.id)
                ? session_id_canonical(c->ctx, MESSAGE_PREFIX, &c->message.id)
                : ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such item."));
    return ERR_NONE;
}

static enum err read_choice(struct api_call *c, const struct api_param *p, int64_t *out)
{
    const struct sv word = http_param_get(c->req, p->name);
    size_t index = 0, first = p->choices[0][0] == '\0';
    const struct names words = {p->choices + first, 2 - first, sizeof(p->choices[0])};
    if (sv_eq(sv_from(p->choices[0]), SV("false")) &&
        (sv_eq(word, SV("0")) || sv_eq(word, SV("1"))))
        index = word.p[0] == '1';
    else if (word.p)
        TRY(api_choice(c->ctx, "invalid_parameter", p->name, &words, word, &index));
    *out = (int64_t)(word.p ? index + first : 0);
    return ERR_NONE;
}

static enum err read_params(struct api_call *c, const struct api_param *params)
{
    struct names known = {params, 0, sizeof(*params)};
    while (params[known.n].name)
        known.n++;
    TRY(http_params_only(c->ctx, c->req, &known));
    for (size_t i = 0; i < known.n; i++) {
        const struct api_param *p = &params[i];
        if (p->max != API_LIST)
            TRY(http_param_once(c->ctx, c->req, p->name));
        if (p->choices[0])
            TRY(read_choice(c, p, &c->params[i]));
        else if (p->max > 0)
            TRY(http_param_i64(c->ctx, c->req, p->name, p->min, p->max, p->fallback,
                               &c->params[i]));
    }
    return ERR_NONE;
}

static enum err read_call(struct api_call *c, const struct api_route_spec *spec)
{
    const unsigned takes = spec->takes;
    const unsigned body = takes & (API_BODY_REQUIRED | API_BODY_OPTIONAL | API_BODY_PATCH);
    TRY(read_names(c, takes));
    if (spec->params)
        TRY(read_params(c, spec->params));
    if ((takes & API_NO_BODY) && c->req->body.n > 0)
        return ctx_fail(c->ctx, ERR_INVALID, "unexpected_body", "body",
                        "This request takes no body.");
    if (takes & (API_USER_HEADER | API_PRECONDITIONS))
        TRY(read_user(c->ctx, c->req, &c->precondition.user));
    TRY(check_scope(c, takes));
    if (takes & API_PRECONDITIONS) {
        TRY(read_key(c->ctx, c->req, &c->precondition));
        TRY(read_conditions(c->ctx, c->req, takes & API_CREATES, &c->match, &c->precondition));
    }
    if (takes & API_IF_NONE_MATCH)
        TRY(http_condition_parse(c->ctx, "If-None-Match", http_header_get(c->req, "if-none-match"),
                                 &c->unless));
    if (!body)
        return ERR_NONE;
    TRY(api_body(c->ctx, c->req, body, &c->doc));
    c->body = (struct json_input){c->ctx, &c->doc, c->doc.nodes, ""};
    return ERR_NONE;
}

enum err api_session_delete(struct api_call *c)
{
    return session_delete(c->sessions, c->ctx, &c->target);
}

enum err api_run(struct request_ctx *ctx, const struct http_call *call, struct http_response *res)
{
    const struct api_route *route = (const struct api_route *)call->route;
    struct api_service *api = call->service;
    struct api_call c = {.ctx = ctx,
                         .req = call->req,
                         .res = res,
                         .api = api,
                         .sessions = api->sessions,
                         .id = call->captures[0],
                         .sub_id = call->captures[1],
                         .message = {.id = call->captures[1]}};
    TRY(read_call(&c, &route->spec));
    c.target = (struct session_target){c.id, &c.precondition, &c.receipt};
    res->status = 204; /* unless the handler begins an answer with a body */
    TRY(route->spec.handler(&c));
    if (c.receipt.replayed)
        http_response_header(res, "Idempotent-Replayed", SV("true"));
    return ERR_NONE;
}

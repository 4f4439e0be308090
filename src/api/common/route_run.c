/* SPDX-License-Identifier: MIT */
/* From a route to its handler: reads what the route's table entry names, in one order for all. */
#include "handler.h"

const struct api_param api_no_params[] = {{.name = NULL}};

static enum err read_message_id(struct request_ctx *ctx, struct sv *which)
{
    uint64_t seq;
    if (session_message_id_valid(*which) || (sv_to_u64(*which, &seq) && seq > 0))
        return session_message_id_canonical(ctx, which);
    return ctx_fail(ctx, ERR_INVALID, "invalid_id", "message_id",
                    "A message is named by its seq or its message_id.");
}

static enum err read_path_user(struct api_call *c)
{
    struct sv header;
    if (!api_user_valid(c->id))
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_id", "user_id",
                        "A user is named by " API_USER_RULE ".");
    TRY(api_user(c->ctx, c->req, &header));
    if (header.p && !sv_eq(header, c->id))
        return ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such user.");
    return ERR_NONE;
}

/* OpenAI's clients get ERR_NOT_FOUND for a malformed id too, as for an unknown one. */
static enum err read_names(struct api_call *c, unsigned takes)
{
    if (takes & (API_SESSION | API_THREAD))
        TRY(api_session_id(c->ctx, takes & API_THREAD ? "thread_id" : "session_id", &c->id));
    if (takes & API_CONVERSATION)
        TRY(session_id_valid(c->id)
                ? session_id_canonical(c->ctx, &c->id)
                : ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such conversation."));
    if (takes & API_PATH_USER)
        TRY(read_path_user(c));
    if (takes & API_MESSAGE)
        TRY(read_message_id(c->ctx, &c->sub_id));
    if (takes & API_ITEM)
        TRY(session_message_id_valid(c->sub_id)
                ? session_message_id_canonical(c->ctx, &c->sub_id)
                : ctx_fail(c->ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such item."));
    return ERR_NONE;
}

static enum err read_choice(struct api_call *c, const struct api_param *p, int64_t *out)
{
    const struct sv word = http_param_get(c->req, p->name);
    size_t index = 0;
    if (word.p)
        TRY(api_choice(c->ctx, "invalid_parameter", p->name, &NAMES(p->choices), word, &index));
    *out = (int64_t)index;
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
    if (takes & API_USER_HEADER)
        TRY(api_user(c->ctx, c->req, &c->precondition.user));
    if (takes & API_PRECONDITIONS)
        TRY(api_precondition(c->ctx, c->req, &c->precondition));
    if ((takes & API_CREATES) && c->precondition.if_match)
        return ctx_fail(c->ctx, ERR_INVALID, "invalid_header", "If-Match",
                        "The request creates a session, so there is nothing to match yet.");
    if (takes & API_IF_NONE_MATCH)
        TRY(http_condition_parse(c->ctx, "If-None-Match", http_header_get(c->req, "if-none-match"),
                                 false, &c->unless));
    if (!body)
        return ERR_NONE;
    TRY(api_body(c->ctx, c->req, body, &c->doc));
    c->body = (struct json_input){c->ctx, &c->doc, c->doc.nodes, ""};
    return ERR_NONE;
}

enum err api_session_delete(struct api_call *c)
{
    c->res->status = 204;
    return session_delete(c->sessions, c->ctx, c->id, &c->precondition, &c->receipt);
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
                         .sub_id = call->captures[1]};
    TRY(read_call(&c, &route->spec));
    TRY(route->spec.handler(&c));
    if (c.receipt.replayed)
        http_response_header(res, "Idempotent-Replayed", SV("true"));
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions and /v1/sessions/{id}. */
#include "native.h"

#include "parley/http/conditional.h"

static enum err answer_session(struct request_ctx *ctx, struct http_response *res, int status,
                               const struct session *session)
{
    struct jout j = api_begin(res, status);
    native_write_session(&j, session);
    return api_validator(
        ctx, res, session->degraded,
        http_etag_version(ctx->arena, session->generation, session->version, session->mark));
}

/* Whoever names a user in the header acts for that user: what is made belongs to him. */
static enum err owner_of_draft(struct request_ctx *ctx, const struct session_guard *guard,
                               struct session_draft *draft)
{
    if (!guard->user.p)
        return ERR_NONE;
    if (draft->user_id.p && !sv_eq(draft->user_id, guard->user))
        return ctx_fail(ctx, ERR_INVALID, "user_mismatch", "user_id",
                        "user_id is not the user that X-Parley-User names.");
    draft->user_id = guard->user;
    return ERR_NONE;
}

enum err native_session_create(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res)
{
    struct jdoc doc;
    struct session_draft draft;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    TRY(api_no_params(ctx, call->req));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_OPTIONAL, &doc));
    TRY(native_read_draft(ctx, &doc, SV_NONE, &draft));
    TRY(api_no_match(ctx, &guard));
    TRY(owner_of_draft(ctx, &guard, &draft));
    TRY(session_create(api_sessions(call), ctx, &draft, &guard, &session, &receipt));
    TRY(native_location(ctx, res, session.session_id, 0));
    api_replayed(res, &receipt);
    return answer_session(ctx, res, receipt.status, &session);
}

enum err native_session_put(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res)
{
    struct jdoc doc;
    struct session_draft draft;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(api_no_params(ctx, call->req));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_OPTIONAL, &doc));
    TRY(native_read_draft(ctx, &doc, id, &draft));
    TRY(owner_of_draft(ctx, &guard, &draft));
    TRY(session_get_or_create(api_sessions(call), ctx, &draft, &guard, &session, &receipt));
    if (receipt.created)
        TRY(native_location(ctx, res, session.session_id, 0));
    api_replayed(res, &receipt);
    return answer_session(ctx, res, receipt.status, &session);
}

/* With ?messages=0 the answer is the state, and its tag does not change with appends. */
static struct sv tag_of(struct request_ctx *ctx, const struct session *session, int64_t n)
{
    return n == 0 ? http_etag_state(ctx->arena, session->generation, session->state_version,
                                    session->state_mark)
                  : http_etag_version(ctx->arena, session->generation, session->version,
                                      session->mark);
}

enum err native_session_get(struct request_ctx *ctx, const struct http_call *call,
                            struct http_response *res)
{
    static const char *const params[] = {"messages", NULL};
    struct http_condition unless;
    struct session session;
    struct sv user;
    int64_t n = 0;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(http_params_only(ctx, call->req, params));
    TRY(http_param_i64(ctx, call->req, "messages", 0, SESSION_MESSAGES_MAX, SESSION_WINDOW, &n));
    TRY(api_user(ctx, call->req, &user));
    TRY(http_condition_parse(ctx, "If-None-Match", http_header_get(call->req, "if-none-match"),
                             false, &unless));
    TRY(session_get(api_sessions(call), ctx, id, user, (size_t)n, &session));
    struct sv tag = tag_of(ctx, &session, n);
    TRY(api_validator(ctx, res, session.degraded, tag));
    if (!session.degraded && unless.given && http_condition_has(&unless, tag)) {
        res->status = 304;
        return ERR_NONE;
    }
    struct jout j = api_begin(res, 200);
    native_write_session(&j, &session);
    return ERR_NONE;
}

enum err native_session_patch(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res)
{
    struct jdoc doc;
    struct session_patch patch;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(api_no_params(ctx, call->req));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_PATCH, &doc));
    TRY(native_read_patch(ctx, &doc, &patch));
    TRY(session_patch(api_sessions(call), ctx, id, &patch, &guard, &session, &receipt));
    api_replayed(res, &receipt);
    struct jout j = api_begin(res, 200);
    native_write_session(&j, &session);
    return api_etag(ctx, res, tag_of(ctx, &session, 0));
}

enum err native_session_delete(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res)
{
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(api_session_id(ctx, &id));
    TRY(api_no_params(ctx, call->req));
    TRY(api_no_body(ctx, call->req));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(session_delete(api_sessions(call), ctx, id, &guard, &receipt));
    api_replayed(res, &receipt);
    res->status = 204;
    return ERR_NONE;
}

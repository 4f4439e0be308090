/* SPDX-License-Identifier: MIT */
/* Handlers of /threads and /threads/{id}. */
#include "langgraph.h"

#include "parley/http/conditional.h"

/* What a write answers with has only the newest of its messages, or none: here are the others. The
 * write is done, so should this fail its answer comes without messages, and not as an error that
 * looks as if it was not. */
static bool complete(struct request_ctx *ctx, const struct http_call *call, struct sv user,
                     struct session *s)
{
    struct session whole;
    if (s->n_messages == (size_t)s->message_count)
        return true;
    enum err e = session_get_again(api_sessions(call), ctx, s->session_id, s->generation, user,
                                   SESSION_MESSAGES_MAX, &whole);
    ctx_clear_error(ctx);
    if (e != ERR_NONE)
        return false;
    s->messages = whole.messages;
    s->n_messages = whole.n_messages;
    return true;
}

static enum err answer_thread(struct request_ctx *ctx, struct http_response *res,
                              const struct session *s, bool messages)
{
    struct jout j = api_begin(res, 200);
    langgraph_write_thread(&j, s, LANGGRAPH_ALL | (messages ? LANGGRAPH_MESSAGES : 0));
    return api_validator(ctx, res, s->degraded,
                         http_etag_version(ctx->arena, s->generation, s->version, s->mark));
}

enum err langgraph_thread_create(struct request_ctx *ctx, const struct http_call *call,
                                 struct http_response *res)
{
    struct jdoc doc;
    struct session_draft draft;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    bool get_or_create;
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_OPTIONAL, &doc));
    TRY(langgraph_read_draft(ctx, &doc, &draft, &get_or_create));
    TRY(api_no_match(ctx, &guard));
    draft.user_id = guard.user;
    TRY(get_or_create
            ? session_get_or_create(api_sessions(call), ctx, &draft, &guard, &session, &receipt)
            : session_create(api_sessions(call), ctx, &draft, &guard, &session, &receipt));
    api_replayed(res, &receipt);
    return answer_thread(ctx, res, &session, complete(ctx, call, guard.user, &session));
}

enum err langgraph_thread_get(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res)
{
    struct session session;
    struct sv user, id = call->captures[0];
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_user(ctx, call->req, &user));
    TRY(session_get(api_sessions(call), ctx, id, user, SESSION_MESSAGES_MAX, &session));
    return answer_thread(ctx, res, &session, true);
}

enum err langgraph_thread_patch(struct request_ctx *ctx, const struct http_call *call,
                                struct http_response *res)
{
    struct jdoc doc;
    struct session_patch patch;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_PATCH, &doc));
    TRY(langgraph_read_patch(ctx, &doc, &patch));
    TRY(session_patch(api_sessions(call), ctx, id, &patch, &guard, &session, &receipt));
    api_replayed(res, &receipt);
    return answer_thread(ctx, res, &session, complete(ctx, call, guard.user, &session));
}

enum err langgraph_thread_delete(struct request_ctx *ctx, const struct http_call *call,
                                 struct http_response *res)
{
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(session_delete(api_sessions(call), ctx, id, &guard, &receipt));
    api_replayed(res, &receipt);
    res->status = 204;
    return ERR_NONE;
}

enum err langgraph_thread_copy(struct request_ctx *ctx, const struct http_call *call,
                               struct http_response *res)
{
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_guard(ctx, call->req, &guard));
    enum err e = session_copy(api_sessions(call), ctx, id, &guard, &session, &receipt);
    if (e == ERR_TIMEOUT)
        e = langgraph_too_slow(ctx, e, "copy_too_slow",
                               "The thread has more messages than there is time to copy; nothing "
                               "was changed.");
    if (e != ERR_NONE)
        return e;
    api_replayed(res, &receipt);
    return answer_thread(ctx, res, &session, true);
}

/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/conversations and /v1/conversations/{id}. */
#include "openai.h"

enum err openai_conversation_create(struct request_ctx *ctx, const struct http_call *call,
                                    struct http_response *res)
{
    const struct api_service *api = call->service;
    struct jdoc doc;
    struct openai_body body;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct session_draft draft = {.language = SV("en"), .sliding = true};
    TRY(openai_write_guard(ctx, call->req, &guard));
    TRY(api_no_match(ctx, &guard));
    TRY(openai_read_body(ctx, call->req, API_BODY_OPTIONAL, &doc, &body));
    if (body.items)
        TRY(openai_read_items(ctx, &doc, body.items, api->items_max, &draft.messages,
                              &draft.n_messages));
    draft.user_id = guard.user;
    draft.metadata = body.metadata ? body.metadata->raw : SV("{}");
    draft.context = body.context.p ? body.context : SV("{}");
    TRY(session_create(api->sessions, ctx, &draft, &guard, &session, &receipt));
    api_replayed(res, &receipt);
    return openai_answer_conversation(ctx, res, &session);
}

enum err openai_conversation_get(struct request_ctx *ctx, const struct http_call *call,
                                 struct http_response *res)
{
    struct session session;
    struct sv user, id = call->captures[0];
    TRY(openai_conversation_id(ctx, &id));
    TRY(api_no_params(ctx, call->req));
    TRY(api_user(ctx, call->req, &user));
    TRY(session_get(api_sessions(call), ctx, id, user, 0, &session));
    return openai_answer_conversation(ctx, res, &session);
}

/* Metadata as a whole in place of what was there; null: none. */
enum err openai_conversation_update(struct request_ctx *ctx, const struct http_call *call,
                                    struct http_response *res)
{
    struct jdoc doc;
    struct openai_body body;
    struct session_guard guard;
    struct session session;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(openai_conversation_id(ctx, &id));
    TRY(openai_write_guard(ctx, call->req, &guard));
    TRY(openai_read_body(ctx, call->req, API_BODY_REQUIRED, &doc, &body));
    if (!body.metadata_given)
        return ctx_fail(ctx, ERR_INVALID, "missing_field", "metadata", "metadata is missing.");
    if (body.items)
        return api_bad_field(ctx, "", "items", "are added at /items of the conversation.");
    const struct session_patch patch = {.context = body.context,
                                        .metadata = body.metadata ? body.metadata->raw : SV("{}"),
                                        .metadata_how = SESSION_PATCH_REPLACE};
    TRY(session_patch(api_sessions(call), ctx, id, &patch, &guard, &session, &receipt));
    api_replayed(res, &receipt);
    return openai_answer_conversation(ctx, res, &session);
}

enum err openai_conversation_delete(struct request_ctx *ctx, const struct http_call *call,
                                    struct http_response *res)
{
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv id = call->captures[0];
    TRY(openai_conversation_id(ctx, &id));
    TRY(openai_write_guard(ctx, call->req, &guard));
    TRY(session_delete(api_sessions(call), ctx, id, &guard, &receipt));
    api_replayed(res, &receipt);
    struct jout j = api_begin(res, 200);
    jout_object_open(&j);
    jout_key(&j, "id");
    openai_write_conversation_id(&j, id);
    jput_sv(&j, "object", SV("conversation.deleted"));
    jput_bool(&j, "deleted", true);
    jout_object_close(&j);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/conversations and /v1/conversations/{id}. */
#include "openai.h"

enum err openai_conversation_create(struct api_call *c)
{
    struct openai_body body;
    struct session_draft draft = {
        .user_id = c->precondition.user, .language = SV("en"), .sliding = true};
    TRY(openai_read_body(&c->body, &body));
    if (body.items)
        TRY(openai_read_items(&c->body, body.items, c->api->items_max, &draft.messages,
                              &draft.n_messages));
    draft.metadata = body.metadata;
    draft.context = body.context.p ? body.context : SV("{}");
    TRY(session_create(c->sessions, c->ctx, &draft, &c->precondition, &c->session, &c->receipt));
    return openai_answer_conversation(c);
}

enum err openai_conversation_get(struct api_call *c)
{
    TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, 0, &c->session));
    return openai_answer_conversation(c);
}

/* Replaces the metadata as a whole; null removes all of it. */
enum err openai_conversation_update(struct api_call *c)
{
    struct openai_body body;
    TRY(openai_read_body(&c->body, &body));
    if (!json_doc_member(&c->doc, c->body.node, SV("metadata"))) {
        /* Under a wrong base URL another part of the path is taken for the id. Then the answer is
         * that there is no such conversation. */
        TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, 0, &c->session));
        return api_missing_field(&c->body, "metadata");
    }
    if (body.items)
        return api_bad_field(&c->body, "items", "must be sent to /items of the conversation.");
    const struct session_patch patch = {
        .context = body.context, .metadata = body.metadata, .metadata_how = SESSION_PATCH_REPLACE};
    TRY(session_patch(c->sessions, c->ctx, &c->target, &patch, &c->session));
    return openai_answer_conversation(c);
}

enum err openai_conversation_delete(struct api_call *c)
{
    TRY(session_delete(c->sessions, c->ctx, &c->target));
    struct json_writer j = api_begin_object(c->res, 200);
    openai_put_id(&j, "id", SESSION_PREFIX, c->id);
    json_put_sv(&j, "object", SV("conversation.deleted"));
    json_put_bool(&j, "deleted", true);
    json_write_object_close(&j);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/* Handlers of what is done with messages later: a patch, a truncation, a fork, a summary. */
#include "native.h"

#include "parley/json/members.h"

enum err native_message_patch(struct api_call *c)
{
    struct session_message patch;
    struct sv message;
    TRY(native_read_message_patch(&c->body, &patch));
    TRY(session_message_patch(c->sessions, c->ctx, &c->target, c->message, &patch, &message));
    struct json_writer j = api_begin_object(c->res, 200);
    json_members_write(&j, message, NULL);
    json_put_time(&j, "edited_at", c->receipt.at);
    json_write_object_close(&j);
    return api_set_etag_receipt(c);
}

const struct api_param native_truncate_params[] = {{"after", 0, INT64_MAX, -1, {NULL}},
                                                   {.name = NULL}};

enum err native_messages_truncate(struct api_call *c)
{
    const struct session_receipt *r = &c->receipt;
    if (c->params[0] < 0)
        return ctx_fail(
            c->ctx, ERR_INVALID, "invalid_parameter", "after",
            "after is missing. It is the seq of the last message to keep; 0 removes all "
            "messages.");
    TRY(session_truncate(c->sessions, c->ctx, &c->target, c->params[0]));
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_sv(&j, "session_id", r->session_id);
    json_put_i64(&j, "messages_deleted", r->first_seq);
    json_put_i64(&j, "message_count", r->message_count);
    json_put_i64(&j, "version", r->version);
    json_put_i64(&j, "state_version", r->state_version);
    json_put_time(&j, "expires_at", r->expires_at);
    json_write_object_close(&j);
    return api_set_etag_receipt(c);
}

/* A record has no messages. So a replay reads those that were copied, as they are now. */
static void read_copied(struct api_call *c)
{
    struct session *s = &c->session;
    const struct session_page_query copied = {.before = s->last_seq + 1, .limit = SESSION_NEWEST};
    struct session_page page;
    if (session_page(c->sessions, c->ctx, s->session_id, c->precondition.user, &copied, &page) ==
            ERR_NONE &&
        page.stamp.generation == s->generation) {
        s->messages = arena_array(c->ctx->arena, page.n, sizeof(*s->messages));
        s->n_messages = s->messages ? page.n : 0;
        for (size_t i = 0; i < s->n_messages; i++)
            s->messages[i] = page.messages[page.n - 1 - i];
    }
    ctx_clear_error(c->ctx);
}

enum err native_session_fork(struct api_call *c)
{
    struct session_fork fork;
    TRY(native_read_fork(&c->body, c->precondition.user, &fork));
    TRY(session_copy(c->sessions, c->ctx, &c->target, &fork, &c->session));
    if (c->receipt.replayed)
        read_copied(c);
    TRY(native_location(c, c->session.session_id, 0));
    return native_answer_session(c, 201, SESSION_NEWEST);
}

/* last_seq becomes out->seq. */
static enum err read_summary(const struct json_input *body, struct session_message *out)
{
    static const struct json_field fields[] = {
        {"content", JSON_ANY_TEXT, 0, offsetof(struct session_message, content), 0, 0},
        {"last_seq", JSON_I64, JSON_REQUIRED, offsetof(struct session_message, seq), 1, INT64_MAX},
        {"tokens", JSON_I64_TEXT, JSON_NULLABLE, offsetof(struct session_message, tokens), 0,
         INT32_MAX}};
    *out = (struct session_message){.seq = 0};
    TRY(json_read(body, fields, JSON_REFUSED, out));
    return api_check_content(body, &out->content);
}

/* PUT and DELETE. What was sent and the receipt are all of the answer: a replay gives the same. */
enum err native_summary_change(struct api_call *c)
{
    const bool deletes = c->req->method == HTTP_DELETE;
    struct session_message summary;
    const struct session_receipt *r = &c->receipt;
    if (!deletes)
        TRY(read_summary(&c->body, &summary));
    TRY(session_summary_change(c->sessions, c->ctx, &c->target, deletes ? NULL : &summary));
    if (deletes)
        return ERR_NONE;
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_sv(&j, "session_id", r->session_id);
    json_put_i64(&j, "version", r->version);
    json_put_i64(&j, "state_version", r->state_version);
    json_put_object(&j, "summary");
    json_put_i64(&j, "last_seq", summary.seq);
    json_put_raw(&j, "content", summary.content);
    json_put_raw(&j, "tokens", summary.tokens);
    json_put_bool(&j, "stale", false);
    json_put_time(&j, "created_at", r->at);
    json_write_object_close(&j);
    json_write_object_close(&j);
    return api_set_etag_receipt(c);
}

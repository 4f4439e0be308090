/* SPDX-License-Identifier: MIT */
/*
 * Handlers of /threads, /threads/{id} and its state. A thread has one checkpoint, its current
 * state. The id is made of the session's generation and mark, so an update that names a checkpoint
 * is a compare-and-set.
 */
#include "langgraph.h"

#include <inttypes.h>
#include <stdio.h>

/* Clients take the messages of an answer for all messages of the thread. So it is an error if they
 * do not fit into one answer. */
static enum err read_thread(struct api_call *c)
{
    const struct session *s = &c->session;
    TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, SESSION_THREAD_MAX,
                    &c->session));
    if (s->n_messages == (size_t)s->message_count)
        return ERR_NONE;
    return ctx_fail(
        c->ctx, ERR_TOO_LARGE, "thread_too_large", NULL,
        "%" PRId64 " messages do not fit into one answer (at most %d, and "
        "PARLEY_PAGE_BYTES). GET /v1/sessions/{thread_id}/messages reads them in pages.",
        s->message_count, SESSION_THREAD_MAX);
}

/* Reads all messages that the thread had after a write, which returned the newest ones or none.
 * False: they do not fit, one was removed since, or the read failed. */
static bool read_messages(struct api_call *c)
{
    struct session *s = &c->session;
    const struct session_page_query all = {
        .before = s->last_seq + 1, .limit = SESSION_THREAD_MAX, .ascending = true};
    struct session_page page;
    if (s->n_messages == (size_t)s->message_count)
        return true;
    const enum err e =
        session_page(c->sessions, c->ctx, s->session_id, c->precondition.user, &all, &page);
    ctx_clear_error(c->ctx);
    s->messages = page.messages;
    s->n_messages = page.n;
    return e == ERR_NONE && page.stamp.generation == s->generation &&
           page.n == (size_t)s->message_count;
}

/* After a write. The write is done, so a failure to read its messages is no error: values is null
 * then. Values without messages would look like an empty thread. */
static enum err answer_write(struct api_call *c)
{
    const bool whole = read_messages(c);
    struct json_writer j = api_begin(c->res, 200);
    langgraph_write_thread(c->ctx, &j, &c->session,
                           LANGGRAPH_ALL | (whole ? LANGGRAPH_MESSAGES : LANGGRAPH_UNREAD));
    return api_set_etag_session(c, 'v');
}

enum err langgraph_thread_create(struct api_call *c)
{
    struct session_draft draft;
    bool get_or_create;
    TRY(langgraph_read_draft(&c->body, &draft, &get_or_create));
    draft.user_id = c->precondition.user;
    TRY((get_or_create ? session_get_or_create : session_create)(
        c->sessions, c->ctx, &draft, &c->precondition, &c->session, &c->receipt));
    return answer_write(c);
}

enum err langgraph_thread_get(struct api_call *c)
{
    TRY(read_thread(c));
    struct json_writer j = api_begin(c->res, 200);
    langgraph_write_thread(c->ctx, &j, &c->session, LANGGRAPH_ALL | LANGGRAPH_MESSAGES);
    return api_set_etag_session(c, 'v');
}

enum err langgraph_thread_patch(struct api_call *c)
{
    struct session_patch patch;
    TRY(langgraph_read_patch(&c->body, &patch));
    TRY(session_patch(c->sessions, c->ctx, &c->target, &patch, &c->session));
    return answer_write(c);
}

enum err langgraph_too_slow(struct request_ctx *ctx, enum err e, const char *code,
                            const char *detail)
{
    if (e != ERR_TIMEOUT)
        return e;
    ctx_clear_error(ctx);
    return ctx_fail(ctx, e, code, NULL, "%s", detail);
}

enum err langgraph_thread_copy(struct api_call *c)
{
    const struct session_fork whole = {.last_seq = -1};
    enum err e = session_copy(c->sessions, c->ctx, &c->target, &whole, &c->session);
    TRY(langgraph_too_slow(c->ctx, e, "copy_too_slow",
                           "The thread has more messages than can be copied in time; nothing was "
                           "changed."));
    return answer_write(c);
}

/* ---- state ---- */

/* The current state; c->sub_id, if given, must name its checkpoint. */
enum err langgraph_state_get(struct api_call *c)
{
    char current[UUID_LEN + 1];
    TRY(read_thread(c));
    langgraph_checkpoint_id(c->session.generation, c->session.mark, current);
    if (c->sub_id.p && !sv_eq(c->sub_id, sv_from(current)))
        return ctx_fail(
            c->ctx, ERR_NOT_FOUND, "no_such_checkpoint", "checkpoint_id",
            "This is not the current checkpoint of the thread, and parley keeps no other.");
    struct json_writer j = api_begin(c->res, 200);
    langgraph_write_state(c->ctx, &j, &c->session);
    return api_set_etag_session(c, 'v');
}

enum err langgraph_state_find(struct api_call *c)
{
    TRY(langgraph_read_checkpoint(&c->body, &c->sub_id));
    return langgraph_state_get(c);
}

/* Turns the checkpoint of an update into If-Match. An id of another origin matches nothing. */
static enum err add_if_match(struct request_ctx *ctx, struct sv checkpoint, struct sv *tag,
                             struct session_precondition *precondition)
{
    uint64_t generation, mark;
    if (!checkpoint.p)
        return ERR_NONE;
    if (precondition->if_match)
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "If-Match",
                        "The checkpoint in the body is the precondition already.");
    *tag = uuid_v8_unpack(checkpoint, &generation, &mark)
               ? arena_printf(ctx->arena, "%" PRIu64 ".c%" PRIu64, generation, mark)
               : SV("none");
    precondition->if_match = tag;
    precondition->n_if_match = 1;
    return tag->p ? ERR_NONE : ctx_nomem(ctx);
}

/* Names the field and the precondition as the request did. */
static enum err update_failed(struct request_ctx *ctx, enum err e, struct sv checkpoint,
                              const struct langgraph_values *values, size_t at)
{
    if (at < values->n)
        snprintf(ctx->err.field, sizeof(ctx->err.field), "values.messages[%zu].id",
                 values->indexes[at]);
    if (e != ERR_PRECONDITION || !checkpoint.p)
        return e;
    ctx_clear_error(ctx);
    return ctx_fail(ctx, e, "version_conflict", "checkpoint_id",
                    "The thread has changed since this checkpoint.");
}

enum err langgraph_state_update(struct api_call *c)
{
    struct langgraph_values values = {.fresh = false};
    struct sv checkpoint = SV_NONE, context, tag;
    size_t at = SESSION_MESSAGES_MAX;
    TRY(langgraph_read_update(&c->body, &values, &checkpoint));
    TRY(langgraph_values_context(c->ctx, &values, &context));
    TRY(add_if_match(c->ctx, checkpoint, &tag, &c->precondition));
    const struct session_update update = {values.messages, values.edits, values.n,
                                          values.clear,    context,      0};
    enum err e = session_update(c->sessions, c->ctx, &c->target, &update, &at);
    if (e != ERR_NONE)
        return update_failed(c->ctx, e, checkpoint, &values, at);
    struct json_writer j = api_begin(c->res, 200);
    langgraph_write_updated(&j, &c->receipt);
    return api_set_etag_receipt(c);
}

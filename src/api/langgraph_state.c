/* SPDX-License-Identifier: MIT */
/*
 * Handlers of /threads/{id}/state. The one checkpoint that a thread has is the state it is in: its
 * id is made of the session's generation and mark, so an update that names it is a compare-and-set.
 */
#include "langgraph.h"

#include <inttypes.h>
#include <stdio.h>

#include "parley/base/uuid.h"
#include "parley/http/conditional.h"

static bool is_current(struct sv checkpoint, const struct session *s)
{
    char id[UUID_LEN + 1];
    langgraph_checkpoint_id(s->generation, s->mark, id);
    return sv_eq(checkpoint, sv_from(id));
}

/* checkpoint: absent for whatever is current. */
static enum err answer_state(struct request_ctx *ctx, const struct http_call *call,
                             struct sv checkpoint, struct http_response *res)
{
    struct session s;
    struct sv user, id = call->captures[0];
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_user(ctx, call->req, &user));
    TRY(session_get(api_sessions(call), ctx, id, user, SESSION_MESSAGES_MAX, &s));
    if (checkpoint.p && !is_current(checkpoint, &s))
        return ctx_fail(
            ctx, ERR_NOT_FOUND, "no_such_checkpoint", "checkpoint_id",
            "This is not the current checkpoint of the thread, and parley keeps no other.");
    struct jout j = api_begin(res, 200);
    langgraph_write_state(&j, &s);
    return api_validator(ctx, res, s.degraded,
                         http_etag_version(ctx->arena, s.generation, s.version, s.mark));
}

enum err langgraph_state_get(struct request_ctx *ctx, const struct http_call *call,
                             struct http_response *res)
{
    return answer_state(ctx, call, SV_NONE, res);
}

enum err langgraph_state_get_at(struct request_ctx *ctx, const struct http_call *call,
                                struct http_response *res)
{
    return answer_state(ctx, call, call->captures[1], res);
}

enum err langgraph_state_find(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res)
{
    struct jdoc doc;
    struct sv checkpoint = SV_NONE;
    TRY(api_body(ctx, call->req, API_BODY_REQUIRED, &doc));
    TRY(langgraph_read_checkpoint(ctx, &doc, &checkpoint));
    return answer_state(ctx, call, checkpoint, res);
}

/* The checkpoint of an update as If-Match has it; one that is no checkpoint of ours matches none.
 */
static enum err expect(struct request_ctx *ctx, struct sv checkpoint, struct sv *tag,
                       struct session_guard *guard)
{
    uint64_t generation, mark;
    if (!checkpoint.p)
        return ERR_NONE;
    if (guard->if_match)
        return ctx_fail(ctx, ERR_INVALID, "invalid_header", "If-Match",
                        "The checkpoint says what must match.");
    *tag = uuid_v8_unpack(checkpoint, &generation, &mark)
               ? arena_printf(ctx->arena, "%" PRIu64 ".c%" PRIu64, generation, mark)
               : SV("none");
    guard->if_match = tag;
    guard->n_if_match = 1;
    return tag->p ? ERR_NONE : ctx_nomem(ctx);
}

/* Says it in the words of the request. */
static enum err update_failed(struct request_ctx *ctx, enum err e, struct sv checkpoint,
                              const struct langgraph_values *values, size_t at)
{
    if (at < values->n)
        snprintf(ctx->err.field, sizeof(ctx->err.field), "values.messages[%zu].id",
                 values->places[at]);
    if (e != ERR_PRECONDITION || !checkpoint.p)
        return e;
    ctx_clear_error(ctx);
    return ctx_fail(ctx, e, "version_conflict", "checkpoint_id",
                    "The thread has changed since this checkpoint.");
}

enum err langgraph_state_update(struct request_ctx *ctx, const struct http_call *call,
                                struct http_response *res)
{
    struct jdoc doc;
    struct langgraph_values values = {.fresh = false};
    struct session_guard guard;
    struct session_receipt receipt;
    struct sv checkpoint = SV_NONE, context, tag, id = call->captures[0];
    size_t at = SESSION_MESSAGES_MAX;
    TRY(langgraph_thread_id(ctx, &id));
    TRY(api_guard(ctx, call->req, &guard));
    TRY(api_body(ctx, call->req, API_BODY_REQUIRED, &doc));
    TRY(langgraph_read_update(ctx, &doc, &values, &checkpoint));
    TRY(langgraph_values_context(ctx, &values, &context));
    TRY(expect(ctx, checkpoint, &tag, &guard));
    const struct session_update update = {values.messages, values.edits, values.n, values.clear,
                                          context};
    enum err e = session_update(api_sessions(call), ctx, id, &update, &guard, &receipt, &at);
    if (e != ERR_NONE)
        return update_failed(ctx, e, checkpoint, &values, at);
    api_replayed(res, &receipt);
    struct jout j = api_begin(res, 200);
    langgraph_write_updated(&j, &receipt);
    return api_etag(
        ctx, res, http_etag_version(ctx->arena, receipt.generation, receipt.version, receipt.mark));
}

/* SPDX-License-Identifier: MIT */
/*
 * An update: puts and removes messages by their ids and replaces members of the context, in one
 * change. Messages alone take one round trip. With a context, the state is read first, and all of
 * it is stored only if no other request has changed the state since.
 */
#include "session_internal.h"

#include "parley/json/members.h"

static enum err try_update(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base)
{
    struct sv context = base->context;
    TRY(session_patch_member(s, ctx, "context", &context, w->update->context,
                             SESSION_PATCH_OVERLAY));
    return sql_session_edit(s, ctx, w, base, sv_eq(context, base->context) ? SV_NONE : context);
}

static enum err change_by_update(struct sessions *s, struct request_ctx *ctx,
                                 struct session_write *w)
{
    w->fault = 0;
    return w->update->context.p ? session_change_state(s, ctx, w)
                                : sql_session_edit(s, ctx, w, NULL, SV_NONE);
}

enum err session_update(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        const struct session_update *update,
                        const struct session_precondition *precondition,
                        struct session_receipt *receipt, size_t *at)
{
    struct session_write w = {.id = id,
                              .update = update,
                              .change = try_update,
                              .precondition = precondition,
                              .receipt = receipt};
    *at = SESSION_MESSAGES_MAX;
    const enum err e = session_write_uncached(s, ctx, &w, change_by_update);
    if (e != ERR_NOT_FOUND)
        return e;
    if (w.fault == 0)
        return session_write_refused(s, ctx, &w);
    *at = w.fault - 1;
    if (update->edits[*at] == SESSION_REMOVE)
        return ctx_fail(ctx, ERR_INVALID, "no_such_message", "message_id",
                        "There is no message with this id to remove.");
    return ctx_fail(ctx, ERR_CONFLICT, "message_id_taken", "message_id",
                    "This id is reserved for a later message of the session.");
}

/* SPDX-License-Identifier: MIT */
/*
 * An update: messages put and removed by their ids, and members of the context replaced, in one
 * change. Messages alone are one round trip; a context is read before, and stored if nobody has
 * changed the state since, with the messages beside it or not at all.
 */
#include "session_internal.h"

#include "parley/json/merge.h"

struct update_args {
    struct sv id;
    const struct session_update *update;
    const struct session_guard *guard;
    size_t fault; /* of the last try; see repo_session_edit */
};

static enum err try_update(struct sessions *s, struct request_ctx *ctx, void *arg,
                           const struct session *base, bool *done, struct session_receipt *receipt)
{
    struct update_args *a = arg;
    struct values_change change = {a->update, base, base->context};
    TRY(session_patch_member(s, ctx, "context", &change.context, a->update->context,
                             SESSION_PATCH_OVERLAY));
    if (sv_eq(change.context, base->context))
        change.context = SV_NONE;
    return repo_session_edit(s, ctx, a->id, &change, a->guard, done, receipt, &a->fault);
}

static enum err attempt_update(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                               struct session_receipt *receipt)
{
    struct update_args *a = arg;
    const struct values_change change = {a->update, NULL, SV_NONE};
    a->fault = 0;
    if (a->update->context.p)
        return session_change_state(s, ctx, a->id, a->guard, try_update, a, done, receipt);
    return repo_session_edit(s, ctx, a->id, &change, a->guard, done, receipt, &a->fault);
}

enum err session_update(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        const struct session_update *update, const struct session_guard *guard,
                        struct session_receipt *receipt, size_t *at)
{
    struct update_args args = {id, update, guard, 0};
    *at = SESSION_MESSAGES_MAX;
    const enum err e = write_session(s, ctx, id, guard, attempt_update, &args, receipt, NULL);
    if (e != ERR_NOT_FOUND)
        return e;
    if (args.fault == 0)
        return write_refused(s, ctx, id, guard);
    *at = args.fault - 1;
    if (update->edits[*at] == SESSION_REMOVE)
        return ctx_fail(ctx, ERR_INVALID, "no_such_message", "message_id",
                        "There is no message with this id to remove.");
    return ctx_fail(ctx, ERR_CONFLICT, "message_id_taken", "message_id",
                    "A message that is yet to come will have this id.");
}

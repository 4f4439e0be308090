/* SPDX-License-Identifier: MIT */
/*
 * Idempotent writes. The statement that makes a change also stores the request's key, so the
 * idempotency record exists exactly when the change does. A write looks the record up only if it
 * had no effect: the statement failed because the key was taken, or its condition no longer holds
 * because an earlier request made the change.
 */
#include "session_internal.h"

#include <string.h>

#include "parley/json/doc.h"
#include "parley/json/members.h"

enum err session_write_idempotent(struct sessions *s, struct request_ctx *ctx,
                                  struct session_write *w, session_write_fn *try)
{
    /* Twice: sql_key_read deletes a key that is over 24 h old. */
    for (int tries = 0; tries < 2; tries++) {
        w->done = false;
        memset(w->receipt, 0, sizeof(*w->receipt));
        const bool exceeds = (int64_t)w->drafts.n > s->settings.messages_max;
        enum err e = exceeds ? session_full(s, ctx) : try(s, ctx, w);
        /* A change of what is stored may be refused because an earlier request made it. */
        const bool refused = exceeds || e == ERR_CONFLICT || e == ERR_INVALID || e == ERR_TOO_LARGE;
        if (w->done || (e != ERR_NONE && !refused))
            return e;
        if (e == ERR_NONE)
            e = ERR_NOT_FOUND;
        if (!w->precondition->key.p)
            return e;
        const struct err_info why = ctx->err;
        ctx_clear_error(ctx);
        const enum err looked_up = sql_key_read(s, ctx, w);
        if (looked_up == ERR_NONE && s->slot)
            metrics_add(&s->slot->replays, 1);
        if (looked_up != ERR_NOT_FOUND)
            return looked_up;
        ctx->err = why;
        const bool taken = e == ERR_CONFLICT && why.slug && strcmp(why.slug, "key_taken") == 0;
        if (!taken && !w->key_expired)
            return e;
        ctx_clear_error(ctx);
    }
    return ctx_fail(ctx, ERR_BUSY, NULL, "Idempotency-Key",
                    "Another request with this key is under way.");
}

enum err session_write_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w)
{
    struct session session;
    const struct sv id = w->from.p ? w->from : w->id;
    enum err e = sql_session_read(s, ctx, id, w->precondition->user, 0, &session);
    /* Without If-Match the write found no session; if there is one now, it was made since. */
    if (e == ERR_NOT_FOUND || (e == ERR_NONE && !w->precondition->if_match))
        return session_not_found(ctx);
    TRY(e);
    return ctx_fail(ctx, ERR_PRECONDITION, "version_conflict", "If-Match",
                    "The session has changed: its version is %lld, its state_version %lld.",
                    (long long)session.version, (long long)session.state_version);
}

enum err session_write_uncached(struct sessions *s, struct request_ctx *ctx,
                                struct session_write *w, session_write_fn *try)
{
    struct fresh_write fresh;
    TRY(fresh_write_begin(s, ctx, w->id, &fresh));
    enum err e = session_write_idempotent(s, ctx, w, try);
    fresh_write_end(s, ctx, &fresh, e, NULL);
    return e == ERR_NOT_FOUND && w->fault == 0 ? session_write_refused(s, ctx, w) : e;
}

/* ---- the state that a record keeps for a replay, see SQL_STATE ---- */

static enum err decode_string(struct request_ctx *ctx, struct sv raw, struct sv *out)
{
    const struct json_node node = {.type = JSON_IS_STRING, .raw = raw};
    *out = SV_NONE;
    return raw.p && raw.p[0] == '"' ? json_doc_string(ctx, &node, "", out) : ERR_NONE;
}

/* Not with json_doc_parse, whose limits are for one request: several requests made the state, and
 * an interface may have put their members one level deeper. */
static enum err decode_state(struct request_ctx *ctx, struct sv state, struct session *out)
{
    *out = (struct session){.context = json_member_get(state, "context"),
                            .summary = json_member_get(state, "summary"),
                            .forked_from = json_member_get(state, "forked_from"),
                            .metadata = json_member_get(state, "metadata"),
                            .sliding = sv_eq(json_member_get(state, "sliding"), SV("true"))};
    if (!sv_to_i64(json_member_get(state, "ttl_seconds"), &out->ttl_seconds) || !out->context.p ||
        !out->metadata.p)
        return ctx_fault(ctx, ERR_INTERNAL, "an idempotency record cannot be read");
    TRY(decode_string(ctx, json_member_get(state, "user_id"), &out->user_id));
    return decode_string(ctx, json_member_get(state, "language"), &out->language);
}

enum err session_of_record(struct sessions *s, struct request_ctx *ctx,
                           const struct session_write *w, struct session *out)
{
    const struct session_receipt *r = w->receipt;
    if (!w->state.p) {
        /* An earlier release kept none; the sweeper removes that of a deleted session. */
        TRY(session_get(s, ctx, r->session_id, w->precondition->user, 0, out));
        return out->generation == r->generation ? ERR_NONE : session_not_found(ctx);
    }
    TRY(decode_state(ctx, w->state, out));
    out->session_id = r->session_id;
    sql_apply_receipt(out, r);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * Idempotent writes. The statement that makes a change also stores the request's key, so the
 * idempotency record exists exactly when the change does. A write looks the record up only if it
 * had no effect: the statement failed because the key was taken, or its condition no longer holds
 * because an earlier request made the change.
 */
#include "session_internal.h"

#include <string.h>

static bool is_key_taken(const struct request_ctx *ctx, enum err e)
{
    return e == ERR_CONFLICT && ctx->err.slug && strcmp(ctx->err.slug, "key_taken") == 0;
}

enum err session_write_idempotent(struct sessions *s, struct request_ctx *ctx,
                                  struct session_write *w, session_write_fn *try)
{
    /* Twice: sql_key_read deletes a key that is over 24 h old. */
    for (int tries = 0; tries < 2; tries++) {
        w->done = false;
        memset(w->receipt, 0, sizeof(*w->receipt));
        enum err e = try(s, ctx, w);
        if (w->done || (e != ERR_NONE && e != ERR_CONFLICT))
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
        if (!is_key_taken(ctx, e))
            return e;
        ctx_clear_error(ctx);
    }
    ctx->err.retry_after_s = 1;
    return ctx_fail(ctx, ERR_BUSY, NULL, "Idempotency-Key",
                    "Another request with this key is under way.");
}

enum err session_write_uncached(struct sessions *s, struct request_ctx *ctx,
                                struct session_write *w, session_write_fn *try)
{
    struct fresh_write fresh;
    TRY(fresh_write_begin(s, ctx, w->id, &fresh));
    enum err e = session_write_idempotent(s, ctx, w, try);
    fresh_write_end(s, ctx, &fresh, e, NULL);
    return e;
}

enum err session_write_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w)
{
    struct session session;
    enum err e = sql_session_read(s, ctx, w->id, w->precondition->user, 0, &session);
    /* Without If-Match the write found no session; if there is one now, it was made since. */
    if (e == ERR_NOT_FOUND || (e == ERR_NONE && !w->precondition->if_match))
        return session_not_found(ctx);
    TRY(e);
    return ctx_fail(ctx, ERR_PRECONDITION, "version_conflict", "If-Match",
                    "The session has changed: its version is %lld, its state_version %lld.",
                    (long long)session.version, (long long)session.state_version);
}

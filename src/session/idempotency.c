/* SPDX-License-Identifier: MIT */
/*
 * Writes that have their effect once. The key of a request is stored by the statement that makes
 * its change, so it is there exactly when the change is. It is looked up only when a write did
 * nothing: because the key was taken (the statement failed on it), or because the change had been
 * made before and its condition no longer holds.
 */
#include "session_internal.h"

#include <string.h>

/* ERR_NOT_FOUND without words: none is stored under the key. */
static enum err stored_answer(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct stored_answer stored;
    TRY(sql_key_read(s, ctx, w->precondition, &stored));
    if (!stored.found)
        return ERR_NOT_FOUND;
    if (!stored.matches)
        return ctx_fail(ctx, ERR_KEY_REUSED, NULL, "Idempotency-Key",
                        "The key was used before with another request.");
    if (s->slot)
        metrics_add(&s->slot->replays, 1);
    *w->receipt = stored.receipt;
    w->state = stored.state;
    return ERR_NONE;
}

static bool is_key_taken(const struct request_ctx *ctx, enum err e)
{
    return e == ERR_CONFLICT && ctx->err.slug && strcmp(ctx->err.slug, "key_taken") == 0;
}

enum err write_idempotent(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                          session_write_fn *try)
{
    /* Twice: a key that was in the way may turn out to be over 24 h old, and is gone then. */
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
        const enum err looked_up = stored_answer(s, ctx, w);
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
    enum err e = write_idempotent(s, ctx, w, try);
    fresh_write_end(s, ctx, &fresh, e, NULL);
    return e;
}

enum err session_write_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w)
{
    struct session session;
    enum err e = sql_session_read(s, ctx, w->id, w->precondition->user, 0, &session);
    /* Without If-Match: the write found no session. Another request has made one since. */
    if (e == ERR_NOT_FOUND || (e == ERR_NONE && !w->precondition->if_match))
        return session_not_found(ctx);
    if (e != ERR_NONE)
        return e;
    return ctx_fail(ctx, ERR_PRECONDITION, "version_conflict", "If-Match",
                    "The session has changed: its version is %lld, its state_version %lld.",
                    (long long)session.version, (long long)session.state_version);
}

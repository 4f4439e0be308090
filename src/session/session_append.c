/* SPDX-License-Identifier: MIT */
/*
 * Appending: one round trip that numbers the messages, stores them and remembers the key, and, if
 * asked to, makes the session before and reads the newest window after. No precondition is needed,
 * and the session's row is the only thing locked.
 */
#include "session_internal.h"

struct append_args {
    struct sv id;
    const struct session_append *append;
    const struct session_guard *guard;
};

static enum err attempt_append(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                               struct session_receipt *receipt)
{
    const struct append_args *a = arg;
    return repo_message_append(s, ctx, a->id, a->append, a->guard, done, receipt);
}

/* The answer of a replay has the window as it is now: the messages of then are in it or before it.
 */
static enum err window_again(struct sessions *s, struct request_ctx *ctx, struct sv id,
                             const struct session_guard *guard, size_t n,
                             struct session_receipt *receipt)
{
    struct session session;
    enum err e = repo_session_read(s, ctx, id, guard->user, n, &session);
    if (e == ERR_NOT_FOUND) {
        /* Deleted since: the answer stands, its window is empty. */
        ctx_clear_error(ctx);
        return ERR_NONE;
    }
    if (e != ERR_NONE || session.generation != receipt->generation)
        return e;
    receipt->window = session.messages;
    receipt->n_window = session.n_messages;
    return ERR_NONE;
}

/* Why nothing was appended. */
static enum err append_refused(struct sessions *s, struct request_ctx *ctx, struct sv id,
                               const struct session_append *append,
                               const struct session_guard *guard)
{
    struct session session;
    uint64_t generation, seq;
    enum err e = repo_session_read(s, ctx, id, SV_NONE, 0, &session);
    const bool own = e == ERR_NONE && session_user_matches(&session, guard->user);
    for (size_t i = 0; own && i < append->n_messages; i++) {
        struct sv given = append->messages[i].message_id;
        if (given.p && uuid_v8_unpack(given, &generation, &seq) &&
            generation == (uint64_t)session.generation)
            return ctx_fail(ctx, ERR_CONFLICT, "message_id_taken", "message_id",
                            "A message of this session has this message_id already.");
    }
    ctx_clear_error(ctx);
    if (append->create && !guard->if_match && (own || e == ERR_NOT_FOUND)) {
        /* It was there when it would have been made, and gone when its row was to be locked. */
        ctx->err.retry_after_s = 1;
        return ctx_fail(ctx, ERR_BUSY, NULL, "session_id", "The session was being deleted.");
    }
    return write_refused(s, ctx, id, guard);
}

enum err session_append(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        const struct session_append *append, const struct session_guard *guard,
                        struct session_receipt *receipt)
{
    struct append_args args = {id, append, guard};
    struct fresh_write w;
    struct session now;
    TRY(fresh_write_begin(s, ctx, id, &w));
    enum err e = write_once(s, ctx, guard, attempt_append, &args, receipt, NULL);
    bool known = e == ERR_NONE && !receipt->replayed &&
                 fresh_after_append(s, ctx, &w, append, receipt, &now);
    fresh_write_end(s, ctx, &w, e, known ? &now : NULL);
    if (e == ERR_NOT_FOUND)
        return append_refused(s, ctx, id, append, guard);
    if (e == ERR_NONE && receipt->replayed && append->return_n > 0)
        return window_again(s, ctx, id, guard, append->return_n, receipt);
    return e;
}

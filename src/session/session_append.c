/* SPDX-License-Identifier: MIT */
/*
 * Appending: one round trip numbers the messages, stores them and stores the idempotency record. If
 * asked to, it also makes the session first and reads the newest messages last. It needs no
 * precondition and locks only the session's row.
 */
#include "session_internal.h"

/* A replay returns the messages of the first answer's window. Those deleted since are missing. */
static enum err reread_window(struct sessions *s, struct request_ctx *ctx,
                              const struct session_write *w)
{
    struct session_receipt *r = w->receipt;
    int64_t first;
    if (!sv_to_i64(w->state, &first))
        first = 1; /* an earlier release kept none */
    const struct session_page_query query = {
        .after = first - 1, .before = r->last_seq + 1, .limit = w->append->return_n};
    struct session_page page = {.n = 0};
    enum err e = sql_message_page(s, ctx, w->id, w->precondition->user, &query, &page);
    if (e == ERR_NOT_FOUND) {
        /* Deleted since: the answer stays, without messages. */
        ctx_clear_error(ctx);
        return ERR_NONE;
    }
    if (e != ERR_NONE || page.generation != r->generation)
        return e;
    for (size_t i = 0; i < page.n / 2; i++) {
        const struct session_message m = page.messages[i];
        page.messages[i] = page.messages[page.n - 1 - i];
        page.messages[page.n - 1 - i] = m;
    }
    r->window = page.messages;
    r->n_window = page.n;
    return ERR_NONE;
}

/* Why nothing was appended. */
static enum err append_refused(struct sessions *s, struct request_ctx *ctx,
                               const struct session_write *w)
{
    const struct session_append *append = w->append;
    struct session session;
    uint64_t generation, seq;
    enum err e = sql_session_read(s, ctx, w->id, SV_NONE, 0, &session);
    const bool own = e == ERR_NONE && session_user_matches(&session, w->precondition->user);
    for (size_t i = 0; own && i < append->n_messages; i++) {
        struct sv given = append->messages[i].message_id;
        if (given.p && uuid_v8_unpack(given, &generation, &seq) &&
            generation == (uint64_t)session.generation)
            return session_message_id_taken(ctx, append->messages, append->n_messages, i);
    }
    ctx_clear_error(ctx);
    /* The session existed, so the append did not create it, and was deleted before the append. */
    if (append->create && !w->precondition->must_exist && (own || e == ERR_NOT_FOUND))
        return session_being_deleted(ctx);
    /* Where nothing is created, this is ERR_NOT_FOUND (RFC 9110, section 13.2.1). */
    if (append->create && (e == ERR_NOT_FOUND || (own && !w->precondition->if_match)))
        return ctx_fail(ctx, ERR_PRECONDITION, NULL, "If-Match",
                        "There is no such session, so If-Match does not hold.");
    return session_write_refused(s, ctx, w);
}

enum err session_append(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        const struct session_append *append,
                        const struct session_precondition *precondition,
                        struct session_receipt *receipt)
{
    struct session_write w = {
        .id = id, .append = append, .precondition = precondition, .receipt = receipt};
    struct fresh_write fresh;
    struct session now;
    TRY(fresh_write_begin(s, ctx, id, &fresh));
    enum err e = session_write_idempotent(s, ctx, &w, sql_write_batched);
    fresh.appends = e == ERR_NONE && !receipt->created;
    bool known = e == ERR_NONE && !receipt->replayed && !receipt->superseded &&
                 fresh_after_append(s, ctx, &fresh, append, receipt, &now);
    fresh_write_end(s, ctx, &fresh, e, known ? &now : NULL);
    if (e == ERR_NOT_FOUND)
        return append_refused(s, ctx, &w);
    if (e == ERR_NONE && receipt->replayed && append->return_n > 0)
        return reread_window(s, ctx, &w);
    return e;
}

/* SPDX-License-Identifier: MIT */
/* Writes of a whole session (create, get or create, delete, copy), and appends to one. */
#include "session_internal.h"

#include <string.h>

static struct sv made_id(struct request_ctx *ctx)
{
    char *id = arena_alloc(ctx->arena, UUID_LEN + 1);
    if (!id)
        return SV_NONE;
    uuid_v7(id);
    return (struct sv){id, UUID_LEN};
}

/* The session as it was when it was created, from the draft and the receipt. So a replay is
 * answered like the first request. */
static enum err session_of_draft(struct request_ctx *ctx, const struct session_draft *draft,
                                 const struct session_receipt *receipt, struct session *out)
{
    *out = (struct session){
        .session_id = receipt->session_id,
        .user_id = draft->user_id,
        .language = draft->language,
        .ttl_seconds = draft->ttl_seconds,
        .sliding = draft->sliding,
        .context = draft->context,
        .metadata = draft->metadata,
    };
    sql_apply_receipt(out, receipt);
    out->n_messages = draft->n_messages;
    out->messages = arena_array(ctx->arena, out->n_messages, sizeof(*out->messages));
    if (!out->messages)
        return ctx_nomem(ctx);
    return session_messages_of(ctx, draft->messages, draft->n_messages, 0, receipt, out->messages);
}

static enum err complete_draft(struct sessions *s, struct request_ctx *ctx,
                               struct session_draft *draft)
{
    if (draft->ttl_seconds == 0)
        draft->ttl_seconds = s->settings.ttl_seconds;
    if (draft->session_id.p)
        return ERR_NONE;
    /* Made before the statement, so that a repeated statement makes no second session. */
    draft->session_id = made_id(ctx);
    return draft->session_id.p ? ERR_NONE : ctx_nomem(ctx);
}

enum err session_create(struct sessions *s, struct request_ctx *ctx,
                        const struct session_draft *draft,
                        const struct session_precondition *precondition, struct session *out,
                        struct session_receipt *receipt)
{
    struct session_draft whole = *draft;
    struct fresh_write fresh;
    TRY(complete_draft(s, ctx, &whole));
    struct session_write w = {.id = whole.session_id,
                              .id_is_new = !draft->session_id.p,
                              .draft = &whole,
                              .drafts = {whole.messages, whole.n_messages},
                              .precondition = precondition,
                              .receipt = receipt};
    /* Nobody can have read a session whose id was made just now: the caches need nothing. */
    TRY(w.id_is_new ? fresh_writable(s, ctx) : fresh_write_begin(s, ctx, w.id, &fresh));
    enum err e = session_write_idempotent(s, ctx, &w, sql_write_batched);
    const enum err made = e == ERR_NONE ? session_of_draft(ctx, &whole, receipt, out) : e;
    const bool known = made == ERR_NONE && !receipt->replayed &&
                       session_is_read_as_sent(whole.metadata, whole.messages, whole.n_messages);
    if (!w.id_is_new)
        fresh_write_end(s, ctx, &fresh, e, known ? out : NULL);
    if (e == ERR_NOT_FOUND)
        return ctx_fail(ctx, ERR_CONFLICT, "session_exists", "session_id",
                        "A session with this id exists.");
    return made;
}

static enum err try_ensure(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    enum err e = sql_session_insert(s, ctx, w);
    w->found = e == ERR_NONE;
    return e == ERR_NOT_FOUND ? ERR_NONE : e;
}

static enum err get_or_create(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct fresh_write fresh;
    TRY(fresh_write_begin(s, ctx, w->id, &fresh));
    enum err e = session_write_idempotent(s, ctx, w, try_ensure);
    const bool there = e == ERR_NOT_FOUND && w->found;
    if (there)
        e = ERR_NONE;
    fresh_write_end(s, ctx, &fresh, e, w->found && !w->receipt->replayed ? w->out : NULL);
    if (there)
        w->receipt->status = 200;
    /* The session existed at the insert and was deleted before the read. */
    if (e == ERR_NOT_FOUND)
        return session_being_deleted(ctx);
    if (e == ERR_NONE && w->receipt->created)
        return session_of_draft(ctx, w->draft, w->receipt, w->out);
    return e;
}

enum err session_get_or_create(struct sessions *s, struct request_ctx *ctx,
                               const struct session_draft *draft,
                               const struct session_precondition *precondition, struct session *out,
                               struct session_receipt *receipt)
{
    struct session_draft whole = *draft;
    memset(receipt, 0, sizeof(*receipt));
    TRY(complete_draft(s, ctx, &whole));
    /* Most sessions are there already, so a read is tried first. Not with a key: the answer may be
     * a replay. */
    enum err e = precondition->key.p
                     ? ERR_NOT_FOUND
                     : fresh_read(s, ctx, draft->session_id, SV_NONE, SESSION_NEWEST, out);
    if (e == ERR_NOT_FOUND) {
        ctx_clear_error(ctx);
        struct session_write w = {.id = whole.session_id,
                                  .draft = &whole,
                                  .drafts = {whole.messages, whole.n_messages},
                                  .precondition = precondition,
                                  .out = out,
                                  .receipt = receipt};
        e = get_or_create(s, ctx, &w);
    } else if (e == ERR_NONE) {
        receipt->status = 200;
    }
    TRY(e);
    /* A user in the header or in the body must own the session. */
    if (!session_user_matches(out, precondition->user) ||
        !session_user_matches(out, draft->user_id))
        return session_not_found(ctx);
    /* A degraded read does not prove that the session still exists. */
    if (out->degraded && precondition->create_only)
        return sql_away(ctx);
    if (!receipt->created && precondition->create_only)
        return ctx_fail(ctx, ERR_PRECONDITION, "session_exists", "If-None-Match",
                        "A session with this id exists.");
    return ERR_NONE;
}

enum err session_delete(struct sessions *s, struct request_ctx *ctx,
                        const struct session_target *target)
{
    struct session_write w = SESSION_WRITE(target, .done = false);
    return session_write_uncached(s, ctx, &w, sql_session_delete);
}

enum err session_truncate(struct sessions *s, struct request_ctx *ctx,
                          const struct session_target *target, int64_t after)
{
    struct session_write w = SESSION_WRITE(target, .after = after);
    return session_write_uncached(s, ctx, &w, sql_session_truncate);
}

enum err session_copy(struct sessions *s, struct request_ctx *ctx,
                      const struct session_target *target, const struct session_fork *fork,
                      struct session *out)
{
    struct session_write w = SESSION_WRITE(target, .from = target->id, .fork = fork, .out = out);
    w.id = fork->session_id.p ? fork->session_id : made_id(ctx);
    if (!w.id.p)
        return ctx_nomem(ctx);
    const enum err e = session_write_uncached(s, ctx, &w, sql_session_copy);
    return e == ERR_NONE && w.receipt->replayed ? session_of_record(s, ctx, &w, out) : e;
}

/* ---- appending ---- */

/* One round trip numbers the messages, stores them and stores the idempotency record. If asked to,
 * it also makes the session first. It needs no precondition and locks only the session's row. */

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
    const int64_t most = s->settings.messages_max, n = (int64_t)append->n_messages;
    /* There may be room by now, or be a session only now. */
    if (own && most < INT64_MAX && (!w->precondition->if_match || n > most - session.message_count))
        return session_full(s, ctx);
    /* The session existed, so the append did not create it, and was deleted before the append. */
    if (append->create && !w->precondition->must_exist && (own || e == ERR_NOT_FOUND))
        return session_being_deleted(ctx);
    /* Where nothing is created, this is ERR_NOT_FOUND (RFC 9110, section 13.2.1). */
    if (append->create && (e == ERR_NOT_FOUND || (own && !w->precondition->if_match)))
        return ctx_fail(ctx, ERR_PRECONDITION, NULL, "If-Match",
                        "There is no such session, so If-Match does not hold.");
    return session_write_refused(s, ctx, w);
}

enum err session_append(struct sessions *s, struct request_ctx *ctx,
                        const struct session_target *target, const struct session_append *append)
{
    struct session_write w =
        SESSION_WRITE(target, .append = append, .drafts = {append->messages, append->n_messages});
    const struct session_receipt *receipt = w.receipt;
    struct fresh_write fresh;
    struct session now;
    TRY(fresh_write_begin(s, ctx, w.id, &fresh));
    enum err e = session_write_idempotent(s, ctx, &w, sql_write_batched);
    fresh.appends = e == ERR_NONE && !receipt->created;
    bool known = e == ERR_NONE && !receipt->replayed && !receipt->superseded &&
                 fresh_after_append(s, ctx, &fresh, append, receipt, &now);
    fresh_write_end(s, ctx, &fresh, e, known ? &now : NULL);
    return e == ERR_NOT_FOUND ? append_refused(s, ctx, &w) : e;
}

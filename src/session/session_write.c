/* SPDX-License-Identifier: MIT */
/* Writes on a session as a whole: create, get or create, delete; appending is in session_append.c.
 */
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

static enum err messages_of_draft(struct request_ctx *ctx, const struct session_draft *draft,
                                  const struct session_receipt *receipt, struct session *out)
{
    const size_t n = draft->n_messages < SESSION_WINDOW ? draft->n_messages : SESSION_WINDOW;
    const size_t skip = draft->n_messages - n;
    out->messages = arena_array(ctx->arena, n, sizeof(*out->messages));
    char *ids = arena_array(ctx->arena, n, UUID_LEN + 1);
    if (!out->messages || !ids)
        return ctx_nomem(ctx);
    out->n_messages = n;
    for (size_t i = 0; i < n; i++)
        out->messages[i] = session_message_of(&draft->messages[skip + i], receipt->generation,
                                              (int64_t)(skip + i + 1), receipt->session_at,
                                              ids + i * (UUID_LEN + 1));
    return ERR_NONE;
}

/* A session as it was when it was created: what was asked for, and what the receipt says. So the
 * answer of a replay is the answer of the first request. */
static enum err session_of_draft(struct request_ctx *ctx, const struct session_draft *draft,
                                 const struct session_receipt *receipt, struct session *out)
{
    *out = (struct session){
        .session_id = receipt->session_id,
        .user_id = draft->user_id,
        .language = draft->language,
        .last_seq = receipt->last_seq,
        .ttl_seconds = draft->ttl_seconds,
        .sliding = draft->sliding,
        .context = draft->context,
        .metadata = draft->metadata,
    };
    session_take_receipt(out, receipt);
    return messages_of_draft(ctx, draft, receipt, out);
}

struct create_args {
    struct session_draft draft;
    bool named; /* by the client: the id may be taken */
    const struct session_guard *guard;
};

static enum err attempt_create(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                               struct session_receipt *receipt)
{
    const struct create_args *a = arg;
    return repo_session_insert(s, ctx, &a->draft, !a->named, a->guard, done, receipt);
}

static enum err complete_draft(struct sessions *s, struct request_ctx *ctx,
                               struct session_draft *draft)
{
    if (draft->ttl_seconds == 0)
        draft->ttl_seconds = s->settings.ttl_seconds;
    if (draft->session_id.p)
        return ERR_NONE;
    /* Made before the statement, so that a repetition of it makes no second session. */
    draft->session_id = made_id(ctx);
    return draft->session_id.p ? ERR_NONE : ctx_nomem(ctx);
}

/* Metadata comes back in jsonb's form, which only PostgreSQL knows; the empty object is the same in
 * both. A draft with other metadata is not put into the caches, so that one entity tag has one
 * form.
 */
static bool reads_back_as_sent(const struct session_draft *draft)
{
    bool same = sv_eq(draft->metadata, SV("{}"));
    for (size_t i = 0; same && i < draft->n_messages; i++)
        same = sv_eq(draft->messages[i].metadata, SV("{}"));
    return same;
}

enum err session_create(struct sessions *s, struct request_ctx *ctx,
                        const struct session_draft *draft, const struct session_guard *guard,
                        struct session *out, struct session_receipt *receipt)
{
    const bool named = draft->session_id.p != NULL;
    struct create_args args = {*draft, named, guard};
    struct fresh_write w;
    TRY(complete_draft(s, ctx, &args.draft));
    /* Nobody can have read a session whose id was made just now: no cache needs to be told. */
    TRY(named ? fresh_write_begin(s, ctx, args.draft.session_id, &w) : fresh_writable(s, ctx));
    enum err e = write_once(s, ctx, guard, attempt_create, &args, receipt, NULL);
    enum err made = e;
    if (e == ERR_NONE)
        made = session_of_draft(ctx, &args.draft, receipt, out);
    if (named)
        fresh_write_end(
            s, ctx, &w, e,
            made == ERR_NONE && !receipt->replayed && reads_back_as_sent(&args.draft) ? out : NULL);
    if (e == ERR_NOT_FOUND)
        return ctx_fail(ctx, ERR_CONFLICT, "session_exists", "session_id",
                        "A session with this id exists.");
    return e == ERR_NONE ? made : e;
}

struct ensure_args {
    struct session_draft draft;
    const struct session_guard *guard;
    struct session *out;
    bool found; /* a session was there, whoever made it */
};

static enum err attempt_ensure(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                               struct session_receipt *receipt)
{
    struct ensure_args *a = arg;
    enum err e = repo_session_ensure(s, ctx, &a->draft, a->guard, done, a->out);
    a->found = e == ERR_NONE;
    if (e == ERR_NOT_FOUND) {
        /* It was there for the insert and gone for the read: deleted in between. */
        ctx->err.retry_after_s = 1;
        return ctx_fail(ctx, ERR_BUSY, NULL, "session_id", "The session was being deleted.");
    }
    if (e != ERR_NONE || !*done)
        return e;
    receipt->created = true;
    receipt->status = 201;
    return ERR_NONE;
}

static enum err get_or_create(struct sessions *s, struct request_ctx *ctx, struct ensure_args *a,
                              struct session_receipt *receipt)
{
    struct fresh_write w;
    TRY(fresh_write_begin(s, ctx, a->draft.session_id, &w));
    enum err e = write_once(s, ctx, a->guard, attempt_ensure, a, receipt, NULL);
    const bool there = e == ERR_NOT_FOUND && a->found;
    if (there)
        e = ERR_NONE;
    fresh_write_end(s, ctx, &w, e, a->found && !receipt->replayed ? a->out : NULL);
    if (e == ERR_NONE && there)
        receipt->status = 200;
    if (e == ERR_NONE && receipt->replayed)
        return session_of_draft(ctx, &a->draft, receipt, a->out);
    return e;
}

enum err session_get_or_create(struct sessions *s, struct request_ctx *ctx,
                               const struct session_draft *draft, const struct session_guard *guard,
                               struct session *out, struct session_receipt *receipt)
{
    struct ensure_args args = {*draft, guard, out, false};
    memset(receipt, 0, sizeof(*receipt));
    TRY(complete_draft(s, ctx, &args.draft));
    /* Most are there already, and reading changes nothing. With a key, an earlier answer may have
     * to be given again instead. */
    enum err e = guard->key.p ? ERR_NOT_FOUND
                              : fresh_read(s, ctx, draft->session_id, SV_NONE, SESSION_WINDOW, out);
    if (e == ERR_NOT_FOUND) {
        ctx_clear_error(ctx);
        e = get_or_create(s, ctx, &args, receipt);
    } else if (e == ERR_NONE) {
        receipt->status = 200;
    }
    if (e != ERR_NONE)
        return e;
    /* Whoever names a user means that user's session, in the header and in the body alike. */
    if (!session_user_matches(out, guard->user) || !session_user_matches(out, draft->user_id))
        return session_not_found(ctx);
    /* A session that may be gone by now must not stand in the way of a new one. */
    if (out->degraded && guard->create_only)
        return session_database_away(ctx);
    if (!receipt->created && guard->create_only)
        return ctx_fail(ctx, ERR_PRECONDITION, "session_exists", "If-None-Match",
                        "A session with this id exists.");
    return ERR_NONE;
}

struct target_args {
    struct sv id;
    const struct session_guard *guard;
};

static enum err attempt_delete(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                               struct session_receipt *receipt)
{
    const struct target_args *a = arg;
    return repo_session_delete(s, ctx, a->id, a->guard, done, receipt);
}

enum err session_delete(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        const struct session_guard *guard, struct session_receipt *receipt)
{
    struct target_args args = {id, guard};
    const enum err e = write_session(s, ctx, id, guard, attempt_delete, &args, receipt, NULL);
    return e == ERR_NOT_FOUND ? write_refused(s, ctx, id, guard) : e;
}

struct copy_args {
    struct sv from, to;
    const struct session_guard *guard;
    struct session *out;
};

static enum err attempt_copy(struct sessions *s, struct request_ctx *ctx, void *arg, bool *done,
                             struct session_receipt *receipt)
{
    const struct copy_args *a = arg;
    enum err e = ERR_NONE;
    bool found = true;
    while (e == ERR_NONE && found && !*done)
        e = repo_session_copy(s, ctx, a->from, a->to, a->guard, &found, done, a->out, receipt);
    return e;
}

/* Nobody can have read a session whose id was made just now: no cache needs to be told. */
enum err session_copy(struct sessions *s, struct request_ctx *ctx, struct sv id,
                      const struct session_guard *guard, struct session *out,
                      struct session_receipt *receipt)
{
    struct copy_args args = {id, made_id(ctx), guard, out};
    if (!args.to.p)
        return ctx_nomem(ctx);
    enum err e = fresh_writable(s, ctx);
    if (e == ERR_NONE)
        e = write_once(s, ctx, guard, attempt_copy, &args, receipt, NULL);
    if (e == ERR_NOT_FOUND)
        return write_refused(s, ctx, id, guard);
    if (e == ERR_NONE && receipt->replayed)
        return session_get_again(s, ctx, receipt->session_id, receipt->generation, guard->user,
                                 SESSION_MESSAGES_MAX, out);
    return e;
}

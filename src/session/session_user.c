/* SPDX-License-Identifier: MIT */
/* The sessions of one user: listed, exported, erased. A list may be of the whole tenant. */
#include "session_internal.h"

#include <string.h>

enum err session_list(struct sessions *s, struct request_ctx *ctx,
                      const struct session_list_query *q, struct session_list *out)
{
    TRY(sql_reachable(s, ctx));
    return sql_list(s, ctx, q, false, out);
}

/* ---- export ---- */

enum { EXPORT_BYTES = 256 * 1024 /* of messages at a time */ };

static bool is_after(struct session_position a, struct session_position b)
{
    return a.created_at != b.created_at ? a.created_at > b.created_at : a.generation > b.generation;
}

/* The first session after a position: NULL: of all. One list may end before it finds one. */
static enum err first_after(struct sessions *s, struct request_ctx *ctx, struct sv user,
                            const struct session_position *after, bool oldest_first,
                            struct session_list *out)
{
    struct session_list_query q = {user, SV_NONE, 0, SESSION_ANY_TIME, after, 1};
    struct session_position at;
    do {
        TRY(sql_list(s, ctx, &q, oldest_first, out));
        at = out->end;
        q.after = &at;
    } while (out->n == 0 && out->has_more);
    return ERR_NONE;
}

static enum err export_messages(struct sessions *s, struct request_ctx *ctx,
                                struct session_export *x, struct session_export_part *out)
{
    const struct session_page_query q = {.after = x->seq,
                                         .before = x->last_seq + 1,
                                         .limit = SESSION_MESSAGES_MAX,
                                         .ascending = true,
                                         .max_bytes = EXPORT_BYTES};
    struct session_page page = {.n = 0};
    out->session_id = (struct sv){x->id, x->id_n};
    enum err e = sql_message_page(s, ctx, out->session_id, x->user, &q, &page);
    if (e != ERR_NONE && e != ERR_NOT_FOUND)
        return e;
    ctx_clear_error(ctx);
    /* If it was deleted since, or the id names another session, it has no more messages. */
    const bool gone = e == ERR_NOT_FOUND || page.stamp.generation != x->at.generation;
    out->messages = page.messages;
    out->n = gone ? 0 : page.n;
    x->messages += (int64_t)out->n;
    x->seq = !gone && page.has_more ? page.messages[page.n - 1].seq : x->last_seq;
    return ERR_NONE;
}

/* *out: NULL if there are no more. */
static enum err export_state(struct sessions *s, struct request_ctx *ctx, struct session_export *x,
                             struct session **out)
{
    struct session *state = arena_alloc(ctx->arena, sizeof(*state));
    if (!state)
        return ctx_nomem(ctx);
    const enum err e = x->user.p ? session_user_state_get(s, ctx, x->user, 0, state)
                                 : sql_user_state_next(s, ctx, (struct sv){x->id, x->id_n}, state);
    x->states_end = e != ERR_NONE || x->user.p;
    if (e == ERR_NOT_FOUND)
        ctx_clear_error(ctx);
    else
        TRY(e);
    if (e == ERR_NONE) {
        *out = state;
        x->id_n = state->user_id.n;
        memcpy(x->id, state->user_id.p, x->id_n);
    }
    return ERR_NONE;
}

enum err session_export_next(struct sessions *s, struct request_ctx *ctx, struct session_export *x,
                             struct session_export_part *out)
{
    struct session_list list;
    memset(out, 0, sizeof(*out));
    TRY(sql_reachable(s, ctx));
    if (x->seq < x->last_seq)
        return export_messages(s, ctx, x, out);
    if (!x->begun) {
        /* The export ends at the session that is the newest now, even if the user goes on creating.
         */
        TRY(first_after(s, ctx, x->user, NULL, false, &list));
        x->begun = true;
        x->until = list.end;
        x->states_end = x->at.generation != 0;
    }
    if (!x->states_end)
        TRY(export_state(s, ctx, x, &out->state));
    if (out->state)
        return ERR_NONE;
    TRY(first_after(s, ctx, x->user, x->at.generation ? &x->at : NULL, true, &list));
    out->end = list.n == 0 || is_after(list.end, x->until);
    if (out->end)
        return ERR_NONE;
    const struct session *session = out->session = &list.sessions[0];
    out->session_id = session->session_id;
    x->at = list.end;
    x->id_n = session->session_id.n;
    memcpy(x->id, session->session_id.p, x->id_n);
    x->last_seq = session->last_seq;
    x->seq = session->message_count > 0 ? 0 : session->last_seq;
    x->sessions++;
    return ERR_NONE;
}

/* ---- erase ---- */

enum { TOMBSTONE_STEP = 32, PAUSE_MS = 20 };

struct erasure {
    struct sessions *s;
    struct request_ctx *ctx;
    struct sv user;
    struct deadline end;
    struct session_erasure *out;
};

/* Removes sessions from the caches after the statement that made tombstones of them. result: of
 * that statement, which is returned. If Redis does not confirm a removal, its values expire by
 * themselves. */
static enum err clear_caches(const struct erasure *x, const struct db_rows *rows, enum err result)
{
    const struct sessions *s = x->s;
    const size_t n = (size_t)rows->count;
    const int id = db_column(rows, "own_id");
    struct cache_key *keys = arena_array(x->ctx->arena, n, sizeof(*keys));
    for (size_t i = 0; s->cache && i < n; i++) {
        const struct cache_key key = {x->ctx->tenant, db_get_text(rows, (int)i, id)};
        struct cache_snapshot now = cache_snapshot(s->cache, key);
        cache_raise_epoch(s->cache, &now, result == ERR_OUTCOME_UNKNOWN);
        if (keys)
            keys[i] = key;
    }
    if (result != ERR_NONE || n == 0)
        return result;
    if (!keys)
        return ctx_nomem(x->ctx);
    /* The memory of other hosts cannot be cleared from here. */
    const bool cleared = !s->cache || cache_erase(s->cache, x->ctx, keys, n);
    struct db_hosts_found hosts;
    db_hosts_last_poll(s->settings.hosts, &hosts);
    if (!cleared || hosts.others > 0)
        x->out->expire_by = db_now_us(s->db) + s->settings.store_ms * INT64_C(1000) +
                            s->settings.cache_seconds * INT64_C(1000000);
    return ERR_NONE;
}

/* Makes tombstones of sessions. Skips a session that stays locked. */
static enum err tombstone_step(const struct erasure *x, const struct db_rows *rows)
{
    int64_t *const made = &x->out->sessions;
    enum err e = sql_user_tombstone(x->s, x->ctx, x->user, rows, true, made);
    if (e == ERR_BUSY) {
        ctx_clear_error(x->ctx);
        e = sql_user_tombstone(x->s, x->ctx, x->user, rows, false, made);
    }
    return clear_caches(x, rows, e);
}

static enum err tombstone_all(const struct erasure *x)
{
    const struct arena_mark mark = arena_get_mark(x->ctx->arena);
    struct session_position at, *after = NULL;
    while (!deadline_passed(x->end)) {
        struct db_rows rows;
        arena_rewind(x->ctx->arena, mark);
        TRY(sql_user_to_erase(x->s, x->ctx, x->user, after, TOMBSTONE_STEP, &rows));
        if (rows.count == 0)
            break;
        TRY(tombstone_step(x, &rows));
        at.created_at = db_get_time(&rows, rows.count - 1, db_column(&rows, "created_at"));
        at.generation = db_get_i64(&rows, rows.count - 1, db_column(&rows, "generation"));
        after = &at;
    }
    return ERR_NONE;
}

static enum err purge_step(const struct erasure *x, bool *none, struct session_erasure *done)
{
    struct db_rows rows;
    bool no_keys = false;
    TRY(sql_user_tombstones(x->s, x->ctx, x->user, &rows));
    /* The process that made a tombstone may have been stopped before it cleared the caches. The
     * erasure may not report success while a cache has the session. */
    TRY(clear_caches(x, &rows, ERR_NONE));
    for (int at = 0; at < rows.count && !deadline_passed(x->end);)
        TRY(sql_purge(x->s, x->ctx, &rows, true, &at, done));
    if (!deadline_passed(x->end))
        TRY(sql_user_keys_delete(x->s, x->ctx, x->user, &no_keys, &done->keys));
    *none = rows.count == 0 && no_keys;
    return ERR_NONE;
}

static enum err purge_all(const struct erasure *x)
{
    const struct arena_mark mark = arena_get_mark(x->ctx->arena);
    const struct sv tenant = x->ctx->tenant;
    enum err e = ERR_NONE;
    for (bool none = false; e == ERR_NONE && !none && !deadline_passed(x->end);) {
        struct session_erasure done = {.sessions = 0};
        e = purge_step(x, &none, &done);
        x->ctx->tenant = tenant; /* sql_purge set it to a view of the rows */
        x->out->messages += done.messages;
        x->out->keys += done.keys;
        arena_rewind(x->ctx->arena, mark);
        if (e == ERR_NONE && !none && done.sessions + done.messages + done.keys == 0)
            deadline_wait(deadline_in_ms(PAUSE_MS)); /* others have locked them */
    }
    return e;
}

/* Steps that were done stay done, so a failure after them may not say that nothing changed. */
static enum err erasure_failed(struct request_ctx *ctx, enum err e,
                               const struct session_erasure *done)
{
    if (e != ERR_OUTCOME_UNKNOWN && done->sessions + done->messages + done->keys == 0)
        return e;
    const struct err_info why = ctx->err;
    ctx_clear_error(ctx);
    (void)ctx_fail(ctx, ERR_OUTCOME_UNKNOWN, NULL, NULL,
                   "Only a part may be erased. Send the request again.");
    memcpy(ctx->err.cause, why.cause, sizeof(why.cause));
    return ERR_OUTCOME_UNKNOWN;
}

enum err session_erase_user(struct sessions *s, struct request_ctx *ctx, struct sv user,
                            struct session_erasure *out)
{
    /* Half of the time: the last statement, which may take all its time, must end before the
     * request. */
    const struct erasure x = {s, ctx, user, deadline_in_ms(deadline_left_ms(ctx->deadline) / 2),
                              out};
    memset(out, 0, sizeof(*out));
    fresh_contend(ctx, user);
    enum err e = fresh_writable(s, ctx);
    if (e == ERR_NONE) /* the state at once */
        e = sql_user_keys_delete(s, ctx, user, &out->has_more, &out->keys);
    if (e == ERR_NONE)
        e = tombstone_all(&x);
    if (e == ERR_NONE)
        e = purge_all(&x);
    if (e == ERR_NONE)
        e = sql_user_is_left(s, ctx, user, &out->has_more);
    return e == ERR_NONE ? ERR_NONE : erasure_failed(ctx, e, out);
}

/* SPDX-License-Identifier: MIT */
/* What belongs to one user: listed, exported, erased. */
#include "session_internal.h"

#include <string.h>
#include <time.h>

enum err session_list(struct sessions *s, struct request_ctx *ctx, struct sv user,
                      const struct session_position *behind, size_t limit, struct session_list *out)
{
    TRY(fresh_reachable(s, ctx));
    return sql_user_list(s, ctx, user, behind, false, limit, out);
}

/* ---- export ---- */

enum { EXPORT_BYTES = 256 * 1024 /* of messages at a time */ };

static struct session_position place_of(const struct session *session)
{
    return (struct session_position){session->created_at, session->generation};
}

static bool is_behind(struct session_position a, struct session_position b)
{
    return a.created_at != b.created_at ? a.created_at > b.created_at : a.generation > b.generation;
}

/* Up to the session that is the newest now: a user who goes on creating must not keep an export
 * from ending. */
static enum err export_begin(struct sessions *s, struct request_ctx *ctx, struct session_export *x)
{
    struct session_list newest;
    TRY(sql_user_list(s, ctx, x->user, NULL, false, 1, &newest));
    x->begun = true;
    x->until = newest.n > 0 ? place_of(&newest.sessions[0]) : (struct session_position){0, 0};
    return ERR_NONE;
}

static enum err export_messages(struct sessions *s, struct request_ctx *ctx,
                                struct session_export *x, struct session_export_part *out)
{
    const struct session_page_query q = {.after = x->seq,
                                         .before = x->last_seq + 1,
                                         .limit = SESSION_MESSAGES_MAX,
                                         .ascending = true,
                                         .max_bytes = EXPORT_BYTES,
                                         .first_always = true};
    struct session_page page = {.n = 0};
    out->session_id = (struct sv){x->id, x->id_n};
    enum err e = sql_message_page(s, ctx, out->session_id, x->user, &q, &page);
    if (e != ERR_NONE && e != ERR_NOT_FOUND)
        return e;
    ctx_clear_error(ctx);
    /* Gone since, or another one under the same id: what was given of it is what there is. */
    const bool gone = e == ERR_NOT_FOUND || page.generation != x->generation;
    out->messages = page.messages;
    out->n = gone ? 0 : page.n;
    x->messages += (int64_t)out->n;
    x->seq = !gone && page.has_more ? page.messages[page.n - 1].seq : x->last_seq;
    return ERR_NONE;
}

enum err session_export_next(struct sessions *s, struct request_ctx *ctx, struct session_export *x,
                             struct session_export_part *out)
{
    struct session_list list;
    memset(out, 0, sizeof(*out));
    TRY(fresh_reachable(s, ctx));
    if (x->seq < x->last_seq)
        return export_messages(s, ctx, x, out);
    if (!x->begun)
        TRY(export_begin(s, ctx, x));
    TRY(sql_user_list(s, ctx, x->user, x->at.generation ? &x->at : NULL, true, 1, &list));
    out->end = list.n == 0 || is_behind(place_of(&list.sessions[0]), x->until);
    if (out->end)
        return ERR_NONE;
    const struct session *session = out->session = &list.sessions[0];
    out->session_id = session->session_id;
    x->at = place_of(session);
    x->generation = session->generation;
    x->id_n = session->session_id.n;
    memcpy(x->id, session->session_id.p, x->id_n);
    x->last_seq = session->last_seq;
    x->seq = session->message_count > 0 ? 0 : session->last_seq;
    x->sessions++;
    return ERR_NONE;
}

/* ---- erase ---- */

enum { HIDE_STEP = 32, PAUSE_MS = 20 };

struct erasure {
    struct sessions *s;
    struct request_ctx *ctx;
    struct sv user;
    struct deadline end;
    struct session_erasure *out;
};

/* Takes sessions out of the caches. Where Redis does not confirm it, what it may hold ends by
 * itself. */
static void clear_caches(const struct erasure *x, const struct cache_key *keys, size_t n)
{
    const struct sessions *s = x->s;
    /* The memory of other hosts is out of reach. */
    const bool cleared = !s->cache || n == 0 || cache_erase(s->cache, x->ctx, keys, n);
    if (n > 0 && (!cleared || db_hosts_others(s->settings.hosts) > 0))
        x->out->expire_by = db_now_us(s->db) + s->settings.store_ms * INT64_C(1000) +
                            s->settings.cache_seconds * INT64_C(1000000);
}

/* Hides a list of sessions, and tells the caches of each. One that stays locked is left out. */
static enum err hide(const struct erasure *x, const struct session_list *list)
{
    struct sessions *s = x->s;
    struct request_ctx *ctx = x->ctx;
    struct fresh_write *w = arena_array(ctx->arena, list->n, sizeof(*w));
    struct cache_key *keys = arena_array(ctx->arena, list->n, sizeof(*keys));
    if (!w || !keys)
        return ctx_nomem(ctx);
    enum err e = ERR_NONE;
    size_t begun = 0;
    for (; e == ERR_NONE && begun < list->n; begun += e == ERR_NONE) {
        e = fresh_write_begin(s, ctx, list->sessions[begun].session_id, &w[begun]);
        keys[begun] = w[begun].key;
    }
    if (e == ERR_NONE)
        e = sql_user_tombstone(s, ctx, x->user, list, true, &x->out->sessions);
    if (e == ERR_BUSY) {
        ctx_clear_error(ctx);
        e = sql_user_tombstone(s, ctx, x->user, list, false, &x->out->sessions);
    }
    for (size_t i = 0; i < begun; i++)
        fresh_write_end(s, ctx, &w[i], e, NULL);
    if (e == ERR_NONE)
        clear_caches(x, keys, begun);
    return e;
}

static enum err hide_all(const struct erasure *x)
{
    const struct arena_mark mark = arena_get_mark(x->ctx->arena);
    struct session_position at, *behind = NULL;
    while (!deadline_passed(x->end)) {
        struct session_list list;
        arena_rewind(x->ctx->arena, mark);
        TRY(sql_user_to_erase(x->s, x->ctx, x->user, behind, HIDE_STEP, &list));
        if (list.n == 0)
            break;
        TRY(hide(x, &list));
        at = place_of(&list.sessions[list.n - 1]);
        behind = &at;
    }
    return ERR_NONE;
}

/* Whoever hid a session may have been stopped before it told the caches: nobody may be told that
 * all is gone while a cache holds it. */
static enum err forget(const struct erasure *x, const struct db_rows *rows)
{
    const int id = db_column(rows, "own_id");
    struct cache_key *keys = arena_array(x->ctx->arena, (size_t)rows->count, sizeof(*keys));
    if (!keys)
        return ctx_nomem(x->ctx);
    for (int i = 0; i < rows->count; i++) {
        struct fresh_write w;
        TRY(fresh_write_begin(x->s, x->ctx, db_get_text(rows, i, id), &w));
        fresh_write_end(x->s, x->ctx, &w, ERR_NONE, NULL);
        keys[i] = w.key;
    }
    clear_caches(x, keys, (size_t)rows->count);
    return ERR_NONE;
}

static enum err purge_step(const struct erasure *x, bool *none, struct purged *done)
{
    struct db_rows rows;
    bool no_keys = false;
    TRY(sql_user_tombstones(x->s, x->ctx, x->user, &rows));
    TRY(forget(x, &rows));
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
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    const struct sv tenant = x->ctx->tenant;
    enum err e = ERR_NONE;
    for (bool none = false; e == ERR_NONE && !none && !deadline_passed(x->end);) {
        struct purged done = {.sessions = 0};
        e = purge_step(x, &none, &done);
        x->ctx->tenant = tenant; /* it was set to a view of the rows */
        x->out->messages += done.messages;
        x->out->keys += done.keys;
        arena_rewind(x->ctx->arena, mark);
        if (e == ERR_NONE && !none && done.sessions + done.messages + done.keys == 0)
            nanosleep(&pause, NULL); /* the sweeper or another erasure is at them */
    }
    return e;
}

/* Steps that were done stay done, so a failure after them may not say that nothing was changed. */
static enum err erasure_failed(struct request_ctx *ctx, enum err e,
                               const struct session_erasure *done)
{
    const bool passing =
        e == ERR_UNAVAILABLE || e == ERR_TIMEOUT || e == ERR_OVERLOAD || e == ERR_BUSY;
    if (e != ERR_OUTCOME_UNKNOWN && !(passing && done->sessions + done->messages + done->keys > 0))
        return e;
    const struct err_info why = ctx->err;
    ctx_clear_error(ctx);
    (void)ctx_fail(ctx, ERR_OUTCOME_UNKNOWN, NULL, NULL,
                   "Some of it may be erased and some not; send the request again.");
    memcpy(ctx->err.cause, why.cause, sizeof(why.cause));
    return ERR_OUTCOME_UNKNOWN;
}

enum err session_erase_user(struct sessions *s, struct request_ctx *ctx, struct sv user,
                            struct session_erasure *out)
{
    /* So that the last statement, which may take its whole time, ends before the request does. */
    const struct erasure x = {s, ctx, user, deadline_in_ms(deadline_left_ms(ctx->deadline) / 2),
                              out};
    memset(out, 0, sizeof(*out));
    enum err e = fresh_writable(s, ctx);
    if (e == ERR_NONE)
        e = hide_all(&x);
    if (e == ERR_NONE)
        e = purge_all(&x);
    if (e == ERR_NONE)
        e = sql_user_is_left(s, ctx, user, &out->has_more);
    return e == ERR_NONE ? ERR_NONE : erasure_failed(ctx, e, out);
}

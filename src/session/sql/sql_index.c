/* SPDX-License-Identifier: MIT */
/* Full-text search. The functions of migration 021 do the work: only they can read the words. */
#include "parley/session/search.h"

#include "sql_fragments.h"

#include <string.h>

/* clang-format off */
static const struct db_stmt index_state = {"index_state", "SELECT complete FROM search_state"};
static const struct db_stmt messages_search = {
    "messages_search",
    "SELECT * FROM parley_search($1, $2, $3, $4, " SQL_AT("$5") ", $6::boolean, $7::bigint, "
    SQL_AT("$8") ", $9::bigint, $10::bigint, $11::bigint)"};
static const struct db_stmt index_step = {"index_step", "SELECT parley_search_step($1::bigint)"};
static const struct db_stmt index_on = {"index_on", "SELECT parley_search_on()"};
static const struct db_stmt index_build = {"index_build", "SELECT parley_search_build()"};
static const struct db_stmt index_off = {"index_off", "SELECT parley_search_off()"};
static const struct db_stmt index_progress = {
    "index_progress", "SELECT sessions, (SELECT count(*) FROM search_queue WHERE build) AS left FROM search_state"};
static const struct db_stmt index_waiting = {"index_waiting", "SELECT * FROM parley_search_waiting()"};
/* clang-format on */

static enum err hits_from_rows(struct request_ctx *ctx, const struct db_rows *rows, size_t limit,
                               struct search_hits *out)
{
    const int id = db_column(rows, "session_id"), message = db_column(rows, "message_id"),
              role = db_column(rows, "role"), matches = db_column(rows, "matches"),
              snippet = db_column(rows, "snippet"), score = db_column(rows, "score"),
              at = db_column(rows, "created_at"), generation = db_column(rows, "generation"),
              seq = db_column(rows, "seq");
    out->hits = arena_array(ctx->arena, (size_t)rows->count, sizeof(*out->hits));
    if (!out->hits)
        return ctx_nomem(ctx);
    for (int i = 0; i < rows->count; i++) {
        const bool is_hit = !db_is_null(rows, i, id);
        const struct sv given = db_get_text(rows, i, message);
        const int64_t here[SEARCH_POSITION] = {db_get_i64(rows, i, score), db_get_time(rows, i, at),
                                               db_get_i64(rows, i, generation),
                                               db_get_i64(rows, i, seq)};
        out->has_more = !is_hit || out->n == limit;
        /* One hit more than the limit is there, and belongs to the next page. */
        if (is_hit && out->has_more)
            break;
        memcpy(out->end, here, sizeof(here));
        if (!is_hit)
            break;
        char made[UUID_LEN + 1];
        struct search_hit *hit = &out->hits[out->n++];
        *hit = (struct search_hit){
            .session_id = db_get_text(rows, i, id),
            .message_id = arena_dup(ctx->arena, session_message_id(given, here[2], here[3], made)),
            .role = db_get_text(rows, i, role),
            .created_at = here[1],
            .seq = here[3],
            .matches = db_get_text(rows, i, matches),
            .snippet = db_get_text(rows, i, snippet)};
        if (!hit->message_id.p)
            return ctx_nomem(ctx);
    }
    return ERR_NONE;
}

enum err session_messages_search(struct sessions *s, struct request_ctx *ctx,
                                 const struct search_query *q, struct search_hits *out)
{
    enum { FIXED = 6 };
    struct db_failure failure = {.sqlstate = ""};
    const struct db_param after = q->created_after ? db_i64(q->created_after) : db_null_i64();
    struct db_param p[FIXED + SEARCH_POSITION + 1] = {
        db_text(q->text),         db_text(q->user), db_text(q->session_id), db_text(q->role), after,
        db_bool(!q->newest_first)};
    for (size_t i = 0; i < SEARCH_POSITION; i++)
        p[FIXED + i] = q->after ? db_i64(q->after[i]) : db_null_i64();
    p[FIXED + SEARCH_POSITION] = db_i64((int64_t)q->limit + 1);
    struct db_call calls[] = {{&index_state, NULL, 0, {0}},
                              {&messages_search, p, ARRAY_LEN(p), {0}}};
    enum err e = ERR_NONE;
    *out = (struct search_hits){.hits = NULL};
    TRY(sql_reachable(s, ctx));
    if (s->settings.search)
        e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), &failure);
    if (e == ERR_INVALID) {
        const bool no_word = strcmp(failure.sqlstate, "PL400") == 0;
        ctx_clear_error(ctx);
        return ctx_fail(ctx, e, "invalid_parameter", no_word ? "q" : "cursor",
                        no_word ? "q must have a word that is not after a minus sign."
                                : "cursor must be a next_cursor that this search gave.");
    }
    TRY(e);
    if (calls[0].rows.count == 0)
        return ctx_fail(ctx, ERR_NOT_FOUND, "search_off", NULL,
                        "This server has no search: its operator can switch it on, with "
                        "PARLEY_SEARCH and parley search build.");
    out->complete = db_get_bool(&calls[0].rows, 0, 0);
    return hits_from_rows(ctx, &calls[1].rows, q->limit, out);
}

enum err session_index_step(struct sessions *s, struct request_ctx *ctx, int64_t failures,
                            bool *more)
{
    const struct db_param p = db_i64(failures);
    struct db_rows rows;
    if (s->slot &&
        db_query(s->db, ctx, DB_READ, &index_waiting, NULL, 0, &rows, NULL) == ERR_NONE) {
        metrics_set(&s->slot->search_waiting, db_get_i64(&rows, 0, 0));
        metrics_set(&s->slot->search_oldest_s, db_get_i64(&rows, 0, 1));
    }
    ctx_clear_error(ctx);
    TRY(db_query(s->db, ctx, DB_WRITE, &index_step, &p, 1, &rows, NULL));
    *more = db_get_bool(&rows, 0, 0);
    return ERR_NONE;
}

enum err session_index_begin(struct sessions *s, struct request_ctx *ctx)
{
    return db_query(s->db, ctx, DB_WRITE, &index_on, NULL, 0, NULL, NULL);
}

enum err session_index_queue(struct sessions *s, struct request_ctx *ctx, bool *more)
{
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_WRITE, &index_build, NULL, 0, &rows, NULL));
    *more = db_get_bool(&rows, 0, 0);
    return ERR_NONE;
}

enum err session_index_progress(struct sessions *s, struct request_ctx *ctx, int64_t *total,
                                int64_t *left)
{
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_READ, &index_progress, NULL, 0, &rows, NULL));
    if (rows.count == 0)
        return ctx_fault(ctx, ERR_NOT_FOUND, "the index was dropped meanwhile");
    *total = db_get_i64(&rows, 0, 0);
    *left = db_get_i64(&rows, 0, 1);
    return ERR_NONE;
}

enum err session_index_drop(struct sessions *s, struct request_ctx *ctx)
{
    return db_query(s->db, ctx, DB_WRITE, &index_off, NULL, 0, NULL, NULL);
}

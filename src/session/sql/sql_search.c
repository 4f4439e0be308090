/* SPDX-License-Identifier: MIT */
/*
 * The SQL of searches over the sessions of a tenant. One index has them in the order of creation.
 * No index is on what changes with each write, or on what can be searched for. These statements
 * alone are planned for their parameters, so that a field that is not given costs nothing.
 *
 * If jsonb refuses a stored context all the same, for its numbers or its size, the search is
 * repeated with parley_jsonb (migration 6), which no plan can run in parallel.
 */
#include "sql_fragments.h"

/* $2: user, $3: metadata, $4: context, $5: ids. */
/* clang-format off */
#define SQL_JSON "(" SQL_JSONB_PROJECTION("s.context") ")::jsonb"
#define SQL_CAREFUL SQL_COMPARABLE("s.context")

#define SQL_FILTER(context)                                                                         \
    " FROM sessions s WHERE s.tenant = $1 AND s.expires_at > now()"                                \
    " AND NOT" SQL_IS_TOMBSTONE("s.session_id")                                                    \
    " AND ($2::text IS NULL OR s.user_id = $2) AND ($3::jsonb IS NULL OR s.metadata @> $3)"        \
    " AND ($4::jsonb IS NULL OR " context " @> $4)"                                                \
    " AND ($5::text[] IS NULL OR s.session_id = ANY($5)) "

/* The bytes are added up first: if they exceed the budget, no wide column is sent, except for a single
 * session, which cannot be asked for in smaller parts. */
#define SQL_SEARCH(context, order)                                                                 \
    "SELECT" SQL_SESSION("p") ", p.user_id, p.language, p.session_id, NULL::text AS summary,"                                 \
    " p.bytes, CASE WHEN $9 AND (p.bytes <= $10 OR $6 = 1) THEN p.context END AS context,"                     \
    " CASE WHEN $8 AND (p.bytes <= $10 OR $6 = 1) THEN p.metadata END AS metadata"                             \
    " FROM (SELECT *, sum(CASE WHEN $9::boolean THEN octet_length(s.context) ELSE 0 END"           \
    " + CASE WHEN $8::boolean THEN octet_length(s.metadata::text) ELSE 0 END) OVER ()::bigint AS bytes" \
    " FROM (SELECT s.*" SQL_FILTER(context) "ORDER BY " order " LIMIT $6::bigint OFFSET $7::bigint) s) p" \
    " ORDER BY " order

/* By order and direction. */
#define SEARCHES(how, context)                                                                     \
    {[SESSION_BY_CREATION] = {{"search_newest" how, SQL_SEARCH(context, "created_at DESC, generation DESC")},       \
                              {"search_oldest" how, SQL_SEARCH(context, "created_at, generation")}},           \
     [SESSION_BY_UPDATE] = {{"search_updated_last" how,                                            \
                             SQL_SEARCH(context, "updated_at DESC, generation DESC")},             \
                            {"search_updated_first" how,                                           \
                             SQL_SEARCH(context, "updated_at, generation")}},                      \
     [SESSION_BY_ID] = {{"search_by_id_down" how, SQL_SEARCH(context, "session_id DESC")},         \
                        {"search_by_id" how, SQL_SEARCH(context, "session_id")}}}

static const struct db_stmt search[3][2] = SEARCHES("", SQL_JSON);
static const struct db_stmt search_careful[3][2] = SEARCHES("_careful", SQL_CAREFUL);

static const struct db_stmt plan_for_these = {
    "plan_for_these", "SELECT set_config('plan_cache_mode', 'force_custom_plan', true),"
                      " set_config('enable_seqscan', 'on', true)"};

static const struct db_stmt count_found = {"count_found", "SELECT count(*) AS n" SQL_FILTER(SQL_JSON)};
static const struct db_stmt count_careful = {"count_careful",
                                             "SELECT count(*) AS n" SQL_FILTER(SQL_CAREFUL)};
/* clang-format on */

enum { FILTER_PARAMS = 5 };

static enum err filter_params(struct request_ctx *ctx, const struct session_query *q,
                              struct db_param *out)
{
    out[0] = db_text(ctx->tenant);
    out[1] = db_text(q->user);
    out[2] = db_jsonb(q->metadata);
    out[3] = db_jsonb(q->context);
    return db_text_array(ctx, q->ids, q->n_ids, &out[4]);
}

static enum err run_search(struct sessions *s, struct request_ctx *ctx, const struct db_stmt *stmt,
                           const struct db_stmt *careful, const struct db_param *params,
                           int n_params, struct db_rows *rows)
{
    struct db_call calls[] = {{&plan_for_these, NULL, 0, {0}}, {stmt, params, n_params, {0}}};
    TRY(sql_reachable(s, ctx));
    enum err e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL);
    if (e == ERR_INVALID || e == ERR_TOO_LARGE) {
        ctx_clear_error(ctx);
        calls[1].stmt = careful;
        e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL);
    }
    *rows = calls[1].rows;
    return e;
}

enum err session_search(struct sessions *s, struct request_ctx *ctx, const struct session_query *q,
                        struct session_list *out)
{
    struct db_param p[FILTER_PARAMS + 5];
    struct db_rows rows;
    TRY(filter_params(ctx, q, p));
    p[5] = db_i64((int64_t)q->limit);
    p[6] = db_i64(q->offset);
    p[7] = db_bool(q->with_metadata);
    p[8] = db_bool(q->with_context);
    p[9] = db_i64(s->settings.page_bytes);
    TRY(run_search(s, ctx, &search[q->sort][q->ascending], &search_careful[q->sort][q->ascending],
                   p, ARRAY_LEN(p), &rows));
    /* Every row has the total of all rows. */
    if (rows.count > 0 && q->limit > 1 &&
        db_get_i64(&rows, 0, db_column(&rows, "bytes")) > s->settings.page_bytes)
        return ctx_fail(ctx, ERR_TOO_LARGE, "answer_too_large", "limit",
                        "The answer would hold more than %lld bytes; ask for fewer.",
                        (long long)s->settings.page_bytes);
    return sql_sessions_from_rows(ctx, &rows, out);
}

enum err session_count(struct sessions *s, struct request_ctx *ctx, const struct session_query *q,
                       int64_t *n)
{
    struct db_param p[FILTER_PARAMS];
    struct db_rows rows;
    TRY(filter_params(ctx, q, p));
    TRY(run_search(s, ctx, &count_found, &count_careful, p, FILTER_PARAMS, &rows));
    *n = db_get_i64(&rows, 0, db_column(&rows, "n"));
    return ERR_NONE;
}

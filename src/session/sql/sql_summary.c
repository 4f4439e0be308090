/* SPDX-License-Identifier: MIT */
/* The SQL that stores and removes summaries. */
#include "sql_fragments.h"

/* clang-format off */
/* $8 to $10: the state as it was read. $11: last_seq. */
#define SQL_CHANGE_SUMMARY                                                                         \
    "WITH s AS (UPDATE sessions s SET" SQL_STAMP_STATE("$7") "," SQL_SLIDE "WHERE" SQL_LIVE        \
    "AND" SQL_MATCH "AND s.generation = $8 AND s.state_version = $9 AND s.state_mark = $10"        \
    " RETURNING" SQL_CHANGED "),"

static const struct db_stmt summary_put = {
    "summary_put",
    SQL_CHANGE_SUMMARY
    " u AS (INSERT INTO summaries AS u (tenant, generation, last_seq, content, tokens, created_at)"
    " SELECT $1, s.generation, $11::bigint, $12, $13::text::integer, s.updated_at FROM s"
    " ON CONFLICT (tenant, generation, last_seq) DO UPDATE SET content = excluded.content,"
    " tokens = excluded.tokens, created_at = excluded.created_at, stale = false),"
    SQL_RECORD("200", "0", "NULL::text") "SELECT * FROM s"};

static const struct db_stmt summary_delete = {
    "summary_delete",
    SQL_CHANGE_SUMMARY
    " d AS (DELETE FROM summaries u USING s WHERE u.tenant = $1 AND u.generation = s.generation"
    " AND u.last_seq = $11::bigint),"
    SQL_RECORD("204", "0", "NULL::text") "SELECT * FROM s"};
/* clang-format on */

enum { PUT_PARAMS = SQL_PRECONDITION_PARAMS + 6, DELETE_PARAMS = PUT_PARAMS - 2 };

static enum err change(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                       const struct session *base, const struct db_stmt *stmt, int n_params,
                       int status, struct db_param *p)
{
    TRY(sql_precondition_params(ctx, w, p));
    sql_base_params(base, p);
    struct db_call call = {stmt, p, n_params, {0}};
    TRY(sql_write(s, ctx, w, &call, 1, NULL));
    sql_change_from_row(w, &call.rows, 0, status, 0);
    return ERR_NONE;
}

enum err sql_summary_put(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                         const struct session *base)
{
    const struct session_message *summary = w->drafts.messages;
    struct db_param p[PUT_PARAMS];
    p[10] = db_i64(summary->seq);
    p[11] = db_text(summary->content);
    p[12] = db_text(summary->tokens);
    return change(s, ctx, w, base, &summary_put, PUT_PARAMS, 200, p);
}

enum err sql_summary_delete(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                            const struct session *base, int64_t last_seq)
{
    struct db_param p[DELETE_PARAMS];
    p[10] = db_i64(last_seq);
    return change(s, ctx, w, base, &summary_delete, DELETE_PARAMS, 204, p);
}

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

enum err sql_summary_change(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                            const struct session *base, int64_t current)
{
    enum { PUT_PARAMS = SQL_PRECONDITION_PARAMS + 6, DELETE_PARAMS = PUT_PARAMS - 2 };
    const struct session_message *summary = w->drafts.messages;
    struct db_param p[PUT_PARAMS];
    struct db_call call = {
        summary ? &summary_put : &summary_delete, p, summary ? PUT_PARAMS : DELETE_PARAMS, {0}};
    TRY(sql_precondition_params(ctx, w, p));
    sql_base_params(base, p);
    p[10] = db_i64(summary ? summary->seq : current);
    p[11] = db_text(summary ? summary->content : SV_NONE);
    p[12] = db_text(summary ? summary->tokens : SV_NONE);
    TRY(sql_write(s, ctx, w, &call, 1, NULL));
    sql_change_from_row(w, &call.rows, 0, summary ? 200 : 204, 0);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * The read of a session's current stamp and owner. A caller that has a cached value of that stamp
 * needs no more. Otherwise it calls sql_session_read, whose plan costs PostgreSQL twice as much
 * (docs/internals/performance.md).
 */
#include "sql_fragments.h"

/* In a small table all indexes that begin with the tenant cost the same, and the plan stays when
 * the table has grown. So the statement asks for the order of session_id, which only the primary
 * key gives without a sort; with = instead of BETWEEN the planner would drop that order. LIMIT
 * keeps the lookups of several ids apart. */
/* clang-format off */
#define SQL_STAMP_OF(id)                                                                           \
    "SELECT generation, version, mark, user_id FROM sessions WHERE tenant = $1"                    \
    " AND session_id BETWEEN " id " AND " id " AND expires_at > now() ORDER BY session_id LIMIT 1"

const struct db_stmt sql_stamp_stmt = {"stamp_read", SQL_STAMP_OF("$2")};
const struct db_batch_kind sql_stamps_kind = {
    {"stamps_read", "SELECT q.n, s.* FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n)"
                    " CROSS JOIN LATERAL (" SQL_STAMP_OF("q.id") ") s"},
    1};
/* clang-format on */

void sql_stamp_from_row(const struct db_rows *rows, int row, struct sql_stamp *out)
{
    out->stamp.generation = db_get_i64(rows, row, db_column(rows, "generation"));
    out->stamp.version = db_get_i64(rows, row, db_column(rows, "version"));
    out->stamp.mark = (uint64_t)db_get_i64(rows, row, db_column(rows, "mark"));
    out->user_id = db_get_text(rows, row, db_column(rows, "user_id"));
}

enum err sql_stamp_read(struct sessions *s, struct request_ctx *ctx, struct sv id,
                        struct sql_stamp *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(id)};
    struct db_rows rows;
    ctx->reserve = true;
    enum err e = db_query(s->db, ctx, DB_READ, &sql_stamp_stmt, p, ARRAY_LEN(p), &rows, NULL);
    ctx->reserve = false;
    TRY(e);
    if (rows.count == 0)
        return ERR_NOT_FOUND;
    sql_stamp_from_row(&rows, 0, out);
    return ERR_NONE;
}

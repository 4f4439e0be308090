/* SPDX-License-Identifier: MIT */
/* The SQL of windows: the end of a session, and what a window may begin with. */
#include "sql_fragments.h"

/* The index messages_role has these messages; a plan uses it only with the index's own condition.
 * The range of one role asks for the order that only this index gives without a sort, as in
 * sql_session.c; a range of seq would make the planner read all messages of the session instead, so
 * what is before the summary is left out afterwards. part 1: system messages, 2: those of the user,
 * 3: the summary, whose content is its JSON text. */
/* clang-format off */
#define SQL_NEWEST_OF(part, role)                                                                  \
    " UNION ALL (SELECT " part ", 0," SQL_MESSAGE "FROM messages m WHERE m.tenant = s.tenant"      \
    " AND m.generation = s.generation AND m.role IN ('user', 'human', 'system', 'developer')"      \
    " AND (m.content NOT LIKE '%\"tool_%' OR m.content !~ '\"type\"\\s*:\\s*\"tool_(result|use)\"')" \
    " AND (m.extra IS NULL OR m.extra NOT LIKE '%tool_call%') AND m.role BETWEEN '" role "' AND '" role "'"     \
    " AND m.seq < o.oldest ORDER BY m.role DESC, m.seq DESC LIMIT 1)"

/* $4: no message after this seq. $5: rows at most. $6: bytes; the first message that exceeds them comes,
 * to show that there are more. covered: the last seq that the summary covers; 0: there is none. t: the
 * tail. o: its oldest seq. Of one snapshot, since it is one statement. */
const struct db_stmt sql_window_stmt = {
    "window_tail",
    "SELECT s.generation, s.version, s.mark, m.* FROM (SELECT s.*, coalesce((SELECT u.last_seq FROM summaries u"
    " WHERE u.tenant = s.tenant AND u.generation = s.generation AND u.last_seq <= $4 ORDER BY u.last_seq DESC LIMIT 1), 0)"
    " AS covered FROM (SELECT * FROM sessions s WHERE s.tenant = $1"
    " AND s.session_id BETWEEN $2 AND $2 AND s.expires_at > now() AND ($3::text IS NULL OR s.user_id = $3)"
    " ORDER BY s.session_id LIMIT 1) s OFFSET 0) s LEFT JOIN LATERAL ("
    "WITH t AS MATERIALIZED (SELECT * FROM (SELECT sum(m.size) OVER (ORDER BY m.seq DESC ROWS UNBOUNDED PRECEDING)"
    " AS total, m.size," SQL_MESSAGE "FROM (SELECT * FROM messages WHERE tenant = s.tenant"
    " AND generation = s.generation AND seq <= $4 AND seq > s.covered ORDER BY seq DESC LIMIT $5) m) m WHERE m.total - m.size <= $6)"
    " SELECT m.* FROM (SELECT coalesce(min(seq), s.covered + 1) AS oldest FROM t) o CROSS JOIN LATERAL ("
    "SELECT 0 AS part, t.total, t.seq, t.message_id, t.type, t.role, t.content, t.message_metadata, t.extra,"
    " t.tokens, t.message_created_at, t.edited_at FROM t"
    SQL_NEWEST_OF("1", "system") SQL_NEWEST_OF("1", "developer")
    SQL_NEWEST_OF("2", "user") SQL_NEWEST_OF("2", "human")
    " UNION ALL (SELECT 3, 0, s.covered, NULL, 'summary', NULL, " SQL_SUMMARY("s.generation", "s.covered") ","
    " NULL, NULL, NULL, NULL, NULL WHERE s.covered > 0)) m"
    " WHERE m.part <> 2 OR m.seq > s.covered) m ON true ORDER BY m.part, m.seq DESC"};
/* clang-format on */

/* Sets the tail from its rows, newest first: the tail, the system messages, the user's, the
 * summary. */
static enum err tail_from_rows(struct request_ctx *ctx, const struct db_rows *rows, size_t limit,
                               int64_t bytes, struct window_tail *out)
{
    const int part = db_column(rows, "part"), total = db_column(rows, "total");
    struct session_message *all;
    size_t n, of[4] = {0, 0, 0, 0};
    TRY(sql_messages_from_rows(ctx, rows, true, &all, &n));
    for (size_t i = 0; i < n; i++)
        of[db_get_i64(rows, (int)i, part)]++;
    out->n = of[0];
    out->messages = all + of[1] + of[2] + of[3];
    out->is_complete =
        of[0] < limit && (of[0] == 0 || db_get_i64(rows, (int)of[0] - 1, total) <= bytes);
    out->is_looked_for = true;
    out->system = of[1] > 0 ? &all[of[3] + of[2] + of[1] - 1] : NULL;
    out->start = of[2] > 0 ? &all[of[3] + of[2] - 1] : NULL;
    if (of[3] == 0)
        return ERR_NONE;
    out->summary = &all[0];
    return session_summary_message(ctx, all[0].content, &all[0]);
}

enum err sql_window_tail(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                         int64_t last_seq, size_t limit, int64_t bytes, struct window_tail *out)
{
    const struct db_param p[] = {db_text(ctx->tenant),   db_text(id),
                                 db_text(user),          db_i64(last_seq),
                                 db_i64((int64_t)limit), db_i64(bytes)};
    struct db_rows rows;
    *out = (struct window_tail){.n = 0};
    TRY(sql_reachable(s, ctx));
    TRY(db_query(s->db, ctx, DB_READ, &sql_window_stmt, p, ARRAY_LEN(p), &rows, NULL));
    if (rows.count == 0)
        return session_not_found(ctx);
    out->stamp = sql_stamp_of_row(&rows, 0);
    return tail_from_rows(ctx, &rows, limit, bytes, out);
}

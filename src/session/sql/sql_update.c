/* SPDX-License-Identifier: MIT */
/* The SQL of changes of messages: an update, which puts and removes them by id and changes the
 * context with them, a patch of one, and a truncation. */
#include "sql_fragments.h"

/* The parts of the statement:
 * - l: the session, if the conditions hold.
 * - e: each message of the update, with the seq of the stored message that it names. These are
 *   looked up one by one, so that the cost does not grow with the history.
 * - f: the first message at fault, and how many messages the session would gain.
 * - ok: l, if no message is at fault and the session has room. All that follows depends on it.
 * - c: counts what was done. s and the insert read from it, so that they run after the deletions,
 *   which free ids.
 * - t: top: no summary may end after it. first: the lowest seq that was changed or removed; the
 *   summaries from there to top become stale.
 *
 * $8 to $10: generation, state_version and state_mark (NULL: any). $11: the new context (NULL: no
 * change). $12: clear. $13: enum session_edit. $14, $15: see
 * sql_message_name. From $16 on: messages. $23: whether the state is kept and returned, which has
 * the context before the update. $24: the most messages; an update that adds none beyond those that
 * it removes is done in any case. */
/* clang-format off */
/* The message that e names. It depends on e alone, so that no plan begins with all messages of the
 * session. */
#define SQL_EDITED                                                                                 \
    " AND m.tenant = $1 AND m.generation = e.generation AND m.seq = e.seq AND EXISTS (SELECT FROM ok)"

/* Whether the JSON means something else. A client that sends back what it has read may write it
 * differently; the stored text then stays as it is. Texts that jsonb cannot hold are compared as texts. */
#define SQL_OTHER(column)                                                                          \
    "(m." column " IS DISTINCT FROM e." column                                                    \
    " AND coalesce(" SQL_COMPARABLE("m." column) "<>" SQL_COMPARABLE("e." column) ", true))"
#define SQL_EXTRA(row) SQL_COMPARABLE("coalesce(" row ".extra, '{}')")

/* The extra of a stored message in the form in which langgraph_output.c shows tool calls of OpenAI's
 * form. A client that sends that back changes nothing. */
#define SQL_AS_READ                                                                                \
    "(SELECT extra || jsonb_build_object('invalid_tool_calls', '[]'::jsonb, 'tool_calls'," \
    " jsonb_agg(jsonb_build_object('type', 'tool_call', 'id', c->'id', 'name', c->'function'->'name', 'args'," \
    SQL_COMPARABLE("coalesce(nullif(c->'function'->>'arguments', ''), '{}')") ") ORDER BY n))"         \
    " FROM (SELECT" SQL_EXTRA("m") "AS extra) v, jsonb_array_elements(CASE jsonb_typeof(extra->'tool_calls') WHEN 'array'" \
    " THEN extra->'tool_calls' ELSE '[]' END) WITH ORDINALITY AS t(c, n) GROUP BY extra)"

/* Whether e is an item of a tool call, or of its output, in the form in which write_tool_item shows it. */
#define SQL_ITEM_AS_READ                                                                           \
    "CASE WHEN e.type = 'message' AND m.type LIKE 'function\\_call%' THEN (SELECT CASE m.type"      \
    " WHEN 'function_call' THEN e.role = 'assistant' AND e.content = coalesce(text, '\"\"')"       \
    " AND extra - '{call_id,name,arguments}'::text[] || jsonb_build_object('invalid_tool_calls', '[]'::jsonb," \
    " 'tool_calls', jsonb_build_array(jsonb_build_object('type', 'tool_call', 'id', x->'call_id', 'name', x->'name'," \
    " 'args'," SQL_COMPARABLE("coalesce(nullif(x->>'arguments', ''), '{}')") "))) =" SQL_EXTRA("e")       \
    " WHEN 'function_call_output' THEN e.role = 'tool'"                                            \
    " AND coalesce(nullif(x->'output', 'null')," SQL_COMPARABLE("text") ", to_jsonb(m.content), '\"\"') =" SQL_COMPARABLE("e.content") \
    " AND extra - '{call_id,output}'::text[] || jsonb_build_object('tool_call_id', x->'call_id') =" SQL_EXTRA("e") \
    " END FROM (SELECT" SQL_EXTRA("m") "AS extra,"                                                 \
    " CASE WHEN m.content NOT LIKE '{%' THEN m.content END AS text,"                               \
    SQL_COMPARABLE("CASE WHEN m.content LIKE '{%' THEN m.content ELSE '{}' END")                     \
    "||" SQL_EXTRA("m") "AS x) v) END"

/* Whether e is m in the form in which write_message shows what LangChain has no type for: an item of another
 * type, or a message of another role. All members of e are in its extra. */
#define SQL_OTHER_AS_READ                                                                          \
    "CASE WHEN e.type <> 'message' AND e.type IN (m.type, CASE m.type WHEN 'message' THEN m.role END)" \
    " THEN" SQL_EXTRA("m") "- '{type,id}'::text[]"                                                 \
    " || CASE WHEN m.type = 'message' OR m.role IS NULL THEN '{}' ELSE jsonb_build_object('role', m.role) END" \
    " ||" SQL_COMPARABLE("coalesce('{\"content\":' || CASE m.content WHEN 'null' THEN '\"\"' ELSE m.content END || '}', '{}')") \
    "=" SQL_EXTRA("e") "END"

/* Locks the session, so that the statement after it sees what the writer before it did: of two
 * updates at once with one new id, the second replaces the message of the first. */
static const struct db_stmt session_lock = {
    "session_lock",
    "SELECT s.generation FROM sessions s WHERE" SQL_LIVE "AND" SQL_MATCH "FOR NO KEY UPDATE"};

/* It locks the session again: if the id has had a new session since session_lock, that one is not locked.
 * A change of its messages would then lock these, and wait for the session. */
static const struct db_stmt session_edit = {
    "session_edit",
    "WITH l AS (SELECT s.generation, s.last_seq, s.message_count, greatest(statement_timestamp(), s.updated_at) AS at, CASE WHEN $23::boolean THEN" SQL_STATE("s", "s.generation")
    "END AS state FROM sessions s WHERE" SQL_LIVE "AND" SQL_MATCH
    "AND ($8::bigint IS NULL OR (s.generation = $8 AND s.state_version = $9::bigint"
    " AND s.state_mark = $10::bigint)) FOR NO KEY UPDATE SKIP LOCKED),"
    " e AS (SELECT i.*, l.generation, i.of = l.generation AND i.at > l.last_seq AS unborn,"
    " CASE WHEN NOT $12::boolean THEN "
    SQL_SEQ_NAMED("l.generation", "i.id", "i.of", "i.at") " END AS seq"
    " FROM l, unnest($13::bigint[], $14::bigint[], $15::bigint[], $16::text[], $17::text[], $18::text[],"
    " $19::text[], $20::text[], $21::text[], $22::text[]) WITH ORDINALITY"
    " AS i(edit, of, at, type, role, content, metadata, id, extra, tokens, n)),"
    " f AS (SELECT min(n) FILTER (WHERE seq IS NULL AND (edit = 1 OR (edit = 0 AND unborn))) AS fault,"
    " count(*) FILTER (WHERE edit = 0 AND seq IS NULL) - CASE WHEN $12 THEN (SELECT message_count FROM l)"
    " ELSE count(*) FILTER (WHERE edit > 0 AND seq IS NOT NULL) END AS gain FROM e),"
    " ok AS (SELECT l.generation FROM l, f WHERE f.fault IS NULL AND f.gain <= greatest(0, $24::bigint - l.message_count)),"
    " removed AS (DELETE FROM messages m USING e WHERE e.edit > 0" SQL_EDITED " RETURNING m.seq),"
    " cleared AS (DELETE FROM messages m WHERE $12 AND m.tenant = $1"
    " AND m.generation = (SELECT generation FROM ok) RETURNING 1),"
    " changed AS (UPDATE messages m SET type = e.type, role = e.role, content = e.content, extra = e.extra,"
    " tokens = e.tokens::integer, edited_at = (SELECT at FROM l),"
    " size =" SQL_SIZE("e.content", "m.metadata", "e.extra") " FROM e WHERE e.edit = 0" SQL_EDITED
    " AND (" SQL_ITEM_AS_READ ") IS NOT TRUE AND (" SQL_OTHER_AS_READ ") IS NOT TRUE"
    " AND (m.type <> e.type OR m.role IS DISTINCT FROM e.role"
    " OR (" SQL_OTHER("content") " AND (m.content <> 'null' OR e.content <> '\"\"')) OR ("
    SQL_OTHER("extra") " AND coalesce(" SQL_AS_READ " <>" SQL_EXTRA("e") ", true)))"
    " RETURNING m.seq),"
    " c AS (SELECT (SELECT count(*) FROM removed) + (SELECT count(*) FROM cleared) AS removed,"
    " (SELECT count(*) FROM changed) AS changed,"
    " (SELECT count(*) FROM e WHERE edit = 0 AND seq IS NULL) AS added),"
    " t AS (SELECT CASE WHEN $12 THEN 0 WHEN c.removed = 0 OR c.added > 0 THEN 9223372036854775807"
    " ELSE coalesce((SELECT m.seq FROM messages m WHERE m.tenant = $1 AND m.generation = (SELECT generation FROM ok)"
    " AND m.seq <> ALL(ARRAY(SELECT seq FROM removed)) ORDER BY m.seq DESC LIMIT 1), 0) END AS top,"
    " least((SELECT min(seq) FROM removed), (SELECT min(seq) FROM changed)) AS first FROM c),"
    " gone AS (DELETE FROM summaries u USING t WHERE u.tenant = $1"
    " AND u.generation = (SELECT generation FROM ok) AND u.last_seq > t.top),"
    " stale AS (UPDATE summaries u SET stale = true FROM t WHERE u.tenant = $1"
    " AND u.generation = (SELECT generation FROM ok) AND u.last_seq BETWEEN t.first AND t.top AND NOT u.stale),"
    " s AS (UPDATE sessions s SET"
    SQL_STAMP_STATE_IF("$7", "c.removed + c.changed > 0 OR $11 IS NOT NULL") "," SQL_SLIDE
    ", context = coalesce($11::text, s.context), last_seq = s.last_seq + c.added, message_count = s.message_count + c.added - c.removed"
    " FROM c WHERE s.tenant = $1 AND s.generation = (SELECT generation FROM ok) RETURNING" SQL_CHANGED "),"
    SQL_INSERT_DRAFTS("s.last_seq - c.added + row_number() OVER (ORDER BY i.n)", "s.updated_at")
    ", c, e AS i WHERE i.edit = 0 AND i.seq IS NULL),"
    SQL_RECORD("200", "0", "(SELECT state FROM l)")
    "SELECT s.*, f.fault, (SELECT state FROM l) AS state, f.fault IS NULL AND EXISTS (SELECT FROM l)"
    " AND NOT EXISTS (SELECT FROM ok) AS exceeds FROM f LEFT JOIN s ON true"};
/* clang-format on */

enum { EDIT_PARAMS = SQL_PRECONDITION_PARAMS + 8 + SQL_MESSAGE_PARAMS + 2 };

static enum err edit_arrays(struct request_ctx *ctx, const struct session_update *update,
                            struct db_param *out)
{
    const size_t n = update->n_messages;
    int64_t *edits = arena_array(ctx->arena, n, sizeof(*edits));
    int64_t *generations = arena_array(ctx->arena, n, sizeof(*generations));
    int64_t *seqs = arena_array(ctx->arena, n, sizeof(*seqs));
    if (!edits || !generations || !seqs)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        edits[i] = update->edits[i];
        sql_message_name((struct session_message_name){update->messages[i].message_id, update->seq},
                         &generations[i], &seqs[i]);
    }
    TRY(db_i64_array(ctx, edits, n, &out[0]));
    TRY(db_i64_array(ctx, generations, n, &out[1]));
    TRY(db_i64_array(ctx, seqs, n, &out[2]));
    return sql_message_arrays(ctx, update->messages, n, &out[3]);
}

enum err sql_session_edit(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                          const struct session *base, struct sv context)
{
    struct db_param p[EDIT_PARAMS];
    TRY(sql_precondition_params(ctx, w, p));
    TRY(edit_arrays(ctx, w->update, &p[12]));
    p[7] = base ? db_i64(base->generation) : db_null_i64();
    p[8] = base ? db_i64(base->state_version) : db_null_i64();
    p[9] = base ? db_i64((int64_t)base->state_mark) : db_null_i64();
    p[10] = db_text(context);
    p[11] = db_bool(w->update->clear);
    p[EDIT_PARAMS - 2] = db_bool(w->out != NULL);
    p[EDIT_PARAMS - 1] = db_i64(s->settings.messages_max);
    struct db_call calls[] = {{&session_lock, p, 5, {0}}, {&session_edit, p, EDIT_PARAMS, {0}}};
    TRY(sql_write(s, ctx, w, calls, ARRAY_LEN(calls), NULL));
    const struct db_rows *rows = &calls[1].rows;
    w->fault = (size_t)db_get_i64(rows, 0, db_column(rows, "fault"));
    w->state = db_get_text(rows, 0, db_column(rows, "state"));
    sql_change_from_row(w, rows, 0, 200, 0);
    return db_get_bool(rows, 0, db_column(rows, "exceeds")) ? session_full(s, ctx) : ERR_NONE;
}

/* ---- a patch of one message ---- */

/* $8 to $10: generation, state_version and state_mark as they were read; $11: the message's seq. */
/* clang-format off */
#define SQL_CHANGE_STATE                                                                           \
    "WITH s AS (UPDATE sessions s SET" SQL_STAMP_STATE("$7") "," SQL_SLIDE "WHERE" SQL_LIVE "AND" SQL_MATCH \
    "AND s.generation = $8 AND s.state_version = $9 AND s.state_mark = $10 RETURNING" SQL_CHANGED "),"
const struct db_stmt sql_message_patch_stmt = {
    "message_patch",
    SQL_CHANGE_STATE
    " m AS (UPDATE messages m SET content = $12, metadata = $13::text::jsonb, extra = $14, tokens = $15::text::integer,"
    " size =" SQL_SIZE("$12", "$13::text::jsonb", "$14") ", edited_at = s.updated_at"
    " FROM s WHERE m.tenant = $1 AND m.generation = $8 AND m.seq = $11),"
    " stale AS (UPDATE summaries u SET stale = true FROM s WHERE u.tenant = $1 AND u.generation = $8"
    " AND u.last_seq >= $11 AND NOT u.stale),"
    SQL_RECORD("200", "0", "$16::text") "SELECT * FROM s"};
/* clang-format on */

enum err sql_message_patch(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base, const struct session_message *m)
{
    struct db_param p[SQL_PRECONDITION_PARAMS + 9];
    p[10] = db_i64(m->seq);
    p[11] = db_text(m->content);
    p[12] = db_text(m->metadata);
    p[13] = db_text(m->extra);
    p[14] = db_text(m->tokens);
    p[15] = db_text(w->state);
    return sql_write_one(s, ctx, w, base, &sql_message_patch_stmt, p, ARRAY_LEN(p), 200);
}

/* ---- truncation ---- */

/* It runs after session_lock, so it also removes what an append that held the lock has added. $8:
 * the last seq to keep. $9: how many messages may be removed. The record keeps the number of the
 * removed ones as first_seq. */
/* clang-format off */
static const struct db_stmt session_truncate_stmt = {
    "session_truncate",
    "WITH l AS (SELECT s.generation FROM sessions s WHERE" SQL_LIVE "AND" SQL_MATCH "FOR NO KEY UPDATE SKIP LOCKED),"
    " f AS (SELECT count(*) AS found FROM (SELECT FROM messages m WHERE m.tenant = $1"
    " AND m.generation = (SELECT generation FROM l) AND m.seq > $8 LIMIT $9::bigint + 1) m),"
    " ok AS (SELECT l.generation FROM l, f WHERE f.found <= $9),"
    " removed AS (DELETE FROM messages m WHERE m.tenant = $1 AND m.generation = (SELECT generation FROM ok)"
    " AND m.seq > $8 RETURNING 1),"
    " gone AS (DELETE FROM summaries u WHERE u.tenant = $1 AND u.generation = (SELECT generation FROM ok)"
    " AND u.last_seq > coalesce((SELECT m.seq FROM messages m WHERE m.tenant = $1"
    " AND m.generation = (SELECT generation FROM ok) AND m.seq <= $8 ORDER BY m.seq DESC LIMIT 1), 0)),"
    " c AS (SELECT count(*) AS removed FROM removed),"
    " s AS (UPDATE sessions s SET" SQL_STAMP_STATE_IF("$7", "c.removed > 0") "," SQL_SLIDE
    ", message_count = s.message_count - c.removed FROM c"
    " WHERE s.tenant = $1 AND s.generation = (SELECT generation FROM ok) RETURNING" SQL_CHANGED "),"
    SQL_RECORD("200", "(SELECT removed FROM c)", "NULL::text")
    "SELECT s.*, f.found, c.removed FROM f CROSS JOIN c LEFT JOIN s ON true"};
/* clang-format on */

enum err sql_session_truncate(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct db_param p[SQL_PRECONDITION_PARAMS + 2];
    TRY(sql_precondition_params(ctx, w, p));
    p[7] = db_i64(w->after);
    p[8] = db_i64(SESSION_TRUNCATE_MAX);
    struct db_call calls[] = {{&session_lock, p, 5, {0}},
                              {&session_truncate_stmt, p, ARRAY_LEN(p), {0}}};
    TRY(sql_write(s, ctx, w, calls, ARRAY_LEN(calls), NULL));
    const struct db_rows *rows = &calls[1].rows;
    sql_change_from_row(w, rows, 0, 200, 0);
    w->receipt->first_seq = db_get_i64(rows, 0, db_column(rows, "removed"));
    if (db_get_i64(rows, 0, db_column(rows, "found")) > SESSION_TRUNCATE_MAX)
        return ctx_fail(
            ctx, ERR_TOO_MANY, NULL, "after",
            "More than %d messages follow it. Fork the session instead, with this number "
            "as last_seq.",
            SESSION_TRUNCATE_MAX);
    return ERR_NONE;
}

/* ---- summaries ---- */

/* $8 to $10: the state as it was read. $11: last_seq. $12: the content; NULL: it is removed. */
/* clang-format off */
static const struct db_stmt summary_change = {
    "summary_change",
    SQL_CHANGE_STATE
    " u AS (INSERT INTO summaries AS u (tenant, generation, last_seq, content, tokens, created_at)"
    " SELECT $1, s.generation, $11::bigint, $12::text, $13::text::integer, s.updated_at FROM s WHERE $12 IS NOT NULL"
    " ON CONFLICT (tenant, generation, last_seq) DO UPDATE SET content = excluded.content,"
    " tokens = excluded.tokens, created_at = excluded.created_at, stale = false),"
    " d AS (DELETE FROM summaries u USING s WHERE $12 IS NULL AND u.tenant = $1 AND u.generation = s.generation"
    " AND u.last_seq = $11),"
    SQL_RECORD("CASE WHEN $12 IS NULL THEN 204 ELSE 200 END", "0", "NULL::text") "SELECT * FROM s"};
/* clang-format on */

enum err sql_summary_change(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                            const struct session *base, int64_t current)
{
    const struct session_message *summary = w->drafts.messages;
    struct db_param p[SQL_PRECONDITION_PARAMS + 6];
    p[10] = db_i64(summary ? summary->seq : current);
    p[11] = db_text(summary ? summary->content : SV_NONE);
    p[12] = db_text(summary ? summary->tokens : SV_NONE);
    return sql_write_one(s, ctx, w, base, &summary_change, p, ARRAY_LEN(p), summary ? 200 : 204);
}

/* SPDX-License-Identifier: MIT */
/* The SQL on whole sessions: read, insert, copy, update, delete. */
#include "sql_fragments.h"

#include <string.h>

/* The wide columns of the session come once, with the newest message. It is one statement, so that
 * the session and its messages are of one snapshot. total: the sum of the sizes up to and including
 * a message. The first message always comes: its total is its size. */
/* clang-format off */
static const struct db_stmt session_read = {
    "session_read",
    "SELECT" SQL_SESSION("s") ","
    " CASE WHEN m.total > m.size THEN NULL ELSE s.user_id END AS user_id,"
    " CASE WHEN m.total > m.size THEN NULL ELSE s.language END AS language,"
    " CASE WHEN m.total > m.size THEN NULL ELSE s.context END AS context,"
    " CASE WHEN m.total > m.size THEN NULL ELSE s.metadata END AS metadata,"
    " CASE WHEN m.total > m.size THEN NULL ELSE " SQL_SUMMARY("s.generation", "s.last_seq") " END AS summary,"
    SQL_MESSAGE
    "FROM sessions s LEFT JOIN LATERAL (SELECT *, sum(size) OVER (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING)"
    " AS total FROM (SELECT * FROM messages WHERE tenant = s.tenant AND generation = s.generation"
    " ORDER BY seq DESC LIMIT $4) newest) m ON m.total <= greatest(m.size, $5) WHERE" SQL_LIVE "ORDER BY m.seq DESC"};
/* clang-format on */

enum { READ_PARAMS = 5 };

static struct db_call read_call(const struct sessions *s, struct request_ctx *ctx, struct sv id,
                                struct sv user, size_t limit, struct db_param p[READ_PARAMS])
{
    p[0] = db_text(ctx->tenant);
    p[1] = db_text(id);
    p[2] = db_text(user);
    p[3] = db_i64((int64_t)limit);
    p[4] = db_i64(s->settings.page_bytes);
    return (struct db_call){&session_read, p, READ_PARAMS, {0}};
}

static enum err session_from_rows(struct request_ctx *ctx, const struct db_rows *rows, struct sv id,
                                  struct session *out)
{
    memset(out, 0, sizeof(*out));
    if (rows->count == 0)
        return ERR_NOT_FOUND;
    sql_session_from_row(rows, 0, out);
    out->session_id = id;
    return sql_messages_from_rows(ctx, rows, true, &out->messages, &out->n_messages);
}

enum err sql_session_read(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                          size_t limit, struct session *out)
{
    struct db_param p[READ_PARAMS];
    struct db_call call = read_call(s, ctx, id, user, limit, p);
    TRY(db_batch(s->db, ctx, DB_READ, &call, 1, NULL));
    return session_from_rows(ctx, &call.rows, id, out);
}

/* In a small table all indexes that begin with the tenant cost the same, and the plan stays when
 * the table has grown. So the statement asks for the order of session_id, which only the primary
 * key gives without a sort; with = instead of BETWEEN the planner would drop that order. LIMIT
 * keeps the lookups of several ids apart. */
/* clang-format off */
#define SQL_STAMP_OF(id)                                                                           \
    "SELECT generation, version, mark, user_id FROM sessions WHERE tenant = $1"                    \
    " AND session_id BETWEEN " id " AND " id " AND expires_at > now() ORDER BY session_id LIMIT 1"

const struct db_stmt sql_stamp_stmt = {"stamp_read", SQL_STAMP_OF("$2")};
const struct db_stmt sql_stamps_stmt = {
    "stamps_read", "SELECT q.n, s.* FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n)"
                   " CROSS JOIN LATERAL (" SQL_STAMP_OF("q.id") ") s"};
/* clang-format on */

struct cache_stamp sql_stamp_of_row(const struct db_rows *rows, int row)
{
    return (struct cache_stamp){db_get_i64(rows, row, db_column(rows, "generation")),
                                db_get_i64(rows, row, db_column(rows, "version")),
                                (uint64_t)db_get_i64(rows, row, db_column(rows, "mark"))};
}

void sql_stamp_from_row(const struct db_rows *rows, int row, struct sql_stamp *out)
{
    out->stamp = sql_stamp_of_row(rows, row);
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

/* ON CONFLICT waits for a request that is making the session now, so two at once make one. $20:
 * sql_generation. */
/* clang-format off */
static const struct db_stmt session_insert = {
    "session_insert",
    "WITH" SQL_EXPIRED
    "," SQL_INSERT_SESSION
    " SELECT $20, $1, $2, $3, $8, $9, $10, $11, $12," SQL_EXPIRES_IN("$11::bigint") ", $21, $21, $7, $7"
    " FROM (SELECT count(*) FROM expired) after_expired WHERE " SQL_KEY_IS_NEW("$5")
    " ON CONFLICT (tenant, session_id) DO NOTHING RETURNING" SQL_CHANGED "),"
    SQL_INSERT_DRAFTS("i.n", "s.created_at") ", unnest($13::text[], $14::text[], $15::text[], $16::text[],"
    " $17::text[], $18::text[], $19::text[])"
    " WITH ORDINALITY AS i(type, role, content, metadata, id, extra, tokens, n)),"
    SQL_RECORD("201", "least(1, s.last_seq)", "NULL::text")
    "SELECT * FROM s"};

/* The common create: one plain message, no key, and an id that was made just now, so that no session,
 * live or expired, can have it. */
static const struct db_stmt session_insert_plain = {
    "session_insert_plain",
    "WITH s AS (INSERT INTO sessions AS s (tenant, session_id, user_id, language, context, metadata,"
    " ttl_seconds, sliding, expires_at, expiry_hour, last_seq, message_count, generation, mark, state_mark)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8," SQL_EXPIRES_IN("$7::bigint") ", 1, 1, $12, $13, $13) RETURNING" SQL_CHANGED "),"
    " m AS (INSERT INTO messages (tenant, generation, seq, role, content, size, created_at)"
    " SELECT $1, s.generation, 1, $9, $10, $11, s.created_at FROM s)"
    " SELECT * FROM s"};
/* clang-format on */

enum {
    INSERT_PARAMS = SQL_PRECONDITION_PARAMS + 5 + SQL_MESSAGE_PARAMS + 2,
    INSERT_GENERATION = 19
};

static enum err insert_params(struct request_ctx *ctx, const struct session_write *w,
                              struct db_param *out)
{
    const struct session_draft *draft = w->draft;
    TRY(sql_precondition_params(ctx, w, out));
    out[2] = db_text(draft->user_id); /* $3 is the owner here, not a condition */
    out[7] = db_text(draft->language);
    out[8] = db_text(draft->context);
    out[9] = db_jsonb(draft->metadata);
    out[10] = db_i64(draft->ttl_seconds);
    out[11] = db_bool(draft->sliding);
    out[20] = db_i64((int64_t)draft->n_messages);
    return sql_message_arrays(ctx, draft->messages, draft->n_messages, &out[12]);
}

enum { PLAIN_PARAMS = 13, PLAIN_GENERATION = 11 };

static void plain_params(struct request_ctx *ctx, const struct session_draft *draft,
                         struct db_param *out)
{
    const struct session_message *m = &draft->messages[0];
    out[0] = db_text(ctx->tenant);
    out[1] = db_text(draft->session_id);
    out[2] = db_text(draft->user_id);
    out[3] = db_text(draft->language);
    out[4] = db_text(draft->context);
    out[5] = db_jsonb(draft->metadata);
    out[6] = db_i64(draft->ttl_seconds);
    out[7] = db_bool(draft->sliding);
    out[8] = db_text(m->role);
    out[9] = db_text(m->content);
    out[10] = db_i32((int32_t)(m->content.n + m->metadata.n));
    out[12] = sql_mark();
}

enum err sql_session_insert(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct session_draft *draft = w->draft;
    struct db_param p[INSERT_PARAMS], read[READ_PARAMS], *generation = &p[INSERT_GENERATION];
    struct db_call calls[] = {{&session_insert, p, INSERT_PARAMS, {0}},
                              read_call(s, ctx, w->id, SV_NONE, SESSION_NEWEST, read)};
    if (w->id_is_new && sql_write_is_plain(w)) {
        generation = &p[PLAIN_GENERATION];
        plain_params(ctx, draft, p);
        calls[0] = (struct db_call){&session_insert_plain, p, PLAIN_PARAMS, {0}};
    } else {
        TRY(insert_params(ctx, w, p));
    }
    TRY(sql_write(s, ctx, w, calls, w->out ? 2 : 1, generation));
    sql_change_from_row(w, &calls[0].rows, 0, 201, draft->n_messages);
    return w->out ? session_from_rows(ctx, &calls[1].rows, w->id, w->out) : ERR_NONE;
}

/* One statement, and so one snapshot of the session and its messages. Made ids are stored, else the
 * copies would get others. o: what the copy will be, if the conditions hold. $8: the original,
 * $9: the copy's generation, $10: the last seq to copy (NULL: all), top: the seq of the last
 * message that is copied, $11 and $12: whether the owner is another one, and who, $13: the context
 * (NULL: the same), $14: the most messages. reserved: a message has an id that will be made for the
 * copy. To row-level security coalesce is not leakproof, so that no index would serve it; CASE is.
 */
/* clang-format off */
#define SQL_ORIGINAL " m.tenant = $1 AND m.generation = s.generation"
static const struct db_stmt session_copy_stmt = {
    "session_copy",
    "WITH o AS (SELECT s.*, '{\"session_id\":' || to_json(s.of)::text || ',\"last_seq\":' || s.top || '}' AS forked_from"
    " FROM (SELECT s.generation, s.session_id AS of, s.language, s.metadata, s.ttl_seconds, s.sliding,"
    " CASE WHEN $11::boolean THEN $12 ELSE s.user_id END AS user_id, coalesce($13, s.context) AS context,"
    " coalesce($10::bigint, s.last_seq) AS last_seq,"
    " CASE WHEN $10 IS NULL THEN s.message_count ELSE (SELECT count(*) FROM messages m WHERE" SQL_ORIGINAL
    " AND m.seq <= $10) END AS message_count,"
    " coalesce((SELECT m.seq FROM messages m WHERE" SQL_ORIGINAL
    " AND m.seq <= CASE WHEN $10 IS NULL THEN s.last_seq ELSE $10 END ORDER BY m.seq DESC LIMIT 1), 0) AS top,"
    " coalesce($10 > 0, false) AND NOT EXISTS (SELECT FROM messages m WHERE" SQL_ORIGINAL
    " AND m.seq >= $10) AS beyond, EXISTS (SELECT FROM messages m WHERE" SQL_ORIGINAL
    " AND m.message_id BETWEEN " SQL_MADE_ID("$9::bigint", "0") " AND "
    SQL_MADE_ID("$9::bigint", "(1::bigint << 58) - 1") ") AS reserved"
    " FROM sessions s WHERE s.tenant = $1 AND s.session_id = $8"
    " AND s.expires_at > now() AND ($3::text IS NULL OR s.user_id = $3) AND" SQL_MATCH ") s),"
    SQL_EXPIRED "," SQL_INSERT_SESSION_WITH(", forked_from")
    " SELECT $9, $1, $2, o.user_id, o.language, o.context, o.metadata, o.ttl_seconds,"
    " o.sliding," SQL_EXPIRES_IN("o.ttl_seconds") ", o.last_seq, o.message_count, $7, $7, o.forked_from"
    " FROM o, (SELECT count(*) FROM expired) after_expired WHERE NOT o.beyond AND NOT o.reserved AND o.message_count <= $14"
    " ON CONFLICT (tenant, session_id) DO NOTHING RETURNING" SQL_CHANGED "),"
    SQL_INSERT_MESSAGES_WITH(", edited_at")
    "SELECT $1, s.generation, m.seq, coalesce(m.message_id, " SQL_MADE_ID("o.generation", "m.seq") "),"
    " m.type, m.role, m.content, m.metadata, m.extra, m.tokens, m.size, m.created_at, m.edited_at"
    " FROM s, o, messages m WHERE m.tenant = $1 AND m.generation = o.generation AND m.seq <= o.last_seq),"
    " u AS (INSERT INTO summaries (tenant, generation, last_seq, content, tokens, stale, created_at)"
    " SELECT $1, s.generation, m.last_seq, m.content, m.tokens, m.stale, m.created_at"
    " FROM s, o, summaries m WHERE m.tenant = $1 AND m.generation = o.generation AND m.last_seq <= o.top),"
    SQL_RECORD("201", "0", "(SELECT" SQL_STATE_WITH("o", SQL_SUMMARY("o.generation", "o.top"), "o.forked_from") "FROM o)")
    "SELECT s.*, f.found, o.beyond, o.reserved, o.top, o.message_count > $14 AS exceeds FROM (SELECT count(*) AS found FROM o) f"
    " LEFT JOIN o ON true LEFT JOIN s ON true"};
/* clang-format on */

/* Why there is no copy of a session that was found. */
static enum err copy_refused(const struct sessions *s, struct request_ctx *ctx,
                             const struct db_rows *rows)
{
    if (db_get_bool(rows, 0, db_column(rows, "beyond")))
        return ctx_fail(ctx, ERR_INVALID, "out_of_range", "last_seq",
                        "last_seq is above the highest seq of a message, which is %lld.",
                        (long long)db_get_i64(rows, 0, db_column(rows, "top")));
    if (db_get_bool(rows, 0, db_column(rows, "exceeds")))
        return session_full(s, ctx);
    return ctx_fail(ctx, ERR_CONFLICT, "session_exists", "session_id",
                    "A session with this id exists.");
}

enum err sql_session_copy(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct session_fork *fork = w->fork;
    struct db_param copy[SQL_PRECONDITION_PARAMS + 7], read[READ_PARAMS];
    struct db_call calls[] = {{&session_copy_stmt, copy, ARRAY_LEN(copy), {0}},
                              read_call(s, ctx, w->id, SV_NONE, SESSION_NEWEST, read)};
    const struct db_rows *rows = &calls[0].rows;
    TRY(sql_precondition_params(ctx, w, copy));
    copy[7] = db_text(w->from);
    copy[9] = fork->last_seq >= 0 ? db_i64(fork->last_seq) : db_null_i64();
    copy[10] = db_bool(fork->has_user_id);
    copy[11] = db_text(fork->user_id);
    copy[12] = db_text(fork->context);
    copy[13] = db_i64(s->settings.messages_max);
    do {
        TRY(sql_write(s, ctx, w, calls, ARRAY_LEN(calls), &copy[8]));
        sql_change_from_row(w, rows, 0, 201, 0);
        if (w->done)
            return session_from_rows(ctx, &calls[1].rows, w->id, w->out);
        if (db_get_i64(rows, 0, db_column(rows, "found")) == 0)
            return ERR_NONE;
        /* A message's id names the new generation. Repeat with another one. */
    } while (db_get_bool(rows, 0, db_column(rows, "reserved")));
    return copy_refused(s, ctx, rows);
}

/* clang-format off */
/* $8 to $10, and $16: as they were read. A new time to live begins now ($17), also if the expiry does not
 * slide. The record has the texts of context and metadata that the answer has. */
static const struct db_stmt session_update_stmt = {
    "session_update",
    "WITH s AS (UPDATE sessions s SET" SQL_STAMP_STATE("$7") ","
    SQL_EXPIRY_IF("$17::boolean OR s.sliding", "$15::bigint") ","
    " user_id = $11, language = $12, context = $13, metadata = $14::text::jsonb, ttl_seconds = $15"
    " WHERE" SQL_LIVE "AND" SQL_MATCH "AND"
    " s.generation = $8 AND s.state_version = $9 AND s.state_mark = $10 "
    "RETURNING" SQL_CHANGED ")," SQL_RECORD("200", "0", "(SELECT" SQL_STATE("o", "s.generation")
    "FROM (SELECT $11::text AS user_id, $12::text AS language, $15::bigint AS ttl_seconds, $16::boolean AS sliding,"
    " $13::text AS context, $14::text AS metadata) o)") "SELECT * FROM s"};
/* clang-format on */

enum err sql_session_update(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                            const struct session *base)
{
    const struct session *next = w->out;
    struct db_param p[SQL_PRECONDITION_PARAMS + 10];
    p[10] = db_text(next->user_id);
    p[11] = db_text(next->language);
    p[12] = db_text(next->context);
    p[13] = db_text(next->metadata);
    p[14] = db_i64(next->ttl_seconds);
    p[15] = db_bool(base->sliding);
    p[16] = db_bool(w->patch->has_ttl);
    return sql_write_one(s, ctx, w, base, &session_update_stmt, p, ARRAY_LEN(p), 200);
}

/* A deletion makes the session a tombstone, in a time that does not grow with its history. From the
 * commit on nobody finds it and its context is gone. The sweeper deletes its messages in bounded
 * steps. It keeps its user, so that an erasure finds it. */
/* clang-format off */
static const struct db_stmt session_delete_stmt = {
    "session_delete",
    "WITH s AS (UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID(SQL_DELETED) ","
    " context = '{}', metadata = '{}', expires_at = now(), expiry_hour = 0," SQL_STAMP("$7")
    "WHERE" SQL_LIVE "AND" SQL_MATCH "RETURNING" SQL_CHANGED "),"
    SQL_RECORD("204", "0", "NULL::text") "SELECT * FROM s"};
/* clang-format on */

enum err sql_session_delete(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct db_param p[SQL_PRECONDITION_PARAMS];
    return sql_write_one(s, ctx, w, NULL, &session_delete_stmt, p, ARRAY_LEN(p), 204);
}

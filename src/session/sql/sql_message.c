/* SPDX-License-Identifier: MIT */
/* The SQL on messages: append, page, read, delete. */
#include "sql_fragments.h"

/* The update of the session's row assigns the numbers and locks the row until the commit, so
 * numbers have no gap and no repeat. Nothing else is locked. $8: the reserved generations. $16: the
 * most messages; an update that had to wait for the row compares with its count as it is then. */
/* clang-format off */
#define SQL_ROOM(most, n) " AND " most "::bigint - s.message_count >= " n " "
#define SQL_APPEND(n)                                                                              \
    "WITH s AS (UPDATE sessions s SET" SQL_STAMP("$7") "," SQL_SLIDE ", last_seq = s.last_seq + " n \
    ", message_count = s.message_count + " n " WHERE" SQL_LIVE "AND" SQL_MATCH                     \
    "AND s.generation <> ALL($8::bigint[])" SQL_ROOM("$16", n) "RETURNING" SQL_CHANGED "),"

static const struct db_stmt append_one = {
    "append_one",
    SQL_APPEND("1") SQL_INSERT_MESSAGES
    "SELECT $1, s.generation, s.last_seq, $13, $9, $10, $11, $12, $14, $15::text::integer,"
    SQL_SIZE("$11", "$12::jsonb", "$14") ", s.updated_at FROM s)," SQL_RECORD("201", "s.last_seq", "NULL::text") "SELECT * FROM s"};

/* The common append: a plain message without a key and a condition. The plan has no node that would do
 * nothing. $4 role, $5 content, $6 the stored size of both, $7 mark, $8 the most messages. */
static const struct db_stmt append_plain = {
    "append_plain",
    "WITH s AS (UPDATE sessions s SET" SQL_STAMP("$7") "," SQL_SLIDE ", last_seq = s.last_seq + 1"
    ", message_count = s.message_count + 1 WHERE" SQL_LIVE SQL_ROOM("$8", "1") "RETURNING" SQL_CHANGED "),"
    " m AS (INSERT INTO messages (tenant, generation, seq, role, content, size, created_at)"
    " SELECT $1, s.generation, s.last_seq, $4, $5, $6, s.updated_at FROM s)"
    " SELECT * FROM s"};

static const struct db_stmt append_many = {
    "append_many",
    SQL_APPEND("cardinality($9::text[])")
    SQL_INSERT_DRAFTS("s.last_seq - cardinality($9::text[]) + i.n", "s.updated_at")
    ", unnest($9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],"
    " $15::text[]) WITH ORDINALITY AS i(type, role, content, metadata, id, extra, tokens, n)),"
    SQL_RECORD("201", "s.last_seq - cardinality($9::text[]) + 1", "NULL::text")
    "SELECT * FROM s"};

/* ?create=true: makes the session if the id is free. As with session_insert, two at once make one. */
static const struct db_stmt append_create = {
    "append_create",
    "WITH" SQL_EXPIRED
    "INSERT INTO sessions (generation, tenant, session_id, user_id, ttl_seconds, version,"
    " expires_at, expiry_hour, mark, state_mark)"
    " SELECT $5, $1, $2, $3, $4, 0," SQL_EXPIRES_IN("$4::bigint") ", $6, $6"
    " FROM (SELECT count(*) FROM expired) after_expired"
    " WHERE " SQL_KEY_IS_NEW("$7") " AND NOT EXISTS (SELECT FROM sessions l"
    " WHERE l.tenant = $1 AND l.session_id = $2 AND l.expires_at > now())"
    " ON CONFLICT (tenant, session_id) DO NOTHING RETURNING 1 AS made"};
/* clang-format on */

enum { APPEND_PARAMS = SQL_PRECONDITION_PARAMS + 1 + SQL_MESSAGE_PARAMS + 1 };

/* The call that appends. p: room for APPEND_PARAMS. */
static enum err append_call(const struct sessions *s, struct request_ctx *ctx,
                            const struct session_write *w, struct db_param *p, struct db_call *out)
{
    const size_t n = w->append->n_messages;
    const struct session_message *m = w->append->messages;
    *out = (struct db_call){n == 1 ? &append_one : &append_many, p, APPEND_PARAMS, {0}};
    TRY(sql_precondition_params(ctx, w, p));
    if (sql_write_is_plain(w)) {
        p[3] = db_text(m->role);
        p[4] = db_text(m->content);
        p[5] = db_i32((int32_t)(m->content.n + m->metadata.n));
        p[7] = db_i64(s->settings.messages_max);
        *out = (struct db_call){&append_plain, p, SQL_PRECONDITION_PARAMS + 1, {0}};
        return ERR_NONE;
    }
    TRY(sql_reserved_generations(ctx, m, n, &p[7]));
    p[APPEND_PARAMS - 1] = db_i64(s->settings.messages_max);
    if (n != 1)
        return sql_message_arrays(ctx, m, n, &p[8]);
    p[8] = db_text(m->type);
    p[9] = db_text(m->role);
    p[10] = db_text(m->content);
    p[11] = db_jsonb(m->metadata);
    p[12] = db_text(m->message_id);
    p[13] = db_text(m->extra);
    p[14] = db_text(m->tokens);
    return ERR_NONE;
}

/* Create and append are one round trip. */
enum err sql_message_append(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct session_append *append = w->append;
    struct db_param p[APPEND_PARAMS];
    const struct session_precondition *given = w->precondition;
    struct db_param create[] = {
        db_text(ctx->tenant), db_text(w->id), db_text(given->user), db_i64(s->settings.ttl_seconds),
        db_null_i64(),        sql_mark(),     db_text(given->key)};
    struct db_call calls[SQL_WRITE_MAX];
    /* If-Match cannot hold for a session that is not there, so none is made. */
    const bool may_create = append->create && !given->must_exist;
    const size_t at = may_create ? 1 : 0;
    calls[0] = (struct db_call){&append_create, create, ARRAY_LEN(create), {0}};
    TRY(append_call(s, ctx, w, p, &calls[at]));
    TRY(sql_write(s, ctx, w, calls, at + 1, may_create ? &create[4] : NULL));
    sql_change_from_row(w, &calls[at].rows, 0, 201, append->n_messages);
    w->receipt->created = w->done && may_create && calls[0].rows.count > 0;
    return ERR_NONE;
}

/* A page by keyset: the cost does not depend on where the page is. One row more than the limit, or
 * the first row beyond the budget in bytes ($7), shows that there are more. The first row comes
 * even if it alone exceeds the budget. */
/* clang-format off */
#define SQL_PAGE(order)                                                                            \
    "SELECT s.generation, s.version, s.mark, m.total," SQL_MESSAGE                                 \
    "FROM sessions s LEFT JOIN LATERAL"                                                            \
    " (SELECT *, sum(size) OVER w AS total, first_value(size) OVER w AS first FROM"                \
    " (SELECT * FROM messages WHERE tenant = s.tenant AND generation = s.generation"               \
    " AND seq > $4 AND seq < $5 ORDER BY seq " order " LIMIT $6::bigint + 1) page"                 \
    " WINDOW w AS (ORDER BY seq " order " ROWS UNBOUNDED PRECEDING)) m"                            \
    " ON m.total - m.size <= greatest($7, m.first)"                                                \
    " WHERE" SQL_LIVE "ORDER BY m.seq " order

static const struct db_stmt page_ascending = {"page_ascending", SQL_PAGE("ASC")};
static const struct db_stmt page_descending = {"page_descending", SQL_PAGE("DESC")};
/* clang-format on */

/* How many rows are within limit and budget; a row after them shows that there are more. The first
 * message always comes, or no client could get past it. */
static size_t rows_within(const struct db_rows *rows, size_t limit, int64_t max_bytes)
{
    const int seq = db_column(rows, "seq"), total = db_column(rows, "total");
    size_t n = 0;
    while (n < (size_t)rows->count && n < limit && !db_is_null(rows, (int)n, seq) &&
           (n == 0 || db_get_i64(rows, (int)n, total) <= max_bytes))
        n++;
    return n;
}

int64_t sql_page_budget(const struct sessions *s, const struct session_page_query *query)
{
    const int64_t most = s->settings.page_bytes;
    return query->max_bytes > 0 && query->max_bytes < most ? query->max_bytes : most;
}

enum err sql_message_page(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                          const struct session_page_query *query, struct session_page *out)
{
    const int64_t bytes = sql_page_budget(s, query), limit = (int64_t)query->limit;
    const int64_t before = query->before > 0 ? query->before : INT64_MAX;
    const struct db_param p[] = {db_text(ctx->tenant), db_text(id),    db_text(user),
                                 db_i64(query->after), db_i64(before), db_i64(limit),
                                 db_i64(bytes)};
    const struct db_stmt *stmt = query->ascending ? &page_ascending : &page_descending;
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_READ, stmt, p, ARRAY_LEN(p), &rows, NULL));
    if (rows.count == 0)
        return ERR_NOT_FOUND;
    out->stamp = sql_stamp_of_row(&rows, 0);
    TRY(sql_messages_from_rows(ctx, &rows, false, &out->messages, &out->n));
    const size_t within = rows_within(&rows, query->limit, bytes);
    out->has_more = out->n > within;
    out->n = within;
    return ERR_NONE;
}

/* OFFSET 0 keeps the subquery apart. Under row-level security a condition on messages that contains
 * another query is not looked up in an index, and all messages of the session would be read. */
/* clang-format off */
const struct db_stmt sql_message_stmt = {
    "message_read",
    "SELECT s.generation," SQL_MESSAGE "FROM (SELECT s.generation, "
    SQL_SEQ_NAMED("s.generation", "$4", "$5", "$6") " AS seq FROM sessions s WHERE" SQL_LIVE "OFFSET 0) s"
    " JOIN messages m ON m.tenant = $1 AND m.generation = s.generation AND m.seq = s.seq"};
/* clang-format on */

enum err session_message_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                             struct sv user, struct session_message_name which,
                             struct session_message *out)
{
    int64_t generation, seq;
    sql_message_name(which, &generation, &seq);
    const struct db_param p[] = {db_text(ctx->tenant), db_text(id),        db_text(user),
                                 db_text(which.id),    db_i64(generation), db_i64(seq)};
    struct db_rows rows;
    TRY(sql_reachable(s, ctx));
    TRY(db_query(s->db, ctx, DB_READ, &sql_message_stmt, p, ARRAY_LEN(p), &rows, NULL));
    if (rows.count == 0)
        return session_message_not_found(ctx);
    struct session_message *m;
    size_t n;
    TRY(sql_messages_from_rows(ctx, &rows, false, &m, &n));
    *out = m[0];
    return ERR_NONE;
}

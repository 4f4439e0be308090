/* SPDX-License-Identifier: MIT */
/*
 * The SQL on the sessions of one user. All of it uses the index sessions_of_user, which is in the
 * order of creation: the cost of a page does not depend on where it is.
 *
 * A tombstone keeps its user_id until its last row is deleted, so that a repeated erasure finds
 * what an earlier one did not finish. An idempotency record has the user who owned the session
 * then: the session may be gone by now, or another user's.
 */
#include "sql_fragments.h"

/* $3, $4: the position after which to begin. One row more than the limit is read, to know whether
 * there are more. Sessions beyond the budget in bytes ($6) are left out. */
/* clang-format off */
#define SQL_USERS_FROM(compare)                                                                    \
    " tenant = $1 AND user_id = $2 AND (created_at, generation) " compare                           \
    " (timestamptz 'epoch' + $3::bigint * interval '1 microsecond', $4::bigint) "

#define SQL_LIST(compare, order, context)                                                           \
    "SELECT" SQL_SESSION("s") ", session_id, user_id, language, " context " AS context,"              \
    " metadata, found FROM (SELECT *, row_number() OVER w AS rank, count(*) OVER () AS found,"     \
    " sum(octet_length(metadata::text)) OVER w AS total FROM (SELECT * FROM sessions WHERE"        \
    SQL_USERS_FROM(compare) "AND expires_at > now() AND NOT" SQL_IS_TOMBSTONE("session_id")        \
    " ORDER BY " order " LIMIT $5::bigint + 1) p"                                                  \
    " WINDOW w AS (ORDER BY " order ")) s WHERE rank <= $5"                                        \
    " AND (rank = 1 OR total <= $6::bigint) ORDER BY " order

#define SQL_NEWEST_FIRST "created_at DESC, generation DESC"

static const struct db_stmt user_list_newest = {
    "user_list_newest", SQL_LIST("<", SQL_NEWEST_FIRST, "NULL::text")};
static const struct db_stmt user_list_oldest = {
    "user_list_oldest", SQL_LIST(">", "created_at, generation", "context")};

static const struct db_stmt user_to_erase = {
    "user_to_erase",
    "SELECT session_id AS own_id, generation, created_at FROM sessions WHERE" SQL_USERS_FROM("<")
    "AND NOT" SQL_IS_TOMBSTONE("session_id") "ORDER BY " SQL_NEWEST_FIRST " LIMIT $5"};

/* Rows are locked in one order, so that two erasures at once do not deadlock. A statement that waited
 * for a row finds a tombstone, and no session of its id. */
#define SQL_TOMBSTONE(how)                                                                              \
    "WITH l AS (SELECT generation FROM sessions WHERE tenant = $1 AND user_id = $2"                \
    " AND generation = ANY($3::bigint[]) AND NOT" SQL_IS_TOMBSTONE("session_id")                   \
    " ORDER BY generation FOR UPDATE" how ")" SQL_ERASE_LOCKED

static const struct db_stmt user_tombstone = {"user_tombstone", SQL_TOMBSTONE("")};
static const struct db_stmt user_tombstone_free = {"user_tombstone_free", SQL_TOMBSTONE(" SKIP LOCKED")};

static const struct db_stmt user_tombstones = {
    "user_tombstones",
    "SELECT tenant, generation, message_count," SQL_OWN_ID("session_id") "AS own_id FROM sessions"
    " WHERE tenant = $1 AND user_id = $2 AND" SQL_IS_TOMBSTONE("session_id")
    "ORDER BY " SQL_NEWEST_FIRST " LIMIT 100"};

/* The user's idempotency records, without those of the user's sessions that are no tombstones. Those
 * are deleted with their session: a request that is repeated meanwhile must not have its effect
 * twice. The condition on the session is a scalar subquery, so that each row looks it up by its key. */
#define SQL_USERS_KEYS                                                                             \
    " FROM idempotency_keys k WHERE k.tenant = $1 AND k.user_id = $2"                              \
    " AND (SELECT s.user_id = $2 AND NOT" SQL_IS_TOMBSTONE("s.session_id") "FROM sessions s"       \
    " WHERE s.tenant = $1 AND s.generation = k.generation) IS NOT TRUE "

static const struct db_stmt user_keys_delete = {
    "user_keys_delete",
    "WITH d AS (DELETE FROM idempotency_keys WHERE tenant = $1 AND key = ANY(ARRAY(SELECT k.key"
    SQL_USERS_KEYS "LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING 1)"
    " SELECT count(*) AS deleted, NOT EXISTS (SELECT" SQL_USERS_KEYS ") AS are_none FROM d"};

static const struct db_stmt user_left = {
    "user_left",
    "SELECT EXISTS (SELECT FROM sessions WHERE tenant = $1 AND user_id = $2) OR EXISTS"
    " (SELECT FROM idempotency_keys WHERE tenant = $1 AND user_id = $2) AS is_left"};
/* clang-format on */

/* $1 to $4. after: NULL: from the first one. */
static void position_params(const struct request_ctx *ctx, struct sv user,
                            const struct session_position *after, bool oldest_first,
                            struct db_param *out)
{
    const int64_t first = oldest_first ? 0 : INT64_C(253402300800000000); /* 1970, year 10000 */
    out[0] = db_text(ctx->tenant);
    out[1] = db_text(user);
    out[2] = db_i64(after ? after->created_at : first);
    out[3] = db_i64(after ? after->generation : 0);
}

enum err sql_user_list(struct sessions *s, struct request_ctx *ctx, struct sv user,
                       const struct session_position *after, bool oldest_first, size_t limit,
                       struct session_list *out)
{
    struct db_param p[6];
    struct db_rows rows;
    position_params(ctx, user, after, oldest_first, p);
    p[4] = db_i64((int64_t)limit);
    p[5] = db_i64(s->settings.page_bytes);
    TRY(db_query(s->db, ctx, DB_READ, oldest_first ? &user_list_oldest : &user_list_newest, p,
                 ARRAY_LEN(p), &rows, NULL));
    TRY(sql_sessions_from_rows(ctx, &rows, out));
    out->has_more = rows.count > 0 && db_get_i64(&rows, 0, db_column(&rows, "found")) > rows.count;
    return ERR_NONE;
}

enum err sql_user_to_erase(struct sessions *s, struct request_ctx *ctx, struct sv user,
                           const struct session_position *after, size_t limit, struct db_rows *out)
{
    struct db_param p[5];
    position_params(ctx, user, after, false, p);
    p[4] = db_i64((int64_t)limit);
    return db_query(s->db, ctx, DB_READ, &user_to_erase, p, ARRAY_LEN(p), out, NULL);
}

enum err sql_user_tombstone(struct sessions *s, struct request_ctx *ctx, struct sv user,
                            const struct db_rows *rows, bool waits, int64_t *made)
{
    struct db_param p[3] = {db_text(ctx->tenant), db_text(user)};
    struct db_rows done;
    const int generation = db_column(rows, "generation");
    int64_t *generations = arena_array(ctx->arena, (size_t)rows->count, sizeof(*generations));
    if (!generations)
        return ctx_nomem(ctx);
    for (int i = 0; i < rows->count; i++)
        generations[i] = db_get_i64(rows, i, generation);
    TRY(db_i64_array(ctx, generations, (size_t)rows->count, &p[2]));
    TRY(db_query(s->db, ctx, DB_WRITE, waits ? &user_tombstone : &user_tombstone_free, p,
                 ARRAY_LEN(p), &done, NULL));
    *made += done.count;
    return ERR_NONE;
}

enum err sql_user_tombstones(struct sessions *s, struct request_ctx *ctx, struct sv user,
                             struct db_rows *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(user)};
    return db_query(s->db, ctx, DB_READ, &user_tombstones, p, ARRAY_LEN(p), out, NULL);
}

enum err sql_user_keys_delete(struct sessions *s, struct request_ctx *ctx, struct sv user,
                              bool *none, int64_t *deleted)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(user)};
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_WRITE, &user_keys_delete, p, ARRAY_LEN(p), &rows, NULL));
    *none = db_get_bool(&rows, 0, db_column(&rows, "are_none"));
    *deleted += db_get_i64(&rows, 0, db_column(&rows, "deleted"));
    return ERR_NONE;
}

enum err sql_user_is_left(struct sessions *s, struct request_ctx *ctx, struct sv user, bool *left)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(user)};
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_READ, &user_left, p, ARRAY_LEN(p), &rows, NULL));
    *left = db_get_bool(&rows, 0, db_column(&rows, "is_left"));
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * The SQL on the sessions of one user, and the list of those of a tenant. A user's sessions are
 * found by the index sessions_of_user, a tenant's by sessions_created. Both are in the order of
 * creation: the cost of a page does not depend on where it is.
 *
 * A tombstone keeps its user_id until its last row is deleted, so that a repeated erasure finds
 * what an earlier one did not finish. An idempotency record has the user who owned the session
 * then: the session may be gone by now, or another user's.
 */
#include "sql_fragments.h"

/* clang-format off */
#define SQL_USERS " AND user_id = $2 "
#define SQL_ANYBODYS " AND $2::text IS NULL "
#define SQL_NEWEST_FIRST "created_at DESC, generation DESC"

/* $3, $4: the position after which to begin. */
#define SQL_FROM(whose, compare)                                                                    \
    " tenant = $1" whose "AND (created_at, generation) " compare " (" SQL_AT("$3") ", $4::bigint) "

/* Sessions are read one by one, in the order of an index, until there is one match more than the limit
 * ($5). The list stops at the $8th session at the latest, or at the first one after $9 ms. That row comes,
 * match or not, and the next list begins after it. Under row-level security no index can serve @>, which is
 * not leakproof. Matches beyond the budget in bytes ($6) are left out. */
#define SQL_LIST(whose, compare, order, context, summary)                                                    \
    "SELECT" SQL_SESSION("s") ", session_id, user_id, language, " context " AS context, " summary " AS summary,"              \
    " CASE WHEN matches THEN metadata END AS metadata, matches, stops, found FROM (SELECT *,"      \
    " row_number() OVER w AS rank, count(*) OVER () AS found, sum(CASE WHEN matches THEN"          \
    " octet_length(metadata::text) ELSE 0 END) OVER w AS total FROM (SELECT * FROM (SELECT *,"     \
    " expires_at > now() AND NOT" SQL_IS_TOMBSTONE("session_id")                                   \
    "AND ($7::jsonb IS NULL OR metadata @> $7) AS matches, seen = $8::bigint OR clock_timestamp()" \
    " > statement_timestamp() + $9::bigint * interval '1 millisecond' AS stops FROM (SELECT *,"    \
    " row_number() OVER (ORDER BY " order " ROWS UNBOUNDED PRECEDING) AS seen"                     \
    " FROM (SELECT * FROM sessions WHERE" SQL_FROM(whose, compare)                                 \
    "AND created_at > " SQL_AT("$10") " ORDER BY " order " LIMIT $8) q) r ORDER BY " order ") m"    \
    " WHERE matches OR stops ORDER BY " order " LIMIT $5::bigint + 1) p WINDOW w AS (ORDER BY " order \
    ")) s WHERE rank <= $5 AND (rank = 1 OR total <= $6::bigint) ORDER BY " order

/* The plan is generic. A sort would read all sessions before it gives the first one; without
 * statistics PostgreSQL takes that for the cheaper plan. */
const struct db_stmt sql_list_plan_stmt = {"list_plan",
                                           "SELECT set_config('enable_sort', 'off', true)"};
#define SQL_LIST_NEWEST(whose) SQL_LIST(whose, "<", SQL_NEWEST_FIRST, "NULL::text", "NULL::text")
#define SQL_LIST_OLDEST(whose) \
    SQL_LIST(whose, ">", "created_at, generation", "context", SQL_SUMMARY("s.generation", "s.last_seq"))
const struct db_stmt sql_list_stmts[4] = {{"tenant_list_newest", SQL_LIST_NEWEST(SQL_ANYBODYS)},
                                          {"user_list_newest", SQL_LIST_NEWEST(SQL_USERS)},
                                          {"tenant_list_oldest", SQL_LIST_OLDEST(SQL_ANYBODYS)},
                                          {"user_list_oldest", SQL_LIST_OLDEST(SQL_USERS)}};

static const struct db_stmt user_to_erase = {
    "user_to_erase",
    "SELECT session_id AS own_id, generation, created_at FROM sessions WHERE" SQL_FROM(SQL_USERS, "<")
    "AND" SQL_CAN_BE_ERASED("session_id") "ORDER BY " SQL_NEWEST_FIRST " LIMIT $5"};

/* Rows are locked in one order, so that two erasures at once do not deadlock. A statement that waited
 * for a row finds a tombstone, and no session of its id. */
#define SQL_TOMBSTONE(how)                                                                              \
    "WITH l AS (SELECT generation FROM sessions WHERE tenant = $1 AND user_id = $2"                \
    " AND generation = ANY($3::bigint[]) AND" SQL_CAN_BE_ERASED("session_id")                      \
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

#define SQL_ITS_STATE " FROM user_states WHERE tenant = $1 AND user_id = $2 "
static const struct db_stmt user_keys_delete = {
    "user_keys_delete",
    "WITH d AS (DELETE FROM idempotency_keys WHERE tenant = $1 AND key = ANY(ARRAY(SELECT k.key"
    SQL_USERS_KEYS "LIMIT 1000 FOR UPDATE SKIP LOCKED)) RETURNING 1), u AS (DELETE FROM user_states"
    " WHERE (tenant, user_id) IN (SELECT tenant, user_id" SQL_ITS_STATE "FOR UPDATE SKIP LOCKED) RETURNING 1)"
    " SELECT (SELECT count(*) FROM d) + (SELECT count(*) FROM u) AS deleted,"
    " NOT EXISTS (SELECT" SQL_USERS_KEYS ") AND NOT EXISTS (SELECT" SQL_ITS_STATE ") AS are_none"};

static const struct db_stmt user_left = {
    "user_left",
    "SELECT EXISTS (SELECT FROM sessions WHERE tenant = $1 AND user_id = $2) OR EXISTS"
    " (SELECT FROM idempotency_keys WHERE tenant = $1 AND user_id = $2) OR EXISTS"
    " (SELECT" SQL_ITS_STATE ") AS is_left"};

/* The state of a user. A change returns what that of a session would, with generation 0, which no session has.
 * A record must have an expiry: that of a state without one is the time of the change. */
#define SQL_NOT_EXPIRED " (u.expires_at IS NULL OR u.expires_at > now()) "

/* $2: the user; NULL: the owner of the session of generation $3. $4, $5: tags and key of a write. */
#define SQL_STATE_READ                                                                            \
    "SELECT version, mark, created_at, updated_at, expires_at, ttl_seconds, u.user_id, coalesce(state, '{}') AS context," \
    " 0::bigint AS generation, version AS state_version, mark AS state_mark, 0::bigint AS message_count, 0::bigint AS last_seq," \
    " false AS sliding, ''::text AS language, ''::text AS metadata, ''::text AS summary, ''::text AS forked_from"
static const struct db_stmt user_state_read = {
    "user_state_read",
    SQL_STATE_READ ","
    " ($4::text[] IS NULL OR '0.u' || version || '.' || to_hex(mark) = ANY($4)) AND " SQL_KEY_IS_NEW("$5") " AS allowed"
    " FROM (SELECT coalesce($2, (SELECT s.user_id FROM sessions s WHERE s.tenant = $1 AND s.generation = $3)) AS id) whose"
    " LEFT JOIN user_states u ON u.tenant = $1 AND u.user_id = whose.id AND" SQL_NOT_EXPIRED};
static const struct db_stmt user_state_next = {
    "user_state_next",
    SQL_STATE_READ " FROM user_states u WHERE u.tenant = $1 AND u.user_id > $2 AND" SQL_NOT_EXPIRED "ORDER BY u.user_id LIMIT 1"};

/* $8, $9: version and mark as read; version 0: none was there. What was deleted since is not written again.
 * $10: the state; NULL: it is deleted, and no record keeps it. $11: its time to live, or NULL. */
#define SQL_END " now() + $11::bigint * interval '1 second' "
#define SQL_AS_READ " u.tenant = $1 AND u.user_id = $2 AND u.version = $8 AND u.mark = $9 AND" SQL_NOT_EXPIRED
#define SQL_STATE_CHANGED                                                                          \
    "RETURNING 0::bigint AS generation, version, version AS state_version, 0 AS message_count, 0 AS last_seq," \
    " updated_at, coalesce(expires_at, updated_at) AS expires_at, created_at, mark, mark AS state_mark," \
    " mark AS mark_before, user_id "
static const struct db_stmt user_state_change = {
    "user_state_change",
    "WITH n AS (INSERT INTO user_states AS u (version, mark, created_at, updated_at, expires_at, ttl_seconds, tenant,"
    " user_id, state) SELECT 1, $7, now(), now()," SQL_END ", $11, $1, $2, $10::text WHERE $8 = 0"
    " ON CONFLICT (tenant, user_id) DO UPDATE SET version = 1, mark = $7, created_at = now(), updated_at = now(),"
    " expires_at =" SQL_END ", ttl_seconds = $11, state = $10 WHERE u.expires_at <= now() " SQL_STATE_CHANGED "),"
    " c AS (UPDATE user_states u SET version = version + 1, mark = $7, updated_at = greatest(now(), updated_at), expires_at ="
    SQL_END ", ttl_seconds = $11, state = $10 WHERE $10 IS NOT NULL AND" SQL_AS_READ SQL_STATE_CHANGED "),"
    " d AS (DELETE FROM user_states u WHERE $10 IS NULL AND" SQL_AS_READ SQL_STATE_CHANGED "),"
    " f AS (UPDATE idempotency_keys SET state = NULL WHERE tenant = $1 AND user_id = $2 AND generation = 0"
    " AND state IS NOT NULL AND EXISTS (SELECT FROM d)),"
    " s AS (SELECT * FROM n UNION ALL SELECT * FROM c UNION ALL SELECT * FROM d),"
    SQL_RECORD("CASE WHEN $10 IS NULL THEN 204 ELSE 200 END", "0",
    "'{\"ttl_seconds\":' || coalesce($11, 0) || ',\"metadata\":{},\"context\":' || $10 || '}'") "SELECT * FROM s"};
/* clang-format on */

/* $1 to $4 */
static void position_params(const struct request_ctx *ctx, struct sv user,
                            struct session_position after, struct db_param *out)
{
    out[0] = db_text(ctx->tenant);
    out[1] = db_text(user);
    out[2] = db_i64(after.created_at);
    out[3] = db_i64(after.generation);
}

enum err sql_list(struct sessions *s, struct request_ctx *ctx, const struct session_list_query *q,
                  bool oldest_first, struct session_list *out)
{
    enum { SCAN_MAX = 5000, SCAN_MS = 1000 };
    const struct session_position first = {oldest_first ? q->created_after : q->created_before, 0};
    struct db_param p[SQL_LIST_PARAMS];
    position_params(ctx, q->user, q->after ? *q->after : first, p);
    p[4] = db_i64((int64_t)q->limit);
    p[5] = db_i64(s->settings.page_bytes);
    p[6] = db_jsonb(q->metadata);
    p[7] = db_i64(SCAN_MAX);
    p[8] = db_i64(SCAN_MS);
    p[9] = db_i64(q->created_after);
    struct db_call calls[] = {
        {&sql_list_plan_stmt, NULL, 0, {0}},
        {&sql_list_stmts[2 * oldest_first + (q->user.p != NULL)], p, ARRAY_LEN(p), {0}}};
    TRY(db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL));
    const struct db_rows rows = calls[1].rows;
    TRY(sql_sessions_from_rows(ctx, &rows, out));
    if (rows.count == 0)
        return ERR_NONE;
    int last = 0; /* rows after the first one that stops are of no use */
    while (last < rows.count - 1 && !db_get_bool(&rows, last, db_column(&rows, "stops")))
        last++;
    out->n = (size_t)last + db_get_bool(&rows, last, db_column(&rows, "matches"));
    out->has_more = db_get_bool(&rows, last, db_column(&rows, "stops")) ||
                    db_get_i64(&rows, 0, db_column(&rows, "found")) > rows.count;
    out->end =
        (struct session_position){out->sessions[last].created_at, out->sessions[last].generation};
    return ERR_NONE;
}

enum err sql_user_to_erase(struct sessions *s, struct request_ctx *ctx, struct sv user,
                           const struct session_position *after, size_t limit, struct db_rows *out)
{
    struct db_param p[5];
    position_params(ctx, user, after ? *after : (struct session_position){SESSION_ANY_TIME, 0}, p);
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

enum err sql_user_state_read(struct sessions *s, struct request_ctx *ctx, struct sv user,
                             int64_t generation, const struct session_precondition *p,
                             struct session *out, bool *allowed)
{
    struct db_param params[] = {
        db_text(ctx->tenant), db_text(user), db_i64(generation), {0}, db_text(p->key)};
    struct db_rows r;
    TRY(db_text_array(ctx, p->if_match, p->n_if_match, &params[3]));
    TRY(db_query(s->db, ctx, DB_READ, &user_state_read, params, ARRAY_LEN(params), &r, NULL));
    *out = (struct session){.version = 0};
    sql_session_from_row(&r, 0, out);
    *allowed = db_get_bool(&r, 0, db_column(&r, "allowed")) && (out->version || !p->must_exist);
    return ERR_NONE;
}

enum err sql_user_state_next(struct sessions *s, struct request_ctx *ctx, struct sv after,
                             struct session *out)
{
    const struct db_param p[] = {db_text(ctx->tenant), db_text(after)};
    struct db_rows r;
    TRY(db_query(s->db, ctx, DB_READ, &user_state_next, p, ARRAY_LEN(p), &r, NULL));
    *out = (struct session){.version = 0};
    if (r.count == 0)
        return ERR_NOT_FOUND;
    sql_session_from_row(&r, 0, out);
    return ERR_NONE;
}

enum err sql_user_state_change(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    struct db_param p[SQL_PRECONDITION_PARAMS + 4];
    p[7] = db_i64(w->out->version);
    p[8] = db_i64((int64_t)w->out->mark);
    p[9] = db_text(w->patch ? w->out->context : SV_NONE);
    p[10] = w->out->ttl_seconds > 0 ? db_i64(w->out->ttl_seconds) : db_null_i64();
    return sql_write_one(s, ctx, w, NULL, &user_state_change, p, ARRAY_LEN(p),
                         w->patch ? 200 : 204);
}

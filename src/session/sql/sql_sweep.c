/* SPDX-License-Identifier: MIT */
/*
 * The SQL that deletes expired sessions and tombstones for good, for the sweeper and for erasures.
 *
 * Any number of these may run at once. Each statement locks the rows of its sessions first and
 * skips those that another one has locked. So none waits, none deadlocks, and every row is deleted
 * once. A step is one pipeline, sent in one piece: a process that is stopped after it holds no
 * lock, because PostgreSQL ends the transaction by itself.
 */
#include "sql_fragments.h"

/* clang-format off */
static const struct db_stmt sweep_on = {"sweep_on", "SELECT set_config('parley.sweep', 'on', true)"};

static const struct db_stmt expired_sessions = {
    "expired_sessions",
    "SELECT s.tenant, s.generation, s.message_count FROM sessions s"
    " WHERE s.expiry_hour <= " SQL_HOUR("now()") " AND s.expires_at <= now()"
    " ORDER BY s.expiry_hour LIMIT 100"};

static const struct db_stmt expired_keys = {
    "expired_keys",
    "SELECT DISTINCT k.tenant FROM ((SELECT tenant FROM idempotency_keys"
    " WHERE created_at <= now() - interval '24 hours' ORDER BY created_at LIMIT 1000) UNION ALL"
    " (SELECT tenant FROM user_states WHERE expires_at <= now() ORDER BY expires_at LIMIT 100)) k"};

#define SQL_HELD                                                                                   \
    "WITH s AS (SELECT generation, $3 OR" SQL_IS_ERASED("session_id") "AS erased"                  \
    " FROM sessions WHERE tenant = $1 AND generation = ANY($2::bigint[]) AND expires_at <= now()"  \
    " FOR UPDATE SKIP LOCKED)"

/* Of one session 1000 messages; of several all, since the caller knows that they are not more. */
static const struct db_stmt purge_messages = {
    "purge_messages",
    SQL_HELD " DELETE FROM messages WHERE tenant = $1"
    " AND generation = ANY(ARRAY(SELECT generation FROM s)) AND seq <"
    " CASE WHEN cardinality($2::bigint[]) > 1 THEN 9223372036854775807 ELSE"
    " (SELECT min(seq) + 1000 FROM messages WHERE tenant = $1 AND generation = ($2::bigint[])[1])"
    " END"};

/* Idempotency records: of an erased session all; of others only the state that they keep. The rest
 * of such a record still says that the request was answered, so that a repetition has no effect. */
static const struct db_stmt purge_keys = {
    "purge_keys",
    SQL_HELD ", k AS (SELECT k.key, s.erased FROM s JOIN idempotency_keys k ON k.tenant = $1"
    " AND k.generation = s.generation WHERE s.erased OR k.state IS NOT NULL LIMIT 1000),"
    " d AS (DELETE FROM idempotency_keys WHERE tenant = $1"
    " AND key = ANY(ARRAY(SELECT key FROM k WHERE erased)))"
    " UPDATE idempotency_keys SET state = NULL WHERE tenant = $1"
    " AND key = ANY(ARRAY(SELECT key FROM k WHERE NOT erased))"};

static const struct db_stmt purge_sessions = {
    "purge_sessions",
    SQL_HELD " DELETE FROM sessions d WHERE d.tenant = $1"
    " AND d.generation = ANY(ARRAY(SELECT generation FROM s))"
    " AND NOT EXISTS (SELECT FROM messages m WHERE m.tenant = $1 AND m.generation = d.generation)"
    " AND NOT EXISTS (SELECT FROM idempotency_keys k WHERE k.tenant = $1"
    " AND k.generation = d.generation AND (k.state IS NOT NULL"
    " OR $3 OR" SQL_IS_ERASED("d.session_id") "))"};

#define SQL_DELETE_KEYS(condition)                                                                 \
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = ANY(ARRAY(SELECT key"                \
    " FROM idempotency_keys WHERE tenant = $1 " condition " LIMIT 1000 FOR UPDATE SKIP LOCKED))"

/* Of users' states; each may have 1 MiB. */
#define SQL_DELETE_STATES(condition)                                                               \
    "WITH u AS (DELETE FROM user_states WHERE tenant = $1 AND user_id = ANY(ARRAY(SELECT user_id"  \
    " FROM user_states WHERE tenant = $1 " condition " LIMIT 100 FOR UPDATE SKIP LOCKED)) RETURNING 1)"

static const struct db_stmt sweep_keys = {
    "sweep_keys",
    SQL_DELETE_STATES("AND expires_at <= now() ORDER BY expires_at")
    SQL_DELETE_KEYS("AND created_at <= now() - interval '24 hours' ORDER BY created_at")};
/* clang-format on */

enum { GROUP_MAX = 100 };

/* The sessions from rows[*at] on that have one tenant and together at most PURGE_STEP messages; at
 * least one. */
static size_t take_group(const struct db_rows *rows, int *at, int64_t generations[GROUP_MAX])
{
    const int tenant = db_column(rows, "tenant"), generation = db_column(rows, "generation"),
              count = db_column(rows, "message_count");
    const struct sv first = db_get_text(rows, *at, tenant);
    int64_t messages = 0;
    size_t n = 0;
    while (*at < rows->count && n < GROUP_MAX && sv_eq(db_get_text(rows, *at, tenant), first)) {
        messages += db_get_i64(rows, *at, count);
        if (n > 0 && messages > PURGE_STEP)
            break;
        generations[n++] = db_get_i64(rows, (*at)++, generation);
    }
    return n;
}

enum err sql_purge(struct sessions *s, struct request_ctx *ctx, const struct db_rows *rows,
                   bool erased, int *at, struct session_erasure *done)
{
    int64_t generations[GROUP_MAX];
    struct db_param p[3];
    ctx->tenant = db_get_text(rows, *at, db_column(rows, "tenant"));
    p[0] = db_text(ctx->tenant);
    TRY(db_i64_array(ctx, generations, take_group(rows, at, generations), &p[1]));
    p[2] = db_bool(erased);
    struct db_call calls[] = {
        {&purge_messages, p, 3, {0}}, {&purge_keys, p, 3, {0}}, {&purge_sessions, p, 3, {0}}};
    TRY(db_batch(s->db, ctx, DB_WRITE, calls, ARRAY_LEN(calls), NULL));
    done->messages += calls[0].rows.count;
    done->sessions += calls[2].rows.count;
    return ERR_NONE;
}

enum err sql_sweep(struct sessions *s, struct request_ctx *ctx, bool *more)
{
    struct db_call calls[] = {{&sweep_on, NULL, 0, {0}},
                              {&expired_sessions, NULL, 0, {0}},
                              {&expired_keys, NULL, 0, {0}}};
    struct session_erasure done = {.sessions = 0};
    ctx->tenant = SV("");
    enum err e = db_batch(s->db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL);
    const struct db_rows *sessions = &calls[1].rows, *keys = &calls[2].rows;
    *more = e == ERR_NONE && (sessions->count > 0 || keys->count > 0);
    for (int at = 0; e == ERR_NONE && at < sessions->count;)
        e = sql_purge(s, ctx, sessions, false, &at, &done);
    for (int i = 0; e == ERR_NONE && i < keys->count; i++) {
        ctx->tenant = db_get_text(keys, i, db_column(keys, "tenant"));
        const struct db_param tenant = db_text(ctx->tenant);
        struct db_rows swept = {.count = 0};
        e = db_query(s->db, ctx, DB_WRITE, &sweep_keys, &tenant, 1, &swept, NULL);
        done.keys += swept.count;
    }
    if (s->slot) {
        metrics_add(&s->slot->swept_messages, (uint64_t)done.messages);
        metrics_add(&s->slot->swept_sessions, (uint64_t)done.sessions);
        metrics_add(&s->slot->swept_keys, (uint64_t)done.keys);
    }
    return e;
}

/* ---- all of a tenant, whose keys are no longer valid ---- */

/* clang-format off */
/* Ranges of the primary key. The id of a tombstone begins with a control character, and that of a
 * session does not. So no step reads the rows of another step. A hidden session is made a tombstone
 * first. */
static const struct db_stmt tenant_tombstone = {
    "tenant_tombstone",
    "WITH l AS (SELECT generation FROM sessions WHERE tenant = $1 AND session_id >= E'" SQL_HIDDEN "'"
    " AND (session_id >= ' ' OR" SQL_IS_HIDDEN("session_id") ")"
    " ORDER BY session_id LIMIT 32 FOR UPDATE SKIP LOCKED)" SQL_ERASE_LOCKED};

static const struct db_stmt tenant_tombstones = {
    "tenant_tombstones",
    "SELECT tenant, generation, message_count FROM sessions WHERE tenant = $1 AND session_id < ' '"
    " ORDER BY session_id LIMIT 100"};

static const struct db_stmt tenant_keys_delete = {
    "tenant_keys_delete",
    SQL_DELETE_STATES("ORDER BY user_id") ", k AS (" SQL_DELETE_KEYS("ORDER BY key") " RETURNING 1)"
    " SELECT FROM u UNION ALL SELECT FROM k"};

static const struct db_stmt tenant_left = {
    "tenant_left",
    "SELECT EXISTS (SELECT FROM sessions WHERE tenant = $1) OR EXISTS"
    " (SELECT FROM idempotency_keys WHERE tenant = $1) OR EXISTS"
    " (SELECT FROM user_states WHERE tenant = $1) AS is_left,"
    " EXISTS (SELECT FROM sessions WHERE tenant = $1 AND expires_at > now()) OR EXISTS"
    " (SELECT FROM user_states WHERE tenant = $1 AND (expires_at > now()) IS NOT FALSE) AS is_live"};
/* clang-format on */

enum err session_tenant_inspect(struct sessions *s, struct request_ctx *ctx, bool *left, bool *live)
{
    const struct db_param tenant = db_text(ctx->tenant);
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_READ, &tenant_left, &tenant, 1, &rows, NULL));
    *left = db_get_bool(&rows, 0, db_column(&rows, "is_left"));
    *live = db_get_bool(&rows, 0, db_column(&rows, "is_live"));
    return ERR_NONE;
}

enum err session_tenant_erase(struct sessions *s, struct request_ctx *ctx,
                              struct session_erasure *done)
{
    const struct sv tenant = ctx->tenant;
    const struct db_param p = db_text(tenant);
    struct db_rows rows;
    TRY(db_query(s->db, ctx, DB_WRITE, &tenant_tombstone, &p, 1, NULL, NULL));
    TRY(db_query(s->db, ctx, DB_READ, &tenant_tombstones, &p, 1, &rows, NULL));
    enum err e = ERR_NONE;
    for (int at = 0; e == ERR_NONE && at < rows.count;)
        e = sql_purge(s, ctx, &rows, true, &at, done);
    ctx->tenant = tenant;
    if (e == ERR_NONE)
        e = db_query(s->db, ctx, DB_WRITE, &tenant_keys_delete, &p, 1, &rows, NULL);
    done->keys += e == ERR_NONE ? rows.count : 0;
    return e;
}

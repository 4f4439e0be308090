/* SPDX-License-Identifier: MIT */
/* The SQL that deletes all of a tenant, whose keys are no longer valid. */
#include "sql_fragments.h"

/* clang-format off */
/* Ranges of the primary key, byte by byte. So no step reads the sessions of the others: tombstones
 * begin with a control character or with "~", and sessions with anything else. */
#define RANGE(columns, range, n)                                                                   \
    "(SELECT " columns " FROM sessions WHERE tenant = $1 AND " range " ORDER BY session_id LIMIT " n
#define LIVE(range) RANGE("generation", range, "32") " FOR UPDATE SKIP LOCKED)"
#define TOMBSTONES(range) RANGE("tenant, generation, message_count", range, "100") ")"

static const struct db_stmt tenant_tombstone = {
    "tenant_tombstone",
    "WITH a AS " LIVE("session_id >= ' ' AND session_id < '~'") ","
    " b AS " LIVE("session_id >= E'\\177'")
    " UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID("~~") ", context = '{}', metadata = '{}',"
    " expires_at = now(), expiry_hour = 0, updated_at = statement_timestamp(),"
    " version = s.version + 1 WHERE s.tenant = $1"
    " AND s.generation = ANY(ARRAY(SELECT generation FROM a UNION ALL SELECT generation FROM b))"};

static const struct db_stmt tenant_tombstones = {
    "tenant_tombstones",
    TOMBSTONES("session_id < ' '") " UNION ALL "
    TOMBSTONES("session_id >= '~' AND session_id < E'\\177'")};

static const struct db_stmt tenant_keys_delete = {
    "tenant_keys_delete",
    "DELETE FROM idempotency_keys WHERE tenant = $1 AND key = ANY(ARRAY(SELECT key"
    " FROM idempotency_keys WHERE tenant = $1 ORDER BY key LIMIT 1000 FOR UPDATE SKIP LOCKED))"};

static const struct db_stmt tenant_left = {
    "tenant_left",
    "SELECT EXISTS (SELECT FROM sessions WHERE tenant = $1) OR EXISTS"
    " (SELECT FROM idempotency_keys WHERE tenant = $1) AS is_left,"
    " EXISTS (SELECT FROM sessions WHERE tenant = $1 AND expires_at > now()) AS is_live"};
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

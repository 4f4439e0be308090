/* SPDX-License-Identifier: MIT */
/* Changes and lists keys and bounds, for an operator. Triggers of the two tables raise the version
 * in auth_state, which tells the workers to load them again. */
#include "auth_internal.h"

#define SQL_VALID " revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) "
#define SQL_KEY                                                                               \
    "id, tenant, name, scope = 'read' AS read_only, coalesce(user_id, '') AS user, signing, " \
    "created_at, expires_at, revoked_at, last_used_at"

static const struct db_stmt key_insert = {
    "key_insert",
    "INSERT INTO api_keys (id, tenant, name, hash, expires_at, scope, user_id, signing)"
    " VALUES ($1, $2, $3, $4, now() + $5::bigint * interval '1 second',"
    " CASE WHEN $6 THEN 'read' ELSE 'write' END, nullif($7, ''), $8) RETURNING " SQL_KEY};

static const struct db_stmt key_list = {"key_list",
                                        "SELECT " SQL_KEY " FROM api_keys ORDER BY created_at, id"};

static const struct db_stmt key_revoke = {
    "key_revoke",
    "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING tenant"};

static const struct db_stmt key_count = {"key_count",
                                         "SELECT count(*) AS n FROM api_keys WHERE " SQL_VALID};

#define SQL_BOUNDS \
    " coalesce(requests_per_second, -1) AS requests, coalesce(sessions_max, -1) AS sessions,"

/* -2: as it is; -1: NULL. */
static const struct db_stmt tenant_set = {
    "tenant_set",
    "INSERT INTO tenants AS t (tenant, requests_per_second, sessions_max)"
    " VALUES ($1, nullif(greatest($2::bigint, -1), -1), nullif(greatest($3::bigint, -1), -1))"
    " ON CONFLICT (tenant) DO UPDATE SET"
    " requests_per_second = CASE WHEN $2 = -2 THEN t.requests_per_second"
    " ELSE excluded.requests_per_second END,"
    " sessions_max = CASE WHEN $3 = -2 THEN t.sessions_max ELSE excluded.sessions_max END"
    " RETURNING t.tenant, 0 AS open, 0 AS messages, 0 AS bytes," SQL_BOUNDS
    " (SELECT count(*) FROM api_keys k WHERE k.tenant = t.tenant AND" SQL_VALID ") AS keys"};

/* $1: with what they store. bytes: their messages have the mean size of the newest 1,000. Only the
 * primary key gives these without a sort. */
/* clang-format off */
static const struct db_stmt tenant_list = {
    "tenant_list",
    "WITH s AS (SELECT tenant, count(*) FILTER (WHERE expires_at > now()) AS open, sum(message_count)::bigint AS messages"
    " FROM sessions WHERE $1::boolean GROUP BY tenant) SELECT tenant," SQL_BOUNDS " coalesce(keys, 0) AS keys,"
    " coalesce(open, 0) AS open, coalesce(messages, 0) AS messages, coalesce(round(messages * z.size)::bigint, 0) AS bytes"
    " FROM tenants FULL JOIN (SELECT tenant, count(*) FILTER (WHERE" SQL_VALID ") AS keys FROM api_keys GROUP BY tenant) k"
    " USING (tenant) FULL JOIN s USING (tenant) LEFT JOIN LATERAL (SELECT avg(size) AS size FROM (SELECT size FROM messages m"
    " WHERE m.tenant = s.tenant ORDER BY m.tenant DESC, generation DESC, seq DESC LIMIT 1000) n) z ON true ORDER BY tenant"};
static const struct db_stmt tenant_all = {
    "tenant_all", "SELECT set_config('parley.all_tenants', 'on', true), set_config('enable_sort', 'off', true)"};
/* clang-format on */
static const struct db_stmt tenant_revoke = {
    "tenant_revoke",
    "UPDATE api_keys SET revoked_at = now() WHERE tenant = $1 AND revoked_at IS NULL"};

/* A key that was made meanwhile stays. */
static const struct db_stmt tenant_keys_delete = {
    "tenant_delete_keys", "DELETE FROM api_keys WHERE tenant = $1 AND revoked_at IS NOT NULL"};
static const struct db_stmt tenant_delete = {"tenant_delete",
                                             "DELETE FROM tenants WHERE tenant = $1"};
static const struct db_stmt tenant_count_delete = {"tenant_delete_count",
                                                   "DELETE FROM tenant_sessions WHERE tenant = $1"};

static struct auth_key read_key(const struct db_rows *rows, int row)
{
    return (struct auth_key){
        .id = db_get_text(rows, row, db_column(rows, "id")),
        .tenant = db_get_text(rows, row, db_column(rows, "tenant")),
        .name = db_get_text(rows, row, db_column(rows, "name")),
        .user = db_get_text(rows, row, db_column(rows, "user")),
        .read_only = db_get_bool(rows, row, db_column(rows, "read_only")),
        .signing = db_get_bool(rows, row, db_column(rows, "signing")),
        .created_at = db_get_time(rows, row, db_column(rows, "created_at")),
        .expires_at = db_get_time(rows, row, db_column(rows, "expires_at")),
        .revoked_at = db_get_time(rows, row, db_column(rows, "revoked_at")),
        .last_used_at = db_get_time(rows, row, db_column(rows, "last_used_at")),
    };
}

enum err auth_key_create(struct db *db, struct request_ctx *ctx, struct auth_key *key,
                         int64_t lives_s, char secret[AUTH_SECRET_MAX + 1])
{
    char id[AUTH_ID_LEN];
    unsigned char hash[KEY_HASH_LEN];
    struct db_rows rows;
    key_make(key, id, secret, hash);
    const struct db_param made = db_bytes((struct sv){(const char *)hash, sizeof(hash)});
    const struct db_param lives = lives_s > 0 ? db_i64(lives_s) : db_null_i64();
    const struct db_param named = db_text((struct sv){id, sizeof(id)});
    const struct db_param p[] = {
        named, db_text(key->tenant),    db_text(key->name), made,
        lives, db_bool(key->read_only), db_text(key->user), db_bool(key->signing)};
    TRY(db_query(db, ctx, DB_WRITE, &key_insert, p, ARRAY_LEN(p), &rows, NULL));
    *key = read_key(&rows, 0);
    return ERR_NONE;
}

enum err auth_key_list(struct db *db, struct request_ctx *ctx, struct auth_key **out, size_t *n)
{
    struct db_rows rows;
    TRY(db_query(db, ctx, DB_READ, &key_list, NULL, 0, &rows, NULL));
    *n = (size_t)rows.count;
    *out = arena_array(ctx->arena, *n, sizeof(**out));
    if (!*out)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = read_key(&rows, (int)i);
    return ERR_NONE;
}

enum err auth_key_revoke(struct db *db, struct request_ctx *ctx, struct sv id)
{
    const struct db_param p = db_text(id);
    struct db_rows rows;
    /* DB_READ: safe to repeat, since the first time is kept. */
    TRY(db_query(db, ctx, DB_READ, &key_revoke, &p, 1, &rows, NULL));
    if (rows.count > 0)
        ctx->tenant = db_get_text(&rows, 0, 0);
    return rows.count > 0 ? ERR_NONE : ERR_NOT_FOUND;
}

enum err auth_key_count(struct db *db, struct request_ctx *ctx, int64_t *n)
{
    struct db_rows rows;
    TRY(db_query(db, ctx, DB_READ, &key_count, NULL, 0, &rows, NULL));
    *n = db_get_i64(&rows, 0, db_column(&rows, "n"));
    return ERR_NONE;
}

static struct auth_tenant read_tenant(const struct db_rows *rows, int row)
{
    return (struct auth_tenant){
        .tenant = db_get_text(rows, row, db_column(rows, "tenant")),
        .keys = db_get_i64(rows, row, db_column(rows, "keys")),
        .requests = db_get_i64(rows, row, db_column(rows, "requests")),
        .sessions = db_get_i64(rows, row, db_column(rows, "sessions")),
        .open = db_get_i64(rows, row, db_column(rows, "open")),
        .messages = db_get_i64(rows, row, db_column(rows, "messages")),
        .bytes = db_get_i64(rows, row, db_column(rows, "bytes")),
    };
}

enum err auth_tenant_set(struct db *db, struct request_ctx *ctx, struct auth_tenant *tenant)
{
    const struct db_param p[] = {db_text(tenant->tenant), db_i64(tenant->requests),
                                 db_i64(tenant->sessions)};
    struct db_rows rows;
    TRY(db_query(db, ctx, DB_READ, &tenant_set, p, ARRAY_LEN(p), &rows, NULL));
    *tenant = read_tenant(&rows, 0);
    return ERR_NONE;
}

enum err auth_tenant_list(struct db *db, struct request_ctx *ctx, bool usage,
                          struct auth_tenant **out, size_t *n)
{
    const struct db_param p = db_bool(usage);
    struct db_call calls[] = {{&tenant_all, NULL, 0, {0}}, {&tenant_list, &p, 1, {0}}};
    TRY(db_batch(db, ctx, DB_READ, calls, ARRAY_LEN(calls), NULL));
    *n = (size_t)calls[1].rows.count;
    *out = arena_array(ctx->arena, *n, sizeof(**out));
    if (!*out)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < *n; i++)
        (*out)[i] = read_tenant(&calls[1].rows, (int)i);
    return ERR_NONE;
}

enum err auth_tenant_revoke(struct db *db, struct request_ctx *ctx)
{
    const struct db_param p = db_text(ctx->tenant);
    return db_query(db, ctx, DB_READ, &tenant_revoke, &p, 1, NULL, NULL);
}

enum err auth_tenant_delete(struct db *db, struct request_ctx *ctx, int64_t *keys)
{
    const struct db_param p = db_text(ctx->tenant);
    struct db_call calls[] = {{&tenant_keys_delete, &p, 1, {0}},
                              {&tenant_delete, &p, 1, {0}},
                              {&tenant_count_delete, &p, 1, {0}}};
    TRY(db_batch(db, ctx, DB_WRITE, calls, ARRAY_LEN(calls), NULL));
    *keys = calls[0].rows.count;
    return ERR_NONE;
}

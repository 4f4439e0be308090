/* SPDX-License-Identifier: MIT */
/* All valid keys and the bounds of their tenants, as they were at one instant. */
#include "auth_internal.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
/* At least one row, the version's, even if there is no key. */
static const struct db_stmt load_keys = {
    "auth_load",
    "SELECT s.version, k.id, k.hash, k.expires_at, k.tenant, t.requests_per_second, t.sessions_max"
    " FROM auth_state s LEFT JOIN (api_keys k LEFT JOIN tenants t ON t.tenant = k.tenant)"
    " ON k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
    " ORDER BY k.id"};
/* clang-format on */

static int64_t get_bound(const struct db_rows *rows, int row, const char *column, int64_t if_null)
{
    const int c = db_column(rows, column);
    return db_is_null(rows, row, c) ? if_null : db_get_i64(rows, row, c);
}

static bool read_key(const struct db_rows *rows, int row, const struct auth_settings *settings,
                     struct snapshot_key *out)
{
    const int expires = db_column(rows, "expires_at");
    const struct sv hash = db_get_text(rows, row, db_column(rows, "hash"));
    const struct sv tenant = db_get_text(rows, row, db_column(rows, "tenant"));
    if (!key_id_parse(db_get_text(rows, row, db_column(rows, "id")), &out->id) ||
        hash.n != KEY_HASH_LEN || tenant.n > AUTH_TENANT_MAX)
        return false;
    out->expires_at = db_is_null(rows, row, expires) ? INT64_MAX : db_get_time(rows, row, expires);
    out->requests = get_bound(rows, row, "requests_per_second", settings->requests);
    out->sessions = get_bound(rows, row, "sessions_max", settings->sessions);
    out->tenant_hash = limit_tenant_hash(tenant);
    memcpy(out->hash, hash.p, KEY_HASH_LEN);
    memcpy(out->tenant, tenant.p, tenant.n);
    out->tenant_n = (unsigned char)tenant.n;
    return true;
}

enum err snapshot_load(struct db *db, struct request_ctx *ctx, const struct auth_settings *settings,
                       struct snapshot **out)
{
    struct db_rows rows;
    TRY(db_query(db, ctx, DB_READ, &load_keys, NULL, 0, &rows, NULL));
    if (rows.count == 0)
        return ctx_fault(ctx, ERR_INTERNAL, "auth_state has no row");
    const size_t n = db_is_null(&rows, 0, db_column(&rows, "id")) ? 0 : (size_t)rows.count;
    struct snapshot *s = malloc(sizeof(*s) + n * sizeof(s->keys[0]));
    if (!s)
        return ctx_fault(ctx, ERR_NOMEM, "no memory for %zu keys", n);
    s->version = db_get_i64(&rows, 0, db_column(&rows, "version"));
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        if (!read_key(&rows, (int)i, settings, &s->keys[i])) {
            free(s);
            return ctx_fault(ctx, ERR_INTERNAL, "a row of api_keys is malformed");
        }
    }
    *out = s;
    return ERR_NONE;
}

static int compare_id(const void *id, const void *key)
{
    const uint64_t a = *(const uint64_t *)id, b = ((const struct snapshot_key *)key)->id;
    return (a > b) - (a < b);
}

const struct snapshot_key *snapshot_find(const struct snapshot *s, uint64_t id)
{
    return bsearch(&id, s->keys, s->n, sizeof(s->keys[0]), compare_id);
}

/* SPDX-License-Identifier: MIT */
/* The statements on the table hosts. Its times are by PostgreSQL's clock. They decide only what is
 * shown, and how many hosts share the connections. */
#include "hosts_internal.h"

#include <string.h>

#include "parley/base/clock.h"

/* The columns of a row. */
/* clang-format off */
#define COLUMNS                                                                                    \
    "h.host, h.address, h.version, h.workers, h.alone,"                                            \
    " (extract(epoch FROM clock_timestamp() - h.seen_at) * 1000000)::bigint AS seen_ago"

/* Not on a standby: it does not know of a host that registered just now. */
static const struct db_stmt poll_hosts = {
    "hosts_poll",
    "SELECT a.version AS keys_version,"
    " (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint AS pg_started,"
    " count(h.host) OVER () AS registered,"
    " count(*) FILTER (WHERE h.seen_at > now() - interval '10 seconds' AND h.host <> $1) OVER ()"
    "   AS live,"
    " coalesce(bool_or(h.alone) FILTER (WHERE h.host <> $1) OVER (), false) AS others_alone,"
    " coalesce(h.host = $1, false) AS self, coalesce(h.seen_at > to_timestamp(0), false) AS stays, "
    COLUMNS
    " FROM auth_state a LEFT JOIN hosts h ON true WHERE NOT pg_is_in_recovery()"
    " ORDER BY h.host = $1 DESC NULLS LAST, h.seen_at DESC LIMIT $2"};

static const struct db_stmt register_host = {
    "hosts_register",
    "INSERT INTO hosts (host, address, version, workers, alone) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (host) DO UPDATE SET address = excluded.address, version = excluded.version,"
    " workers = excluded.workers, alone = excluded.alone, seen_at = now()"};

/* It may be lost: it does not wait for a disk or a standby. */
static const struct db_stmt refresh_host = {
    "hosts_refresh",
    "UPDATE hosts SET seen_at = now(), workers = $2"
    " WHERE host = $1 AND set_config('synchronous_commit', 'off', true) = 'off'"};

static const struct db_stmt remove_host = {"hosts_remove", "DELETE FROM hosts WHERE host = $1"};

static const struct db_stmt list_hosts = {
    "hosts_list", "SELECT " COLUMNS " FROM hosts h ORDER BY h.seen_at DESC, h.host"};

static const struct db_stmt mark_hosts = {
    "hosts_doubt",
    "UPDATE hosts SET seen_at = to_timestamp(0)"
    " WHERE host = $1 OR ($1 IS NULL AND seen_at < now() - $2 * interval '1 second')"
    " RETURNING host"};

static const struct db_stmt forget_hosts = {
    "hosts_forget", "DELETE FROM hosts WHERE host = ANY ($1) AND seen_at = to_timestamp(0)"};
/* clang-format on */

static void copy_text(const struct db_rows *r, int row, const char *column, char *out, size_t n)
{
    const struct sv v = db_get_text(r, row, db_column(r, column));
    const size_t len = v.n < n ? v.n : n - 1;
    if (len > 0)
        memcpy(out, v.p, len);
    out[len] = '\0';
}

static void read_host(const struct db_rows *r, int row, struct db_host *h)
{
    memset(h, 0, sizeof(*h));
    copy_text(r, row, "host", h->id, sizeof(h->id));
    copy_text(r, row, "address", h->address, sizeof(h->address));
    copy_text(r, row, "version", h->version, sizeof(h->version));
    h->workers = db_get_i64(r, row, db_column(r, "workers"));
    h->seen_ago_us = db_get_i64(r, row, db_column(r, "seen_ago"));
    h->alone = db_get_bool(r, row, db_column(r, "alone"));
}

enum err hosts_poll(struct db *db, struct request_ctx *ctx, const struct db_hosts_shared *s,
                    struct hosts_found *out)
{
    const struct db_param params[] = {db_text(sv_from(s->id)), db_i64(DB_HOSTS_SHOWN_MAX)};
    struct db_rows r;
    memset(out, 0, sizeof(*out));
    out->sent_us = clock_boot_us();
    TRY(db_query(db, ctx, DB_READ, &poll_hosts, params, ARRAY_LEN(params), &r, NULL));
    if (r.count == 0)
        return ctx_fault(ctx, ERR_UNAVAILABLE, "this PostgreSQL is a standby");
    out->keys_version = db_get_i64(&r, 0, db_column(&r, "keys_version"));
    out->pg_started_us = db_get_i64(&r, 0, db_column(&r, "pg_started"));
    out->others_alone = db_get_bool(&r, 0, db_column(&r, "others_alone"));
    const int64_t registered = db_get_i64(&r, 0, db_column(&r, "registered"));
    const bool has_row = db_get_bool(&r, 0, db_column(&r, "self"));
    out->self = has_row && db_get_bool(&r, 0, db_column(&r, "stays"));
    out->others = registered - (has_row ? 1 : 0);
    out->live = 1 + db_get_i64(&r, 0, db_column(&r, "live"));
    out->n = registered > 0 ? (size_t)r.count : 0;
    for (size_t i = 0; i < out->n; i++)
        read_host(&r, (int)i, &out->table[i]);
    out->table[0].self = has_row;
    out->self_seen_ago_us = has_row ? out->table[0].seen_ago_us : 0;
    return ERR_NONE;
}

enum err hosts_register(struct db *db, struct request_ctx *ctx, const struct db_hosts_shared *s,
                        int workers)
{
    const struct db_param params[] = {db_text(sv_from(s->id)), db_text(sv_from(s->address)),
                                      db_text(sv_from(s->version)), db_i32(workers),
                                      db_bool(s->alone)};
    return db_query(db, ctx, DB_WRITE, &register_host, params, ARRAY_LEN(params), NULL, NULL);
}

enum err hosts_refresh(struct db *db, struct request_ctx *ctx, const struct db_hosts_shared *s,
                       int workers)
{
    const struct db_param params[] = {db_text(sv_from(s->id)), db_i32(workers)};
    return db_query(db, ctx, DB_WRITE, &refresh_host, params, ARRAY_LEN(params), NULL, NULL);
}

enum err hosts_remove(struct db *db, struct request_ctx *ctx, const struct db_hosts_shared *s)
{
    const struct db_param id = db_text(sv_from(s->id));
    return db_query(db, ctx, DB_WRITE, &remove_host, &id, 1, NULL, NULL);
}

enum err db_hosts_list(struct db *db, struct request_ctx *ctx, struct db_host **out, size_t *n)
{
    struct db_rows r;
    TRY(db_query(db, ctx, DB_READ, &list_hosts, NULL, 0, &r, NULL));
    *n = (size_t)r.count;
    *out = arena_alloc(ctx->arena, (*n + 1) * sizeof(**out));
    if (!*out)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < *n; i++)
        read_host(&r, (int)i, &(*out)[i]);
    return ERR_NONE;
}

/* In two steps. A running host finds its row marked (seen_at = 0) and registers again, as at a
 * start. One that does not within HOSTS_WAIT_US no longer has the shortcut. */
enum err db_hosts_forget(struct db *db, struct request_ctx *ctx, struct sv id, int64_t stale_s,
                         int64_t *removed, int64_t *alive)
{
    const struct db_param which[] = {db_text(id), db_i64(stale_s)};
    struct db_param marked;
    struct db_rows r;
    *removed = *alive = 0;
    TRY(db_query(db, ctx, DB_WRITE, &mark_hosts, which, ARRAY_LEN(which), &r, NULL));
    const int n = r.count;
    if (n == 0)
        return id.p ? ERR_NOT_FOUND : ERR_NONE;
    struct sv *ids = arena_alloc(ctx->arena, (size_t)n * sizeof(*ids));
    if (!ids)
        return ctx_nomem(ctx);
    for (int i = 0; i < n; i++)
        ids[i] = db_get_text(&r, i, 0);
    TRY(db_text_array(ctx, ids, (size_t)n, &marked));
    deadline_wait(deadline_in_ms(HOSTS_WAIT_US / 1000));
    enum err e = db_query(db, ctx, DB_WRITE, &forget_hosts, &marked, 1, &r, NULL);
    *removed = e == ERR_NONE ? r.count : 0;
    *alive = e == ERR_NONE ? n - r.count : 0;
    return e;
}

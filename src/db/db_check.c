/* SPDX-License-Identifier: MIT */
/* Checks server, login and schema before the first statement runs. */
#include "db_internal.h"

#include <stdio.h>

#include "parley/obs/log.h"

enum { SERVER_VERSION_MIN = 140000 };

/* About the login, whatever role the connection has: SET ROLE NONE would end that. What the login
 * can become by SET ROLE counts as what it is. */
static const struct db_stmt facts_stmt = {
    NULL,
    "SELECT current_setting('server_version_num')::int AS version, u.rolname::text AS login,"
    " EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(u.oid, r.oid, 'MEMBER'))"
    "   AS super,"
    " EXISTS (SELECT FROM pg_roles r WHERE r.rolbypassrls AND pg_has_role(u.oid, r.oid, 'MEMBER'))"
    "   AS bypass,"
    " " DB_OWNS_TABLES " AS owns,"
    " current_setting('max_connections')::int"
    "   - current_setting('superuser_reserved_connections')::int"
    "   - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0) AS capacity,"
    " u.rolconnlimit, d.datconnlimit, to_regclass('parley_schema') IS NOT NULL AS has_schema,"
    " current_setting('fsync') = 'off' AS no_fsync"
    " FROM pg_roles u, pg_database d WHERE u.rolname = session_user"
    " AND d.datname = current_database()"};

static int number(const struct db_rows *r, const char *column)
{
    return (int)db_get_i64(r, 0, db_column(r, column));
}

static bool is_set(const struct db_rows *r, const char *column)
{
    return db_get_bool(r, 0, db_column(r, column));
}

static bool check_server_and_login(const struct db *db, const struct db_rows *r,
                                   char why[DB_REASON_MAX])
{
    const bool owns = is_set(r, "owns") && !db->set.owner_may_serve;
    const char *fault = db->set.owner         ? NULL
                        : is_set(r, "super")  ? "is a superuser"
                        : is_set(r, "bypass") ? "has BYPASSRLS"
                        : owns                ? "owns the tables"
                                              : NULL;
    const int version = number(r, "version");
    const struct sv login = db_get_text(r, 0, db_column(r, "login"));
    if (version < SERVER_VERSION_MIN)
        snprintf(why, DB_REASON_MAX, "PostgreSQL %d is too old: parley needs version %d or newer",
                 version / 10000, SERVER_VERSION_MIN / 10000);
    else if (fault)
        snprintf(why, DB_REASON_MAX,
                 "login \"%.*s\" of DATABASE_URL %s, itself or by SET ROLE, so row-level "
                 "security does not bind it: use one that owns nothing",
                 SV_ARG(login), fault);
    else
        return true;
    return false;
}

static int capacity_of(const struct db_rows *r)
{
    const int limits[] = {number(r, "rolconnlimit"), number(r, "datconnlimit")};
    int capacity = number(r, "capacity");
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i] >= 0 && limits[i] < capacity)
            capacity = limits[i];
    return capacity > 0 ? capacity : 1;
}

/* Once a host. No more than a warning: a development machine may be set to be fast, and an
 * installation may have one login. An operator's command has its own text. */
static void warn(struct db *db, const struct db_rows *r)
{
    if (!db->set.warns || atomic_exchange(&db->warned, true))
        return;
    if (is_set(r, "no_fsync"))
        log_say(LOG_WARN, "not_durable",
                "PostgreSQL runs with fsync off: acknowledged writes may be lost in a crash");
    if (is_set(r, "owns"))
        log_say(LOG_WARN, "owner_serves", "%s", DB_OWNER_SERVES);
}

/* needs: the oldest program, by the schema version that it knows, that can serve with this one. */
static bool check_schema(struct db *db, int have, int needs, char why[DB_REASON_MAX])
{
    const int own = db->set.schema_version;
    pthread_mutex_lock(&db->lock);
    db->schema_version = have;
    pthread_mutex_unlock(&db->lock);
    if (have < own)
        snprintf(why, DB_REASON_MAX,
                 "schema is at version %d, this program needs %d: run `parley migrate`", have, own);
    else if (needs > own)
        snprintf(why, DB_REASON_MAX, DB_SCHEMA_NEWER, have, needs, own);
    return have >= own && needs <= own;
}

/* One row. */
static enum db_open_result query_row(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                     const struct db_stmt *stmt, struct db_rows *out,
                                     char why[DB_REASON_MAX])
{
    struct db_call step = {.stmt = stmt};
    struct db_fault f;
    if (db_pipeline_run(db, c, ctx, &step, 1, &f) == FAULT_NONE) {
        *out = step.rows;
        if (out->count == 1)
            return OPEN_OK;
        db_fault_set(&f, FAULT_SERVER, ERR_INTERNAL, "the login does not exist any more");
    }
    const bool refused = f.kind == FAULT_SERVER;
    snprintf(why, DB_REASON_MAX, "%s%s", f.text, refused ? ": run `parley migrate`" : "");
    return refused ? OPEN_WRONG : OPEN_REFUSED;
}

enum db_open_result db_check_server(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX])
{
    static const struct db_stmt version_stmt = {
        NULL, "SELECT coalesce(max(version), 0) AS version, " DB_SCHEMA_NEEDS
              " AS needs FROM parley_schema s"};
    struct db_rows facts, schema;
    enum db_open_result result = query_row(db, ctx, c, &facts_stmt, &facts, why);
    if (result != OPEN_OK)
        return result;
    if (!check_server_and_login(db, &facts, why))
        return OPEN_WRONG;
    db_pool_share(db, capacity_of(&facts), 0);
    warn(db, &facts);
    if (db->set.schema_version == 0)
        return OPEN_OK;
    int have = 0, needs = 0;
    if (is_set(&facts, "has_schema")) {
        result = query_row(db, ctx, c, &version_stmt, &schema, why);
        if (result != OPEN_OK)
            return result;
        have = number(&schema, "version");
        needs = number(&schema, "needs");
    }
    return check_schema(db, have, needs, why) ? OPEN_OK : OPEN_WRONG;
}

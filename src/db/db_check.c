/* SPDX-License-Identifier: MIT */
/* Checks server, login and schema before the first statement runs. */
#include "db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "parley/obs/log.h"

enum { SERVER_VERSION_MIN = 140000 };

/* clang-format off */
/* The columns of facts_sql. */
enum column { VERSION, LOGIN, SUPER, BYPASS, OWNS, CAPACITY, ROLE_LIMIT, DB_LIMIT, HAS_SCHEMA,
              NO_FSYNC, ASYNC };
/* clang-format on */

/* About the login, whatever role the connection has: SET ROLE NONE would end that. What the login
 * can become by SET ROLE counts as what it is. */
static const char facts_sql[] =
    "SELECT current_setting('server_version_num'), u.rolname,"
    " EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(u.oid, r.oid, 'MEMBER')),"
    " EXISTS (SELECT FROM pg_roles r WHERE r.rolbypassrls AND pg_has_role(u.oid, r.oid, 'MEMBER')),"
    " " DB_OWNS_TABLES ","
    " current_setting('max_connections')::int"
    "   - current_setting('superuser_reserved_connections')::int"
    "   - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),"
    " u.rolconnlimit, d.datconnlimit, to_regclass('parley_schema') IS NOT NULL,"
    " current_setting('fsync') = 'off',"
    " current_setting('synchronous_commit') = 'off'"
    " FROM pg_roles u, pg_database d WHERE u.rolname = session_user"
    " AND d.datname = current_database()";

static int int_at(const PGresult *res, enum column column)
{
    return (int)strtol(PQgetvalue(res, 0, (int)column), NULL, 10);
}

static bool bool_at(const PGresult *res, enum column column)
{
    return PQgetvalue(res, 0, (int)column)[0] == 't';
}

static bool check_server_and_login(const struct db *db, const PGresult *res, char *why, size_t n)
{
    const bool owns = bool_at(res, OWNS) && !db->set.owner_may_serve;
    const char *fault = db->set.owner          ? NULL
                        : bool_at(res, SUPER)  ? "is a superuser"
                        : bool_at(res, BYPASS) ? "has BYPASSRLS"
                        : owns                 ? "owns the tables"
                                               : NULL;
    const int version = int_at(res, VERSION);
    if (version < SERVER_VERSION_MIN)
        snprintf(why, n, "PostgreSQL %d is too old: parley needs version %d or newer",
                 version / 10000, SERVER_VERSION_MIN / 10000);
    else if (fault)
        snprintf(why, n,
                 "login \"%.63s\" of DATABASE_URL %s, itself or by SET ROLE, so row-level "
                 "security does not bind it: use one that owns nothing",
                 PQgetvalue(res, 0, LOGIN), fault);
    else if (bool_at(res, ASYNC))
        snprintf(why, n,
                 "the options in DATABASE_URL set synchronous_commit off: acknowledged writes may "
                 "be lost");
    else
        return true;
    return false;
}

static int capacity_of(const PGresult *res)
{
    const int limits[] = {int_at(res, ROLE_LIMIT), int_at(res, DB_LIMIT)};
    int capacity = int_at(res, CAPACITY);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i] >= 0 && limits[i] < capacity)
            capacity = limits[i];
    return capacity;
}

/* A warning only, since a development machine may be set to be fast. Once a worker, and not for an
 * operator's command, which has its own text. */
static void warn_of_loss(struct db *db, const PGresult *res)
{
    if (bool_at(res, NO_FSYNC) && db->slot && !atomic_exchange(&db->warned_of_loss, true))
        log_say(LOG_WARN, "not_durable",
                "PostgreSQL runs with fsync off: acknowledged writes may be lost in a crash");
}

/* An installation with one login: once a host. */
static void warn_of_owner(struct db *db, const PGresult *res)
{
    if (bool_at(res, OWNS) && db->set.warn_of_owner && !atomic_exchange(&db->warned_of_owner, true))
        log_say(LOG_WARN, "owner_serves", "%s", DB_OWNER_SERVES);
}

static bool check_schema(struct db *db, int have, char *why, size_t n)
{
    const int need = db->set.schema_version;
    pthread_mutex_lock(&db->lock);
    db->schema_version = have;
    pthread_mutex_unlock(&db->lock);
    if (have != need)
        snprintf(why, n, "schema is at version %d, this program needs %d: %s", have, need,
                 have < need ? "run `parley migrate`" : "use a newer parley");
    return have == need;
}

/* One row, or NULL and *result. */
static PGresult *query_row(struct db_conn *c, const char *sql, struct db_attempt *attempt,
                           enum db_open_result *result)
{
    PGresult *res = db_conn_exec(c, sql, attempt->deadline, attempt->stop_fd);
    if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
        return res;
    if (!res) {
        *result = errno == ECANCELED ? OPEN_CANCELLED : OPEN_REFUSED;
        snprintf(attempt->why, sizeof(attempt->why),
                 "the connection was lost while the server was checked");
    } else {
        const char *said = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        *result = OPEN_WRONG;
        snprintf(attempt->why, sizeof(attempt->why), "%s: run `parley migrate`",
                 said ? said : "the check failed");
    }
    PQclear(res);
    return NULL;
}

enum db_open_result db_check_server(struct db *db, struct db_conn *c, struct db_attempt *attempt)
{
    enum db_open_result result = OPEN_WRONG;
    PGresult *res = query_row(c, facts_sql, attempt, &result);
    if (!res)
        return result;
    const bool fit = check_server_and_login(db, res, attempt->why, sizeof(attempt->why));
    const bool has_schema = bool_at(res, HAS_SCHEMA);
    warn_of_loss(db, res);
    if (fit) {
        db_pool_share(db, capacity_of(res) > 0 ? capacity_of(res) : 1, 0);
        warn_of_owner(db, res);
    }
    PQclear(res);
    if (!fit || db->set.schema_version == 0)
        return fit ? OPEN_OK : OPEN_WRONG;
    int have = 0;
    if (has_schema) {
        static const char sql[] = "SELECT coalesce(max(version), 0) FROM parley_schema";
        res = query_row(c, sql, attempt, &result);
        if (!res)
            return result;
        have = int_at(res, 0);
        PQclear(res);
    }
    return check_schema(db, have, attempt->why, sizeof(attempt->why)) ? OPEN_OK : OPEN_WRONG;
}

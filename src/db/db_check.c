/* SPDX-License-Identifier: MIT */
/* What must hold of server, login and schema before the first statement of anybody is run. */
#include "db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "parley/obs/log.h"

enum { SERVER_VERSION_MIN = 140000 };

/* The columns of the question below. */
enum column {
    VERSION,
    LOGIN,
    SUPER,
    BYPASS,
    OWNS,
    PLACES,
    ROLE_LIMIT,
    DB_LIMIT,
    HAS_SCHEMA,
    NO_FSYNC,
    ASYNC
};

/* All of the login, whatever role it may have taken on: SET ROLE NONE would bring it back.
 * What it can become by SET ROLE counts as what it is. */
static const char question[] =
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

static int number(const PGresult *res, enum column column)
{
    return (int)strtol(PQgetvalue(res, 0, (int)column), NULL, 10);
}

static bool yes(const PGresult *res, enum column column)
{
    return PQgetvalue(res, 0, (int)column)[0] == 't';
}

static bool fit_server_and_login(const struct db *db, const PGresult *res, char *why, size_t why_n)
{
    const bool owns = yes(res, OWNS) && !db->set.owner_may_serve;
    const char *fault = db->set.owner      ? NULL
                        : yes(res, SUPER)  ? "is a superuser"
                        : yes(res, BYPASS) ? "has BYPASSRLS"
                        : owns             ? "owns the tables"
                                           : NULL;
    if (number(res, VERSION) < SERVER_VERSION_MIN) {
        snprintf(why, why_n, "PostgreSQL %d is too old: parley needs version %d or newer",
                 number(res, VERSION) / 10000, SERVER_VERSION_MIN / 10000);
        return false;
    }
    if (fault) {
        snprintf(
            why, why_n,
            "login \"%.63s\" of DATABASE_URL %s, by itself or by SET ROLE, so row-level security "
            "does not hold it: use a login that owns nothing",
            PQgetvalue(res, 0, LOGIN), fault);
        return false;
    }
    if (yes(res, ASYNC)) {
        snprintf(why, why_n,
                 "the options in DATABASE_URL set synchronous_commit off: writes would be "
                 "acknowledged that may be lost");
        return false;
    }
    return true;
}

/* Under the lock: makes the pool so large that all workers of all hosts together fit. Raising it
 * lets those go on that wait. False: it is as before. */
static bool resize(struct db *db)
{
    const int hosts = db->hosts > 0 ? db->hosts : 1;
    const int workers = db->set.workers > 0 ? db->set.workers : 1;
    const int share = db->places / hosts / workers;
    const int most = db->set.pool_max > 0 ? db->set.pool_max : 1;
    const int max = share < 1 ? 1 : share < most ? share : most;
    const bool news = max != db->max;
    db->max = max;
    db->min = db->set.pool_min < max ? db->set.pool_min : max;
    if (news && db->slot)
        metrics_set(&db->slot->pool_max, max);
    if (news)
        db_pool_wake_for_room(db);
    return news && max < db->set.pool_max;
}

static void log_size(const struct db *db, int max, int places, int hosts)
{
    log_say(LOG_WARN, "pool_lowered",
            "%d connections a worker instead of %d: PostgreSQL has %d for %d workers on %d host%s",
            max, db->set.pool_max, places, db->set.workers, hosts > 0 ? hosts : 1,
            hosts > 1 ? "s" : "");
}

static void fit_size(struct db *db, const PGresult *res)
{
    int places = number(res, PLACES);
    int limits[] = {number(res, ROLE_LIMIT), number(res, DB_LIMIT)};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i] >= 0 && limits[i] < places)
            places = limits[i];
    pthread_mutex_lock(&db->lock);
    db->places = places;
    const bool lowered = resize(db);
    const int max = db->max, hosts = db->hosts;
    pthread_mutex_unlock(&db->lock);
    if (lowered)
        log_size(db, max, places, hosts);
}

void db_share(struct db *db, int hosts)
{
    pthread_mutex_lock(&db->lock);
    const bool news = hosts > 0 && hosts != db->hosts;
    if (news)
        db->hosts = hosts;
    const bool lowered = news && db->places > 0 && resize(db);
    const int max = db->max, places = db->places;
    pthread_mutex_unlock(&db->lock);
    if (lowered)
        log_size(db, max, places, hosts);
}

/* Not refused: a laptop may be asked to be fast. Said once a worker; a command is asked for else.
 */
static void warn_of_loss(struct db *db, const PGresult *res)
{
    if (yes(res, NO_FSYNC) && db->slot && !atomic_exchange(&db->warned_of_loss, true))
        log_say(
            LOG_WARN, "not_durable",
            "PostgreSQL runs with fsync off: what was acknowledged may be lost with the machine");
}

/* An installation with one login: likewise, but once a host. */
static void warn_of_owner(struct db *db, const PGresult *res)
{
    if (yes(res, OWNS) && db->set.warn_of_owner && !atomic_exchange(&db->warned_of_owner, true))
        log_say(LOG_WARN, "owner_serves", "%s", DB_OWNER_SERVES);
}

static bool fit_schema(struct db *db, int have, char *why, size_t why_n)
{
    int need = db->set.schema_version;
    pthread_mutex_lock(&db->lock);
    db->schema_version = have;
    pthread_mutex_unlock(&db->lock);
    if (have == need)
        return true;
    snprintf(why, why_n, "schema is at version %d, this program needs %d: %s", have, need,
             have < need ? "run `parley migrate`" : "use a newer parley");
    return false;
}

/* NULL and *result when there was no usable answer. */
static PGresult *ask(struct db_conn *c, const char *sql, struct deadline deadline, int stop_fd,
                     enum db_open_result *result, char *why, size_t why_n)
{
    PGresult *res = db_conn_ask(c, sql, deadline, stop_fd);
    if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
        return res;
    if (!res) {
        *result = errno == ECANCELED ? OPEN_STOPPED : OPEN_REFUSED;
        snprintf(why, why_n, "the connection was lost while the server was checked");
    } else {
        const char *said = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        *result = OPEN_WRONG;
        snprintf(why, why_n, "%s: run `parley migrate`", said ? said : "the check failed");
    }
    PQclear(res);
    return NULL;
}

enum db_open_result db_check_server(struct db *db, struct db_conn *c, struct deadline deadline,
                                    int stop_fd, char *why, size_t why_n)
{
    enum db_open_result result = OPEN_WRONG;
    PGresult *res = ask(c, question, deadline, stop_fd, &result, why, why_n);
    if (!res)
        return result;
    bool fit = fit_server_and_login(db, res, why, why_n);
    bool has_schema = yes(res, HAS_SCHEMA);
    if (fit)
        fit_size(db, res);
    warn_of_loss(db, res);
    if (fit)
        warn_of_owner(db, res);
    PQclear(res);
    if (!fit || db->set.schema_version == 0)
        return fit ? OPEN_OK : OPEN_WRONG;
    int have = 0;
    if (has_schema) {
        static const char sql[] = "SELECT coalesce(max(version), 0) FROM parley_schema";
        res = ask(c, sql, deadline, stop_fd, &result, why, why_n);
        if (!res)
            return result;
        have = (int)strtol(PQgetvalue(res, 0, 0), NULL, 10);
        PQclear(res);
    }
    return fit_schema(db, have, why, why_n) ? OPEN_OK : OPEN_WRONG;
}

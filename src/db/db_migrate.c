/* SPDX-License-Identifier: MIT */
/*
 * Migrations. libpq's blocking calls are right here: this is a program of its own ("parley
 * migrate") or the time before serving, with nobody else in the process to be held up.
 */
#include "parley/db/migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db_internal.h"

struct migration_run {
    PGconn *pg;
    const char *role;
    void (*say)(void *arg, const char *line);
    void *arg;
};

const struct db_migration *db_migrations(size_t *n)
{
    *n = db_migration_count;
    return db_migration_table;
}

int db_schema_version(void)
{
    return db_migration_count > 0 ? db_migration_table[db_migration_count - 1].version : 0;
}

static void tell(const struct migration_run *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void tell(const struct migration_run *m, const char *fmt, ...)
{
    char line[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    line[strcspn(line, "\n")] = '\0';
    m->say(m->arg, line);
}

/* Runs sql, with one text parameter unless it is NULL. A failure is told as "what: …". */
static PGresult *run(const struct migration_run *m, const char *what, const char *sql,
                     const char *param)
{
    /* PQexec takes several statements at once, PQexecParams takes parameters. */
    PGresult *res =
        param ? PQexecParams(m->pg, sql, 1, NULL, &param, NULL, NULL, 0) : PQexec(m->pg, sql);
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return res;
    const char *said = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    tell(m, "%s: %s", what, said ? said : PQerrorMessage(m->pg));
    PQclear(res);
    return NULL;
}

static bool run_quiet(const struct migration_run *m, const char *what, const char *sql,
                      const char *param)
{
    PGresult *res = run(m, what, sql, param);
    PQclear(res);
    return res != NULL;
}

/* The first value of the answer as a number; -1 after a failure. */
static int run_number(const struct migration_run *m, const char *what, const char *sql,
                      const char *param)
{
    PGresult *res = run(m, what, sql, param);
    int n = res && PQntuples(res) == 1 ? (int)strtol(PQgetvalue(res, 0, 0), NULL, 10) : -1;
    PQclear(res);
    return n;
}

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static enum err connect_to(struct migration_run *m, const char *url)
{
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);
    if (!parsed) {
        /* libpq's message would repeat the text, and with it the password. */
        tell(m, "DATABASE_URL is not a valid connection string");
        return ERR_INVALID;
    }
    PQconninfoFree(parsed);
    const char *const keys[] = {"dbname", "application_name", "client_encoding", NULL};
    const char *const values[] = {url, "parley migrate", "UTF8", NULL};
    m->pg = PQconnectdbParams(keys, values, 1);
    if (PQstatus(m->pg) != CONNECTION_OK) {
        tell(m, "cannot connect: %s", PQerrorMessage(m->pg));
        return ERR_UNAVAILABLE;
    }
    PQsetNoticeReceiver(m->pg, ignore_notice, NULL);
    if (!m->role[0])
        m->role = PQuser(m->pg); /* the login role serves: scripts may still grant to it */
    return ERR_NONE;
}

/* One migration at a time in a database, however many hosts start at once. The lock belongs to the
 * session, so it goes with the connection whatever happens. */
static bool take_lock(const struct migration_run *m)
{
    static const char settings[] = "SET statement_timeout = 0; SET lock_timeout = 0;"
                                   "SET idle_in_transaction_session_timeout = 0";
    if (!run_quiet(m, "settings", settings, NULL))
        return false;
    int got = run_number(m, "lock", "SELECT pg_try_advisory_lock(123560530273657)::int", NULL);
    if (got != 0)
        return got == 1;
    tell(m, "waiting for another migration to end");
    return run_quiet(m, "lock", "SELECT pg_advisory_lock(123560530273657)", NULL);
}

/* Runs a statement with the role's quoted name between before and after. */
static bool run_for_role(const struct migration_run *m, const char *what, const char *before,
                         const char *after)
{
    char sql[512];
    char *quoted = PQescapeIdentifier(m->pg, m->role, strlen(m->role));
    if (!quoted)
        return false;
    int n = snprintf(sql, sizeof(sql), "%s%s%s", before, quoted, after);
    PQfreemem(quoted);
    return n < (int)sizeof(sql) && run_quiet(m, what, sql, NULL);
}

static bool make_role(const struct migration_run *m)
{
    static const char exists[] = "SELECT count(*) FROM pg_roles WHERE rolname = $1";
    static const char member[] = "SELECT pg_has_role(current_user, $1::name, 'MEMBER')::int";
    int there = run_number(m, "role", exists, m->role);
    if (there == 0) {
        /* Another database of this server may be migrated at the same moment, so that a failure
         * counts only if the role is still absent after it. */
        bool made = run_for_role(m, "create role", "CREATE ROLE ", " NOLOGIN");
        there = made ? 1 : run_number(m, "role", exists, m->role);
        if (there == 0)
            tell(m,
                 "role \"%s\" is absent and \"%s\" may not create it: have an administrator run "
                 "CREATE ROLE \"%s\" NOLOGIN; GRANT \"%s\" TO \"%s\"",
                 m->role, PQuser(m->pg), m->role, m->role, PQuser(m->pg));
        else if (made)
            tell(m, "role \"%s\" created", m->role);
    }
    if (there != 1)
        return false;
    if (run_number(m, "role", member, m->role) == 1)
        return true;
    if (run_for_role(m, "grant role", "GRANT ", " TO CURRENT_USER"))
        return true;
    tell(m, "\"%s\" is no member of role \"%s\": have an administrator run GRANT \"%s\" TO \"%s\"",
         PQuser(m->pg), m->role, m->role, PQuser(m->pg));
    return false;
}

static bool make_table(const struct migration_run *m)
{
    static const char sql[] = "CREATE TABLE IF NOT EXISTS parley_schema ("
                              "version int PRIMARY KEY, "
                              "applied_at timestamptz NOT NULL DEFAULT now())";
    if (!run_quiet(m, "parley_schema", sql, NULL))
        return false;
    return run_for_role(m, "parley_schema", "GRANT SELECT ON parley_schema TO ", "");
}

/* One migration and its row in parley_schema: both or neither. */
static bool apply(const struct migration_run *m, const struct db_migration *mig, bool up)
{
    char what[128], row[128];
    snprintf(what, sizeof(what), "migration %d %s %s", mig->version, mig->name, up ? "up" : "down");
    snprintf(row, sizeof(row),
             up ? "INSERT INTO parley_schema (version) VALUES (%d)"
                : "DELETE FROM parley_schema WHERE version = %d",
             mig->version);
    bool done = run_quiet(m, what, "BEGIN", NULL) &&
                run_quiet(m, what, "SELECT set_config('parley.role', $1, true)", m->role) &&
                run_quiet(m, what, up ? mig->up : mig->down, NULL) && run_quiet(m, what, row, NULL);
    /* A script with a COMMIT of its own would leave half of itself behind if it failed. */
    if (done && PQtransactionStatus(m->pg) != PQTRANS_INTRANS) {
        tell(m, "%s: the script ended the transaction", what);
        return false;
    }
    done = done && run_quiet(m, what, "COMMIT", NULL);
    if (!done)
        PQclear(PQexec(m->pg, "ROLLBACK"));
    else
        tell(m, "%s: done", what);
    return done;
}

static enum err move(const struct migration_run *m, const struct db_migration *table, size_t n,
                     int target)
{
    int newest = n > 0 ? table[n - 1].version : 0;
    int at =
        run_number(m, "parley_schema", "SELECT coalesce(max(version), 0) FROM parley_schema", NULL);
    if (at < 0)
        return ERR_UNAVAILABLE;
    if (at > newest) {
        tell(m, "schema is at version %d, this program knows %d: use a newer parley", at, newest);
        return ERR_PRECONDITION;
    }
    if (target > newest) {
        tell(m, "there is no migration %d: the newest is %d", target, newest);
        return ERR_INVALID;
    }
    if (target < 0)
        target = newest;
    if (at == target)
        tell(m, "schema is at version %d: nothing to do", at);
    for (; at < target; at++)
        if (!apply(m, &table[at], true))
            return ERR_INTERNAL;
    for (; at > target; at--)
        if (!apply(m, &table[at - 1], false))
            return ERR_INTERNAL;
    if (target == 0 && !run_quiet(m, "parley_schema", "DROP TABLE parley_schema", NULL))
        return ERR_INTERNAL;
    return ERR_NONE;
}

enum err db_migrate_table(const char *url, const char *role, const struct db_migration *table,
                          size_t n, int target, void (*say)(void *arg, const char *line), void *arg)
{
    struct migration_run m = {.role = role ? role : "", .say = say, .arg = arg};
    enum err rc = connect_to(&m, url);
    if (rc == ERR_NONE && !(take_lock(&m) && make_role(&m) && make_table(&m)))
        rc = ERR_INTERNAL;
    if (rc == ERR_NONE)
        rc = move(&m, table, n, target);
    PQfinish(m.pg);
    return rc;
}

enum err db_migrate(const char *url, const char *role, int target,
                    void (*say)(void *arg, const char *line), void *arg)
{
    return db_migrate_table(url, role, db_migration_table, db_migration_count, target, say, arg);
}

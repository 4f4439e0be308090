/* SPDX-License-Identifier: MIT */
/* This file uses libpq's blocking calls. They delay no request: migrations run in a process of
 * their own ("parley migrate") or before serving begins. */
#include "db_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A statement that waits for a lock holds up all that come after it, also where it waits for one
 * that reads. So a migration gives up before writes do (after 1 s), lets them through, and tries
 * again. */
#define LOCK_WAIT "500ms"
enum { LOCK_PAUSE_MS = 1000, LOCK_SAY_MS = 10 * 1000, LOCK_GIVE_UP_MS = 10 * 60 * 1000 };

struct migration_run {
    struct arena *arena;
    struct db *db;
    struct db_conn *c;
    db_migrate_say *say;
    void *arg;
};

enum { STEP, FAULT };
enum { CONNECT_MS = 10000, ARENA_LIMIT = 256 * 1024 };

static void PRINTF_LIKE(3, 4) report(const struct migration_run *m, int kind, const char *fmt, ...)
{
    char line[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    line[strcspn(line, "\n")] = '\0';
    m->say(m->arg, kind == FAULT, line);
}

static bool is_good(const PGresult *res)
{
    const ExecStatusType status = PQresultStatus(res);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool failed_with(const PGresult *res, const char *sqlstate)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    return state && strcmp(state, sqlstate) == 0;
}

/* Takes the result. Reports a failure as "what: …". */
static PGresult *check_result(const struct migration_run *m, const char *what, PGresult *res)
{
    if (is_good(res))
        return res;
    const char *said = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    report(m, FAULT, "%s: %s%s", what, said ? said : PQerrorMessage(m->c->pg),
           failed_with(res, "42501") ? "; " DB_NEEDS_OWNER : "");
    PQclear(res);
    return NULL;
}

/* Runs sql, with one text parameter unless it is NULL. */
static PGresult *run_sql(const struct migration_run *m, const char *what, const char *sql,
                         const char *param)
{
    /* PQexec takes several statements at once, PQexecParams takes parameters. */
    return check_result(m, what,
                        param ? PQexecParams(m->c->pg, sql, 1, NULL, &param, NULL, NULL, 0)
                              : PQexec(m->c->pg, sql));
}

static bool run_quiet(const struct migration_run *m, const char *what, const char *sql)
{
    PGresult *res = run_sql(m, what, sql, NULL);
    PQclear(res);
    return res != NULL;
}

/* The first value of the answer as a number; -1 after a failure. */
static int run_number(const struct migration_run *m, const char *what, const char *sql)
{
    PGresult *res = run_sql(m, what, sql, NULL);
    int n = res && PQntuples(res) == 1 ? (int)strtol(PQgetvalue(res, 0, 0), NULL, 10) : -1;
    PQclear(res);
    return n;
}

/* To the primary, as serving does. */
static enum err connect_to(struct migration_run *m, const char *admin_url, const char *url)
{
    struct db_settings settings = {
        .url = admin_url,
        .url_name = strcmp(admin_url, url) == 0 ? "DATABASE_URL" : "DATABASE_ADMIN_URL",
        .app_name = "parley migrate",
        .pool_max = 1,
        .connect_ms = CONNECT_MS,
        .acquire_ms = CONNECT_MS,
        .owner = true,
    };
    struct request_ctx ctx;
    m->arena = arena_create(ARENA_LIMIT);
    m->db = m->arena ? db_open(&settings, NULL) : NULL;
    if (!m->db)
        return ERR_NOMEM;
    ctx_init(&ctx, m->arena, deadline_in_ms(CONNECT_MS), SV(""), SV("migrate"));
    if (db_pool_acquire(m->db, &ctx, DB_WRITE, &m->c) != ERR_NONE) {
        report(m, FAULT, "%s%s", m->db->url.fault ? "" : "cannot connect: ", ctx.err.cause);
        return m->db->url.fault ? ERR_INVALID : ERR_UNAVAILABLE;
    }
    if (m->c->pooled) {
        /* Its lock is that of a session, which a pooler gives to another client. */
        report(m, FAULT,
               "%s connects through a pooler: give a direct connection in DATABASE_ADMIN_URL",
               settings.url_name);
        return ERR_INVALID;
    }
    static const char sql[] = "RESET ALL; SET statement_timeout = 0; SET lock_timeout = 0;"
                              "SET idle_in_transaction_session_timeout = 0";
    return PQsetnonblocking(m->c->pg, 0) == 0 && run_quiet(m, "settings", sql) ? ERR_NONE
                                                                               : ERR_UNAVAILABLE;
}

/* Refuses a login that does not exist or may not log in. Passes its name to the SQL as the setting
 * parley.role. */
static enum err check_login(const struct migration_run *m, const char *url)
{
    static const char sql[] =
        "SELECT format('login %1$I of DATABASE_URL %2$s; as an administrator, run: '"
        " || '%3$s ROLE %1$I LOGIN PASSWORD ''…''', $1::text,"
        " CASE WHEN r.rolname IS NULL THEN 'does not exist' ELSE 'may not log in' END,"
        " CASE WHEN r.rolname IS NULL THEN 'CREATE' ELSE 'ALTER' END),"
        " coalesce(r.rolcanlogin, false), set_config('parley.role', $1, false)"
        " FROM (VALUES (1)) one LEFT JOIN pg_roles r ON r.rolname = $1";
    struct db_url u = {0};
    if (!db_url_parse(&u, url))
        return ERR_NOMEM;
    if (u.fault)
        report(m, FAULT, "DATABASE_URL%s", u.fault);
    PGresult *res = u.fault ? NULL : run_sql(m, "login", sql, u.user);
    enum err e = res ? ERR_NONE : u.fault ? ERR_INVALID : ERR_UNAVAILABLE;
    if (res && PQgetvalue(res, 0, 1)[0] != 't') {
        report(m, FAULT, "%s", PQgetvalue(res, 0, 0));
        e = ERR_INVALID;
    }
    PQclear(res);
    PQconninfoFree(u.parsed);
    return e;
}

/* One migration at a time in a database, however many hosts start at once. The lock belongs to the
 * connection, and ends with it. */
static bool take_lock(const struct migration_run *m)
{
    static const char sql[] = "SELECT pg_try_advisory_lock(123560530273657)::int";
    int got = run_number(m, "lock", sql);
    if (got == 0)
        report(m, STEP, "waiting for another migration to end");
    /* It asks again and again. CREATE INDEX CONCURRENTLY waits for the snapshot of a statement that
     * waits for the lock, and would wait forever. */
    for (; got == 0; got = run_number(m, "lock", sql))
        deadline_wait(deadline_in_ms(LOCK_PAUSE_MS));
    return got == 1;
}

/* Runs the statements up to the first that fails. Returns the result of the last one that ran. */
static PGresult *run_steps(const struct migration_run *m, const char *const *steps, size_t n)
{
    PGresult *res = NULL;
    for (size_t i = 0; i == 0 || (i < n && is_good(res)); i++) {
        PQclear(res);
        res = PQexec(m->c->pg, steps[i]);
    }
    return res;
}

/* One migration and its row in parley_schema: both or neither. The result of what failed, of
 * COMMIT, or of a script with a COMMIT of its own, which would stay half applied if it failed. One
 * that is concurrent comes before its row, and is repeated where the row is missing. Its removal
 * comes after the row: what is half removed must not count as applied. */
static PGresult *try_migration(const struct migration_run *m, const struct db_migration *mig,
                               bool up)
{
    char row[160];
    const int n = snprintf(row, sizeof(row),
                           up ? "INSERT INTO parley_schema (version) VALUES (%d)"
                              : "DELETE FROM parley_schema WHERE version = %d",
                           mig->version);
    if (up && mig->min_compatible > 0)
        snprintf(row + n, sizeof(row) - (size_t)n,
                 "; UPDATE parley_schema SET min_compatible = %d WHERE version = %d",
                 mig->min_compatible, mig->version);
    const char *const alone[] = {up ? mig->down : row, up ? mig->up : mig->down, row};
    if (mig->concurrently)
        return run_steps(m, alone, up ? 3 : 2);
    const char *const steps[] = {"BEGIN; SET LOCAL lock_timeout = '" LOCK_WAIT "'",
                                 up ? mig->up : mig->down, row};
    PGresult *res = run_steps(m, steps, ARRAY_LEN(steps));
    if (!is_good(res) || PQtransactionStatus(m->c->pg) != PQTRANS_INTRANS)
        return res;
    PQclear(res);
    return PQexec(m->c->pg, "COMMIT");
}

static bool apply_migration(const struct migration_run *m, const struct db_migration *mig, bool up)
{
    const struct deadline end = deadline_in_ms(LOCK_GIVE_UP_MS);
    struct deadline say = deadline_in_ms(0);
    char what[128];
    snprintf(what, sizeof(what), "migration %d %s %s", mig->version, mig->name, up ? "up" : "down");
    PGresult *res;
    while (failed_with(res = try_migration(m, mig, up), "55P03") && !deadline_passed(end)) {
        PQclear(res);
        PQclear(PQexec(m->c->pg, "ROLLBACK"));
        if (deadline_passed(say)) {
            report(m, STEP, "%s: a transaction holds a lock on a table; trying again", what);
            say = deadline_in_ms(LOCK_SAY_MS);
        }
        deadline_wait(deadline_in_ms(LOCK_PAUSE_MS));
    }
    res = check_result(m, what, res);
    const bool own_end = res && !mig->concurrently && strcmp(PQcmdStatus(res), "COMMIT") != 0;
    if (own_end)
        report(m, FAULT, "%s: the script ended the transaction", what);
    else if (!res)
        PQclear(PQexec(m->c->pg, "ROLLBACK"));
    else
        report(m, STEP, "%s: done", what);
    PQclear(res);
    return res && !own_end;
}

static enum err migrate_to(const struct migration_run *m, const struct db_migration *table,
                           size_t n, int target)
{
    int newest = n > 0 ? table[n - 1].version : 0;
    int at = run_number(m, "parley_schema", "SELECT coalesce(max(version), 0) FROM parley_schema");
    int needs = run_number(m, "parley_schema", "SELECT " DB_SCHEMA_NEEDS " FROM parley_schema s");
    if (at < 0 || needs < 0)
        return ERR_UNAVAILABLE;
    if (at > newest && (needs > newest || target >= 0)) {
        report(m, FAULT, DB_SCHEMA_NEWER, at, needs, newest);
        return ERR_PRECONDITION;
    }
    if (target > newest) {
        report(m, FAULT, "there is no migration %d: the newest is %d", target, newest);
        return ERR_INVALID;
    }
    if (target < 0)
        target = at > newest ? at : newest;
    if (at == target)
        report(m, STEP, "schema is at version %d%s: nothing to do", at,
               at > newest ? ", and supports this program" : "");
    for (; at < target; at++)
        if (!apply_migration(m, &table[at], true))
            return ERR_INTERNAL;
    for (; at > target; at--)
        if (!apply_migration(m, &table[at - 1], false))
            return ERR_INTERNAL;
    if (target == 0 && !run_quiet(m, "parley_schema", "DROP TABLE parley_schema"))
        return ERR_INTERNAL;
    return ERR_NONE;
}

int db_schema_version(void)
{
    return (int)db_migration_count;
}

enum err db_migrate(const char *admin_url, const char *url, const struct db_migration *table,
                    size_t n, int target, db_migrate_say *say, void *arg)
{
    static const char make_table[] = "CREATE TABLE IF NOT EXISTS parley_schema ("
                                     "version int PRIMARY KEY, "
                                     "applied_at timestamptz NOT NULL DEFAULT now())";
    struct migration_run m = {.say = say, .arg = arg};
    enum err rc = connect_to(&m, admin_url, url);
    if (rc == ERR_NONE)
        rc = check_login(&m, url);
    if (rc == ERR_NONE && !(take_lock(&m) && run_quiet(&m, "parley_schema", make_table)))
        rc = ERR_INTERNAL;
    if (rc == ERR_NONE)
        rc = migrate_to(&m, table, n, target);
    if (rc == ERR_NONE && !run_quiet(&m, "grants", db_grants))
        rc = ERR_INTERNAL;
    if (m.c)
        db_pool_release(m.db, m.c);
    db_close(m.db);
    arena_destroy(m.arena);
    return rc;
}

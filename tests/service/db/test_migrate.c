/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"

/* The second one is slow, so that two runs overlap in it. */
static const struct db_migration table[] = {
    {1, "one",
     "CREATE TABLE m_one (a int); DO $$ BEGIN EXECUTE format('GRANT SELECT ON m_one TO %I', "
     "current_setting('parley.role')); END $$;",
     "DROP TABLE m_one;", 0, false},
    {2, "two", "CREATE TABLE m_two (a int); SELECT pg_sleep(0.3); INSERT INTO m_two VALUES (1);",
     "DROP TABLE m_two;", 0, false},
    {3, "bad", "CREATE TABLE m_three (a int); SELECT 1/0;", "", 0, false},
};

struct report {
    pthread_mutex_t lock;
    char text[4000];
};

static void record(void *arg, bool fault, const char *line)
{
    struct report *h = arg;
    pthread_mutex_lock(&h->lock);
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof(h->text) - n, "%s%s\n", fault ? "fault: " : "", line);
    pthread_mutex_unlock(&h->lock);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = strstr(text, what); at; at = strstr(at + 1, what))
        n++;
    return n;
}

struct runner {
    const char *admin_url, *url;
    struct report *report;
    enum err rc;
};

static void *migrate_two(void *arg)
{
    struct runner *r = arg;
    r->rc = db_migrate(r->admin_url, r->url, table, 2, -1, record, r->report);
    return NULL;
}

static long tables(void)
{
    return fx_admin("SELECT count(*) FROM pg_tables WHERE tablename ~ '^(m_|parley_schema)'");
}

/* Fails if take_lock does nothing (one of the two runs into the other's table): tried. */
TEST(up_down_up_two_at_once)
{
    const char *admin = fx_admin_url(), *url = fx_url_as("m role");
    fx_admin("CREATE ROLE \"m role\" LOGIN");
    for (int round = 0; round < 2; round++) {
        struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct runner r[2] = {{admin, url, &report, ERR_NONE}, {admin, url, &report, ERR_NONE}};
        pthread_t t[2];
        for (int i = 0; i < 2; i++)
            CU_ASSERT_EQUAL(pthread_create(&t[i], NULL, migrate_two, &r[i]), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(t[i], NULL);
        OK(r[0].rc);
        OK(r[1].rc);
        CU_ASSERT_EQUAL(count(report.text, "up: done"), 2);
        CU_ASSERT_EQUAL(count(report.text, "nothing to do"), 1);
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM m_two"), 1);
        CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 2);
        CU_ASSERT_EQUAL(fx_admin("SELECT has_table_privilege('m role', 'm_one', 'SELECT')::int + "
                                 "has_table_privilege('m role', 'parley_schema', 'SELECT')::int"),
                        2);
        OK(db_migrate(admin, url, table, 2, 1, record, &report));
        CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 1);
        CU_ASSERT_EQUAL(tables(), 2);
        OK(db_migrate(admin, url, table, 2, 0, record, &report));
        CU_ASSERT_EQUAL(tables(), 0);
    }
    fx_admin("DROP ROLE \"m role\"");
}

/* A correct script whose row cannot be added, because the script has added one itself. */
static const struct db_migration row_fails[] = {
    {1, "row", "CREATE TABLE m_one (a int); INSERT INTO parley_schema (version) VALUES (1);", "", 0,
     false},
};

static const struct db_migration ends[] = {
    {1, "ends", "CREATE TABLE m_one (a int); COMMIT", "", 0, false},
};

/* Fails if script and row are committed apart: tried. */
TEST(failed_step_leaves_nothing)
{
    struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *admin = fx_admin_url(), *url = fx_url();
    CU_ASSERT_EQUAL(db_migrate(admin, url, table, 3, -1, record, &report), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "migration 3 bad up: division by zero"));
    CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 2);
    CU_ASSERT_EQUAL(tables(), 3);
    /* A program that is older than the schema changes nothing. */
    CU_ASSERT_EQUAL(db_migrate(admin, url, table, 1, 0, record, &report), ERR_PRECONDITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "use a newer parley"));
    CU_ASSERT_EQUAL(db_migrate(admin, url, table, 2, 7, record, &report), ERR_INVALID);
    CU_ASSERT_EQUAL(tables(), 3);
    OK(db_migrate(admin, url, table, 2, 0, record, &report));
    CU_ASSERT_EQUAL(tables(), 0);
    CU_ASSERT_EQUAL(db_migrate(admin, url, row_fails, 1, -1, record, &report), ERR_INTERNAL);
    CU_ASSERT_EQUAL(tables(), 1); /* parley_schema alone, and nothing in it */
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM parley_schema"), 0);
    fx_admin("DROP TABLE parley_schema");
    report.text[0] = '\0';
    CU_ASSERT_EQUAL(db_migrate(admin, url, ends, 1, -1, record, &report), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "the script ended the transaction"));
    fx_admin("DROP TABLE parley_schema, m_one");
}

/* A concurrent migration that failed leaves an invalid index, which the next attempt replaces.
 * Hosts that wait for it hold no snapshot, for which it would wait. Fails if down does not run
 * before up, or if the lock is waited for in one statement: tried. */
static const struct db_migration indexes[] = {
    {1, "one", "CREATE TABLE m_one (a int); INSERT INTO m_one VALUES (1), (1)", "DROP TABLE m_one",
     0, false},
    {2, "index", "CREATE UNIQUE INDEX CONCURRENTLY m_index ON m_one (a)",
     "DROP INDEX CONCURRENTLY IF EXISTS m_index", 0, true},
};

static void *migrate_indexes(void *arg)
{
    struct runner *r = arg;
    r->rc = db_migrate(r->admin_url, r->url, indexes, 2, -1, record, r->report);
    return NULL;
}

TEST(concurrent_migration)
{
    static const char valid[] = "SELECT count(*) + sum(indisvalid::int) FROM pg_index"
                                " WHERE indexrelid = to_regclass('m_index')";
    struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct runner runners[3];
    pthread_t threads[ARRAY_LEN(runners)];
    const char *admin = fx_admin_url(), *url = fx_url();
    CU_ASSERT_EQUAL(db_migrate(admin, url, indexes, 2, -1, record, &report), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(report.text, "could not create unique index"));
    CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 1);
    CU_ASSERT_EQUAL(fx_admin(valid), 1);
    fx_admin("DELETE FROM m_one WHERE ctid = '(0,1)'");
    for (size_t i = 0; i < ARRAY_LEN(runners); i++) {
        runners[i] = (struct runner){admin, url, &report, ERR_INTERNAL};
        CU_ASSERT_EQUAL(pthread_create(&threads[i], NULL, migrate_indexes, &runners[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(runners); i++) {
        pthread_join(threads[i], NULL);
        OK(runners[i].rc);
    }
    CU_ASSERT_EQUAL(fx_admin(valid), 2);
    CU_ASSERT_EQUAL(count(report.text, "index up: done"), 1);
    OK(db_migrate(admin, url, indexes, 2, 1, record, &report));
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM pg_class WHERE relname = 'm_index'"), 0);
    OK(db_migrate(admin, url, indexes, 2, 0, record, &report));
}

/* A migration that waits for a reader gives up after a moment, and tries again: no write waits for
 * as long as the reader reads, up and down. Mutant: migrate-waits-for-a-reader. */
enum { READER_S = 3 };

static void *read_long(void *url)
{
    (void)fx_sql(url, text_of("BEGIN; SELECT FROM m_one; SELECT pg_sleep(%d); COMMIT", READER_S),
                 NULL, 0);
    return NULL;
}

struct beside {
    struct report report;
    const char *url;
    int target;
    enum err rc;
    atomic_bool done;
};

static void *migrate_beside(void *arg)
{
    static const struct db_migration widens[] = {
        {1, "one", "CREATE TABLE m_one (a int)", "DROP TABLE m_one", 0, false},
        {2, "two", "ALTER TABLE m_one ADD b int", "ALTER TABLE m_one DROP b", 0, false},
    };
    struct beside *b = arg;
    b->rc = db_migrate(b->url, fx_url(), widens, 2, b->target, record, &b->report);
    atomic_store(&b->done, true);
    return NULL;
}

TEST(writes_beside_a_reader_and_a_migration)
{
    static const int targets[] = {1, 2, 1};
    char url[FX_URL];
    snprintf(url, sizeof(url), "%s", fx_admin_url());
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct beside b = {.report = {.lock = PTHREAD_MUTEX_INITIALIZER}, .url = url};
        b.target = targets[i];
        pthread_t reader, migrator;
        int64_t slowest_us = 0;
        if (i > 0) { /* the first makes the table */
            CU_ASSERT_EQUAL(pthread_create(&reader, NULL, read_long, url), 0);
            EVENTUALLY(fx_admin("SELECT count(*) FROM pg_locks WHERE relation = 'm_one'::regclass"
                                " AND pid <> pg_backend_pid()") > 0);
        }
        CU_ASSERT_EQUAL(pthread_create(&migrator, NULL, migrate_beside, &b), 0);
        while (i > 0 && !atomic_load(&b.done)) {
            const int64_t began = clock_mono_us();
            fx_admin("INSERT INTO m_one (a) VALUES (1)");
            const int64_t took = clock_mono_us() - began;
            slowest_us = took > slowest_us ? took : slowest_us;
        }
        pthread_join(migrator, NULL);
        if (i > 0)
            pthread_join(reader, NULL);
        OK(b.rc);
        CU_ASSERT_TRUE(slowest_us < READER_S * INT64_C(1000000) / 2);
        CU_ASSERT_EQUAL(count(b.report.text, "a transaction holds a lock"), i > 0 ? 1 : 0);
        CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), targets[i]);
    }
    fx_admin("DROP TABLE parley_schema, m_one");
}

/* The program of the release before finds the newer schema: its `migrate` has nothing to do where
 * the schema supports it, and takes no step down in any case. Fails if the row is added without
 * min_compatible: tried. */
TEST(newer_schema_that_bears_the_program)
{
    static const struct db_migration newer[] = {
        {1, "one", "ALTER TABLE parley_schema ADD COLUMN min_compatible int", "SELECT 1", 1, false},
        {2, "two", "SELECT 1", "SELECT 1", 1, false},
        {3, "three", "SELECT 1", "SELECT 1", 2, false},
    };
    static const struct {
        int version; /* of the schema */
        size_t knows;
        int target;
        enum err rc;
        const char *says;
    } cases[] = {
        {1, 2, -1, ERR_NONE, "migration 2 two up: done"},
        {2, 1, -1, ERR_NONE, "version 2, and supports this program: nothing to do"},
        {2, 1, 1, ERR_PRECONDITION, "fault: schema is at version 2"},
        {2, 1, 0, ERR_PRECONDITION, "fault: schema is at version 2"},
        {3, 2, -1, ERR_NONE, "nothing to do"},
        {3, 1, -1, ERR_PRECONDITION, "for programs that know 2 or more; this one knows 1"},
    };
    const char *admin = fx_admin_url(), *url = fx_url();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
        OK(db_migrate(admin, url, newer, 3, cases[i].version, record, &report));
        report.text[0] = '\0';
        CU_ASSERT_EQUAL(
            db_migrate(admin, url, newer, cases[i].knows, cases[i].target, record, &report),
            cases[i].rc);
        CU_ASSERT_PTR_NOT_NULL(strstr(report.text, cases[i].says));
    }
    fx_admin("DROP TABLE parley_schema");
}

/* A wrong configuration changes nothing. */
TEST(wrong_configuration)
{
    static const char broken[] = "postgresql://u:secret@[x";
    const char *admin = fx_admin_url(), *absent = fx_url_as("m absent"),
               *nologin = fx_url_as("m_nologin");
    const char *weak = fx_url_as("m_weak");
    fx_admin("CREATE ROLE m_nologin; CREATE ROLE m_weak LOGIN");
    const struct {
        const char *admin_url, *url;
        enum err rc;
        const char *says;
    } cases[] = {
        {broken, weak, ERR_INVALID, "DATABASE_ADMIN_URL is not a valid connection string"},
        {broken, broken, ERR_INVALID, "DATABASE_URL is not a valid connection string"},
        {admin, broken, ERR_INVALID, "DATABASE_URL is not a valid connection string"},
        {"host=/nowhere password=secret", weak, ERR_UNAVAILABLE, "cannot connect: "},
        {admin, absent, ERR_INVALID,
         "login \"m absent\" of DATABASE_URL does not exist; as an administrator, run: "
         "CREATE ROLE \"m absent\" LOGIN PASSWORD '…'\n"},
        {admin, nologin, ERR_INVALID,
         "login m_nologin of DATABASE_URL may not log in; as an administrator, run: "
         "ALTER ROLE m_nologin LOGIN PASSWORD '…'\n"},
        {weak, weak, ERR_INTERNAL,
         "permission denied for schema public; DATABASE_ADMIN_URL must name "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
        CU_ASSERT_EQUAL(db_migrate(cases[i].admin_url, cases[i].url, table, 2, -1, record, &report),
                        cases[i].rc);
        CU_ASSERT_PTR_NOT_NULL(strstr(report.text, cases[i].says));
        CU_ASSERT_EQUAL(strncmp(report.text, "fault: ", 7), 0);
        CU_ASSERT_EQUAL(count(report.text, "\n"), 1);
        CU_ASSERT_PTR_NULL(strstr(report.text, "secret"));
        CU_ASSERT_EQUAL(tables(), 0);
    }
    fx_admin("DROP ROLE m_nologin; DROP ROLE m_weak");
}

/* A text without a user means what libpq says. */
TEST(the_login_is_libpqs)
{
    static const struct {
        const char *pguser, *url, *login;
    } cases[] = {
        {"m_env", "postgresql:///parley", "m_env"},
        {"m_env", "postgresql://m_uri:secret@h.invalid,i.invalid:7777/parley", "m_uri"},
        {"m_env", "postgresql:///parley?user=m_query&hostaddr=192.0.2.1&port=1", "m_query"},
        {"m_env", "host=h.invalid user='m key' port=5433", "m key"},
        {"m_env", "service=m_service", "m_of_service"},
    };
    const char *admin = fx_admin_url();
    char file[300], says[80];
    snprintf(file, sizeof(file), "%s/services", getenv("TEST_TMP"));
    FILE *f = fopen(file, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fputs("[m_service]\nuser=m_of_service\nhost=h.invalid\n", f);
    fclose(f);
    setenv("PGSERVICEFILE", file, 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
        setenv("PGUSER", cases[i].pguser, 1);
        CU_ASSERT_EQUAL(db_migrate(admin, cases[i].url, table, 2, -1, record, &report),
                        ERR_INVALID);
        snprintf(says, sizeof(says),
                 strchr(cases[i].login, ' ') ? "fault: login \"%s\" of " : "fault: login %s of ",
                 cases[i].login);
        CU_ASSERT_EQUAL(strncmp(report.text, says, strlen(says)), 0);
    }
    unsetenv("PGUSER");
    unsetenv("PGSERVICEFILE");
}

/* What differs between what two roles may do to all that there is. */
static const char differences[] =
    "SELECT count(*) FROM (SELECT FROM pg_class c, "
    "unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,"
    "TRIGGER,USAGE}'::text[]) may WHERE relnamespace = 'public'::regnamespace"
    " AND CASE WHEN relkind = 'S' THEN may IN ('USAGE', 'SELECT', 'UPDATE')"
    "   AND has_sequence_privilege('m_first', c.oid, may)"
    "     <> has_sequence_privilege('m_second', c.oid, may)"
    " WHEN relkind IN ('r', 'p', 'v') AND may <> 'USAGE' THEN"
    "   has_table_privilege('m_first', c.oid, may) <> has_table_privilege('m_second', c.oid, may)"
    " ELSE false END UNION ALL SELECT FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
    " AND has_function_privilege('m_first', p.oid, 'EXECUTE')"
    "   <> has_function_privilege('m_second', p.oid, 'EXECUTE')) d";

/* A new serving login gets exactly what the one before it got: also if the schema is the newest
 * already, if PUBLIC may not use it, and without tables that a later migration drops. Fails if a
 * table is missing in grants.sql, or has another right there: tried for tenant_sessions. Nobody but
 * the owner may read the tables of search: fails if search_words is granted there, tried. */
TEST(another_login_may_serve)
{
    struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
    fx_admin("CREATE ROLE m_owner LOGIN; CREATE ROLE m_first LOGIN; CREATE ROLE m_second LOGIN;"
             "ALTER DATABASE parley_db_test OWNER TO m_owner; CREATE ROLE m_third LOGIN;"
             "REVOKE ALL ON SCHEMA public FROM PUBLIC");
    const char *owner = fx_url_as("m_owner"),
               *url[] = {fx_url_as("m_first"), fx_url_as("m_second")};
    for (size_t i = 0; i < ARRAY_LEN(url); i++)
        OK(db_migrate(owner, url[i], db_migration_table, db_migration_count, -1, record, &report));
    CU_ASSERT_EQUAL(fx_admin(differences), 0);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM pg_class c WHERE relkind IN ('r', 'p')"
                             " AND relowner = 'm_owner'::regrole AND (relname LIKE 'search%')"
                             " = has_table_privilege('m_second', oid, 'SELECT')"),
                    0);
    CU_ASSERT_EQUAL(fx_admin("SELECT has_schema_privilege('m_second', 'public', 'USAGE')::int"
                             " - has_schema_privilege('m_second', 'public', 'CREATE')::int"),
                    1);
    fx_admin("DROP TABLE IF EXISTS cache_state;"
             "ALTER TABLE sessions ALTER generation DROP DEFAULT;"
             "DROP SEQUENCE IF EXISTS session_generation");
    url[1] = fx_url_as("m_third");
    OK(db_migrate(owner, url[1], db_migration_table, db_migration_count, -1, record, &report));
    CU_ASSERT_EQUAL(fx_admin("SELECT has_table_privilege('m_third', 'messages', 'DELETE')::int"),
                    1);
    /* To itself, where one login does all. */
    OK(db_migrate(owner, owner, db_migration_table, db_migration_count, -1, record, &report));
    fx_admin("DROP OWNED BY m_owner, m_first, m_second, m_third;"
             "ALTER DATABASE parley_db_test OWNER TO postgres;"
             "DROP ROLE m_owner, m_first, m_second, m_third;"
             "GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT CREATE ON SCHEMA public TO " FX_ROLE);
}

/* On a connection as a worker opens it. */
static PGresult *run_as(const char *url, const char *become, const char *what)
{
    struct db_settings settings = fx_settings(url);
    struct fx *fx = fx_open(&settings);
    struct db_conn *c;
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_WRITE, &c));
    PQsetnonblocking(c->pg, 0);
    PQclear(PQexec(c->pg, "SET parley.tenant = 'mine'"));
    PQclear(PQexec(c->pg, become));
    PGresult *res = PQexec(c->pg, what);
    c->broken = true;
    db_pool_release(fx->db, c);
    fx_close(fx);
    return res;
}

/* The serving login cannot become the owner, see another tenant's rows, or change row-level
 * security. Fails if the owner logs in and takes the serving role by `options=-c role=…`: tried,
 * with such a url for m_owner. */
TEST(serving_login_cannot_lift_rls)
{
    static const char *const becomes[] = {"RESET ROLE",
                                          "SET ROLE NONE",
                                          "SET ROLE m_owner",
                                          "SET SESSION AUTHORIZATION m_owner",
                                          "SET SESSION AUTHORIZATION DEFAULT",
                                          "RESET SESSION AUTHORIZATION",
                                          "SET row_security = off"};
    static const char *const changes[] = {
        "ALTER TABLE sessions DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE sessions NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE sessions ADD COLUMN m int",
        "ALTER TABLE sessions OWNER TO m_serves",
        "DROP POLICY tenant ON sessions",
        "CREATE POLICY m ON sessions USING (true)",
        "DROP TABLE messages",
        "TRUNCATE sessions",
        "CREATE TABLE m_one (a int)",
        "CREATE SCHEMA m_schema",
        "CREATE FUNCTION m_f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE m_more",
        "ALTER ROLE m_serves BYPASSRLS",
        "GRANT m_owner TO m_serves",
        "INSERT INTO tenants VALUES ('m')",
        "UPDATE auth_state SET version = 0",
        "DELETE FROM api_keys"};
    static const char look[] = "SELECT count(*) FROM sessions WHERE tenant <> 'mine'";
    struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
    fx_admin("CREATE ROLE m_owner LOGIN; CREATE ROLE m_serves LOGIN;"
             "ALTER DATABASE parley_db_test OWNER TO m_owner");
    const char *owner = fx_url_as("m_owner"), *url = fx_url_as("m_serves");
    OK(db_migrate(owner, url, db_migration_table, db_migration_count, -1, record, &report));
    fx_admin("INSERT INTO sessions (tenant, session_id, generation, expires_at, expiry_hour,"
             " ttl_seconds) VALUES ('mine', 'a', 1, now() + '1 day', 0, 1),"
             " ('other', 'b', 2, now() + '1 day', 0, 1)");
    for (size_t i = 0; i < ARRAY_LEN(becomes); i++) {
        PGresult *res = run_as(url, becomes[i], look);
        const bool seen = PQntuples(res) == 1 && strcmp(PQgetvalue(res, 0, 0), "0") != 0;
        CU_ASSERT_FALSE(seen);
        PQclear(res);
        for (size_t k = 0; k < ARRAY_LEN(changes); k++) {
            res = run_as(url, becomes[i], changes[k]);
            if (PQresultStatus(res) != PGRES_FATAL_ERROR)
                fprintf(stderr, "%s; %s: done\n", becomes[i], changes[k]);
            CU_ASSERT_EQUAL(PQresultStatus(res), PGRES_FATAL_ERROR);
            PQclear(res);
        }
    }
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM sessions"), 2);
    OK(db_migrate(owner, url, db_migration_table, db_migration_count, 0, record, &report));
    fx_admin("ALTER DATABASE parley_db_test OWNER TO postgres;"
             "DROP OWNED BY m_serves; DROP ROLE m_owner, m_serves");
}

/* The real ones: up, down to nothing, up again, and the pool takes the schema. */
TEST(own_migrations)
{
    struct report report = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const char *admin = fx_admin_url(), *url = fx_url();
    static const int targets[] = {-1, 0, -1};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        OK(db_migrate(admin, url, db_migration_table, db_migration_count, targets[i], record,
                      &report));
    CU_ASSERT_PTR_NULL(strstr(report.text, "fault: "));
    struct db_settings settings = fx_settings(url);
    settings.schema_version = db_schema_version();
    struct fx *fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_status(fx).state, DB_UP);
    CU_ASSERT_EQUAL(fx_status(fx).schema_version, db_schema_version());
    fx_close(fx);
    /* The role that made the tables may not serve. */
    settings.url = admin;
    fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_status(fx).state, DB_MISCONFIGURED);
    fx_close(fx);
    OK(db_migrate(admin, url, db_migration_table, db_migration_count, 0, record, &report));
    CU_ASSERT_EQUAL(tables(), 0);
}

/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"

/* The second one is slow, so that two runs meet in the middle of it. */
static const struct db_migration table[] = {
    {1, "one",
     "CREATE TABLE m_one (a int); DO $$ BEGIN EXECUTE format('GRANT SELECT ON m_one TO %I', "
     "current_setting('parley.role')); END $$;",
     "DROP TABLE m_one;"},
    {2, "two", "CREATE TABLE m_two (a int); SELECT pg_sleep(0.3); INSERT INTO m_two VALUES (1);",
     "DROP TABLE m_two;"},
    {3, "bad", "CREATE TABLE m_three (a int); SELECT 1/0;", ""},
};

struct heard {
    pthread_mutex_t lock;
    char text[4000];
};

static void hear(void *arg, const char *line)
{
    struct heard *h = arg;
    pthread_mutex_lock(&h->lock);
    size_t n = strlen(h->text);
    snprintf(h->text + n, sizeof(h->text) - n, "%s\n", line);
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
    const char *url;
    struct heard *heard;
    enum err rc;
};

static void *migrate_two(void *arg)
{
    struct runner *r = arg;
    r->rc = db_migrate_table(r->url, "m role", table, 2, -1, hear, r->heard);
    return NULL;
}

static long tables(void)
{
    return fx_admin("SELECT count(*) FROM pg_tables WHERE tablename ~ '^(m_|parley_schema)'");
}

/* Fails if take_lock does nothing (one of the two runs into the other's table): tried. */
static void up_down_up_two_at_once(void)
{
    char *url = fx_url();
    fx_admin("DROP ROLE IF EXISTS \"m role\"");
    for (int round = 0; round < 2; round++) {
        struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
        struct runner r[2] = {{.url = url, .heard = &heard}, {.url = url, .heard = &heard}};
        pthread_t t[2];
        for (int i = 0; i < 2; i++)
            CU_ASSERT_EQUAL(pthread_create(&t[i], NULL, migrate_two, &r[i]), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(t[i], NULL);
        CU_ASSERT_EQUAL(r[0].rc, ERR_NONE);
        CU_ASSERT_EQUAL(r[1].rc, ERR_NONE);
        CU_ASSERT_EQUAL(count(heard.text, "up: done"), 2);
        CU_ASSERT_EQUAL(count(heard.text, "nothing to do"), 1);
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM m_two"), 1);
        CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 2);
        CU_ASSERT_EQUAL(fx_admin("SELECT has_table_privilege('m role', 'm_one', 'SELECT')::int + "
                                 "has_table_privilege('m role', 'parley_schema', 'SELECT')::int"),
                        2);
        CU_ASSERT_EQUAL(db_migrate_table(url, "m role", table, 2, 1, hear, &heard), ERR_NONE);
        CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 1);
        CU_ASSERT_EQUAL(tables(), 2);
        CU_ASSERT_EQUAL(db_migrate_table(url, "m role", table, 2, 0, hear, &heard), ERR_NONE);
        CU_ASSERT_EQUAL(tables(), 0);
    }
    fx_admin("DROP ROLE \"m role\"");
    free(url);
}

/* A script that is fine, but whose row cannot be added: it has added one itself. */
static const struct db_migration row_fails[] = {
    {1, "row", "CREATE TABLE m_one (a int); INSERT INTO parley_schema (version) VALUES (1);", ""},
};

/* Fails if script and row are committed apart: tried. */
static void failed_step_leaves_nothing(void)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char *url = fx_url();
    CU_ASSERT_EQUAL(db_migrate_table(url, FX_ROLE, table, 3, -1, hear, &heard), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "migration 3 bad up: division by zero"));
    CU_ASSERT_EQUAL(fx_admin("SELECT max(version) FROM parley_schema"), 2);
    CU_ASSERT_EQUAL(tables(), 3);
    /* A program that knows less than the schema keeps its hands off. */
    CU_ASSERT_EQUAL(db_migrate_table(url, FX_ROLE, table, 1, 0, hear, &heard), ERR_PRECONDITION);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "use a newer parley"));
    CU_ASSERT_EQUAL(db_migrate_table(url, FX_ROLE, table, 2, 7, hear, &heard), ERR_INVALID);
    CU_ASSERT_EQUAL(tables(), 3);
    CU_ASSERT_EQUAL(db_migrate_table(url, FX_ROLE, table, 2, 0, hear, &heard), ERR_NONE);
    CU_ASSERT_EQUAL(tables(), 0);
    CU_ASSERT_EQUAL(db_migrate_table(url, FX_ROLE, row_fails, 1, -1, hear, &heard), ERR_INTERNAL);
    CU_ASSERT_EQUAL(tables(), 1); /* parley_schema alone, and nothing in it */
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM parley_schema"), 0);
    fx_admin("DROP TABLE parley_schema");
    free(url);
}

static void says_what_is_wrong(void)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    char *url = fx_url();
    char login[2200];
    CU_ASSERT_EQUAL(db_migrate_table("postgresql://u:secret@[x", "r", table, 2, -1, hear, &heard),
                    ERR_INVALID);
    CU_ASSERT_EQUAL(
        db_migrate_table("host=/nowhere password=secret", "r", table, 2, -1, hear, &heard),
        ERR_UNAVAILABLE);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "cannot connect"));
    CU_ASSERT_PTR_NULL(strstr(heard.text, "secret"));
    fx_admin("DROP ROLE IF EXISTS m_weak; CREATE ROLE m_weak LOGIN;"
             "GRANT CREATE ON SCHEMA public TO m_weak");
    snprintf(login, sizeof(login), "%s user='m_weak'", url);
    CU_ASSERT_EQUAL(db_migrate_table(login, "m_absent", table, 2, -1, hear, &heard), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "role \"m_absent\" is absent and \"m_weak\" may not "
                                              "create it"));
    CU_ASSERT_EQUAL(db_migrate_table(login, FX_ROLE, table, 2, -1, hear, &heard), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(heard.text, "\"m_weak\" is no member of role"));
    CU_ASSERT_EQUAL(tables(), 0);
    /* Without a role of its own the login role serves. */
    CU_ASSERT_EQUAL(db_migrate_table(login, "", table, 2, -1, hear, &heard), ERR_NONE);
    CU_ASSERT_EQUAL(tables(), 3);
    CU_ASSERT_EQUAL(db_migrate_table(login, "", table, 2, 0, hear, &heard), ERR_NONE);
    fx_admin("DROP OWNED BY m_weak; DROP ROLE m_weak");
    free(url);
}

/* The real ones: up, down to nothing, up again, and the pool takes the schema. */
static void own_migrations(void)
{
    struct heard heard = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct fx fx;
    struct db_status s;
    char *url = fx_url();
    static const int targets[] = {-1, 0, -1};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        CU_ASSERT_EQUAL(db_migrate(url, FX_ROLE, targets[i], hear, &heard), ERR_NONE);
    if (strstr(heard.text, ": ERROR"))
        fprintf(stderr, "%s", heard.text);
    struct db_settings settings = fx_settings(url);
    settings.schema_version = db_schema_version();
    fx_open(&fx, &settings);
    db_status(fx.db, &s);
    CU_ASSERT_EQUAL(s.state, DB_UP);
    CU_ASSERT_EQUAL(s.schema_version, db_schema_version());
    fx_close(&fx);
    /* The role that made the tables may not serve. */
    settings.role = "";
    fx_open(&fx, &settings);
    db_status(fx.db, &s);
    CU_ASSERT_EQUAL(s.state, DB_MISCONFIGURED);
    fx_close(&fx);
    CU_ASSERT_EQUAL(db_migrate(url, FX_ROLE, 0, hear, &heard), ERR_NONE);
    CU_ASSERT_EQUAL(tables(), 0);
    free(url);
}

SUITE(db_migrate, "service db migrate", {"up, down, up, two at once", up_down_up_two_at_once},
      {"failed step leaves nothing", failed_step_leaves_nothing},
      {"says what is wrong", says_what_is_wrong}, {"own migrations", own_migrations})

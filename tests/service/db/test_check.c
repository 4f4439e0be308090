/* SPDX-License-Identifier: MIT */
/* The check of server, login and schema, and the size that follows from it. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"

/* text: of the reason; NULL: nothing is wrong. */
static void expect_wrong(const struct db_settings *settings, const char *text)
{
    struct fx *fx = fx_open(settings);
    const struct db_status s = fx_status(fx);
    CU_ASSERT_EQUAL(s.state, text ? DB_MISCONFIGURED : DB_UP);
    if (text) {
        CU_ASSERT_PTR_NOT_NULL(strstr(s.reason, text));
        if (!strstr(s.reason, text))
            fprintf(stderr, "reason: %s\n", s.reason);
        CU_ASSERT_EQUAL(fx_run(fx, DB_READ, "SELECT 1", NULL), ERR_UNAVAILABLE);
        CU_ASSERT_EQUAL(fx_pool(fx->db).open, 0);
    }
    fx_close(fx);
}

/* Fails if db_check_server is not called, or asks with USAGE for what a login may become: tried. */
TEST(roles_that_escape_rls_are_refused)
{
    static const struct {
        const char *login, *setup, *wrong; /* setup NULL: the login is not made here */
        bool also_alone;                   /* refused also where there is one login for all */
    } logins[] = {
        {"postgres", NULL, "is a superuser", true},
        {"db_test_bypass", "BYPASSRLS", "has BYPASSRLS", true},
        {"db_test_owner", "", "owns the tables", false},
        {"db_test_member", "NOINHERIT IN ROLE db_test_owner", "owns the tables", false},
        {"db_test_super", "NOINHERIT IN ROLE postgres", "is a superuser", true},
        {"db_test_lifts", "NOINHERIT IN ROLE db_test_bypass", "has BYPASSRLS", true},
        {"db_test_schema", "", "owns the tables", false},
        {"db_test_database", "", "owns the tables", false},
        /* Before PostgreSQL 16, a role that may make roles can make itself a member of any. */
        {"db_test_maker", "CREATEROLE", "owns the tables", false},
        /* What counts is the login, which SET ROLE NONE would restore. */
        {"db_test_owner' options='-c role=" FX_ROLE, NULL, "owns the tables", false},
        {"db_test_absent", NULL, "\"db_test_absent\" does not exist", true},
    };
    struct db_settings settings = fx_settings(NULL);
    for (size_t i = 0; i < ARRAY_LEN(logins); i++)
        if (logins[i].setup)
            fx_admin(text_of("CREATE ROLE %s LOGIN %s", logins[i].login, logins[i].setup));
    fx_admin("GRANT " FX_ROLE " TO db_test_owner; CREATE TABLE sessions (a int);"
             "ALTER TABLE sessions OWNER TO db_test_owner;"
             "ALTER SCHEMA public OWNER TO db_test_schema;"
             "ALTER DATABASE parley_db_test OWNER TO db_test_database");
    const bool by_createrole =
        fx_admin("SELECT current_setting('server_version_num')::int") < 160000;
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        settings.url = fx_url_as(logins[i].login);
        settings.owner_may_serve = false;
        if (by_createrole || strcmp(logins[i].login, "db_test_maker") != 0)
            expect_wrong(&settings, logins[i].wrong);
        settings.owner_may_serve = true;
        expect_wrong(&settings, logins[i].also_alone ? logins[i].wrong : NULL);
    }
    fx_admin("ALTER SCHEMA public OWNER TO pg_database_owner;"
             "ALTER DATABASE parley_db_test OWNER TO postgres");
    settings.url = fx_url();
    settings.owner_may_serve = false;
    settings.schema_version = 3;
    expect_wrong(&settings, "schema is at version 0, this program needs 3: run `parley migrate`");
    fx_admin("CREATE TABLE parley_schema (version int); INSERT INTO parley_schema VALUES (4);"
             "GRANT SELECT ON parley_schema TO " FX_ROLE);
    expect_wrong(&settings, "this one knows 3: use a newer parley");
    fx_admin("DROP TABLE parley_schema; DROP TABLE sessions");
    for (size_t i = ARRAY_LEN(logins); i-- > 0;)
        if (logins[i].setup)
            fx_admin(text_of("DROP ROLE %s", logins[i].login));
    settings.schema_version = 0;
    settings.url = "postgresql://u:secret@[broken";
    expect_wrong(&settings, "DATABASE_URL is not a valid connection string");
    settings.url_name = "DATABASE_ADMIN_URL";
    expect_wrong(&settings, "DATABASE_ADMIN_URL is not a valid connection string");
}

/* A newer schema says which programs it supports. Fails if the newest row alone counts. */
TEST(schemas_that_bear_the_program)
{
    static const struct {
        const char *rows; /* version, min_compatible */
        const char *wrong;
    } cases[] = {
        {"(2, 2)", "is at version 2, this program needs 3: run `parley migrate`"},
        {"(2, 2), (3, NULL)", NULL},
        {"(3, 2)", NULL},
        {"(3, 3), (4, 3)", NULL},
        {"(3, 3), (4, 3), (5, 3)", NULL},
        {"(3, 3), (4, 4)", "version 4, for programs that know 4 or more; this one knows 3: use a "},
        {"(3, 3), (4, 4), (5, 3)", "version 5, for programs that know 4 or more"},
        {"(3, 3), (4, NULL)", "version 4, for programs that know 4 or more"},
    };
    struct db_settings settings = fx_settings(NULL);
    settings.schema_version = 3;
    fx_admin("CREATE TABLE parley_schema (version int, min_compatible int);"
             "GRANT SELECT ON parley_schema TO " FX_ROLE);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fx_admin(
            text_of("TRUNCATE parley_schema; INSERT INTO parley_schema VALUES %s", cases[i].rows));
        expect_wrong(&settings, cases[i].wrong);
    }
    fx_admin("DROP TABLE parley_schema");
}

/* Becomes right by itself when somebody puts it right. */
TEST(recovers_from_a_wrong_schema)
{
    struct db_settings settings = fx_settings(NULL);
    settings.schema_version = 3;
    struct fx *fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_status(fx).state, DB_MISCONFIGURED);
    fx_admin("CREATE TABLE parley_schema (version int); INSERT INTO parley_schema VALUES (3);"
             "GRANT SELECT ON parley_schema TO " FX_ROLE);
    EVENTUALLY(fx_status(fx).state == DB_UP);
    CU_ASSERT_EQUAL(fx_status(fx).schema_version, 3);
    CU_ASSERT_STRING_EQUAL(fx_status(fx).reason, "");
    fx_close(fx);
    fx_admin("DROP TABLE parley_schema");
}

/* Fails if db_pool_share ignores workers, or the database's limit: tried. */
TEST(size_is_lowered_to_what_the_server_allows)
{
    struct db_settings settings = fx_settings(NULL);
    settings.workers = 10; /* (100 - 3) / 10 */
    struct fx *fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_pool(fx->db).max, 9);
    fx_close(fx);
    fx_admin("ALTER DATABASE parley_db_test CONNECTION LIMIT 30");
    fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_pool(fx->db).max, 3);
    fx_close(fx);
    fx_admin("ALTER DATABASE parley_db_test CONNECTION LIMIT -1");
}

/* Acknowledged writes are on disk, whatever URL, role, database or server are set to. How long a
 * commit waits for standbys is the operator's choice, but for "local". Fails if connections use the
 * server's setting: the mutant db-synchronous-commit. */
TEST(commits_are_durable)
{
    static const struct {
        const char *of_database, *of_url, *result;
    } rows[] = {
        {"off", "", "on"},
        {"local", "", "on"},
        {"remote_write", "", "remote_write"},
        {"remote_apply", "", "remote_apply"},
        {"off", " options='-c synchronous_commit=remote_apply'", "remote_apply"},
        {"on", " options='-c synchronous_commit=off'", "on"},
    };
    const char *plain = fx_url();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char url[2200], sql[100];
        struct db_rows r;
        snprintf(sql, sizeof(sql), "ALTER DATABASE parley_db_test SET synchronous_commit = %s",
                 rows[i].of_database);
        fx_admin(sql);
        snprintf(url, sizeof(url), "%s%s", plain, rows[i].of_url);
        const struct db_settings settings = fx_settings(url);
        struct fx *fx = fx_open(&settings);
        OK(fx_run(fx, DB_READ, "SELECT current_setting('synchronous_commit')", &r));
        CU_ASSERT(sv_eq(db_get_text(&r, 0, 0), sv_from(rows[i].result)));
        fx_close(fx);
    }
    fx_admin("ALTER DATABASE parley_db_test RESET synchronous_commit");
}

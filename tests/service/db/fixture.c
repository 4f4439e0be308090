/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <CUnit/CUnit.h>

static const char *test_url(void)
{
    const char *url = getenv("TEST_DATABASE_URL");
    if (!url) {
        fprintf(stderr, "TEST_DATABASE_URL is not set: run this by tests/service/with-servers\n");
        exit(2);
    }
    return url;
}

/* The same connection to another database, as a list of keywords. */
static char *with_database(const char *name)
{
    char *out = calloc(1, 2000);
    size_t n = (size_t)snprintf(out, 2000, "dbname='%s'", name);
    PQconninfoOption *all = PQconninfoParse(test_url(), NULL);
    for (PQconninfoOption *o = all; o && o->keyword; o++)
        if (o->val && strcmp(o->keyword, "dbname") != 0 && n < 2000)
            n += (size_t)snprintf(out + n, 2000 - n, " %s='%s'", o->keyword, o->val);
    PQconninfoFree(all);
    return out;
}

static void quiet(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

static long exec(const char *url, const char *sql)
{
    long value = -1;
    PGconn *pg = PQconnectdb(url);
    PQsetNoticeReceiver(pg, quiet, NULL);
    PGresult *res = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(res);
    bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    CU_ASSERT_TRUE(fine);
    if (!fine)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(pg));
    if (status == PGRES_TUPLES_OK && PQntuples(res) > 0 && PQnfields(res) > 0)
        value = strtol(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    PQfinish(pg);
    return value;
}

char *fx_url_as(const char *login)
{
    /* What stands last wins. */
    char *url = fx_admin_url();
    size_t n = strlen(url);
    snprintf(url + n, 2000 - n, " user='%s'", login);
    return url;
}

char *fx_url(void)
{
    return fx_url_as(FX_ROLE);
}

char *fx_admin_url(void)
{
    char *url = with_database("parley_db_test");
    long there = exec(test_url(), "SELECT count(*) FROM pg_database WHERE datname = "
                                  "'parley_db_test'");
    if (there == 0) {
        exec(test_url(), "CREATE DATABASE parley_db_test");
        exec(url, "CREATE ROLE " FX_ROLE " LOGIN;"
                  "CREATE TABLE items (id bigint PRIMARY KEY, name text CONSTRAINT items_name"
                  " UNIQUE, n int CHECK (n >= 0), at timestamptz);"
                  "CREATE TABLE \"odd \"\"name\"\"; x\" (\"select\" int, \"a b\"\"c\" text);"
                  "CREATE TABLE notes (tenant text NOT NULL, body text);"
                  "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
                  "CREATE POLICY t ON notes USING (tenant = current_setting('parley.tenant'))"
                  " WITH CHECK (tenant = current_setting('parley.tenant'));"
                  "GRANT ALL ON ALL TABLES IN SCHEMA public TO " FX_ROLE ";"
                  "GRANT CREATE ON SCHEMA public TO " FX_ROLE);
    }
    return url;
}

long fx_admin(const char *sql)
{
    char *url = fx_admin_url();
    long value = exec(url, sql);
    free(url);
    return value;
}

struct db_settings fx_settings(char *url)
{
    return (struct db_settings){.url = url,
                                .app_name = "db_test",
                                .pool_min = 2,
                                .pool_max = 20,
                                .acquire_ms = 5000,
                                .statement_ms = 5000,
                                .connect_ms = 5000,
                                .idle_s = 600,
                                .lifetime_s = 1800,
                                .workers = 1,
                                .prepare = true};
}

void fx_sleep_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

void fx_request(struct fx *fx, struct sv tenant, int ms)
{
    arena_reset(fx->arena);
    ctx_init(&fx->ctx, fx->arena, deadline_in_ms(ms), tenant, SV("r1"));
}

void fx_open(struct fx *fx, const struct db_settings *settings)
{
    /* The URL must live as long as the pool: the slot's allocation carries it along. */
    char *url = fx_url();
    struct db_settings usual = fx_settings(url);
    fx->slot = calloc(1, sizeof(*fx->slot) + strlen(url) + 1);
    char *kept = strcpy((char *)(fx->slot + 1), url);
    free(url);
    if (settings)
        usual = *settings;
    else
        usual.url = kept;
    fx->arena = arena_create(64 << 20);
    /* The backends of the pool before end a moment after their connections. */
    while (fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'") > 0)
        fx_sleep_ms(5);
    fx->db = db_open(&usual, fx->slot);
    CU_ASSERT_PTR_NOT_NULL(fx->db);
    fx_request(fx, SV("t1"), 10000);
    for (int i = 0; i < 1000; i++) {
        struct db_status s;
        db_status(fx->db, &s);
        if (s.state == DB_MISCONFIGURED || s.state == DB_DOWN)
            break;
        if (s.state == DB_UP && s.idle >= usual.pool_min)
            break;
        fx_sleep_ms(10);
    }
}

void fx_close(struct fx *fx)
{
    db_close(fx->db);
    arena_destroy(fx->arena);
    free(fx->slot);
}

void fx_server(const char *word)
{
    char command[400];
    const char *pg = getenv("TEST_PG");
    snprintf(command, sizeof(command), "%s %s", pg ? pg : "false", word);
    CU_ASSERT_EQUAL(system(command), 0);
}

enum err fx_run(struct fx *fx, enum db_retry retry, const char *sql, struct db_rows *rows)
{
    struct db_stmt stmt = {NULL, sql};
    return db_query(fx->db, &fx->ctx, retry, &stmt, NULL, 0, rows, NULL);
}

int fx_pid(const struct db_conn *c)
{
    return PQbackendPID(c->pg);
}

bool fx_wait_state(struct fx *fx, enum db_state state)
{
    struct db_status s;
    for (int i = 0; i < 1000; i++) {
        db_status(fx->db, &s);
        if (s.state == state)
            return true;
        fx_sleep_ms(10);
    }
    return false;
}

bool fx_wait_open(struct fx *fx, int open)
{
    struct db_status s;
    for (int i = 0; i < 1000; i++) {
        db_status(fx->db, &s);
        if (s.open == open)
            return true;
        fx_sleep_ms(10);
    }
    return false;
}

bool fx_wait_waiting(struct fx *fx, int waiting)
{
    struct db_status s;
    for (int i = 0; i < 1000; i++) {
        db_status(fx->db, &s);
        if (s.waiting == waiting)
            return true;
        fx_sleep_ms(10);
    }
    return false;
}

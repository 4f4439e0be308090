/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *test_url(void)
{
    const char *url = getenv("TEST_DATABASE_URL");
    if (!url) {
        fprintf(stderr, "TEST_DATABASE_URL is not set: run this by tests/service/with-servers\n");
        exit(2);
    }
    return url;
}

/* As a list of keywords, of which the last wins. */
void fx_url_for(const char *login, const char *dbname, char out[FX_URL])
{
    size_t n = (size_t)snprintf(out, FX_URL, "dbname='%s'", dbname);
    PQconninfoOption *all = PQconninfoParse(test_url(), NULL);
    for (PQconninfoOption *o = all; o && o->keyword; o++)
        if (o->val && strcmp(o->keyword, "dbname") != 0 && n < FX_URL)
            n += (size_t)snprintf(out + n, FX_URL - n, " %s='%s'", o->keyword, o->val);
    PQconninfoFree(all);
    if (login && n < FX_URL)
        snprintf(out + n, FX_URL - n, " user='%s'", login);
}

static void ignore_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

bool fx_sql(const char *url, const char *sql, char *out, size_t n)
{
    PGconn *pg = PQconnectdb(url);
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    PGresult *res = PQexec(pg, sql);
    const ExecStatusType status = PQresultStatus(res);
    const bool fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!fine)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(pg));
    if (out && n > 0)
        snprintf(out, n, "%s",
                 PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    PQfinish(pg);
    return fine;
}

static long exec(const char *url, const char *sql)
{
    char value[32];
    CU_ASSERT_TRUE(fx_sql(url, sql, value, sizeof value));
    return value[0] ? strtol(value, NULL, 10) : -1;
}

static void make_database(void)
{
    static atomic_bool made;
    if (atomic_exchange(&made, true))
        return;
    char url[FX_URL];
    fx_url_for(NULL, FX_ROLE, url);
    exec(test_url(), "CREATE DATABASE parley_db_test");
    exec(url, "CREATE ROLE " FX_ROLE " LOGIN;"
              "CREATE TABLE items (id bigint PRIMARY KEY, name text CONSTRAINT items_name"
              " UNIQUE, n int CHECK (n >= 0), at timestamptz);"
              "CREATE TABLE notes (tenant text NOT NULL, body text);"
              "ALTER TABLE notes ENABLE ROW LEVEL SECURITY;"
              "CREATE POLICY t ON notes USING (tenant = current_setting('parley.tenant'))"
              " WITH CHECK (tenant = current_setting('parley.tenant'));"
              "GRANT ALL ON ALL TABLES IN SCHEMA public TO " FX_ROLE ";"
              "GRANT CREATE ON SCHEMA public TO " FX_ROLE);
}

const char *fx_url_as(const char *login)
{
    static char kept[64][FX_URL];
    size_t i = 0;
    char url[FX_URL];
    make_database();
    fx_url_for(login, FX_ROLE, url);
    while (i < ARRAY_LEN(kept) - 1 && kept[i][0] && strcmp(kept[i], url) != 0)
        i++;
    return strcpy(kept[i], url);
}

const char *fx_url(void)
{
    return fx_url_as(FX_ROLE);
}

const char *fx_admin_url(void)
{
    return fx_url_as(NULL);
}

long fx_admin(const char *sql)
{
    char url[FX_URL];
    make_database();
    fx_url_for(NULL, FX_ROLE, url);
    return exec(url, sql);
}

struct db_settings fx_settings(const char *url)
{
    return (struct db_settings){.url = url ? url : fx_url(),
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

void fx_request(struct fx *fx, struct sv tenant, int ms)
{
    arena_reset(fx->arena);
    ctx_init(&fx->ctx, fx->arena, deadline_in_ms(ms), tenant, SV("r1"));
}

static bool is_settled(const struct fx *fx, int idle)
{
    const struct db_status s = fx_status(fx);
    return s.state == DB_MISCONFIGURED || s.state == DB_DOWN ||
           (s.state == DB_UP && fx_pool(fx->db).idle >= idle);
}

struct fx *fx_open(const struct db_settings *settings)
{
    const struct db_settings usual = settings ? *settings : fx_settings(NULL);
    struct fx *fx = calloc(1, sizeof(*fx));
    CU_ASSERT_PTR_NOT_NULL_FATAL(fx);
    fx->slot = calloc(1, sizeof(*fx->slot));
    fx->arena = arena_create(64 << 20);
    /* The backends of an earlier pool end a moment after their connections. */
    while (fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'") > 0)
        service_sleep_ms(5);
    fx->db = db_open(&usual, fx->slot);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fx->db);
    fx_request(fx, SV("t1"), 10000);
    EVENTUALLY(is_settled(fx, usual.pool_min));
    return fx;
}

void fx_close(struct fx *fx)
{
    db_close(fx->db);
    arena_destroy(fx->arena);
    free(fx->slot);
    free(fx);
}

struct db_status fx_status(const struct fx *fx)
{
    struct db_status s;
    db_status(fx->db, &s);
    return s;
}

struct fx_pool fx_pool(struct db *db)
{
    pthread_mutex_lock(&db->lock);
    const struct fx_pool p = {db_pool_open_count(db), db->counts[CONN_IDLE], db->counts[CONN_BUSY],
                              db->waiting, db->max};
    pthread_mutex_unlock(&db->lock);
    return p;
}

enum err fx_run(struct fx *fx, enum db_retry retry, const char *sql, struct db_rows *rows)
{
    struct db_stmt stmt = {NULL, sql};
    return db_query(fx->db, &fx->ctx, retry, &stmt, NULL, 0, rows, NULL);
}

PGresult *fx_exec(struct db_conn *c, const char *sql)
{
    PQsetnonblocking(c->pg, 0);
    PGresult *res = PQexec(c->pg, sql);
    PQsetnonblocking(c->pg, 1);
    return res;
}

int fx_pid(const struct db_conn *c)
{
    return PQbackendPID(c->pg);
}

int fx_next_pid(struct fx *fx)
{
    struct db_conn *c;
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c));
    const int pid = fx_pid(c);
    db_pool_release(fx->db, c);
    return pid;
}

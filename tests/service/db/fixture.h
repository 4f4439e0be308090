/* SPDX-License-Identifier: MIT */
/*
 * What the tests of db/ share: a database of their own, a login that serves, and an administrator.
 * They use the internal header of db/.
 */
#ifndef PARLEY_TESTS_DB_FIXTURE_H
#define PARLEY_TESTS_DB_FIXTURE_H

#include "../../../src/db/db_internal.h"
#include "../service.h"

#define FX_ROLE "parley_db_test"

struct fx {
    struct db *db;
    struct arena *arena;
    struct request_ctx ctx; /* of tenant "t1", with 10 s */
    struct metrics_slot *slot;
};

/* The cluster's URL for another login (NULL: the superuser) and database. */
enum { FX_URL = 512 };
void fx_url_for(const char *login, const char *dbname, char out[FX_URL]);
/* Runs SQL over a connection of its own; the first value of its answer, "" without one, goes to
 * out (may be NULL). */
bool fx_sql(const char *url, const char *sql, char *out, size_t n);

/* The URL of the tests' database, which the first call makes, for FX_ROLE, the superuser, or
 * another role. Lives as long as the process. */
const char *fx_url(void);
const char *fx_admin_url(void);
const char *fx_url_as(const char *login);
/* Settings of a usual pool (2 to 20); url NULL: fx_url. */
struct db_settings fx_settings(const char *url);
/* Opens a pool with these settings (NULL: the usual ones) and waits until it is up or has failed.
 */
struct fx *fx_open(const struct db_settings *settings);
void fx_close(struct fx *fx);
struct db_status fx_status(const struct fx *fx);
/* How many connections there are, and how many requests wait for one. max: the setting, or less if
 * the server allows less. */
struct fx_pool {
    int open, idle, in_use, waiting, max;
};
struct fx_pool fx_pool(struct db *db);
/* A new request of that tenant with so much time; the arena is reset. */
void fx_request(struct fx *fx, struct sv tenant, int ms);

/* Runs SQL as the administrator; the first value of the answer as a number, -1 without one. A
 * failure fails the test. */
long fx_admin(const char *sql);

/* A statement without parameters through db_query. */
enum err fx_run(struct fx *fx, enum db_retry retry, const char *sql, struct db_rows *rows);
/* Statements outside the pipeline, on a connection that was acquired. */
PGresult *fx_exec(struct db_conn *c, const char *sql);
/* The process id of the backend of a connection, and of the one that a request would get now. */
int fx_pid(const struct db_conn *c);
int fx_next_pid(struct fx *fx);

#endif

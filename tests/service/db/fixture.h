/* SPDX-License-Identifier: MIT */
/*
 * What the database tests share: a database of their own with a login that serves, and an
 * administrator beside the pool under test. The tests look into the room by its internal header.
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

/* The URL of the tests' database, which is made at the first call, logged in as FX_ROLE, as the
 * superuser, or as another role. It lives as long as the process. */
const char *fx_url(void);
const char *fx_admin_url(void);
const char *fx_url_as(const char *login);
/* Settings of a usual pool (2 to 20); url NULL: fx_url. */
struct db_settings fx_settings(const char *url);
/* Opens a pool with these settings (NULL: the usual ones) and waits until it is up or known to be
 * wrong. */
struct fx *fx_open(const struct db_settings *settings);
void fx_close(struct fx *fx);
struct db_status fx_status(const struct fx *fx);
/* A new request of that tenant with so much time; the arena is reset. */
void fx_request(struct fx *fx, struct sv tenant, int ms);

/* Runs SQL as the administrator; the first value of the answer as a number, -1 without one. A
 * failure fails the test. */
long fx_admin(const char *sql);

/* A statement without parameters through db_query. */
enum err fx_run(struct fx *fx, enum db_retry retry, const char *sql, struct db_rows *rows);
/* The backend that a connection of the pool talks to. */
int fx_pid(const struct db_conn *c);

#endif

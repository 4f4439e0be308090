/* SPDX-License-Identifier: MIT */
/*
 * What the database tests share: a database of their own with a login that serves, and an
 * administrator beside the pool under test. The tests look into the room by its internal header.
 */
#ifndef PARLEY_TESTS_DB_FIXTURE_H
#define PARLEY_TESTS_DB_FIXTURE_H

#include "../../../src/db/db_internal.h"

#define FX_ROLE "parley_db_test"

struct fx {
    struct db *db;
    struct arena *arena;
    struct request_ctx ctx; /* of tenant "t1", with 10 s */
    struct metrics_slot *slot;
};

/* The URL of the tests' database, logged in as FX_ROLE. Made at the first call. malloc'd. */
char *fx_url(void);
/* The same, logged in as the superuser, or as another role. malloc'd. */
char *fx_admin_url(void);
char *fx_url_as(const char *login);
/* Settings of a usual pool (2 to 20); url is from fx_url and belongs to the caller. */
struct db_settings fx_settings(char *url);
/* Opens a pool with these settings (NULL: the usual ones) and waits until it is up or known to be
 * wrong. */
void fx_open(struct fx *fx, const struct db_settings *settings);
void fx_close(struct fx *fx);
/* A new request of that tenant with so much time; the arena is reset. */
void fx_request(struct fx *fx, struct sv tenant, int ms);

/* Runs SQL as the administrator; the first value of the answer as a number, -1 without one. A
 * failure fails the test. */
long fx_admin(const char *sql);
/* Runs $TEST_PG with this word (stop, start, kill, pause, resume). */
void fx_server(const char *word);

/* A statement without parameters through db_query. */
enum err fx_run(struct fx *fx, enum db_retry retry, const char *sql, struct db_rows *rows);
/* The backend that a connection of the pool talks to. */
int fx_pid(const struct db_conn *c);
/* Waits (at most 10 s) until the pool is in that state; true if it is. */
bool fx_wait_state(struct fx *fx, enum db_state state);
bool fx_wait_open(struct fx *fx, int open);
bool fx_wait_waiting(struct fx *fx, int waiting);
void fx_sleep_ms(int ms);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A migrated database of its own, and session modules over it. Everything a test asks for in a row
 * belongs to one struct world; world_close ends it.
 */
#ifndef PARLEY_TESTS_SESSION_FIXTURE_H
#define PARLEY_TESTS_SESSION_FIXTURE_H

#include "parley/session/session.h"

struct world {
    char url[512];       /* of the login that serves; the pool borrows it */
    char owner_url[512]; /* of the owner of the tables */
    struct db *db;
    struct cache_shared *shared; /* a host of its own */
    struct cache *cache;
    struct sessions *sessions;
    struct arena *arena;
    struct request_ctx ctx;
};

/* redis: with memory of its own and Redis (TEST_REDIS_URL), or without caches. False, with a CUnit
 * failure, if it cannot. */
bool world_open(struct world *w, bool redis);
/* As above with a database and a Redis of one's own; redis_url NULL: without. */
bool world_open_in(struct world *w, const char *dbname, const char *redis_url);
void world_close(struct world *w);
/* The cache of a worker over the memory of a host; both may be NULL. */
struct cache *world_cache(struct cache_shared *shared, const char *redis_url);
/* A fresh request of the tenant; what the last one returned is gone. */
struct request_ctx *world_request(struct world *w, const char *tenant);
/* Whether the last request's read was answered by "memory", "redis" or "postgres". */
bool world_was_from(const struct world *w, const char *tier);
/* Runs SQL as the superuser of the private cluster, in the test's database; the first field of the
 * first row goes to out (may be NULL). */
bool world_sql(const char *sql, char *out, size_t n);

/* A connection of the superuser to a database of world_open_in; for PQfinish. */
struct pg_conn *world_connect(const char *dbname);

/* A connection of the superuser on which this was done and lasts until gate_open: a lock, an open
 * transaction. */
struct gate;
struct gate *gate_close(const char *sql);
void gate_open(struct gate *gate);
/* Waits until so many backends are where the condition on pg_stat_activity says. */
bool gate_wait(const char *condition, int64_t n);

/* The number that a query formatted like printf gives; -1, with a CUnit failure, if it fails. */
int64_t world_count(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A request of a thread of its own. */
struct caller {
    struct arena *arena;
    struct request_ctx ctx;
};
void caller_open(struct caller *c);
struct request_ctx *caller_request(struct caller *c, const char *tenant);
void caller_close(struct caller *c);

struct session_draft draft_of(const char *id, const char *user);
struct session_message_draft message_of(const char *role, const char *json_content);

#endif

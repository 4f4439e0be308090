/* SPDX-License-Identifier: MIT */
/*
 * The fixtures of these tests:
 * - fixture.h: a migrated database, a session service over it, and the requests of one thread.
 *   fixture_* are calls of session.h as one request each, and SQL as the superuser.
 * - hosts.h: two hosts with caches, one without, and Redis, over one database.
 * - threads.h: threads that do the same to one session at once.
 * - edits.h: an update of messages as a short text.
 */
#ifndef PARLEY_TESTS_SESSION_FIXTURE_H
#define PARLEY_TESTS_SESSION_FIXTURE_H

#include "../service.h"
#include "parley/session/users.h"

extern const struct session_precondition nobody;

struct fixture {
    char url[512];       /* of the login that serves; the pool borrows it */
    char owner_url[512]; /* of the owner of the tables */
    struct db *db;
    struct cache_shared *shared; /* a host of its own */
    struct cache *cache;
    struct sessions *sessions;
    struct arena *arena;
    struct request_ctx ctx;
    bool is_share;        /* made by fixture_share */
    int64_t sessions_max; /* the bound of each request's tenant; 0: none */
    int64_t ms;           /* the time of each request */
    /* Results of the last call that gives one. A session and a receipt are empty if it failed. */
    struct session s;
    struct session_receipt r;
    struct session_message m;
    struct session_page page;
    size_t at;
};

/* redis: with memory of its own and Redis (TEST_REDIS_URL); else with a cache that keeps nothing. A
 * failure ends the test. */
struct fixture *fixture_open(bool redis);
/* The same over another database and Redis. redis_url NULL: its cache keeps nothing. */
struct fixture *fixture_open_in(const char *dbname, const char *redis_url);
/* Requests of another thread over the service of w. For fixture_close. */
struct fixture *fixture_share(const struct fixture *w);
void fixture_close(struct fixture *w);
/* Brings the schema to a version; -1: to the newest. w may be closed or serve on. */
void fixture_migrate(const struct fixture *w, int target);
/* The cache of a worker over the memory of a host; both may be NULL. */
struct cache *fixture_cache(struct cache_shared *shared, const char *redis_url);
/* A fresh request of the tenant. Frees the results of the last one. */
struct request_ctx *fixture_request(struct fixture *w, const char *tenant);
/* Whether the last request's read was answered by "memory", "redis" or "postgres". */
bool fixture_was_from(const struct fixture *w, const char *source);

/* Makes a session of n messages with this JSON as content. */
void fixture_make(struct fixture *w, const char *tenant, const char *id, const char *user, size_t n,
                  const char *content, const struct session_precondition *precondition);
/* Appends one message with this content. create: the append may make the session. */
MUSTCHECK enum err fixture_append_one(struct fixture *w, const char *tenant, const char *id,
                                      bool create, const char *content,
                                      const struct session_precondition *precondition);

/* The calls of session.h, each as a fresh request of the tenant. Users may be NULL. */
MUSTCHECK enum err fixture_create(struct fixture *w, const char *tenant,
                                  const struct session_draft *d,
                                  const struct session_precondition *precondition);
MUSTCHECK enum err fixture_ensure(struct fixture *w, const char *tenant,
                                  const struct session_draft *d,
                                  const struct session_precondition *precondition);
/* With the newest 20 messages, for any user; or n messages, for one user. */
MUSTCHECK enum err fixture_get(struct fixture *w, const char *tenant, const char *id);
MUSTCHECK enum err fixture_get_as(struct fixture *w, const char *tenant, const char *id,
                                  const char *user, size_t n);
MUSTCHECK enum err fixture_append(struct fixture *w, const char *tenant, const char *id,
                                  const struct session_append *a,
                                  const struct session_precondition *precondition);
MUSTCHECK enum err fixture_patch(struct fixture *w, const char *tenant, const char *id,
                                 const struct session_patch *p,
                                 const struct session_precondition *precondition);
MUSTCHECK enum err fixture_copy(struct fixture *w, const char *tenant, const char *id,
                                const struct session_precondition *precondition);
MUSTCHECK enum err fixture_fork(struct fixture *w, const char *id, const struct session_fork *fork,
                                const struct session_precondition *precondition);
MUSTCHECK enum err fixture_truncate(struct fixture *w, const char *id, int64_t after,
                                    const struct session_precondition *precondition);
/* Gives a message the content "7". */
MUSTCHECK enum err fixture_patch_message(struct fixture *w, const char *id, const char *which,
                                         const struct session_precondition *precondition);
MUSTCHECK enum err fixture_delete(struct fixture *w, const char *tenant, const char *id,
                                  const struct session_precondition *precondition);
MUSTCHECK enum err fixture_delete_message(struct fixture *w, const char *tenant, const char *id,
                                          const char *which,
                                          const struct session_precondition *precondition);
MUSTCHECK enum err fixture_message(struct fixture *w, const char *tenant, const char *id,
                                   const char *user, const char *which);
MUSTCHECK enum err fixture_page(struct fixture *w, const char *tenant, const char *id,
                                const char *user, const struct session_page_query *q);

/* Every kind of read returns this as the only message. Reads twice, so that a cached value is read,
 * too. */
void expect_only(struct fixture *w, const char *tenant, const char *id, const char *content);
/* The tenant has no such session. */
void expect_nothing(struct fixture *w, const char *tenant, const char *id);

/* Runs SQL as the superuser of the private cluster, in the test's database; the first field of the
 * first row goes to out (may be NULL). */
bool fixture_sql(const char *sql, char *out, size_t n);
/* Runs SQL that is formatted like printf and must succeed. */
void fixture_exec(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Lets the sessions of this id expire. */
void fixture_expire(const char *id);

/* A connection of the superuser to a database of fixture_open_in; for PQfinish. */
struct pg_conn *fixture_connect(const char *dbname);

/* Runs sql, which must begin a transaction, as the superuser. Its locks and changes stay until
 * transaction_release rolls it back. */
struct held_transaction;
struct held_transaction *transaction_hold(const char *sql);
void transaction_release(struct held_transaction *held);
/* Waits until n backends meet the condition on pg_stat_activity. */
bool wait_for_backends(const char *condition, int64_t n);

/* The number that a query formatted like printf returns; -1, with a CUnit failure, if it fails. */
int64_t fixture_count(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The same for the number of rows "FROM …". */
#define fixture_rows(...) fixture_count("SELECT count(*) FROM " __VA_ARGS__)

/* A precondition with this idempotency key. */
struct session_precondition keyed(const char *key);
struct session_draft draft_of(const char *id, const char *user);
struct session_draft draft_with(const char *id, const char *user, const struct session_message *m,
                                size_t n);
struct session_message message_of(const char *role, const char *json_content);

#endif

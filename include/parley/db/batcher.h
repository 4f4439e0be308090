/*
 * Writes of several requests in one statement. A worker runs one statement of a kind for a tenant
 * at a time. Requests that arrive meanwhile wait in a queue. When the statement ends, the first of
 * them becomes the leader: its thread takes those after it and runs one statement for all. There is
 * no timer and no added delay: a request that finds nothing under way runs its own statement at
 * once. A statement that takes longer than 50 ms no longer counts as under way.
 *
 * Thread rule: all threads of a worker share one batcher for each kind. A member belongs to the
 * thread that calls db_batcher_run. The leader reads and writes it, its context and its arena while
 * that thread sleeps.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "parley/db/db.h"

enum { DB_BATCHER_MAX = 32 }; /* members of a batch */

/* Why a member runs its own statement. */
enum db_apart {
    DB_TOGETHER,
    DB_APART_SKIPPED,   /* the batch left it out */
    DB_APART_FAILED,    /* the server refused the batch */
    DB_APART_CONTENDED, /* another statement of its contention key runs apart */
    DB_APART_UNFIT      /* no batch can have it: set by the caller */
};

/* One request. Zeroed, but for ctx and DB_APART_UNFIT. Usually the first member of the caller's
 * struct. */
struct db_member {
    struct request_ctx *ctx; /* with tenant, deadline and contention key */
    enum db_apart apart;     /* set by run_batch: this one must run its own statement */
    /* Private to the batcher. */
    enum err err;
    atomic_int state;
    sem_t wake;
    int64_t began_us; /* if it leads; monotonic */
    TAILQ_ENTRY(db_member) link;
};

struct db_batcher_kind {
    /* Whether m may be in a batch with n others of its tenant. Must not wait. */
    bool (*fits)(struct db_member *const *members, size_t n, const struct db_member *m);
    /* One statement for all. ctx has the tenant, the earliest deadline and the leader's arena. An
     * error is that of each member: nothing was done, unless it is ERR_OUTCOME_UNKNOWN. Sets apart
     * of those for which nothing was done, and which may run alone. */
    enum err (*run_batch)(void *service, struct request_ctx *ctx, struct db_member *const *members,
                          size_t n);
    /* The statement of one, in its own context. */
    enum err (*run_alone)(void *service, struct db_member *m);
};

struct db_batcher;
/* All are borrowed until db_batcher_destroy; counts may be NULL. NULL: no memory. */
struct db_batcher *db_batcher_create(struct db *db, const struct db_batcher_kind *kind,
                                     void *service, struct metrics_batches *counts);
void db_batcher_destroy(struct db_batcher *b); /* no member may be left; NULL is fine */
/* Runs the member's statement, in a batch or alone, and returns its result. ERR_OVERLOAD: it
 * waited for db_settings.acquire_ms, or until its deadline, and nothing was done. */
MUSTCHECK enum err db_batcher_run(struct db_batcher *b, struct db_member *m);

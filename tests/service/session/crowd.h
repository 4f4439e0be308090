/* SPDX-License-Identifier: MIT */
/* Threads that do the same to one session at once. */
#ifndef PARLEY_TESTS_SESSION_CROWD_H
#define PARLEY_TESTS_SESSION_CROWD_H

#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"

enum { CROWD_MAX = 64 };

/* What the threads of one test share. */
struct crowd {
    struct world *w;
    const char *id;
    pthread_barrier_t start;
    void (*work)(struct crowd *crowd, struct world *c, int me);
    _Atomic int calls_done, created, conflicts, missing, failed;
    _Atomic int64_t generation;                 /* of the last receipt */
    struct session_receipt receipts[CROWD_MAX]; /* the last of each */
    _Atomic unsigned char seen[4096];           /* by seq: how often it was given */
};

struct crowd crowd_at(struct world *w, const char *id);
/* Runs work in n threads, which begin together, and waits for them. */
void crowd_run(struct crowd *crowd, int n,
               void (*work)(struct crowd *crowd, struct world *c, int me));

/* Errors that mean that nothing was done: on a slow machine the pool may be full for a second. */
bool crowd_try_again(enum err e);
/* e = call, until e is no such error. */
#define UNTIL_DONE(e, call) \
    do                      \
        e = (call);         \
    while (crowd_try_again(e))
/* Appends n messages, at most 3, and tries again after such an error. */
MUSTCHECK enum err crowd_append(struct crowd *crowd, struct world *c, size_t n, bool create,
                                const struct session_precondition *precondition);

#endif

/* SPDX-License-Identifier: MIT */
/* Threads that do the same to one session at once. */
#ifndef PARLEY_TESTS_SESSION_THREADS_H
#define PARLEY_TESTS_SESSION_THREADS_H

#include <pthread.h>
#include <stdatomic.h>

#include "fixture.h"

enum { THREADS_MAX = 64 };

/* What the threads of one test share. */
struct threads {
    struct fixture *w;
    const char *id;
    pthread_barrier_t start;
    void (*work)(struct threads *threads, struct fixture *c, int me);
    _Atomic int calls_done, created, conflicts, missing, failed;
    _Atomic int64_t generation;                   /* of the last receipt */
    struct session_receipt receipts[THREADS_MAX]; /* the last of each */
    _Atomic unsigned char seen[4096];             /* by seq: how often it was given */
};

struct threads threads_at(struct fixture *w, const char *id);
/* Runs work in n threads, which begin together, and waits for them. */
void threads_run(struct threads *threads, int n,
                 void (*work)(struct threads *threads, struct fixture *c, int me));

/* Errors that mean that nothing was done: on a slow machine the pool may be full for a second. */
bool threads_try_again(enum err e);
/* e = call, until e is no such error. */
#define UNTIL_DONE(e, call) \
    do                      \
        e = (call);         \
    while (threads_try_again(e))
/* Appends n messages, at most 3, and tries again after such an error. */
MUSTCHECK enum err threads_append(struct threads *threads, struct fixture *c, size_t n, bool create,
                                  const struct session_precondition *precondition);

#endif

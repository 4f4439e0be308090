/* SPDX-License-Identifier: MIT */
/* Requests that share a batcher, for the tests of it. */
#ifndef PARLEY_TESTS_DB_CALLERS_H
#define PARLEY_TESTS_DB_CALLERS_H

#include "fixture.h"
#include "parley/db/batcher.h"

/* Each call stores its id and is answered "TENANT ID". What its id begins with says more:
 * "apart": the batch leaves it out. "one": a batch has one of these. "gate": its own statement
 * waits for go. "apart gate": both. The rows come in another order than the members. */
struct callers;

struct caller {
    struct db_member m; /* first, so that the kind finds its caller */
    struct callers *x;
    const char *tenant, *id;
    int later_ms; /* its deadline, compared with that of x */
    uint64_t key;
    struct request_ctx ctx;
    pthread_t thread;
    sem_t there, go;
    /* What came of it. */
    enum err e;
    char answer[64];
    int runs, batch;
    size_t place, n;     /* in its batch; n 0: in none */
    bool alone, at_once; /* at_once: it was not in the queue before */
};

struct callers {
    struct fx *fx;
    struct db_batcher *b;
    struct deadline deadline;
    struct caller gates[2]; /* of t1 and t2 */
    _Atomic enum err fails; /* what each batch returns after its statement */
    int batch_ms;           /* how long each batch takes, at least */
    atomic_int batches, wrong;
};

struct callers *callers_open(int acquire_ms);
void callers_close(struct callers *x);

struct caller caller_make(struct callers *x, const char *tenant, const char *id);
bool caller_is(const struct caller *c, const char *what); /* whether its id begins with what */
/* Waits for a post, at most 10 s. */
void caller_await(sem_t *sem);
/* Runs it in the test's own thread: ready, run, check. */
void caller_ready(struct caller *c);
void *caller_run(void *arg);
/* Whoever succeeds has its own answer, of one statement. */
void caller_check(struct caller *c);
/* Runs it in a thread. gathered: it stays in the queue until go. */
void caller_begin(struct caller *c, bool gathered);
void caller_join(struct caller *c);
/* A statement of the tenant that is under way until gate_end. */
void gate_begin(struct caller *gate, struct callers *x, const char *tenant);
void gate_end(struct caller *gate);

/* Lets them wait in this order, while a statement of t1 and one of t2 are under way. It begins anew
 * if that took so long that a second one of them may lead (SLOW_US). */
void callers_gather(struct callers *x, struct caller *all, size_t n);
/* Ends the statements. They go on one after the other, so that nobody is late to its batch, and
 * end, but for an "apart gate", which waits for go again. */
void callers_release(struct callers *x, struct caller *all, size_t n);
void callers_run(struct callers *x, struct caller *all, size_t n); /* both */

#endif

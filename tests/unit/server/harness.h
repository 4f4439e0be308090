/* SPDX-License-Identifier: MIT */
/* A real supervisor in a child process. Its workers are simulated: they do what the test tells
 * them through shared memory, and count it there. */
#ifndef PARLEY_TESTS_SERVER_HARNESS_H
#define PARLEY_TESTS_SERVER_HARNESS_H

#include "../../../src/server/server_internal.h"
#include "../suite.h"

enum { WORKERS = 2, PIDS = 64 };

/* What a worker does, decided at its start. */
enum behaviour {
    GOOD,
    NEVER_ENDS,    /* ready, and does not end when it is told to drain */
    MISCONFIGURED, /* ends with a reason */
    NEVER_READY,
    RECYCLABLE /* ready, and wants to be replaced once "recycle" is set */
};

/* Shared with supervisor and workers. */
struct shared_state {
    _Atomic int behaviour, recycle;
    _Atomic int started, ready, ended;
    _Atomic int pids[PIDS]; /* in the order of their start */
    _Atomic int busy_at_start;
    _Atomic int most_serving; /* the most workers at the same time that were not told to drain */
    _Atomic int serving;
};

struct harness {
    char dir[40], file[64], log[64];
    struct config cfg;
    struct shared_state *state;
    pid_t pid;
};

/* Starts it with WORKERS workers. */
void harness_begin(struct harness *t, enum behaviour behaviour, int drain_s);
/* The same, and waits until they are ready. */
void harness_ready(struct harness *t, enum behaviour behaviour, int drain_s);
/* Another supervisor in its place. */
void harness_open(struct harness *t);
/* What a reload finds from now on; more: a line for the file, or "". */
void harness_configure(struct harness *t, int workers, int drain_s, const char *more);
/* Whether *count comes to n, or the log to hold what n times, however long that takes. */
bool harness_count(_Atomic int *count, int n);
bool harness_says(const struct harness *t, const char *what, int n);
/* How often the log holds what now. */
int harness_said(const struct harness *t, const char *what);
/* The exit status, or -1 if it had to be killed or was. */
int harness_wait(const struct harness *t);
/* No worker lives: their parent is gone, having waited for them. The sockets are gone, too. */
void harness_end(struct harness *t, bool sockets_gone);
/* SIGTERM, exit status 0, and the end. */
void harness_close(struct harness *t);

#endif

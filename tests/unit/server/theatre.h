/* SPDX-License-Identifier: MIT */
/* A real supervisor in a child process, with workers and checks that only play their part. */
#ifndef PARLEY_TESTS_PROC_THEATRE_H
#define PARLEY_TESTS_PROC_THEATRE_H

#include "../../../src/server/server_internal.h"
#include "../suite.h"

enum { WORKERS = 2, PIDS = 64 };

/* What a worker or a check does from its start on. */
enum part {
    PART_GOOD,
    PART_STUBBORN,      /* does not end by itself */
    PART_MISCONFIGURED, /* ends with a reason */
    PART_SILENT,        /* is never ready; a check: never ends */
    PART_TIRED          /* ready, and wishes to be replaced from "tired" on */
};

/* Shared with supervisor, workers and checks. */
struct play {
    _Atomic int part, check, tired;
    _Atomic int started, ready, ended, checks;
    _Atomic int pids[PIDS]; /* in the order of their start */
    _Atomic int busy_at_start;
    _Atomic int most; /* workers that were there at the same time and not told to leave */
    _Atomic int here;
};

struct theatre {
    char dir[40], file[64], log[64];
    struct config cfg;
    struct play *play;
    pid_t pid;
};

/* Starts it with WORKERS workers. */
void theatre_begin(struct theatre *t, enum part part, int drain_s);
/* The same, and waits until they are ready. */
void theatre_ready(struct theatre *t, enum part part, int drain_s);
/* Another supervisor in its place. */
void theatre_open(struct theatre *t);
/* What a reload finds from now on; more: a line for the file, or "". */
void theatre_configure(struct theatre *t, int workers, int drain_s, const char *more);
/* Whether *count comes to n, or the log to hold what n times, however long that takes. */
bool theatre_count(_Atomic int *count, int n);
bool theatre_says(const struct theatre *t, const char *what, int n);
/* How often the log holds what now. */
int theatre_said(const struct theatre *t, const char *what);
/* The exit status, or -1 if it had to be killed or was. */
int theatre_wait(const struct theatre *t);
/* No worker lives: their parent is gone, having waited for them. The sockets are gone, too. */
void theatre_end(struct theatre *t, bool sockets_gone);
/* SIGTERM, exit status 0, and the end. */
void theatre_close(struct theatre *t);

#endif

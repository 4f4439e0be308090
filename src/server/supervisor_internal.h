/* SPDX-License-Identifier: MIT */
/*
 * What the files of the supervisor share: its loop (supervisor.c), the worker processes (staff.c),
 * and their planned replacement (reload.c). One thread, no locks.
 *
 * A generation is one reading of the configuration with a number of seats; a seat is held by one
 * worker at a time. Who leaves (a reload or recycling is done, or failed) gives up the seat and
 * drains. At most two generations have workers: the next reload waits for those that leave.
 */
#ifndef PARLEY_SERVER_SUPERVISOR_INTERNAL_H
#define PARLEY_SERVER_SUPERVISOR_INTERNAL_H

#include "server_internal.h"

#include "parley/obs/log.h"

enum { NOBODY = -1 };

/* A process; its place in the table is its slot. */
struct worker {
    pid_t pid; /* 0: the slot is free */
    int64_t started_us;
    int64_t drain_us; /* what it was started with */
    bool leaving;     /* it was told to */
    int64_t kill_at_us;
};

struct seat {
    int holder;          /* slot, or NOBODY */
    int64_t start_at_us; /* while nobody holds it */
    struct respawn respawn;
};

struct generation {
    int64_t number;
    const struct config *cfg;
    struct config loaded; /* owned; empty in the first one, whose configuration is the caller's */
    size_t n;
    struct seat seats[];
};

struct supervisor {
    worker_fn worker;
    check_fn check;
    int lock_fd;
    struct listener listen, admin;
    struct worker_run run; /* what all workers are given */
    struct worker workers[API_SLOTS_MAX];
    struct generation *now;
    sigset_t signals;
    bool stopping;
    int exit_status;
    /* reload.c */
    bool reload_wanted;
    struct generation *next; /* while a reload is under way */
    pid_t checker;           /* 0: none; while it runs, next has no workers */
    int heir;                /* the one that is to replace the holder of heir_seat; NOBODY: none */
    size_t heir_seat;
    int64_t due_us;     /* when checker, next or heir must be done */
    int64_t recycle_us; /* no recycling before */
};

/* ---- staff.c ---- */

/* Whether a status of waitpid is that of a process that gave this exit status. */
bool exited_with(int status, int exit_status);
/* Starts a worker of g; its slot, or NOBODY after a line in the log. replaces: see worker_run. */
int worker_table_start(struct supervisor *s, const struct generation *g, bool replaces);
/* Tells it to drain and end, within its drain time and a margin, and within cap_us. */
void worker_table_leave(struct supervisor *s, int slot, int64_t cap_us);
/* Makes the place of the process free; the slot, or NOBODY when pid is no worker's. */
int worker_table_reap(struct supervisor *s, pid_t pid, int status, bool *was_leaving);
bool worker_table_any(const struct supervisor *s, bool leaving_only);
/* Whether the worker that has or last had this slot was ready. */
bool worker_table_is_ready(const struct supervisor *s, int slot);
/* Kills who should have ended by now; gives the time of the next one, or INT64_MAX. */
int64_t worker_table_kill_late(struct supervisor *s);
void worker_table_log(enum log_level level, const char *event, int slot, pid_t pid);

/* ---- reload.c ---- */

/* A generation without workers. NULL: no memory. */
struct generation *generation_create(const struct config *cfg, int64_t number);
void generation_destroy(struct generation *g); /* NULL is fine */
/* The seat that the worker holds; NULL: none. */
struct seat *generation_seat(struct generation *g, int slot);
void reload_ask(struct supervisor *s);
/* Goes on with what is under way, begins what is due; the time at which to call again. */
int64_t reload_step(struct supervisor *s);
/* The end of the checker. */
void reload_checked(struct supervisor *s, int status);
/* Whether that worker was one that a reload or recycling waits for; this has failed then. */
bool reload_lost(struct supervisor *s, int slot, int status);
/* Nothing goes on. */
void reload_stop(struct supervisor *s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the files of the supervisor share: its loop (supervisor.c), planned replacement (reload.c),
 * worker processes (worker_table.c) and worker sets (worker_set.c). One thread, no locks.
 *
 * A worker set is one reading of the configuration with a number of slots; one worker at a time
 * fills a slot. A worker that is replaced, by a reload or by recycling, leaves its slot and drains.
 * At most two sets have workers: the next reload waits for those that drain.
 */
#ifndef PARLEY_SERVER_SUPERVISOR_INTERNAL_H
#define PARLEY_SERVER_SUPERVISOR_INTERNAL_H

#include "server_internal.h"

#include "parley/obs/log.h"

enum { NO_WORKER = -1 };

/* A row of the worker table; its index is the worker's number. */
struct worker_process {
    pid_t pid; /* 0: the row is free */
    int64_t started_us;
    int64_t drain_us; /* of its configuration */
    bool draining;    /* it was told to */
    int64_t kill_at_us;
};

struct worker_slot {
    int worker;          /* its number, or NO_WORKER */
    int64_t start_at_us; /* while there is none */
    struct respawn respawn;
};

struct worker_set {
    int64_t number;
    const struct config *cfg;
    struct config loaded; /* owned; empty in the first set, whose configuration is the caller's */
    size_t n;
    struct worker_slot slots[];
};

struct supervisor {
    worker_fn worker;
    check_fn check;
    int lock_fd;
    struct listener listen, admin;
    struct worker_run run; /* what all workers are given */
    struct worker_process workers[API_SLOTS_MAX];
    struct worker_set *current;
    sigset_t signals;
    bool stopping;
    int exit_status;
    /* reload.c */
    bool reload_wanted;
    struct worker_set *next; /* while a reload is under way */
    pid_t checker;           /* 0: none; while it runs, next has no workers */
    int replacement;         /* for the worker in replaced_slot; NO_WORKER: none */
    size_t replaced_slot;
    int64_t due_us;     /* when checker, next or replacement must be done */
    int64_t recycle_us; /* no recycling before */
};

/* ---- worker_set.c ---- */

/* A set without workers. NULL: no memory. */
struct worker_set *worker_set_create(const struct config *cfg, int64_t number);
void worker_set_destroy(struct worker_set *set); /* NULL is fine */
/* The slot of that worker; NULL: it has none in this set. */
struct worker_slot *worker_set_slot_of(struct worker_set *set, int worker);

/* ---- worker_table.c ---- */

/* Whether a status of waitpid is that of a process that gave this exit status. */
bool process_exited_with(int status, int exit_status);
/* Starts a worker of set. Its number, or NO_WORKER after a line in the log. replaces: see
 * worker_run. */
int worker_table_start(struct supervisor *s, const struct worker_set *set, bool replaces);
/* Tells it to drain and end. It is killed if it does not within its drain time and a margin, or
 * within cap_us if that is shorter. */
void worker_table_drain(struct supervisor *s, int worker, int64_t cap_us);
/* After the process has ended: makes its row free. Its number; NO_WORKER: pid is no worker's. */
int worker_table_reap(struct supervisor *s, pid_t pid, int status, bool *was_draining);
bool worker_table_any(const struct supervisor *s, bool draining_only);
/* Whether the worker that has or last had this number was ready. */
bool worker_table_is_ready(const struct supervisor *s, int worker);
/* Kills workers that should have ended by now. The time of the next one, or INT64_MAX. */
int64_t worker_table_kill_late(struct supervisor *s);
void worker_table_log(enum log_level level, const char *event, int worker, pid_t pid);

/* ---- reload.c ---- */

void reload_request(struct supervisor *s);
/* Continues what is under way, begins what is due. The time at which to call again. */
int64_t reload_step(struct supervisor *s);
/* The checker has ended. */
void reload_checked(struct supervisor *s, int status);
/* A worker has ended that was not draining. True: a reload or recycling waited for it, and has
 * failed now. */
bool reload_lost(struct supervisor *s, int worker, int status);
/* Ends what is under way: the service stops. */
void reload_stop(struct supervisor *s);

#endif

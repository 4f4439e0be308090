/* SPDX-License-Identifier: MIT */
/* What the files of server/ share; parley/server/server.h says which processes there are. */
#ifndef PARLEY_SERVER_INTERNAL_H
#define PARLEY_SERVER_INTERNAL_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "parley/api/api.h"
#include "parley/base/err.h"
#include "parley/cache/cache.h"
#include "parley/config/config.h"
#include "parley/db/hosts.h"
#include "parley/obs/metrics.h"
#include "parley/server/server.h"

/* ---- shared.c: what the workers of a host share ---- */

/* Mapped by the supervisor before it forks. Atomics only: a process that is killed holds nothing.
 * A worker's number is its index in all tables here. A later worker gets the number of one that
 * has ended. */
struct shared {
    struct api_host host;
    int64_t started_at;          /* of the service; wall clock, us */
    atomic_bool served;          /* a worker has been ready once */
    _Atomic int reason_state;    /* the first writes reason: 0 free, 1 being written, 2 complete */
    char reason[API_REASON_MAX]; /* why a worker ended with EXIT_MISCONFIGURED, or a check failed */
    struct {
        atomic_bool ready;                    /* it takes requests and has PostgreSQL */
        atomic_bool wants_replacement;        /* it has served PARLEY_RECYCLE requests */
    } flags[API_SLOTS_MAX];                   /* set by the worker */
    struct metrics_slot slots[API_SLOTS_MAX]; /* pages that nobody has touched cost nothing */
};

struct shared *shared_map(void);                              /* NULL when there is no memory */
void shared_unmap(struct shared *s);                          /* NULL is fine */
void shared_set_reason(struct shared *s, const char *reason); /* the first one stays */
const char *shared_reason(const struct shared *s);            /* NULL: none was given */
void shared_clear_reason(struct shared *s);
/* Before a worker with this number is forked. The counters stay, so that no sum ever goes back. */
void shared_worker_begin(struct shared *s, size_t worker);
/* After it ended: nothing of it is open any more. */
void shared_worker_end(struct shared *s, size_t worker);

/* ---- descriptors.c ---- */

/* Most connections to the operations' socket of a worker. */
enum { DESCRIPTORS_ADMIN = 8 };

/* How many connections of nginx a worker may hold. */
int64_t descriptors_for_nginx(const struct config *cfg);

/* ---- listener.c ---- */

struct listener {
    int fd; /* -1: none */
    char path[108];
    dev_t dev;
    ino_t ino;
};

/* Makes a listening socket at path: non-blocking, CLOEXEC, mode 0660. It gets its name only once it
 * listens. Does not replace the socket of a server that answers, or anything but a socket. On
 * failure l->fd is -1 and why holds one line. */
MUSTCHECK enum err listener_open(struct listener *l, const char *path, char *why, size_t why_n);
/* Closes it and removes its name, unless that names another socket by now. */
void listener_close(struct listener *l);
/* Locks PATH.lock for this process and all that it forks, however they end: a service must not
 * begin while another still serves requests, because they do not share their memory. The
 * descriptor, or -1 and one line in why. */
MUSTCHECK int listener_lock(const char *path, char *why, size_t why_n);
void listener_unlock(int fd, const char *path); /* -1 is fine */

/* ---- respawn.c: when a worker that died is started again ---- */

enum { RESPAWN_DEATHS = 10 };

struct respawn {
    int64_t delay_us;
    int64_t deaths[RESPAWN_DEATHS]; /* when, as a ring */
    unsigned n_deaths;
    int64_t looping_until_us; /* one minute after RESPAWN_DEATHS within a minute; else 0 */
};

/* Records a death and gives the time to wait before a restart: 100 ms, doubled up to 5 s while
 * workers die before they are ready. A worker that has served is restarted after 100 ms. */
int64_t respawn_after_death(struct respawn *r, bool served, int64_t now_us);
bool respawn_is_looping(const struct respawn *r, int64_t now_us);

/* ---- signals.c ---- */

/* What the supervisor waits for; blocked in it before it forks, and so in the workers, too. */
void signals_block(sigset_t *set);
/* Waits for one of set until at_us on the monotonic clock (INT64_MAX: for ever). 0: none came. */
int signals_wait(const sigset_t *set, int64_t at_us);
/* In a child: asks for this signal when the parent ends. False: it has ended already. */
MUSTCHECK bool signals_follow_parent(pid_t parent, int signo);

/* ---- worker_set.c ---- */

/* How many cores this process may use. */
size_t server_cores(void);

/* ---- worker.c ---- */

/* What a worker is started with. */
struct worker_run {
    const struct config *cfg;
    int listen_fd, admin_fd; /* borrowed */
    size_t worker;           /* its number */
    size_t n_workers;
    bool replaces; /* takes no request before PostgreSQL has answered: others serve until then */
    /* What the workers of this host share; borrowed. */
    struct shared *shared;
    struct cache_shared *cache;
    struct auth_shared *auth;
    struct db_hosts_shared *hosts;
};

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the files of server/ share; parley/server/server.h says which processes there are. The
 * supervisor is one thread without locks: its loop (supervisor.c), planned replacement (reload.c),
 * worker processes and worker sets (worker_table.c).
 *
 * A worker set is one reading of the configuration with a number of slots; one worker at a time
 * fills a slot. A worker that is replaced, by a reload or by recycling, leaves its slot and drains.
 * At most two sets have workers: the next reload waits for those that drain.
 */
#pragma once

#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "parley/api/api.h"
#include "parley/db/hosts.h"
#include "parley/obs/log.h"
#include "parley/obs/history.h"
#include "parley/server/server.h"

/* What the workers of a host share, mapped by the supervisor before it forks. Atomics only: a
 * process that is killed holds nothing. A worker's number is its index in all tables here. A later
 * worker gets the number of one that has ended. */
struct shared {
    struct api_host host;
    atomic_bool served;  /* a worker has been ready once */
    atomic_uint foreign; /* bits: listeners that another process owns, see struct listener */
    struct {
        atomic_bool ready;             /* it takes requests and has PostgreSQL */
        atomic_bool wants_replacement; /* after PARLEY_RECYCLE requests, or a handler hangs */
        char reason[API_REASON_MAX];   /* why it could not begin; else "" */
    } reports[API_SLOTS_MAX];          /* each written by its worker */
    struct metrics_history history;
    struct metrics_slot slots[API_SLOTS_MAX]; /* pages that nobody has touched cost nothing */
};

/* What a worker is started with. */
struct worker_run {
    const struct config *cfg;
    const struct listener *listeners; /* borrowed */
    size_t worker;                    /* its number */
    /* It takes no request before PostgreSQL has answered, and ends if that is away: others serve
     * until then. */
    bool replaces;
    /* What the workers of this host share; borrowed. */
    struct shared *shared;
    struct cache_shared *cache;
    struct auth_shared *auth;
    struct db_hosts_shared *hosts;
};

/* ---- descriptors.c ---- */

/* How many cores this process may use. */
size_t server_cores(void);

/* Most connections to the operations' socket of a worker. */
enum { DESCRIPTORS_ADMIN = 8 };

/* How many connections of nginx a worker may hold. */
int64_t descriptors_for_nginx(const struct config *cfg);

/* ---- listener.c ---- */

struct listener {
    int fd;         /* -1: none */
    bool inherited; /* the service manager or another supervisor owns it: not to be removed */
    char path[108]; /* "" for TCP, and if it is inherited */
    dev_t dev;
    ino_t ino;
};

/* Of PARLEY_LISTEN, PARLEY_ADMIN and PARLEY_HEALTH. */
enum { LISTENER_CLIENTS, LISTENER_ADMIN, LISTENER_HEALTH, LISTENERS };

/* Takes the socket that the service manager has opened for path, which may be tcp://ADDRESS:PORT,
 * or else makes one: non-blocking, CLOEXEC, mode 0660. Does not replace the socket of a server that
 * answers, or anything but a socket. On failure l->fd is -1 and why holds one line. */
MUSTCHECK enum err listener_open(struct listener *l, const char *path, char *why, size_t why_n);
/* Refuses further connections. On an inherited socket they wait for the next service instead. */
void listener_stop(const struct listener *l);
/* Marks it as owned by this process, which removes path (the value of the setting) at its end. path
 * NULL: another process owns it, as it does an inherited one. */
void listener_own(struct listener *l, const char *path);
/* A bit for each listener that another process owns. */
unsigned listeners_foreign(const struct listener l[LISTENERS]);
/* Closes it and removes its name, unless that names another socket by now. */
void listener_close(struct listener *l);

/* ---- service_manager.c ---- */

/* Sends assignments such as "READY=1", one a line (sd_notify(3)). Does nothing if no service
 * manager waits for them. */
void PRINTF_LIKE(1, 2) service_manager_notify(const char *fmt, ...);
/* How often it wants to hear WATCHDOG=1; 0: never. */
int64_t service_manager_watchdog_us(void);
/* How many sockets it passed on. */
int64_t service_manager_sockets(void);
/* The listening socket with this address that it passed on (sd_listen_fds(3)); -1: none. */
int service_manager_socket(const struct sockaddr *address, socklen_t address_n);

/* ---- health.c ---- */

/* Waits up to ms for a client on that listener, and answers it by the operations routes. */
void health_answer(int listen_fd, struct api_service *service, int ms);

/* ---- pidfile.c ---- */

/* Makes and locks the pid file for this process and all that it forks, however they end: a service
 * must not begin while another still serves requests, because they do not share their memory. The
 * descriptor, or -1 and one line in why. */
MUSTCHECK int pidfile_open(const char *listen, char *why, size_t why_n);
/* Says for parley reload how far the reload of that number is: "running", "done", or "refused: "
 * and why. */
bool pidfile_write(int fd, int64_t reload, const char *outcome, const char *why);
void pidfile_close(int fd, const char *listen); /* removes it; -1 is fine */
/* The process that holds this lock is the supervisor. It releases the lock for a successor, which
 * has the file open. */
void pidfile_lock(int fd, bool held);
/* Whether fd is the pid file that belongs to this PARLEY_LISTEN. */
bool pidfile_is(int fd, const char *listen);

/* ---- the supervisor ---- */

enum { NO_WORKER = -1 };

/* A row of the worker table; its index is the worker's number. */
struct worker_process {
    pid_t pid; /* 0: the row is free */
    int64_t started_us;
    int64_t drain_us; /* of its configuration, as is quarantine_ms */
    int64_t quarantine_ms;
    bool draining; /* it was told to */
    int64_t kill_at_us;
};

enum { RESPAWN_DEATHS = 10 };

/* When a worker that died is started again. */
struct respawn {
    int64_t delay_us;
    int64_t deaths[RESPAWN_DEATHS]; /* when, as a ring */
    unsigned n_deaths;
};

struct worker_slot {
    int worker;          /* its number, or NO_WORKER */
    int64_t start_at_us; /* while there is none */
    struct respawn respawn;
};

struct worker_set {
    int64_t number;
    const struct config *cfg;
    struct config loaded; /* owned; empty if cfg is another's */
    size_t n;
    struct worker_slot slots[];
};

struct supervisor {
    worker_fn worker;
    char *const *argv;
    int pidfile_fd;
    int64_t reloads_begun;
    struct listener listeners[LISTENERS];
    struct worker_run run; /* what all workers are given */
    struct worker_process workers[API_SLOTS_MAX];
    struct worker_set *current;
    sigset_t signals;
    bool stopping;
    int exit_status;
    /* For the service manager. */
    int announced;       /* 0: nothing, 1: that this waits for PostgreSQL, 2: that this serves */
    int64_t announce_us; /* when to announce 1 */
    int64_t watchdog_us; /* when to send WATCHDOG=1 next */
    /* reload.c */
    bool reload_wanted;
    struct worker_set *next;      /* its workers are being started */
    struct worker_slot *recycled; /* whose worker that of next replaces; NULL: next is a reload */
    int64_t due_us;               /* when the workers of next must be ready */
    int64_t recycle_us;           /* no recycling before */
    /* successor.c */
    struct {
        bool wanted;
        pid_t pid; /* 0: there is none */
        int channel;
        int64_t due_us; /* when it must be ready */
        bool serves;    /* it has taken over: this process only drains */
    } successor;
    struct {
        pid_t pid;      /* 0: there is none */
        int channel;    /* -1: there is none, or this process has taken over */
        bool told;      /* that this one is ready */
        unsigned owned; /* bits: the listeners that were its own */
    } predecessor;
};

/* ---- worker_table.c ---- */

/* Records a death and gives the time to wait before a restart: 100 ms, doubled up to 5 s while
 * workers die before they are ready. A worker that has served is restarted after 100 ms. */
int64_t respawn_after_death(struct respawn *r, bool served, int64_t now_us);
/* For one minute after RESPAWN_DEATHS within a minute. */
bool respawn_is_looping(const struct respawn *r, int64_t now_us);

/* A set of n slots without workers. NULL: no memory. */
struct worker_set *worker_set_create(const struct config *cfg, int64_t number, size_t n);
void worker_set_destroy(struct worker_set *set); /* NULL is fine */
/* The slot of that worker; NULL: it has none in this set. */
struct worker_slot *worker_set_slot_of(struct worker_set *set, int worker);

/* Starts a worker of set. Its number, or NO_WORKER after a line in the log. */
int worker_table_start(struct supervisor *s, const struct worker_set *set);
/* Tells it to drain and end. It is killed if it does not within its drain time and a margin, or
 * within cap_us if that is shorter. */
void worker_table_drain(struct supervisor *s, int worker, int64_t cap_us);
/* After the process has ended: makes its row free. Its number; NO_WORKER: pid is no worker's. */
int worker_table_reap(struct supervisor *s, pid_t pid, bool clean, bool *was_draining);
bool worker_table_any(const struct supervisor *s, bool draining_only);
/* Whether the worker that has or last had this number was ready. */
bool worker_table_is_ready(const struct supervisor *s, int worker);
bool worker_set_is_ready(const struct supervisor *s, const struct worker_set *set); /* all of it */
/* Kills workers that should have ended by now. */
void worker_table_kill_late(struct supervisor *s);
void worker_table_log(enum log_level level, const char *event, int worker, pid_t pid);

/* ---- reload.c ---- */

void reload_request(struct supervisor *s);
/* Continues what is under way, begins what is due. */
void reload_step(struct supervisor *s);
/* Whether no other set of workers, of this or another supervisor, drains or starts. */
bool reload_may_begin(const struct supervisor *s);
/* Counts a reload and reports that it has begun; reports why it was refused. */
void reload_begin(struct supervisor *s);
void PRINTF_LIKE(2, 3) reload_refuse(struct supervisor *s, const char *fmt, ...);
/* A worker has ended that was not draining. True: a reload or recycling waited for it, and has
 * failed now. */
bool reload_lost(struct supervisor *s, int worker);

/* ---- successor.c ---- */

/* Begins what is due, and continues what is under way, in both supervisors. */
void successor_step(struct supervisor *s);
/* Sends a signal to the successor, if there is one. */
void successor_forward(const struct supervisor *s, int signo);
/* A child has ended. False: it was not the successor. */
bool successor_ended(struct supervisor *s, pid_t pid, int status);
/* Takes the pid file and the channel from the environment. False: this process is no successor. */
bool successor_inherit(struct supervisor *s);

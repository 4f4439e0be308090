/* SPDX-License-Identifier: MIT */
/* The worker processes, which are started, told to drain, killed when late, reaped; the slots of a
 * worker set; when a worker that died is started again. */
#include "server_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

_Static_assert((int)API_SLOTS_MAX <= (int)DB_HOSTS_SLOTS_MAX,
               "a worker has the same number in all tables");
_Static_assert((int)API_SLOTS_MAX >= 2 * (int)SERVER_WORKERS_MAX, "two sets fit the table");

/* A worker ends by itself when its drain time is over; it is killed this much later. */
static const int64_t kill_margin_us = 3 * 1000000;

struct worker_set *worker_set_create(const struct config *cfg, int64_t number, size_t n)
{
    struct worker_set *set = calloc(1, sizeof *set + n * sizeof set->slots[0]);
    if (!set)
        return NULL;
    set->number = number;
    set->cfg = cfg;
    set->n = n;
    for (size_t i = 0; i < n; i++)
        set->slots[i].worker = NO_WORKER;
    return set;
}

void worker_set_destroy(struct worker_set *set)
{
    if (set)
        config_free(&set->loaded);
    free(set);
}

struct worker_slot *worker_set_slot_of(struct worker_set *set, int worker)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->slots[i].worker == worker)
            return &set->slots[i];
    return NULL;
}

int64_t respawn_after_death(struct respawn *r, bool served, int64_t now_us)
{
    const int64_t first = 100 * 1000, longest = 5 * 1000000;
    if (served || r->delay_us == 0)
        r->delay_us = first;
    else
        r->delay_us = r->delay_us * 2 < longest ? r->delay_us * 2 : longest;
    r->deaths[r->n_deaths++ % RESPAWN_DEATHS] = now_us;
    return r->delay_us;
}

bool respawn_is_looping(const struct respawn *r, int64_t now_us)
{
    const int64_t minute = 60 * 1000000, last = r->deaths[(r->n_deaths - 1) % RESPAWN_DEATHS];
    /* The entry that is overwritten next is the oldest of the last RESPAWN_DEATHS. */
    const int64_t oldest = r->deaths[r->n_deaths % RESPAWN_DEATHS];
    return r->n_deaths >= RESPAWN_DEATHS && last - oldest <= minute && now_us - last < minute;
}

void worker_table_log(enum log_level level, const char *event, int worker, pid_t pid)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_int(&l, "worker", worker);
    log_int(&l, "worker_pid", pid);
    log_end(&l);
}

static void run_worker(const struct supervisor *s, const struct worker_set *set, size_t worker,
                       bool replaces, pid_t parent)
{
    struct worker_run run = s->run;
    run.cfg = set->cfg;
    run.worker = worker;
    run.replaces = replaces;
    /* This process is told to drain when its parent ends, unless that has ended already. */
    const bool follows = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent;
    /* The file may have been renamed since the supervisor opened it. */
    if (*set->cfg->log_file)
        (void)!log_open(set->cfg->log_file);
    /* _exit: the child must not clean up what belongs to the supervisor. */
    _exit(follows ? s->worker(&run) : EXIT_FAULT);
}

/* The first row with this pid; 0: a free one. */
static int row_of(const struct supervisor *s, pid_t pid)
{
    for (int i = 0; i < API_SLOTS_MAX; i++)
        if (s->workers[i].pid == pid)
            return i;
    return NO_WORKER;
}

int worker_table_start(struct supervisor *s, const struct worker_set *set)
{
    const bool replaces = set == s->next || s->predecessor.channel >= 0;
    const struct cache_settings cache = cache_settings_from(set->cfg);
    const pid_t parent = getpid();
    const int worker = row_of(s, 0); /* there is one: two sets fit the table */
    struct shared *shared = s->run.shared;
    atomic_store(&shared->reports[worker].ready, false);
    atomic_store(&shared->reports[worker].wants_replacement, false);
    shared->reports[worker].reason[0] = '\0';
    atomic_store(&shared->host.workers[worker].state,
                 replaces ? API_WORKER_STARTING : API_WORKER_SERVING);
    /* Before the worker counts anything, so that no later sum is smaller than an earlier one. The
     * counters of the one before stay, for the same reason. */
    if (atomic_load(&shared->host.n_slots) <= (size_t)worker)
        atomic_store(&shared->host.n_slots, (size_t)worker + 1);
    pid_t pid = fork();
    if (pid == 0)
        run_worker(s, set, (size_t)worker, replaces, parent);
    if (pid < 0) {
        log_say(LOG_ERROR, "fork_failed", "%s", strerror(errno));
        return NO_WORKER;
    }
    s->workers[worker] = (struct worker_process){.pid = pid,
                                                 .started_us = clock_mono_us(),
                                                 .drain_us = set->cfg->drain_s * 1000000,
                                                 .quarantine_ms = cache.quarantine_ms,
                                                 .kill_at_us = INT64_MAX};
    atomic_store(&shared->host.workers[worker].pid, pid);
    atomic_store(&shared->host.workers[worker].worker_set, set->number);
    worker_table_log(LOG_INFO, "worker_started", worker, pid);
    return worker;
}

void worker_table_drain(struct supervisor *s, int worker, int64_t cap_us)
{
    struct worker_process *w = &s->workers[worker];
    const int64_t within = w->drain_us + kill_margin_us;
    const int64_t at = clock_mono_us() + (within < cap_us ? within : cap_us);
    if (w->pid == 0)
        return;
    if (at < w->kill_at_us)
        w->kill_at_us = at;
    if (w->draining)
        return;
    w->draining = true;
    atomic_store(&s->run.shared->host.workers[worker].state, API_WORKER_LEAVING);
    (void)kill(w->pid, SIGTERM);
}

int worker_table_reap(struct supervisor *s, pid_t pid, bool clean, bool *was_draining)
{
    const int worker = row_of(s, pid);
    if (worker == NO_WORKER)
        return NO_WORKER;
    /* It may have committed a change without updating the caches. */
    if (!clean)
        cache_shared_reap(s->run.cache, pid, s->workers[worker].quarantine_ms);
    db_hosts_worker_ended(s->run.hosts, (size_t)worker, pid, clean);
    *was_draining = s->workers[worker].draining;
    atomic_store(&s->run.shared->host.workers[worker].pid, 0);
    for (size_t i = 0; i < ARRAY_LEN(s->run.shared->slots[worker].gauges); i++)
        metrics_set(&s->run.shared->slots[worker].gauges[i], 0);
    s->workers[worker] = (struct worker_process){.pid = 0};
    return worker;
}

bool worker_table_any(const struct supervisor *s, bool draining_only)
{
    for (size_t i = 0; i < API_SLOTS_MAX; i++)
        if (s->workers[i].pid > 0 && (s->workers[i].draining || !draining_only))
            return true;
    return false;
}

bool worker_table_is_ready(const struct supervisor *s, int worker)
{
    return worker != NO_WORKER && atomic_load(&s->run.shared->reports[worker].ready);
}

bool worker_set_is_ready(const struct supervisor *s, const struct worker_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (!worker_table_is_ready(s, set->slots[i].worker))
            return false;
    return true;
}

void worker_table_kill_late(struct supervisor *s)
{
    const int64_t now = clock_mono_us();
    for (int i = 0; i < API_SLOTS_MAX; i++) {
        struct worker_process *w = &s->workers[i];
        if (w->pid == 0 || now < w->kill_at_us)
            continue;
        worker_table_log(LOG_WARN, "killing", i, w->pid);
        (void)kill(w->pid, SIGKILL);
        w->kill_at_us = INT64_MAX;
    }
}

/* SPDX-License-Identifier: MIT */
/* The worker processes: started, told to drain, killed when late, reaped. */
#include "supervisor_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"

_Static_assert((int)API_SLOTS_MAX <= (int)DB_HOSTS_SLOTS_MAX,
               "a worker has the same number in all tables");

/* A worker ends by itself when its drain time is over; it is killed this much later. */
static const int64_t kill_margin_us = 3 * 1000000;

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
    run.listen_fd = s->listen.fd;
    run.admin_fd = s->admin.fd;
    run.worker = worker;
    run.n_workers = set->n;
    run.replaces = replaces;
    /* _exit: the child must not clean up what belongs to the supervisor. */
    _exit(signals_follow_parent(parent, SIGTERM) ? s->worker(&run) : EXIT_FAULT);
}

/* The first row with this pid; 0: a free one. */
static int row_of(const struct supervisor *s, pid_t pid)
{
    for (int i = 0; i < API_SLOTS_MAX; i++)
        if (s->workers[i].pid == pid)
            return i;
    return NO_WORKER;
}

int worker_table_start(struct supervisor *s, const struct worker_set *set, bool replaces)
{
    const pid_t parent = getpid();
    const int worker = row_of(s, 0);
    if (worker == NO_WORKER) {
        log_say(LOG_ERROR, "bug", "the worker table is full");
        return NO_WORKER;
    }
    shared_worker_begin(s->run.shared, (size_t)worker);
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
                                                 .kill_at_us = INT64_MAX};
    atomic_store(&s->run.shared->host.workers[worker].pid, pid);
    atomic_store(&s->run.shared->host.workers[worker].worker_set, set->number);
    if (!replaces)
        atomic_store(&s->run.shared->host.workers[worker].state, API_WORKER_SERVING);
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

bool process_exited_with(int status, int exit_status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == exit_status;
}

int worker_table_reap(struct supervisor *s, pid_t pid, int status, bool *was_draining)
{
    const int worker = row_of(s, pid);
    if (worker == NO_WORKER)
        return NO_WORKER;
    const bool clean = process_exited_with(status, EXIT_GOOD);
    /* It may have committed a change without updating the caches. */
    if (!clean)
        cache_shared_reap(s->run.cache, pid);
    db_hosts_worker_ended(s->run.hosts, (size_t)worker, pid, clean);
    *was_draining = s->workers[worker].draining;
    shared_worker_end(s->run.shared, (size_t)worker);
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
    return worker != NO_WORKER && atomic_load(&s->run.shared->flags[worker].ready);
}

int64_t worker_table_kill_late(struct supervisor *s)
{
    const int64_t now = clock_mono_us();
    int64_t next = INT64_MAX;
    for (int i = 0; i < API_SLOTS_MAX; i++) {
        struct worker_process *w = &s->workers[i];
        if (w->pid == 0)
            continue;
        if (w->kill_at_us <= now) {
            worker_table_log(LOG_WARN, "killing", i, w->pid);
            (void)kill(w->pid, SIGKILL);
            w->kill_at_us = INT64_MAX;
        }
        if (w->kill_at_us < next)
            next = w->kill_at_us;
    }
    return next;
}

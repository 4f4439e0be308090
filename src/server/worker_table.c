/* SPDX-License-Identifier: MIT */
#include "supervisor_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"

_Static_assert((int)API_SLOTS_MAX <= (int)DB_HOSTS_SLOTS_MAX, "a slot is one in all tables");

/* A worker ends by itself when its drain time is over; this much later it is killed. */
static const int64_t kill_margin_us = 3 * 1000000;

void worker_table_log(enum log_level level, const char *event, int slot, pid_t pid)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_int(&l, "worker", slot);
    log_int(&l, "worker_pid", pid);
    log_end(&l);
}

static void run_worker(const struct supervisor *s, const struct generation *g, size_t slot,
                       bool replaces, pid_t parent)
{
    struct worker_run run = s->run;
    run.cfg = g->cfg;
    run.listen_fd = s->listen.fd;
    run.admin_fd = s->admin.fd;
    run.slot = slot;
    run.n_workers = g->n;
    run.replaces = replaces;
    /* _exit: nothing of the supervisor's is the child's to clean up. */
    _exit(signals_follow_parent(parent, SIGTERM) ? s->worker(&run) : EXIT_FAULT);
}

int worker_table_start(struct supervisor *s, const struct generation *g, bool replaces)
{
    const pid_t parent = getpid();
    size_t slot = 0;
    while (slot < API_SLOTS_MAX && s->workers[slot].pid > 0)
        slot++;
    if (slot == API_SLOTS_MAX) {
        log_say(LOG_ERROR, "bug", "there is no free slot for a worker");
        return NOBODY;
    }
    shared_begin(s->run.shared, slot);
    pid_t pid = fork();
    if (pid == 0)
        run_worker(s, g, slot, replaces, parent);
    if (pid < 0) {
        log_say(LOG_ERROR, "fork_failed", "%s", strerror(errno));
        return NOBODY;
    }
    s->workers[slot] = (struct worker){.pid = pid,
                                       .started_us = clock_mono_us(),
                                       .drain_us = g->cfg->drain_s * 1000000,
                                       .kill_at_us = INT64_MAX};
    atomic_store(&s->run.shared->host.workers[slot].pid, pid);
    atomic_store(&s->run.shared->host.workers[slot].generation, g->number);
    if (!replaces)
        atomic_store(&s->run.shared->host.workers[slot].state, API_WORKER_SERVING);
    worker_table_log(LOG_INFO, "worker_started", (int)slot, pid);
    return (int)slot;
}

void worker_table_leave(struct supervisor *s, int slot, int64_t cap_us)
{
    struct worker *w = &s->workers[slot];
    const int64_t within = w->drain_us + kill_margin_us;
    const int64_t at = clock_mono_us() + (within < cap_us ? within : cap_us);
    if (w->pid == 0)
        return;
    if (at < w->kill_at_us)
        w->kill_at_us = at;
    if (w->leaving)
        return;
    w->leaving = true;
    atomic_store(&s->run.shared->host.workers[slot].state, API_WORKER_LEAVING);
    (void)kill(w->pid, SIGTERM);
}

bool exited_with(int status, int exit_status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == exit_status;
}

int worker_table_reap(struct supervisor *s, pid_t pid, int status, bool *was_leaving)
{
    int slot = 0;
    while (slot < API_SLOTS_MAX && s->workers[slot].pid != pid)
        slot++;
    if (slot == API_SLOTS_MAX)
        return NOBODY;
    const bool clean = exited_with(status, EXIT_GOOD);
    /* It may have committed what it could not tell the caches. */
    if (!clean)
        cache_shared_reap(s->run.cache, pid);
    db_hosts_worker_ended(s->run.hosts, (size_t)slot, pid, clean);
    *was_leaving = s->workers[slot].leaving;
    shared_end(s->run.shared, (size_t)slot);
    s->workers[slot] = (struct worker){.pid = 0};
    return slot;
}

bool worker_table_any(const struct supervisor *s, bool leaving_only)
{
    for (size_t i = 0; i < API_SLOTS_MAX; i++)
        if (s->workers[i].pid > 0 && (s->workers[i].leaving || !leaving_only))
            return true;
    return false;
}

bool worker_table_is_ready(const struct supervisor *s, int slot)
{
    return slot != NOBODY && atomic_load(&s->run.shared->words[slot].ready);
}

int64_t worker_table_kill_late(struct supervisor *s)
{
    const int64_t now = clock_mono_us();
    int64_t next = INT64_MAX;
    for (int i = 0; i < API_SLOTS_MAX; i++) {
        struct worker *w = &s->workers[i];
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

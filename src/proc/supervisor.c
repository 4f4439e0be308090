/* SPDX-License-Identifier: MIT */
#include "proc_internal.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/obs/log.h"

/* A worker ends by itself when its drain time is over; this much later it is killed. */
static const int64_t kill_margin_us = 3 * 1000000;
/* For those that are left when one has found the configuration to be wrong. */
static const int64_t misconfigured_us = 2 * 1000000;

struct worker {
    pid_t pid; /* 0: none runs */
    int64_t started_us;
    int64_t start_at_us; /* while none runs */
    struct respawn respawn;
};

struct supervisor {
    const struct config *cfg;
    worker_fn worker;
    struct listener listen, admin;
    struct shared *shared;
    struct cache_shared *cache;
    struct worker *workers;
    size_t n;
    sigset_t signals;
    bool stopping;
    int64_t kill_at_us; /* while stopping */
    int exit_status;
};

size_t supervisor_workers(const struct config *cfg)
{
    cpu_set_t set;
    if (cfg->workers > 0)
        return (size_t)cfg->workers;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (size_t)n : 1;
}

static void log_worker(enum log_level level, const char *event, size_t index, pid_t pid)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_int(&l, "worker", (int64_t)index);
    log_int(&l, "worker_pid", pid);
    log_end(&l);
}

static void start_worker(struct supervisor *s, size_t i)
{
    struct worker *w = &s->workers[i];
    const pid_t parent = getpid();
    w->started_us = clock_mono_us();
    pid_t pid = fork();
    if (pid == 0) {
        const struct worker_run run = {.cfg = s->cfg,
                                       .listen_fd = s->listen.fd,
                                       .admin_fd = s->admin.fd,
                                       .index = i,
                                       .n_workers = s->n,
                                       .shared = s->shared,
                                       .cache = s->cache};
        /* _exit: nothing of the supervisor's is the child's to clean up. */
        _exit(signals_follow_parent(parent) ? s->worker(&run) : EXIT_FAULT);
    }
    if (pid < 0) {
        log_say(LOG_ERROR, "fork_failed", "%s", strerror(errno));
        w->start_at_us =
            w->started_us + respawn_after_death(&w->respawn, w->started_us, w->started_us);
        return;
    }
    w->pid = pid;
    log_worker(LOG_INFO, "worker_started", i, pid);
}

static void signal_workers(const struct supervisor *s, int signo)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->workers[i].pid > 0)
            (void)kill(s->workers[i].pid, signo);
}

static void stop(struct supervisor *s, int status, int64_t within_us)
{
    s->stopping = true;
    s->exit_status = status;
    s->kill_at_us = clock_mono_us() + within_us;
    signal_workers(s, SIGTERM);
}

/* One clear line, whichever and how many of the workers found it. */
static void misconfigured(struct supervisor *s)
{
    const char *reason = shared_reason(s->shared);
    fprintf(stderr, "parley: %s\n",
            reason ? reason : "a worker found the configuration to be wrong");
    stop(s, EXIT_MISCONFIGURED, misconfigured_us);
}

static void note_crash_loops(struct supervisor *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->workers[i].respawn.looping;
    metrics_set(&s->shared->crash_looping, n);
}

static void worker_died(struct supervisor *s, size_t i, int status)
{
    struct worker *w = &s->workers[i];
    const bool was_looping = w->respawn.looping;
    int64_t now = clock_mono_us();
    /* Somebody has sent it SIGTERM: it has drained, and another takes its place at once. */
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_GOOD) {
        log_worker(LOG_INFO, "worker_ended", i, w->pid);
        w->start_at_us = now;
        return;
    }
    cache_shared_bury(s->cache, w->pid);
    struct log_line l;
    log_begin(&l, LOG_ERROR, "worker_died");
    log_int(&l, "worker", (int64_t)i);
    log_int(&l, "worker_pid", w->pid);
    if (WIFSIGNALED(status))
        log_int(&l, "signal", WTERMSIG(status));
    else
        log_int(&l, "status", WEXITSTATUS(status));
    int64_t delay = respawn_after_death(&w->respawn, w->started_us, now);
    log_int(&l, "restart_in_ms", delay / 1000);
    log_end(&l);
    w->start_at_us = now + delay;
    note_crash_loops(s);
    if (w->respawn.looping && !was_looping)
        log_say(LOG_ERROR, "crash_loop",
                "worker %zu died %d times within a minute; it is tried "
                "again each %d s",
                i, RESPAWN_DEATHS, (int)(delay / 1000000));
}

static void reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        size_t i = 0;
        while (i < s->n && s->workers[i].pid != pid)
            i++;
        if (i == s->n)
            continue; /* a child from before this program was run */
        shared_clear_gauges(&s->shared->slots[i]);
        bool is_misconfigured = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_MISCONFIGURED;
        if (s->stopping)
            log_worker(LOG_INFO, "worker_ended", i, pid);
        else if (!is_misconfigured)
            worker_died(s, i, status);
        s->workers[i].pid = 0;
        if (is_misconfigured && !s->stopping)
            misconfigured(s);
    }
}

static bool any_running(const struct supervisor *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->workers[i].pid > 0)
            return true;
    return false;
}

/* Starts what is due; gives the time at which there is something to do without a signal. */
static int64_t start_due(struct supervisor *s)
{
    int64_t next = INT64_MAX;
    if (s->stopping)
        return s->kill_at_us;
    for (size_t i = 0; i < s->n; i++) {
        struct worker *w = &s->workers[i];
        if (w->pid == 0 && w->start_at_us <= clock_mono_us())
            start_worker(s, i);
        if (w->pid == 0 && w->start_at_us < next)
            next = w->start_at_us;
    }
    return next;
}

static void take_signal(struct supervisor *s, int signo)
{
    if (signo == SIGHUP) {
        log_say(LOG_WARN, "signal_ignored", "SIGHUP: this version cannot reload its configuration");
    } else if (signo == SIGTERM || signo == SIGINT) {
        log_say(LOG_INFO, "stopping", "%s", s->stopping ? "at once" : "draining");
        stop(s, s->exit_status, s->stopping ? 0 : s->cfg->drain_s * 1000000 + kill_margin_us);
    }
}

static void watch(struct supervisor *s)
{
    while (!s->stopping || any_running(s)) {
        int64_t next = start_due(s);
        take_signal(s, signals_wait(&s->signals, next));
        reap(s);
        if (s->stopping && clock_mono_us() >= s->kill_at_us && any_running(s)) {
            log_say(LOG_WARN, "killing", "workers that did not end in time");
            signal_workers(s, SIGKILL);
            s->kill_at_us = INT64_MAX;
        }
    }
}

static enum err prepare(struct supervisor *s, char *why, size_t why_n)
{
    enum err e = listener_open(&s->listen, s->cfg->listen, why, why_n);
    if (e == ERR_NONE)
        e = listener_open(&s->admin, s->cfg->admin, why, why_n);
    if (e != ERR_NONE)
        return e;
    s->shared = shared_map(s->n);
    s->cache = cache_shared_map(s->cfg->hosts_one ? (size_t)s->cfg->memory : 0);
    s->workers = calloc(s->n, sizeof *s->workers);
    if (s->shared && s->cache && s->workers)
        return ERR_NONE;
    snprintf(why, why_n, "out of memory");
    return ERR_NOMEM;
}

int supervisor_run(const struct config *cfg, worker_fn worker)
{
    char why[320];
    struct supervisor s = {.cfg = cfg, .worker = worker, .n = supervisor_workers(cfg)};
    s.listen.fd = s.admin.fd = -1;
    s.exit_status = EXIT_FAULT;
    signals_block(&s.signals);
    if (prepare(&s, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "parley: %s\n", why);
    } else {
        s.exit_status = EXIT_GOOD;
        struct log_line l;
        log_begin(&l, LOG_INFO, "started");
        log_str(&l, "version", PARLEY_VERSION);
        log_int(&l, "workers", (int64_t)s.n);
        log_str(&l, "listen", cfg->listen);
        log_str(&l, "admin", cfg->admin);
        log_end(&l);
        watch(&s);
        log_say(LOG_INFO, "stopped", "all workers have ended");
    }
    listener_close(&s.listen);
    listener_close(&s.admin);
    shared_unmap(s.shared);
    cache_shared_unmap(s.cache);
    free(s.workers);
    return s.exit_status;
}

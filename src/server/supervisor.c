/* SPDX-License-Identifier: MIT */
/* The supervisor: opens what workers share, starts and restarts them, handles signals, stops the
 * service. */
#include "server_internal.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Time to find PostgreSQL, in addition to the time to connect to it. */
enum { ANNOUNCE_MS = 5000 };

/* Time for the other workers when one has found the configuration to be wrong. */
static const int64_t misconfigured_us = 2 * 1000000;

static void stop_service(struct supervisor *s, int status, int64_t within_us)
{
    s->stopping = true;
    s->exit_status = status;
    if (!s->successor.serves) {
        successor_forward(s, SIGTERM);
        if (s->predecessor.channel < 0)
            service_manager_notify("STOPPING=1\nSTATUS=serving the last requests");
    }
    /* From here on a connect fails at once and nginx answers; what has connected is served. Before
     * the signal: each worker empties the listener's queue when it gets that. */
    for (int i = 0; i < LISTENERS; i++)
        listener_stop(&s->listeners[i]);
    for (int i = 0; i < API_SLOTS_MAX; i++)
        worker_table_drain(s, i, within_us);
}

/* So that /readyz reports them. */
static void count_crash_loops(struct supervisor *s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->current->n; i++)
        n += respawn_is_looping(&s->current->slots[i].respawn, clock_mono_us());
    atomic_store(&s->run.shared->host.crash_looping, n);
}

static void worker_died(struct supervisor *s, int worker, pid_t pid, int status, int64_t restart_us)
{
    struct log_line l;
    atomic_fetch_add(&s->run.shared->host.deaths, 1);
    log_begin(&l, LOG_ERROR, "worker_died");
    log_int(&l, "worker", worker);
    log_int(&l, "worker_pid", pid);
    if (WIFSIGNALED(status))
        log_int(&l, "signal", WTERMSIG(status));
    else
        log_int(&l, "status", WEXITSTATUS(status));
    if (restart_us >= 0)
        log_int(&l, "restart_in_ms", restart_us / 1000);
    log_end(&l);
}

/* The time to wait before a worker is started in this slot again. */
static int64_t release_slot(struct worker_slot *slot, bool served, bool clean)
{
    const int64_t now = clock_mono_us();
    const bool was_looping = respawn_is_looping(&slot->respawn, now);
    /* A clean end: somebody sent it SIGTERM, and it has drained. */
    int64_t delay = clean ? 0 : respawn_after_death(&slot->respawn, served, now);
    slot->worker = NO_WORKER;
    slot->start_at_us = now + delay;
    if (respawn_is_looping(&slot->respawn, now) && !was_looping)
        log_say(LOG_ERROR, "crash_loop",
                "a worker died %d times within a minute; it is tried again after %d ms",
                RESPAWN_DEATHS, (int)(delay / 1000));
    return delay;
}

static bool exited_with(int status, int exit_status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == exit_status;
}

static void worker_ended(struct supervisor *s, pid_t pid, int status)
{
    bool was_draining;
    int64_t restart_us = -1;
    const bool clean = exited_with(status, EXIT_GOOD);
    if (successor_ended(s, pid, status))
        return;
    const int worker = worker_table_reap(s, pid, clean, &was_draining);
    if (worker == NO_WORKER)
        return; /* a child that this process had before it executed parley */
    struct worker_slot *slot = worker_set_slot_of(s->current, worker);
    if (!s->stopping && !was_draining && !reload_lost(s, worker) && slot) {
        if (s->predecessor.channel >= 0) { /* the predecessor continues to serve */
            const char *reason = s->run.shared->reports[worker].reason;
            fprintf(stderr, "parley: %s\n",
                    reason[0] ? reason : "a worker ended before it was ready");
            stop_service(s, EXIT_FAULT, misconfigured_us);
            return;
        }
        if (exited_with(status, EXIT_MISCONFIGURED) && !atomic_load(&s->run.shared->served)) {
            /* One line, however many workers found it. */
            fprintf(stderr, "parley: %s\n", s->run.shared->reports[worker].reason);
            stop_service(s, EXIT_MISCONFIGURED, misconfigured_us);
            return;
        }
        restart_us = release_slot(slot, worker_table_is_ready(s, worker), clean);
    }
    if (clean || s->stopping)
        worker_table_log(LOG_INFO, "worker_ended", worker, pid);
    else
        worker_died(s, worker, pid, status, restart_us);
}

static void start_due(struct supervisor *s)
{
    for (size_t i = 0; i < s->current->n; i++) {
        struct worker_slot *slot = &s->current->slots[i];
        const int64_t now = clock_mono_us();
        if (slot->worker != NO_WORKER || now < slot->start_at_us)
            continue;
        slot->worker = worker_table_start(s, s->current);
        if (slot->worker == NO_WORKER)
            slot->start_at_us = now + respawn_after_death(&slot->respawn, false, now);
    }
}

static void handle_signal(struct supervisor *s, int signo)
{
    if (s->successor.serves && (signo == SIGTERM || signo == SIGHUP || signo == SIGUSR2)) {
        successor_forward(s, signo);
    } else if (signo == SIGHUP && !s->stopping) {
        reload_request(s);
    } else if (signo == SIGUSR2 && !s->stopping) {
        s->successor.wanted = true;
    } else if (signo == SIGTERM || signo == SIGINT) {
        log_say(LOG_INFO, "stopping", "%s", s->stopping ? "at once" : "draining");
        stop_service(s, s->exit_status, s->stopping ? 0 : INT64_MAX);
    }
}

/* READY means that a worker is connected to PostgreSQL, or serves without it because PostgreSQL is
 * away. Faults of the configuration are found before. */
static void tell_service_manager(struct supervisor *s)
{
    const int64_t now = clock_mono_us(), pause = service_manager_watchdog_us();
    const bool served = atomic_load(&s->run.shared->served);
    const int state = served ? 2 : now >= s->announce_us;
    if (state > s->announced && !s->stopping && s->predecessor.channel < 0) {
        service_manager_notify("READY=1\nSTATUS=%s", served ? "serving" : "waiting for PostgreSQL");
        s->announced = state;
    }
    if (pause > 0 && now >= s->watchdog_us && !s->successor.serves && s->predecessor.channel < 0) {
        service_manager_notify("WATCHDOG=1");
        s->watchdog_us = now + pause;
    }
}

static void run_loop(struct supervisor *s)
{
    struct shared *shared = s->run.shared;
    /* Due work begins, and flags of workers are seen, at most this late. */
    static const struct timespec tick = {.tv_nsec = 50 * 1000000};
    while (!s->stopping || worker_table_any(s, false) ||
           (s->successor.pid > 0 && !s->successor.serves)) {
        tell_service_manager(s);
        metrics_history_step(&shared->history, shared->slots, atomic_load(&shared->host.n_slots));
        worker_table_kill_late(s);
        if (!s->stopping) {
            start_due(s);
            reload_step(s);
            successor_step(s);
            if (s->successor.serves)
                stop_service(s, s->exit_status, INT64_MAX);
            count_crash_loops(s);
        }
        handle_signal(s, sigtimedwait(&s->signals, NULL, &tick));
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
            worker_ended(s, pid, status);
    }
}

/* Signals are blocked and waited for, here and in workers: no signal handler runs any code. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR2);
    sigaddset(set, SIGCHLD);
    sigprocmask(SIG_BLOCK, set, NULL);
    /* sigtimedwait receives it all the same. Commands see in /proc that this program ignores it,
     * and so knows it. */
    (void)signal(SIGUSR2, SIG_IGN);
}

/* All sockets that are passed must be used, because nobody would answer on the others. A successor
 * must have exactly the sockets of its predecessor. */
static int open_listeners(struct supervisor *s, const struct config *cfg, char *why, size_t why_n)
{
    const char *const sockets[LISTENERS] = {cfg->listen, cfg->admin, cfg->health};
    int64_t passed = service_manager_sockets();
    s->run.listeners = s->listeners;
    for (int i = 0; i < LISTENERS; i++) {
        if (*sockets[i] && listener_open(&s->listeners[i], sockets[i], why, why_n) != ERR_NONE)
            return EXIT_FAULT;
        passed -= s->listeners[i].inherited;
        if (s->predecessor.pid > 0 && *sockets[i] && !s->listeners[i].inherited)
            passed = -1;
    }
    if (passed == 0 && (s->predecessor.pid == 0 || pidfile_is(s->pidfile_fd, cfg->listen)))
        return EXIT_GOOD;
    snprintf(why, why_n, "PARLEY_LISTEN, PARLEY_ADMIN and PARLEY_HEALTH %s",
             s->predecessor.pid > 0 ? "cannot change while the service runs: stop it and start it"
                                    : "do not name all sockets that the service manager passes");
    return EXIT_MISCONFIGURED;
}

/* EXIT_GOOD, or the status of the service and one line in why. */
static int open_shared(struct supervisor *s, const struct config *cfg, char *why, size_t why_n)
{
    if (!descriptors_enough(cfg, why, why_n))
        return EXIT_MISCONFIGURED;
    if (!successor_inherit(s))
        s->pidfile_fd = pidfile_open(cfg->listen, why, why_n);
    const int opened = s->pidfile_fd < 0 ? EXIT_FAULT : open_listeners(s, cfg, why, why_n);
    if (opened != EXIT_GOOD)
        return opened;
    s->run.cache = cache_shared_map((size_t)cfg->memory);
    if (!s->run.cache) {
        snprintf(why, why_n, "PARLEY_MEMORY: %lld bytes of memory are not available",
                 (long long)cfg->memory);
        return EXIT_MISCONFIGURED;
    }
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s->run.shared = shared;
    s->run.auth = auth_shared_map();
    s->run.hosts = db_hosts_shared_map(cfg->hosts_one, PARLEY_VERSION);
    s->current = worker_set_create(cfg, 1, server_workers(cfg));
    if (shared != MAP_FAILED && s->run.auth && s->run.hosts && s->current) {
        shared->host.started_at = clock_wall_us();
        atomic_store(&shared->foreign, listeners_foreign(s->listeners));
        atomic_store(&shared->host.worker_set, s->current->number);
        atomic_store(&shared->host.supervisor, getpid());
        return EXIT_GOOD;
    }
    snprintf(why, why_n, "out of memory");
    return EXIT_FAULT;
}

int supervisor_run(const struct config *cfg, char *const *argv, worker_fn worker)
{
    char why[320];
    struct supervisor s = {.worker = worker,
                           .argv = argv,
                           .pidfile_fd = -1,
                           .predecessor = {.channel = -1},
                           .listeners = {{.fd = -1}, {.fd = -1}, {.fd = -1}}};
    block_signals(&s.signals);
    /* Whoever reads the log may have gone: a write then fails and does not end the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    s.exit_status = open_shared(&s, cfg, why, sizeof why);
    if (s.exit_status != EXIT_GOOD) {
        fprintf(stderr, "parley: %s\n", why);
    } else {
        s.announce_us = clock_mono_us() + (cfg->connect_ms + ANNOUNCE_MS) * 1000;
        struct log_line l;
        log_begin(&l, LOG_INFO, "started");
        log_str(&l, "version", PARLEY_VERSION);
        log_int(&l, "workers", (int64_t)s.current->n);
        log_str(&l, "listen", cfg->listen);
        log_str(&l, "admin", cfg->admin);
        log_end(&l);
        run_loop(&s);
        log_say(LOG_INFO, "stopped", "all workers have ended");
    }
    for (int i = 0; i < LISTENERS; i++)
        listener_close(&s.listeners[i]);
    if (s.predecessor.channel >= 0) /* the predecessor keeps the pid file */
        s.exit_status = s.exit_status == EXIT_GOOD ? EXIT_FAULT : s.exit_status;
    else
        pidfile_close(s.pidfile_fd, cfg->listen);
    worker_set_destroy(s.current);
    worker_set_destroy(s.next);
    return s.exit_status;
}

/* SPDX-License-Identifier: MIT */
/*
 * The planned replacement of workers. The new ones are ready before the old ones are told to drain.
 *
 * Reload: the configuration is read and compared, a child checks it, a new worker set starts while
 * the current one serves. When all new workers are ready, the current set drains. A fault before
 * that moment ends the new set, and one log line says why; the current set stays.
 * Recycling: the same for the worker of one slot, one at a time.
 */
#include "supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"

/* How often the flags of workers are read: while something is under way, and else. */
static const int64_t busy_pause_us = 20 * 1000, idle_pause_us = 1000000;
/* Time for a check and for new workers, in addition to what the configuration allows PostgreSQL. */
static const int64_t check_margin_us = 2 * 1000000, start_margin_us = 5 * 1000000;
/* After failed recycling: an attempt at once would fail again. */
static const int64_t recycle_pause_us = 60 * 1000000;

static int64_t server_us(const struct config *cfg)
{
    return (cfg->connect_ms + cfg->statement_ms) * 1000;
}

/* Tells its workers to drain, and destroys it. NULL is fine. */
static void drain_set(struct supervisor *s, struct worker_set *set)
{
    for (size_t i = 0; set && i < set->n; i++)
        if (set->slots[i].worker != NO_WORKER)
            worker_table_drain(s, set->slots[i].worker, INT64_MAX);
    worker_set_destroy(set);
}

/* Counts and logs a refused reload and drops the next set. */
static void PRINTF_LIKE(2, 3) refuse_reload(struct supervisor *s, const char *fmt, ...)
{
    char why[2 * API_REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    log_say(LOG_ERROR, "reload_refused", "%s", why);
    api_host_set_reload_reason(&s->run.shared->host, why);
    atomic_fetch_add(&s->run.shared->host.reloads_refused, 1);
    drain_set(s, s->next);
    s->next = NULL;
}

void reload_request(struct supervisor *s)
{
    if (!s->reload_wanted && (s->next || s->replacement != NO_WORKER || worker_table_any(s, true)))
        log_say(LOG_INFO, "reload_waits", "until workers that are being replaced have ended");
    s->reload_wanted = true;
}

/* A setting that differs and must not: sockets and mappings are made before any worker, and what
 * the mappings hold belongs to one database. */
static const char *fixed_setting(const struct config *a, const struct config *b)
{
    const struct {
        bool same;
        const char *name;
    } settings[] = {{strcmp(a->listen, b->listen) == 0, "PARLEY_LISTEN"},
                    {strcmp(a->admin, b->admin) == 0, "PARLEY_ADMIN"},
                    {a->hosts_one == b->hosts_one, "PARLEY_HOSTS"},
                    {a->memory == b->memory, "PARLEY_MEMORY"},
                    {strcmp(a->database_url, b->database_url) == 0, "DATABASE_URL"}};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (!settings[i].same)
            return settings[i].name;
    return NULL;
}

static void run_check(const struct supervisor *s, pid_t parent)
{
    char why[API_REASON_MAX];
    /* The parent logs the reason. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!signals_follow_parent(parent, SIGKILL) || null < 0 || dup2(null, STDERR_FILENO) < 0)
        _exit(EXIT_FAULT);
    if (s->check(s->next->cfg, why, sizeof why))
        _exit(EXIT_GOOD);
    shared_set_reason(s->run.shared, why);
    _exit(EXIT_FAULT);
}

static void start_check(struct supervisor *s)
{
    const pid_t parent = getpid();
    shared_clear_reason(s->run.shared);
    s->due_us = clock_mono_us() + server_us(s->next->cfg) + check_margin_us;
    const pid_t pid = fork();
    if (pid == 0)
        run_check(s, parent);
    if (pid > 0)
        s->checker = pid;
    else
        refuse_reload(s, "fork: %s", strerror(errno));
}

static void begin_reload(struct supervisor *s)
{
    char why[512];
    struct config cfg;
    s->reload_wanted = false;
    if (config_load(&cfg, s->current->cfg->file, why, sizeof why) != ERR_NONE) {
        refuse_reload(s, "%s", why);
        return;
    }
    s->next = worker_set_create(&cfg, s->current->number + 1);
    if (!s->next) {
        config_free(&cfg);
        refuse_reload(s, "out of memory");
        return;
    }
    s->next->loaded = cfg;
    s->next->cfg = &s->next->loaded;
    const char *fixed = fixed_setting(s->current->cfg, &cfg);
    if (fixed)
        refuse_reload(s, "%s cannot change while the service runs: stop it and start it", fixed);
    else if (!cache_url_valid(cfg.redis_url, why, sizeof why))
        refuse_reload(s, "REDIS_URL: %s", why);
    else if (!descriptors_enough(&cfg, why, sizeof why))
        refuse_reload(s, "%s", why);
    else
        start_check(s);
}

static void start_next(struct supervisor *s)
{
    s->due_us = clock_mono_us() + server_us(s->next->cfg) + start_margin_us;
    for (size_t i = 0; s->next && i < s->next->n; i++) {
        s->next->slots[i].worker = worker_table_start(s, s->next, true);
        if (s->next->slots[i].worker == NO_WORKER)
            refuse_reload(s, "a new worker could not be started");
    }
}

void reload_checked(struct supervisor *s, int status)
{
    const char *reason = shared_reason(s->run.shared);
    s->checker = 0;
    if (!s->next)
        return; /* the service is ending */
    if (!WIFEXITED(status))
        refuse_reload(s, "the check of the connections ended by signal %d, or not in time",
                      WTERMSIG(status));
    else if (WEXITSTATUS(status) != EXIT_GOOD)
        refuse_reload(s, "%s", reason ? reason : "the check of the connections failed");
    else
        start_next(s);
}

static void set_serving(struct supervisor *s, int worker)
{
    atomic_store(&s->run.shared->host.workers[worker].state, API_WORKER_SERVING);
}

static void activate_next(struct supervisor *s)
{
    struct worker_set *old = s->current;
    struct api_host *host = &s->run.shared->host;
    struct log_line l;
    s->current = s->next;
    s->next = NULL;
    for (size_t i = 0; i < s->current->n; i++)
        set_serving(s, s->current->slots[i].worker);
    drain_set(s, old);
    atomic_store(&host->worker_set, s->current->number);
    atomic_store(&host->crash_looping, 0);
    atomic_fetch_add(&host->reloads, 1);
    api_host_set_reload_reason(host, "");
    log_begin(&l, LOG_INFO, "reloaded");
    log_int(&l, "worker_set", s->current->number);
    log_int(&l, "workers", (int64_t)s->current->n);
    log_end(&l);
}

static void continue_reload(struct supervisor *s)
{
    const bool late = clock_mono_us() >= s->due_us;
    size_t ready = 0;
    if (s->checker > 0) {
        if (late)
            (void)kill(s->checker, SIGKILL); /* reload_checked is called then */
        return;
    }
    while (ready < s->next->n && worker_table_is_ready(s, s->next->slots[ready].worker))
        ready++;
    if (ready == s->next->n)
        activate_next(s);
    else if (late)
        refuse_reload(s, "a new worker was not ready in time");
}

static void fail_recycling(struct supervisor *s, const char *why)
{
    log_say(LOG_ERROR, "recycle_failed", "%s; the old worker stays for now", why);
    s->replacement = NO_WORKER;
    s->recycle_us = clock_mono_us() + recycle_pause_us;
}

/* Replaces the oldest of those that want it. The first one found would not do: with short lives the
 * last slots would never be reached. */
static void begin_recycling(struct supervisor *s)
{
    int oldest = NO_WORKER;
    for (size_t i = 0; i < s->current->n; i++) {
        const int worker = s->current->slots[i].worker;
        if (worker == NO_WORKER || !atomic_load(&s->run.shared->flags[worker].wants_replacement))
            continue;
        if (oldest == NO_WORKER || s->workers[worker].started_us < s->workers[oldest].started_us) {
            oldest = worker;
            s->replaced_slot = i;
        }
    }
    if (oldest == NO_WORKER)
        return;
    shared_clear_reason(s->run.shared);
    s->due_us = clock_mono_us() + server_us(s->current->cfg) + start_margin_us;
    s->replacement = worker_table_start(s, s->current, true);
    if (s->replacement == NO_WORKER)
        fail_recycling(s, "no worker could be started");
}

static void continue_recycling(struct supervisor *s)
{
    struct worker_slot *slot = &s->current->slots[s->replaced_slot];
    if (worker_table_is_ready(s, s->replacement)) {
        if (slot->worker != NO_WORKER)
            worker_table_drain(s, slot->worker, INT64_MAX);
        slot->worker = s->replacement;
        s->replacement = NO_WORKER;
        set_serving(s, slot->worker);
        atomic_fetch_add(&s->run.shared->host.recycled, 1);
        worker_table_log(LOG_INFO, "recycled", slot->worker, s->workers[slot->worker].pid);
    } else if (clock_mono_us() >= s->due_us) {
        worker_table_drain(s, s->replacement, INT64_MAX);
        fail_recycling(s, "a new worker was not ready in time");
    }
}

int64_t reload_step(struct supervisor *s)
{
    if (s->next)
        continue_reload(s);
    else if (s->replacement != NO_WORKER)
        continue_recycling(s);
    else if (s->reload_wanted && !worker_table_any(s, true))
        begin_reload(s);
    else if (clock_mono_us() >= s->recycle_us && !worker_table_any(s, true))
        begin_recycling(s);
    const int64_t pause = s->next || s->replacement != NO_WORKER ? busy_pause_us : idle_pause_us;
    return clock_mono_us() + pause;
}

bool reload_lost(struct supervisor *s, int worker, int status)
{
    const char *reason = shared_reason(s->run.shared);
    const char *why = process_exited_with(status, EXIT_MISCONFIGURED) && reason
                          ? reason
                          : "a new worker ended before it was ready";
    struct worker_slot *slot = s->next ? worker_set_slot_of(s->next, worker) : NULL;
    if (slot) {
        slot->worker = NO_WORKER;
        refuse_reload(s, "%s", why);
        return true;
    }
    if (worker != s->replacement)
        return false;
    fail_recycling(s, why);
    return true;
}

void reload_stop(struct supervisor *s)
{
    s->reload_wanted = false;
    if (s->checker > 0)
        (void)kill(s->checker, SIGKILL);
    worker_set_destroy(s->next);
    s->next = NULL;
    s->replacement = NO_WORKER;
}

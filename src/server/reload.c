/* SPDX-License-Identifier: MIT */
/*
 * The planned replacement of workers. The new ones are ready before the old ones are told to drain.
 *
 * Reload: the configuration is read and compared, a new worker set starts while the current one
 * serves. When all new workers have PostgreSQL, the current set drains. A fault before that moment
 * ends the new set, and one log line says why; the current set stays.
 * Recycling: the same for the worker of one slot, one at a time; the new set has one slot.
 */
#include "server_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Time for new workers, in addition to what the configuration allows PostgreSQL. */
static const int64_t start_margin_us = 5 * 1000000;
/* After failed recycling: an attempt at once would fail again. */
static const int64_t recycle_pause_us = 60 * 1000000;

/* Tells its workers to drain, and destroys it. NULL is fine. */
static void drain_set(struct supervisor *s, struct worker_set *set)
{
    for (size_t i = 0; set && i < set->n; i++)
        if (set->slots[i].worker != NO_WORKER)
            worker_table_drain(s, set->slots[i].worker, INT64_MAX);
    worker_set_destroy(set);
}

/* Refuses a reload or gives up recycling, and drops the next set. */
void reload_refuse(struct supervisor *s, const char *fmt, ...)
{
    struct api_host *host = &s->run.shared->host;
    char why[2 * API_REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (s->recycled) {
        log_say(LOG_ERROR, "recycle_failed", "%s; the old worker stays for now", why);
        s->recycle_us = clock_mono_us() + recycle_pause_us;
    } else {
        log_say(LOG_ERROR, "reload_refused", "%s", why);
        api_host_set_reload_reason(host, why);
        atomic_fetch_add(&host->reloads_refused, 1);
        for (char *p = why; (p = strchr(p, '\n'));)
            *p = ' '; /* the pid file and the service manager take one line */
        (void)pidfile_write(s->pidfile_fd, s->reloads_begun, "refused: ", why);
        service_manager_notify("READY=1\nSTATUS=serving; the last reload was refused: %s", why);
    }
    drain_set(s, s->next);
    s->next = NULL;
    s->recycled = NULL;
}

bool reload_may_begin(const struct supervisor *s)
{
    const bool predecessor_drains = s->predecessor.pid > 0 && getppid() == s->predecessor.pid;
    return s->successor.pid == 0 && !predecessor_drains && !worker_table_any(s, true);
}

void reload_begin(struct supervisor *s)
{
    s->reloads_begun++;
    (void)pidfile_write(s->pidfile_fd, s->reloads_begun, "running", "");
    service_manager_notify("RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
}

void reload_request(struct supervisor *s)
{
    if (!s->reload_wanted && (s->next || worker_table_any(s, true)))
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
                    {strcmp(a->health, b->health) == 0, "PARLEY_HEALTH"},
                    {a->hosts_one == b->hosts_one, "PARLEY_HOSTS"},
                    {a->memory == b->memory, "PARLEY_MEMORY"},
                    {!*a->log_file == !*b->log_file, "PARLEY_LOG_FILE"},
                    {strcmp(a->database_url, b->database_url) == 0, "DATABASE_URL"}};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (!settings[i].same)
            return settings[i].name;
    return NULL;
}

static void start_next(struct supervisor *s)
{
    const struct config *cfg = s->next->cfg;
    s->due_us = clock_mono_us() + (cfg->connect_ms + cfg->statement_ms) * 1000 + start_margin_us;
    for (size_t i = 0; s->next && i < s->next->n; i++) {
        s->next->slots[i].worker = worker_table_start(s, s->next);
        if (s->next->slots[i].worker == NO_WORKER)
            reload_refuse(s, "a new worker could not be started");
    }
}

static void begin_reload(struct supervisor *s)
{
    char why[512];
    struct config cfg;
    s->reload_wanted = false;
    reload_begin(s);
    const enum err e = config_load(&cfg, s->current->cfg->file, why, sizeof why);
    if (e == ERR_NONE)
        s->next = worker_set_create(&cfg, s->current->number + 1, server_workers(&cfg));
    if (!s->next) {
        config_free(&cfg);
        reload_refuse(s, "%s", e == ERR_NONE ? "out of memory" : why);
        return;
    }
    s->next->loaded = cfg;
    s->next->cfg = &s->next->loaded;
    const char *fixed = fixed_setting(s->current->cfg, &cfg);
    if (fixed)
        reload_refuse(s, "%s cannot change while the service runs: stop it and start it", fixed);
    else if (!cache_url_valid(cfg.redis_url, why, sizeof why))
        reload_refuse(s, "REDIS_URL: %s", why);
    else if (!descriptors_enough(&cfg, why, sizeof why))
        reload_refuse(s, "%s", why);
    else if (!log_can_open(cfg.log_file))
        reload_refuse(s, "PARLEY_LOG_FILE: %s: %s", cfg.log_file, strerror(errno));
    else
        start_next(s);
}

/* The workers of the next set serve from now on. */
static void activate_next(struct supervisor *s)
{
    struct worker_set *old = s->current;
    struct api_host *host = &s->run.shared->host;
    struct log_line l;
    for (size_t i = 0; i < s->next->n; i++)
        atomic_store(&host->workers[s->next->slots[i].worker].state, API_WORKER_SERVING);
    s->current = s->next;
    s->next = NULL;
    if (*s->current->cfg->log_file)
        (void)!log_open(s->current->cfg->log_file); /* log_can_open was true just now */
    drain_set(s, old);
    atomic_store(&host->worker_set, s->current->number);
    atomic_store(&host->crash_looping, 0);
    atomic_fetch_add(&host->reloads, 1);
    api_host_set_reload_reason(host, "");
    (void)pidfile_write(s->pidfile_fd, s->reloads_begun, "done", "");
    service_manager_notify("READY=1\nSTATUS=serving");
    log_begin(&l, LOG_INFO, "reloaded");
    log_int(&l, "worker_set", s->current->number);
    log_int(&l, "workers", (int64_t)s->current->n);
    log_end(&l);
}

/* Puts the one worker of the next set into the slot that is recycled. */
static void fill_recycled(struct supervisor *s)
{
    struct api_host *host = &s->run.shared->host;
    const int worker = s->next->slots[0].worker;
    if (s->recycled->worker != NO_WORKER)
        worker_table_drain(s, s->recycled->worker, INT64_MAX);
    s->recycled->worker = worker;
    s->recycled = NULL;
    worker_set_destroy(s->next);
    s->next = NULL;
    atomic_store(&host->workers[worker].state, API_WORKER_SERVING);
    atomic_fetch_add(&host->recycled, 1);
    worker_table_log(LOG_INFO, "recycled", worker, s->workers[worker].pid);
}

static void continue_next(struct supervisor *s)
{
    const bool ready = worker_set_is_ready(s, s->next);
    if (!ready && clock_mono_us() >= s->due_us)
        reload_refuse(s, "a new worker was not ready in time");
    else if (ready && s->recycled)
        fill_recycled(s);
    else if (ready)
        activate_next(s);
}

/* Replaces the oldest of those that want it. The first one found would not do: with short lives the
 * last slots would never be reached. */
static void begin_recycling(struct supervisor *s)
{
    struct worker_slot *oldest = NULL;
    for (size_t i = 0; i < s->current->n; i++) {
        struct worker_slot *slot = &s->current->slots[i];
        if (slot->worker != NO_WORKER &&
            atomic_load(&s->run.shared->reports[slot->worker].wants_replacement) &&
            (!oldest ||
             s->workers[slot->worker].started_us < s->workers[oldest->worker].started_us))
            oldest = slot;
    }
    if (!oldest)
        return;
    s->recycled = oldest;
    s->next = worker_set_create(s->current->cfg, s->current->number, 1);
    if (s->next)
        start_next(s);
    else
        reload_refuse(s, "out of memory");
}

void reload_step(struct supervisor *s)
{
    if (s->next)
        continue_next(s);
    else if (!reload_may_begin(s))
        return;
    else if (s->reload_wanted)
        begin_reload(s);
    else if (clock_mono_us() >= s->recycle_us && !s->successor.wanted)
        begin_recycling(s);
}

bool reload_lost(struct supervisor *s, int worker)
{
    const char *reason = s->run.shared->reports[worker].reason;
    struct worker_slot *slot = s->next ? worker_set_slot_of(s->next, worker) : NULL;
    if (!slot)
        return false;
    slot->worker = NO_WORKER;
    reload_refuse(s, "%s", reason[0] ? reason : "a new worker ended before it was ready");
    return true;
}

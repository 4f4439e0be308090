/* SPDX-License-Identifier: MIT */
/*
 * The planned replacement of workers. Those that come are ready before those that go are told to.
 *
 * Reload: the configuration is read and compared, a child checks it, a new generation starts beside
 * the present one, and when all of its workers are ready the present one leaves. Until that moment
 * a fault anywhere means that the present one stays: what was begun ends, one line says why.
 * Recycling: the same for a single seat, one at a time.
 */
#include "supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"

/* How often a ready word is looked for; and a wish to be replaced, while nothing is under way. */
static const int64_t soon_us = 20 * 1000, tick_us = 1000000;
/* For a check and for new workers, beyond what the configuration allows to PostgreSQL. */
static const int64_t check_margin_us = 2 * 1000000, start_margin_us = 5 * 1000000;
/* After recycling that failed: the same would happen again. */
static const int64_t recycle_pause_us = 60 * 1000000;

struct generation *generation_create(const struct config *cfg, int64_t number)
{
    const size_t n = supervisor_workers(cfg);
    struct generation *g = calloc(1, sizeof *g + n * sizeof g->seats[0]);
    if (!g)
        return NULL;
    g->number = number;
    g->cfg = cfg;
    g->n = n;
    for (size_t i = 0; i < n; i++)
        g->seats[i].holder = NOBODY;
    return g;
}

void generation_destroy(struct generation *g)
{
    if (g)
        config_free(&g->loaded);
    free(g);
}

struct seat *generation_seat(struct generation *g, int slot)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->seats[i].holder == slot)
            return &g->seats[i];
    return NULL;
}

static int64_t server_us(const struct config *cfg)
{
    return (cfg->connect_ms + cfg->statement_ms) * 1000;
}

/* Tells its workers to leave, and destroys it. NULL is fine. */
static void generation_leave(struct supervisor *s, struct generation *g)
{
    for (size_t i = 0; g && i < g->n; i++)
        if (g->seats[i].holder != NOBODY)
            worker_table_leave(s, g->seats[i].holder, INT64_MAX);
    generation_destroy(g);
}

/* Counts and logs a refused reload and drops the next generation. Always false: begin's result. */
static bool PRINTF_LIKE(2, 3) refuse(struct supervisor *s, const char *fmt, ...)
{
    char why[2 * API_REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    log_say(LOG_ERROR, "reload_refused", "%s", why);
    api_host_set_reload_reason(&s->run.shared->host, why);
    atomic_fetch_add(&s->run.shared->host.reloads_refused, 1);
    generation_leave(s, s->next);
    s->next = NULL;
    return false;
}

void reload_ask(struct supervisor *s)
{
    if (!s->reload_wanted && (s->next || s->heir != NOBODY || worker_table_any(s, true)))
        log_say(LOG_INFO, "reload_waits", "until workers that are being replaced have ended");
    s->reload_wanted = true;
}

/* Sockets and mappings are older than any worker, and what they hold is of one database. */
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
    /* The one line is refuse's. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (!signals_follow_parent(parent, SIGKILL) || null < 0 || dup2(null, STDERR_FILENO) < 0)
        _exit(EXIT_FAULT);
    if (s->check(s->next->cfg, why, sizeof why))
        _exit(EXIT_GOOD);
    shared_set_reason(s->run.shared, why);
    _exit(EXIT_FAULT);
}

static bool begin(struct supervisor *s)
{
    char why[512];
    struct config cfg;
    const pid_t parent = getpid();
    s->reload_wanted = false;
    if (config_load(&cfg, s->now->cfg->file, why, sizeof why) != ERR_NONE)
        return refuse(s, "%s", why);
    s->next = generation_create(&cfg, s->now->number + 1);
    if (!s->next) {
        config_free(&cfg);
        return refuse(s, "out of memory");
    }
    s->next->loaded = cfg;
    s->next->cfg = &s->next->loaded;
    const char *fixed = fixed_setting(s->now->cfg, &cfg);
    if (fixed)
        return refuse(s, "%s cannot change while the service runs: stop it and start it", fixed);
    if (cfg.redis_url[0] && !cache_url_valid(cfg.redis_url, why, sizeof why))
        return refuse(s, "REDIS_URL: %s", why);
    if (!descriptors_enough(&cfg, why, sizeof why))
        return refuse(s, "%s", why);
    shared_clear_reason(s->run.shared);
    s->due_us = clock_mono_us() + server_us(&cfg) + check_margin_us;
    s->checker = fork();
    if (s->checker == 0)
        run_check(s, parent);
    if (s->checker > 0)
        return true;
    s->checker = 0;
    return refuse(s, "fork: %s", strerror(errno));
}

/* Starts the workers of the next generation. */
static void start_next(struct supervisor *s)
{
    s->due_us = clock_mono_us() + server_us(s->next->cfg) + start_margin_us;
    for (size_t i = 0; s->next && i < s->next->n; i++) {
        s->next->seats[i].holder = worker_table_start(s, s->next, true);
        if (s->next->seats[i].holder == NOBODY)
            (void)refuse(s, "a new worker could not be started");
    }
}

void reload_checked(struct supervisor *s, int status)
{
    const char *reason = shared_reason(s->run.shared);
    s->checker = 0;
    if (!s->next)
        return; /* the service is ending */
    if (!WIFEXITED(status))
        (void)refuse(s, "the check of the connections ended by signal %d, or not in time",
                     WTERMSIG(status));
    else if (WEXITSTATUS(status) != EXIT_GOOD)
        (void)refuse(s, "%s", reason ? reason : "the check of the connections failed");
    else
        start_next(s);
}

static void set_serving(struct supervisor *s, int slot)
{
    atomic_store(&s->run.shared->host.workers[slot].state, API_WORKER_SERVING);
}

static void take_over(struct supervisor *s)
{
    struct generation *old = s->now;
    struct api_host *host = &s->run.shared->host;
    struct log_line l;
    s->now = s->next;
    s->next = NULL;
    for (size_t i = 0; i < s->now->n; i++)
        set_serving(s, s->now->seats[i].holder);
    generation_leave(s, old);
    atomic_store(&host->generation, s->now->number);
    atomic_store(&host->seats, (int64_t)s->now->n);
    atomic_store(&host->crash_looping, 0);
    atomic_fetch_add(&host->reloads, 1);
    api_host_set_reload_reason(host, "");
    log_begin(&l, LOG_INFO, "reloaded");
    log_int(&l, "generation", s->now->number);
    log_int(&l, "workers", (int64_t)s->now->n);
    log_end(&l);
}

static void go_on(struct supervisor *s)
{
    const bool late = clock_mono_us() >= s->due_us;
    size_t ready = 0;
    if (s->checker > 0) {
        if (late)
            (void)kill(s->checker, SIGKILL); /* its end is told by reload_checked */
        return;
    }
    while (ready < s->next->n && worker_table_is_ready(s, s->next->seats[ready].holder))
        ready++;
    if (ready == s->next->n)
        take_over(s);
    else if (late)
        (void)refuse(s, "a new worker was not ready in time");
}

static void recycle_failed(struct supervisor *s, const char *why)
{
    log_say(LOG_ERROR, "recycle_failed", "%s; the old worker stays for now", why);
    s->heir = NOBODY;
    s->recycle_us = clock_mono_us() + recycle_pause_us;
}

/* The oldest of those that wish: with short lives the first seats would leave the last no turn. */
static void recycle_begin(struct supervisor *s)
{
    int oldest = NOBODY;
    for (size_t i = 0; i < s->now->n; i++) {
        const int holder = s->now->seats[i].holder;
        if (holder == NOBODY || !atomic_load(&s->run.shared->words[holder].wishes))
            continue;
        if (oldest == NOBODY || s->workers[holder].started_us < s->workers[oldest].started_us) {
            oldest = holder;
            s->heir_seat = i;
        }
    }
    if (oldest == NOBODY)
        return;
    shared_clear_reason(s->run.shared);
    s->due_us = clock_mono_us() + server_us(s->now->cfg) + start_margin_us;
    s->heir = worker_table_start(s, s->now, true);
    if (s->heir == NOBODY)
        recycle_failed(s, "no worker could be started");
}

static void recycle_go_on(struct supervisor *s)
{
    struct seat *seat = &s->now->seats[s->heir_seat];
    if (worker_table_is_ready(s, s->heir)) {
        if (seat->holder != NOBODY)
            worker_table_leave(s, seat->holder, INT64_MAX);
        seat->holder = s->heir;
        s->heir = NOBODY;
        set_serving(s, seat->holder);
        atomic_fetch_add(&s->run.shared->host.recycled, 1);
        worker_table_log(LOG_INFO, "recycled", seat->holder, s->workers[seat->holder].pid);
    } else if (clock_mono_us() >= s->due_us) {
        worker_table_leave(s, s->heir, INT64_MAX);
        recycle_failed(s, "a new worker was not ready in time");
    }
}

int64_t reload_step(struct supervisor *s)
{
    if (s->next)
        go_on(s);
    else if (s->heir != NOBODY)
        recycle_go_on(s);
    else if (s->reload_wanted && !worker_table_any(s, true))
        (void)begin(s);
    else if (clock_mono_us() >= s->recycle_us && !worker_table_any(s, true))
        recycle_begin(s);
    const int64_t pause = s->next || s->heir != NOBODY ? soon_us : tick_us;
    return clock_mono_us() + pause;
}

bool reload_lost(struct supervisor *s, int slot, int status)
{
    const char *reason = shared_reason(s->run.shared);
    const char *why = exited_with(status, EXIT_MISCONFIGURED) && reason
                          ? reason
                          : "a new worker ended before it was ready";
    struct seat *seat = s->next ? generation_seat(s->next, slot) : NULL;
    if (seat) {
        seat->holder = NOBODY;
        (void)refuse(s, "%s", why);
        return true;
    }
    if (slot != s->heir)
        return false;
    recycle_failed(s, why);
    return true;
}

void reload_stop(struct supervisor *s)
{
    s->reload_wanted = false;
    if (s->checker > 0)
        (void)kill(s->checker, SIGKILL);
    generation_destroy(s->next);
    s->next = NULL;
    s->heir = NOBODY;
}

/* SPDX-License-Identifier: MIT */
/*
 * A worker: the pool, the cache, the session service and two FastCGI servers, all opened after the
 * fork. Its first thread does periodic work and waits for SIGTERM. Operations have a socket and a
 * thread of their own, so that they answer when every handler thread is stuck.
 */
#include "server_internal.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parley/db/migrate.h"
#include "parley/fcgi/fcgi.h"

enum {
    TICK_MS = 100,
    START_TICK_MS = 5,
    TRIM_TICKS = 100,
    DRAIN_TICK_MS = 20,
    STOP_GRACE_MS = 1000,
    HANG_MARGIN_MS = 10000, /* a handler hangs after 2 * PARLEY_REQUEST_MS and this */
    BEGIN_MS = 3000,        /* to register, in addition to the time to connect to PostgreSQL */
    /* How long a quarantine outlives the longest write that it may have to cover. */
    QUARANTINE_MARGIN_MS = 2000,
    CACHE_VALUE_MAX = 128 * 1024,
    /* What a request may take in addition to several copies of its body and of a page of messages:
     * text on its way in and out, and buffers that grow by doubling. */
    ARENA_BASE = 8 * 1024 * 1024,
    ARENA_COPIES = 4
};

struct worker {
    const struct worker_run *run;
    pid_t parent;
    struct db_hosts *hosts;
    struct api_service service;
    struct fcgi_server *server, *admin;
    struct deadline begin_by;
    bool was_up;                   /* PostgreSQL has been usable, and the keys are there */
    unsigned long long recycle_at; /* requests; 0: never */
};

static struct db *open_db(const struct worker *w)
{
    const struct config *cfg = w->run->cfg;
    struct db_settings settings = db_settings_from(cfg);
    settings.hosts = w->run->hosts;
    settings.warns = w->run->worker == 0;
    settings.app_name = "parley";
    settings.pool_min = (int)cfg->pool_min;
    settings.pool_max = (int)cfg->pool_max;
    /* Twice: during a reload the pools of two worker sets are open, and PostgreSQL must have
     * connections for both. */
    settings.workers = 2 * (int)server_workers(cfg);
    return db_open(&settings, w->service.slot);
}

struct cache_settings cache_settings_from(const struct config *cfg)
{
    return (struct cache_settings){
        .redis_url = cfg->redis_url,
        .redis_timeout_ms = (int)cfg->redis_ms,
        .quarantine_ms = (int)cfg->request_ms + QUARANTINE_MARGIN_MS,
        .value_seconds = cfg->cache_s,
        /* A value may not be larger than an answer: a read shortens it, but a write does not. */
        .value_max = cfg->page_bytes < CACHE_VALUE_MAX ? (size_t)cfg->page_bytes : CACHE_VALUE_MAX,
        .layout = {SESSION_LAYOUT, cfg->page_bytes},
    };
}

static void outdate_cache(void *cache)
{
    cache_shared_outdate(cache);
}

static enum err start_servers(struct worker *w)
{
    const struct config *cfg = w->run->cfg;
    const struct fcgi_settings admin = {
        .listen_fd = w->run->listeners[LISTENER_ADMIN].fd,
        .threads = 1,
        .connections = DESCRIPTORS_ADMIN - 1, /* see fcgi_settings */
        .max_body = 1024,
        .arena_limit = ARENA_BASE,
        .io_timeout_ms = (int)cfg->request_ms,
        .answer = ops_dispatch,
        .allow = cfg->listen_allow,
        .service = &w->service,
    };
    struct fcgi_settings handlers = admin;
    handlers.listen_fd = w->run->listeners[LISTENER_CLIENTS].fd;
    handlers.threads = (int)cfg->threads;
    /* This worker's share of the processors, at least one. With more threads that poll, each of
     * them gathers fewer reads (measured). */
    const size_t share = server_cores() / server_workers(cfg);
    handlers.pollers = share > 0 ? (int)share : 1;
    handlers.connections = (size_t)descriptors_for_nginx(cfg);
    handlers.max_body = (size_t)cfg->max_body;
    handlers.body_memory = (size_t)cfg->body_memory;
    handlers.body_copies = CONFIG_BODY_COPIES;
    handlers.arena_limit =
        ARENA_BASE + ARENA_COPIES * ((size_t)cfg->max_body + (size_t)cfg->page_bytes);
    handlers.answer = api_dispatch;
    handlers.gathers = api_gathers;
    handlers.read_ahead = api_read_ahead;
    handlers.slot = w->service.slot;
    TRY(fcgi_server_start(&admin, &w->admin));
    return fcgi_server_start(&handlers, &w->server);
}

static void each_setting(const void *settings, api_setting_fn each, void *arg)
{
    config_each(settings, false, each, arg);
}

static enum err open_all(struct worker *w)
{
    const struct config *cfg = w->run->cfg;
    const struct sessions_settings sessions = {.ttl_seconds = cfg->session_ttl,
                                               .state_bytes = cfg->max_body,
                                               .user_state_bytes = cfg->max_state,
                                               .messages_max = cfg->session_messages,
                                               .page_bytes = cfg->page_bytes,
                                               .sweep_s = cfg->sweep_s,
                                               .search = cfg->search,
                                               .statement_ms = (int)cfg->statement_ms,
                                               .cache_seconds = cfg->cache_s,
                                               /* The queue drops a value after two time-outs. */
                                               .store_ms = cfg->request_ms + 4 * cfg->redis_ms,
                                               .hosts = w->run->hosts};
    const struct auth_settings auth = {.keys = cfg->auth_keys,
                                       .stale_s = cfg->keys_stale,
                                       .requests = cfg->tenant_requests,
                                       .sessions = cfg->tenant_sessions,
                                       .counted = cfg->metrics_tenants,
                                       .shared = w->run->auth,
                                       .hosts = w->run->hosts};
    const struct db_hosts_settings hosts = {.shared = w->run->hosts,
                                            .slot = w->run->worker,
                                            .workers = (int)server_workers(cfg),
                                            .statement_ms = (int)cfg->statement_ms,
                                            .before_alone = outdate_cache,
                                            .arg = w->run->cache};
    struct api_service *service = &w->service;
    *service = (struct api_service){
        .hosts = w->run->hosts,
        .request_ms = cfg->request_ms,
        .queue_ms = cfg->queue_ms,
        .slow_ms = cfg->slow_ms,
        .log_debug = cfg->log_debug,
        .slot = &w->run->shared->slots[w->run->worker],
        .slots = w->run->shared->slots,
        .host = &w->run->shared->host,
        .history = &w->run->shared->history,
        .version = PARLEY_VERSION,
        .each_setting = each_setting,
        .settings = cfg,
        .known_roles = cfg->known_roles,
        .search = cfg->search,
        .items_max = cfg->items_max,
        .cors_origins = cfg->cors_origins,
        .operations_allow = cfg->operations_allow,
        .exports_max = (int)((cfg->threads < cfg->pool_max ? cfg->threads : cfg->pool_max) + 3) / 4,
        .exports_lock = PTHREAD_MUTEX_INITIALIZER,
        .calls_lock = PTHREAD_MUTEX_INITIALIZER,
    };
    service->db = open_db(w);
    if (!service->db)
        return ERR_NOMEM;
    service->auth = auth_open(&auth, service->db);
    struct cache_settings cache = cache_settings_from(cfg);
    cache.shared = w->run->cache;
    service->cache = cache_open(&cache, service->slot);
    w->hosts = db_hosts_open(&hosts, service->db);
    if (!service->auth || !service->cache || !w->hosts)
        return ERR_NOMEM;
    service->sessions = sessions_open(&sessions, service->db, service->cache, service->slot);
    return service->sessions ? ERR_NONE : ERR_NOMEM;
}

/* Whether the worker cannot begin: the configuration is wrong, or PostgreSQL is away and others
 * serve. False once PostgreSQL has been usable, to this worker or, unless it replaces one, to any
 * of this host: /readyz shows a later fault (a newer schema), it is tried again, and reads
 * of cached values go on. */
static bool cannot_begin(struct worker *w)
{
    struct db_status status;
    db_status(w->service.db, &status);
    const bool replaces = w->run->replaces, served = atomic_load(&w->run->shared->served);
    const bool wrong = status.state == DB_MISCONFIGURED && (replaces || !served);
    const bool away = status.state == DB_DOWN && replaces;
    w->was_up = w->was_up || (status.state == DB_UP && auth_is_ready(w->service.auth));
    if (w->was_up || !(wrong || away))
        return false;
    snprintf(w->run->shared->reports[w->run->worker].reason, API_REASON_MAX, "%s", status.reason);
    return true;
}

/* Waits up to ms for SIGTERM; whether it came. */
static bool told_to_end(const sigset_t *term, long ms)
{
    const struct timespec ts = {.tv_nsec = ms * 1000000};
    return sigtimedwait(term, NULL, &ts) == SIGTERM;
}

/* Serves until nginx has closed its connections, or the time is over. Closing a connection from
 * here just as nginx writes to it would give a POST a 502. */
static void drain(struct worker *w, const sigset_t *term)
{
    const struct deadline end = deadline_in_ms(w->run->cfg->drain_s * 1000);
    /* If the supervisor was killed: do what it does when the whole service ends. */
    for (int i = 0; getppid() != w->parent && i < LISTENERS; i++)
        if (!(atomic_load(&w->run->shared->foreign) >> i & 1))
            (void)shutdown(w->run->listeners[i].fd, SHUT_RD);
    fcgi_server_drain(w->server);
    fcgi_server_drain(w->admin);
    while (fcgi_server_connections(w->server) > 0 && !deadline_passed(end))
        (void)told_to_end(term, DRAIN_TICK_MS);
}

/* False: a thread is still busy, and what it uses must stay. */
static bool close_all(struct worker *w)
{
    if (w->server && !fcgi_server_stop(w->server, STOP_GRACE_MS))
        return false;
    if (w->admin && !fcgi_server_stop(w->admin, STOP_GRACE_MS))
        return false;
    sessions_close(w->service.sessions);
    db_hosts_close(w->hosts);
    cache_close(w->service.cache);
    auth_close(w->service.auth);
    db_close(w->service.db);
    return true;
}

/* A host that is not registered yet refuses writes. So requests wait until it is, but not while
 * PostgreSQL is away: reads are answered without it. */
static bool may_begin(const struct worker *w)
{
    return (w->was_up || !w->run->replaces) &&
           (db_hosts_may_write(w->run->hosts) || !db_is_up(w->service.db) ||
            deadline_passed(w->begin_by));
}

/* Reports that the worker serves and has PostgreSQL, and when it is to be replaced. The supervisor
 * then starts another worker. When that is ready, it tells this one to drain. */
static void report(struct worker *w)
{
    struct shared *shared = w->run->shared;
    atomic_store(&shared->served, true);
    atomic_store(&shared->reports[w->run->worker].ready, true);
    const int64_t hang_us = (2 * w->run->cfg->request_ms + HANG_MARGIN_MS) * 1000;
    if (api_hangs(&w->service, hang_us) ||
        (w->recycle_at > 0 && fcgi_server_requests(w->server) >= w->recycle_at))
        atomic_store(&shared->reports[w->run->worker].wants_replacement, true);
}

/* Begins to serve when it may, and does periodic work until SIGTERM, or until it cannot begin.
 * Returns the exit status. */
static int worker_loop(struct worker *w)
{
    sigset_t term;
    const int health_fd = w->run->listeners[LISTENER_HEALTH].fd;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    w->begin_by = deadline_in_ms(w->run->cfg->connect_ms + BEGIN_MS);
    for (unsigned ticks = 1; !cannot_begin(w); ticks++) {
        if (!w->server && may_begin(w)) {
            const enum err e = start_servers(w);
            if (e != ERR_NONE) {
                log_say(LOG_ERROR, "worker_failed", "cannot start: %s", err_name(e));
                return EXIT_FAULT;
            }
        }
        if (w->server && w->was_up)
            report(w);
        const int tick = w->server ? TICK_MS : START_TICK_MS;
        if (health_fd >= 0 && (w->server || !w->run->replaces))
            health_answer(health_fd, &w->service, tick);
        if (told_to_end(&term, health_fd >= 0 ? 0 : tick)) {
            if (w->server)
                drain(w, &term);
            return EXIT_GOOD;
        }
        if (ticks % TRIM_TICKS == 0)
            (void)malloc_trim(0);
    }
    /* One that replaces another has served nothing: a clean end. */
    return w->run->replaces ? EXIT_GOOD : EXIT_MISCONFIGURED;
}

/* Up to a tenth less or more: workers that started together are not replaced together. */
static unsigned long long recycle_at(const struct config *cfg)
{
    const unsigned long long n = (unsigned long long)cfg->recycle;
    return n - n / 10 + random_u64() % (n / 5 + 1);
}

struct db_settings db_settings_from(const struct config *cfg)
{
    return (struct db_settings){
        .url = cfg->database_url,
        .owner_may_serve = !cfg->database_admin_url[0],
        .acquire_ms = (int)cfg->acquire_ms,
        .statement_ms = (int)cfg->statement_ms,
        .connect_ms = (int)cfg->connect_ms,
        .idle_s = (int)cfg->pool_idle,
        .lifetime_s = (int)cfg->pool_lifetime,
        .schema_version = db_schema_version(),
        .prepare = cfg->prepare,
    };
}

int worker_main(const struct worker_run *run)
{
    struct worker w = {.run = run, .parent = getppid(), .recycle_at = recycle_at(run->cfg)};
    /* Else each thread would keep for ever what it needed once: few heaps, trimmed by worker_loop,
     * and large blocks given back at once. */
    (void)mallopt(M_ARENA_MAX, 16);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    const enum err e = open_all(&w);
    if (e != ERR_NONE) {
        log_say(LOG_ERROR, "worker_failed", "cannot start: %s", err_name(e));
        (void)close_all(&w);
        return EXIT_FAULT;
    }
    const int status = worker_loop(&w);
    if (close_all(&w))
        return status;
    /* That request may commit without updating the caches: not a clean end. */
    log_say(LOG_WARN, "worker_busy", "a request was still running at the end");
    return status == EXIT_GOOD ? EXIT_FAULT : status;
}

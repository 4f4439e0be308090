/* SPDX-License-Identifier: MIT */
/*
 * The operations routes: /livez says that the process answers, /readyz which parts are up, /metrics
 * the sums over all workers of the host, /status everything. They have a socket and a thread of
 * their own and query no server, so they answer even if all handlers are stuck. To clients that are
 * neither of this machine nor in PARLEY_OPERATIONS_ALLOW they do not exist.
 */
#include <stdio.h>
#include <unistd.h>

#include "api/common/handler.h"
#include "parley/base/net.h"
#include "parley/base/uuid.h"

/* Writes the tree, and frees it. lines: as in json_tree_write. */
static enum err answer_tree(struct api_call *c, struct json_tree *t, int status, int lines)
{
    (void)api_begin(c->res, status);
    const enum err e = json_tree_write(t, lines, &c->res->body);
    json_tree_fini(t);
    return e == ERR_NONE ? ERR_NONE : ctx_nomem(c->ctx);
}

/* ---- health ---- */

struct health {
    struct db_status db;
    struct db_hosts_found hosts;
    struct cache_status cache;
    int64_t crash_looping; /* workers */
    enum db_hosts_shortcut shortcut;
    char shortcut_reason[160];    /* "" when it is on */
    const char *status;           /* "ready", "degraded" or "down" */
    const char *database, *redis; /* "up", …: their states */
};

static struct metrics_slots slots_of(const struct api_service *api)
{
    return (struct metrics_slots){api->slots, atomic_load(&api->host->n_slots)};
}

/* The sum over all slots of a field: a counter, a gauge, or an array of them. */
#define SUM(slots, field) ((int64_t)metrics_sum(slots, METRICS_AT(field)))

/* Not empty: writes hang. Every host has the same PostgreSQL, so this one stays ready. */
static void describe_hanging_writes(const struct api_service *api, struct health *h)
{
    const int64_t abandoned = SUM(slots_of(api), pool_abandoned);
    const int64_t waiting = h->hosts.replication.commits_waiting;
    if (waiting > 0 || abandoned > 0)
        snprintf(h->db.reason, sizeof(h->db.reason), "%s: %lld",
                 waiting > 0 ? "commits wait for a synchronous standby"
                             : "writes have had no answer",
                 (long long)(waiting > 0 ? waiting : abandoned));
}

/* What this process knows already. */
static void read_health(const struct api_service *api, struct health *out)
{
    static const char *const database[] = {[DB_STARTING] = "starting",
                                           [DB_UP] = "up",
                                           [DB_DOWN] = "down",
                                           [DB_MISCONFIGURED] = "misconfigured"};
    static const char *const redis[] = {
        [CACHE_OFF] = "off", [CACHE_UP] = "up", [CACHE_DOWN] = "down"};
    db_status(api->db, &out->db);
    db_hosts_last_poll(api->hosts, &out->hosts);
    cache_status(api->cache, &out->cache);
    out->database = database[out->db.state];
    out->redis = redis[out->cache.redis];
    out->crash_looping = atomic_load(&api->host->crash_looping);
    out->shortcut =
        db_hosts_shortcut(api->hosts, out->shortcut_reason, sizeof(out->shortcut_reason));
    /* The shortcut is off for two seconds after each start: that degrades nothing. */
    const bool slow = out->shortcut == DB_HOSTS_OTHERS || out->shortcut == DB_HOSTS_SILENT;
    if (out->db.state == DB_UP)
        describe_hanging_writes(api, out);
    const bool degraded =
        slow || out->cache.redis == CACHE_DOWN || out->crash_looping > 0 || out->db.reason[0];
    out->status = out->db.state != DB_UP ? "down" : degraded ? "degraded" : "ready";
}

/* Adds an object with the status of a part and, unless empty, the reason; returns it. */
static struct json_object *add_health(struct json_tree *t, struct json_object *in, const char *name,
                                      const char *status, const char *reason)
{
    struct json_object *check = json_tree_object(t, in, name);
    json_tree_text(t, check, "status", status);
    if (*reason)
        json_tree_text(t, check, "reason", reason);
    return check;
}

/* member: what the status is called there. */
static void add_shortcut(struct json_tree *t, struct json_object *in, const char *member,
                         const struct health *h)
{
    const bool many = h->shortcut == DB_HOSTS_MANY, on = h->shortcut == DB_HOSTS_ON;
    struct json_object *shortcut = json_tree_object(t, in, "shortcut");
    json_tree_text(t, shortcut, member, many ? "not configured" : on ? "on" : "off");
    if (h->shortcut_reason[0] && !many)
        json_tree_text(t, shortcut, "reason", h->shortcut_reason);
}

/* ---- the short answers ---- */

static enum err get_livez(struct api_call *c)
{
    struct json_tree t;
    json_tree_init(&t);
    json_tree_text(&t, t.root, "status", "alive");
    json_tree_text(&t, t.root, "version", c->api->version);
    return answer_tree(c, &t, 200, 0);
}

/* Without PostgreSQL it is 503, although cached sessions can still be read: a load balancer that
 * knows only up and down must prefer a host that can write. Where no host can, it may use all of
 * them, or those whose "serves" is "reads". Without Redis everything works, slower. */
static enum err get_readyz(struct api_call *c)
{
    struct health h;
    struct json_tree t;
    char looping[64] = "";
    read_health(c->api, &h);
    const bool ready = h.db.state == DB_UP;
    const bool reads =
        (h.cache.redis == CACHE_UP || h.cache.memory_bytes > 0) && auth_accepts_keys(c->api->auth);
    if (h.crash_looping > 0)
        snprintf(looping, sizeof(looping), "%lld of them keep dying", (long long)h.crash_looping);
    json_tree_init(&t);
    json_tree_text(&t, t.root, "status", h.status);
    json_tree_text(&t, t.root, "serves", ready ? "everything" : reads ? "reads" : "nothing");
    struct json_object *checks = json_tree_object(&t, t.root, "checks");
    (void)add_health(&t, checks, "postgresql", h.database, h.db.reason);
    (void)add_health(&t, checks, "redis", h.redis, h.cache.reason);
    (void)add_health(&t, checks, "workers", h.crash_looping > 0 ? "crash_looping" : "up", looping);
    if (h.shortcut != DB_HOSTS_MANY)
        add_shortcut(&t, checks, "status", &h);
    if (!ready)
        http_response_header(c->res, "Retry-After", SV("1"));
    return answer_tree(c, &t, ready ? 200 : 503, 0);
}

static int64_t highest(const struct api_service *api, size_t offset, size_t n)
{
    const struct metrics_slots all = slots_of(api);
    uint64_t max = 0;
    for (struct metrics_slots one = {all.at, 1}; one.at < all.at + all.n; one.at++)
        max = metrics_sum(one, offset, n) > max ? metrics_sum(one, offset, n) : max;
    return (int64_t)max;
}

static void write_host_metrics(struct buf *out, const struct api_service *api)
{
    const struct api_host *host = api->host;
    struct health h;
    read_health(api, &h);
    const struct {
        const char *name, *help;
        int64_t value;
    } values[] = {
        {"parley_postgresql_up", "1: PostgreSQL can be used.", h.db.state == DB_UP},
        {"parley_memory_bytes", "Memory for sessions that the workers share.",
         (int64_t)h.cache.memory_bytes},
        {"parley_memory_used_bytes", "How much of it holds sessions.",
         (int64_t)h.cache.memory_used},
        {"parley_worker_deaths_total", "Workers that ended unexpectedly.",
         atomic_load(&host->deaths)},
        {"parley_workers_looping", "Workers that die again and again.", h.crash_looping},
        {"parley_workers_recycled_total", "Workers that were replaced as planned.",
         atomic_load(&host->recycled)},
        {"parley_reloads_total", "Reloads that were done.", atomic_load(&host->reloads)},
        {"parley_reloads_refused_total", "Reloads that changed nothing.",
         atomic_load(&host->reloads_refused)},
        {"parley_commits_waiting", "Commits that wait for a synchronous standby.",
         h.hosts.replication.commits_waiting},
        {"parley_standbys", "Standbys that are connected to PostgreSQL.",
         h.hosts.replication.standbys},
        {"parley_search_waiting", "Messages that wait for the index of search.",
         highest(api, METRICS_AT(search_waiting))},
        {"parley_search_oldest_seconds", "How long the first of them has waited.",
         highest(api, METRICS_AT(search_oldest_s))},
    };
    metrics_write(out, "parley_build_info", "Always 1; its label is the version.", "version",
                  api->version, 1);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        metrics_write(out, values[i].name, values[i].help, NULL, NULL, values[i].value);
    if (h.cache.redis != CACHE_OFF)
        metrics_write(out, "parley_redis_up", "1: Redis can be used.", NULL, NULL,
                      h.cache.redis == CACHE_UP);
    static const char *const of_server[] = {"parley_postgresql_connections",
                                            "parley_postgresql_timeline",
                                            "parley_postgresql_former_primary"};
    for (size_t k = 0; k < ARRAY_LEN(of_server); k++)
        for (int i = 0; i < h.db.n_servers; i++) {
            const struct db_server *s = &h.db.servers[i];
            const int64_t n[] = {SUM(slots_of(api), pool_servers[i]), s->timeline,
                                 s->state == DB_SERVER_FORMER_PRIMARY};
            metrics_write(out, of_server[k], i == 0 ? "Of each server in DATABASE_URL." : NULL,
                          "server", s->name, n[k]);
        }
}

static enum err get_metrics(struct api_call *c)
{
    const char *names[METRICS_ROUTES_MAX];
    const size_t n = api_route_names(names);
    c->res->status = 200;
    c->res->content_type = "text/plain; version=0.0.4";
    metrics_render(&c->res->body, slots_of(c->api), names, n);
    write_host_metrics(&c->res->body, c->api);
    if (c->api->auth)
        auth_write_counts(c->api->auth, &c->res->body);
    return ERR_NONE;
}

void api_host_set_reload_reason(struct api_host *host, const char *reason)
{
    const unsigned n = atomic_load(&host->reasons) + 1;
    snprintf(host->reason[n % 2], API_REASON_MAX, "%s", reason);
    atomic_store(&host->reasons, n);
}

/* ---- /status: for people and scripts. A member keeps its name and meaning; additions are new
 * members. It holds no secret and no data of a session. ---- */

struct json_object *api_add_host(struct json_tree *t, struct json_object *in,
                                 const struct db_host *h)
{
    struct json_object *host = json_tree_object(t, in, NULL);
    json_tree_text(t, host, "id", h->id);
    json_tree_text(t, host, "address", h->address);
    json_tree_text(t, host, "version", h->version);
    json_tree_number(t, host, "workers", h->workers);
    json_tree_text(t, host, "mode", h->alone ? "one" : "many");
    json_tree_number(t, host, "seen_seconds_ago",
                     h->seen_ago_us > 0 ? h->seen_ago_us / 1000000 : 0);
    return host;
}

static void add_replication(struct json_tree *t, struct json_object *in,
                            const struct db_replication *r)
{
    struct json_object *replication = json_tree_object(t, in, "replication");
    json_tree_text(t, replication, "synchronous_standby_names", r->names);
    json_tree_number(t, replication, "commits_waiting", r->commits_waiting);
    json_tree_number(t, replication, "standbys", r->standbys);
    if (r->synchronous >= 0)
        json_tree_number(t, replication, "synchronous", r->synchronous);
    else
        json_tree_text(t, replication, "synchronous", NULL); /* the login may not see it */
}

static void add_servers(struct json_tree *t, struct json_object *in, const struct api_service *api,
                        const struct db_status *db)
{
    static const char *const states[] = {"unknown", "primary", "standby", "former_primary", "away"};
    struct json_object *servers = json_tree_array(t, in, "servers");
    for (int i = 0; i < db->n_servers; i++) {
        struct json_object *server = json_tree_object(t, servers, NULL);
        json_tree_text(t, server, "name", db->servers[i].name);
        json_tree_text(t, server, "state", states[db->servers[i].state]);
        json_tree_number(t, server, "timeline", db->servers[i].timeline);
        json_tree_number(t, server, "connections", SUM(slots_of(api), pool_servers[i]));
    }
    json_tree_bool(t, in, "pooler", db->pooled);
}

/* Those that run now. */
static void add_workers(struct json_tree *t, const struct api_service *api)
{
    static const char *const states[] = {[API_WORKER_STARTING] = "starting",
                                         [API_WORKER_SERVING] = "serving",
                                         [API_WORKER_LEAVING] = "leaving"};
    struct json_object *workers = json_tree_array(t, t->root, "workers");
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slots own = {&api->slots[i], 1};
        const pid_t pid = atomic_load(&api->host->workers[i].pid);
        if (pid == 0)
            continue;
        struct json_object *worker = json_tree_object(t, workers, NULL);
        json_tree_number(t, worker, "worker", (int64_t)i);
        json_tree_number(t, worker, "pid", pid);
        json_tree_number(t, worker, "worker_set", atomic_load(&api->host->workers[i].worker_set));
        json_tree_text(t, worker, "state", states[atomic_load(&api->host->workers[i].state)]);
        json_tree_number(t, worker, "requests", SUM(own, requests));
        json_tree_number(t, worker, "threads_busy", SUM(own, threads_busy));
        struct json_object *pool = json_tree_object(t, worker, "pool");
        json_tree_number(t, pool, "open", SUM(own, pool_open));
        json_tree_number(t, pool, "idle", SUM(own, pool_idle));
        json_tree_number(t, pool, "in_use", SUM(own, pool_in_use));
        json_tree_number(t, pool, "abandoned", SUM(own, pool_abandoned));
        json_tree_number(t, pool, "waiting", SUM(own, pool_waiting));
        json_tree_number(t, pool, "max", SUM(own, pool_max));
    }
}

/* Writes that shared a statement: how many batches there were, and members in all of them. */
static void add_batches(struct json_tree *t, struct json_object *in, const char *name,
                        int64_t batches, int64_t members)
{
    struct json_object *kind = json_tree_object(t, in, name);
    json_tree_number(t, kind, "batches", batches);
    json_tree_number(t, kind, "members", members);
    json_tree_number(t, kind, "average_size", batches > 0 ? (members + batches / 2) / batches : 0);
}

/* Since the start of the service, over all workers, also those that have ended. */
static void add_totals(struct json_tree *t, struct metrics_slots all)
{
    static const char *const sources[METRICS_SOURCES] = {"memory", "redis", "postgres"};
    struct json_object *totals = json_tree_object(t, t->root, "totals");
    json_tree_number(t, totals, "requests", SUM(all, requests));
    json_tree_number(t, totals, "errors", SUM(all, errors));
    json_tree_number(t, totals, "replays", SUM(all, replays));
    json_tree_number(t, totals, "queue_refused", SUM(all, queue_refused));
    add_batches(t, totals, "append_batches", SUM(all, appends.size), SUM(all, appends.members));
    add_batches(t, totals, "create_batches", SUM(all, creates.size), SUM(all, creates.members));
    for (size_t k = 0; k < METRICS_SOURCES; k++) {
        struct json_object *source = json_tree_object(t, totals, sources[k]);
        json_tree_number(t, source, "hits", SUM(all, source_hits[k]));
        json_tree_number(t, source, "misses", SUM(all, source_misses[k]));
    }
}

/* arg: a tree whose root is the object of the settings. */
static void add_setting(void *arg, const char *name, const char *text, int64_t number)
{
    struct json_tree *t = arg;
    if (text)
        json_tree_text(t, t->root, name, text);
    else
        json_tree_number(t, t->root, name, number);
}

static void add_service(struct json_tree *t, const struct api_service *api, const struct health *h)
{
    const char *reason = api->host->reason[atomic_load(&api->host->reasons) % 2];
    char started[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(api->host->started_at, started);
    json_tree_text(t, t->root, "status", h->status);
    json_tree_text(t, t->root, "version", api->version);
    json_tree_number(t, t->root, "pid", getpid());
    json_tree_number(t, t->root, "supervisor_pid", atomic_load(&api->host->supervisor));
    json_tree_text(t, t->root, "started_at", started);
    json_tree_number(t, t->root, "uptime_seconds",
                     (clock_wall_us() - api->host->started_at) / 1000000);
    json_tree_number(t, t->root, "crash_looping", h->crash_looping);
    json_tree_number(t, t->root, "worker_set", atomic_load(&api->host->worker_set));
    json_tree_number(t, t->root, "reloads", atomic_load(&api->host->reloads));
    json_tree_number(t, t->root, "reloads_refused", atomic_load(&api->host->reloads_refused));
    json_tree_text(t, t->root, "reload_reason", reason[0] ? reason : NULL);
    json_tree_number(t, t->root, "recycled", atomic_load(&api->host->recycled));
}

static enum err get_status(struct api_call *c)
{
    enum { LINES = 2 };
    const struct api_service *api = c->api;
    struct health h;
    struct json_tree t;
    read_health(api, &h);
    json_tree_init(&t);
    add_service(&t, api, &h);
    struct json_object *part = add_health(&t, t.root, "postgresql", h.database, h.db.reason);
    json_tree_number(&t, part, "schema_version", h.db.schema_version);
    add_replication(&t, part, &h.hosts.replication);
    add_servers(&t, part, api, &h.db);
    part = add_health(&t, t.root, "redis", h.redis, h.cache.reason);
    if (h.cache.endpoint[0])
        json_tree_text(&t, part, "endpoint", h.cache.endpoint);
    json_tree_number(&t, part, "mismatches", (int64_t)h.cache.mismatches);
    part = add_health(&t, t.root, "memory", h.cache.memory_bytes > 0 ? "up" : "off", "");
    json_tree_number(&t, part, "bytes", (int64_t)h.cache.memory_bytes);
    json_tree_number(&t, part, "used", (int64_t)h.cache.memory_used);
    add_shortcut(&t, t.root, "state", &h);
    json_tree_number(&t, t.root, "hosts_registered", h.hosts.registered);
    part = json_tree_array(&t, t.root, "hosts");
    for (size_t i = 0; i < h.hosts.n; i++)
        json_tree_bool(&t, api_add_host(&t, part, &h.hosts.table[i]), "self",
                       h.hosts.table[i].self);
    add_workers(&t, api);
    add_totals(&t, slots_of(api));
    struct json_tree settings = {json_tree_object(&t, t.root, "settings"), t.failed};
    api->each_setting(api->settings, add_setting, &settings);
    t.failed = t.failed || settings.failed;
    return answer_tree(c, &t, 200, LINES);
}

/* ---- routes ---- */

static enum err get_history(struct api_call *c)
{
    (void)api_begin(c->res, 200);
    metrics_history_render(&c->res->body, c->api->history);
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {{HTTP_GET, "/livez", "livez", api_run}, {get_livez, 0, NULL}},
    {{HTTP_GET, "/readyz", "readyz", api_run}, {get_readyz, 0, NULL}},
    {{HTTP_GET, "/metrics", "metrics", api_run}, {get_metrics, 0, NULL}},
    {{HTTP_GET, "/status", "status", api_run}, {get_status, 0, NULL}},
    {{HTTP_GET, "/status/", "status_page", api_run}, {api_status_page, API_IF_NONE_MATCH, NULL}},
    {{HTTP_GET, "/status/history", "status_history", api_run}, {get_history, 0, NULL}},
};
static const struct http_table table = {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]),
                                        http_problem, true};

void ops_dispatch(void *service, struct arena *arena, struct http_request *req,
                  struct http_response *res)
{
    const struct api_service *api = service;
    struct request_ctx ctx;
    char *id = arena_alloc(arena, UUID_LEN + 1);
    if (id)
        uuid_v7(id);
    ctx_init(&ctx, arena, deadline_in_ms(api->request_ms), SV(""),
             id ? (struct sv){id, UUID_LEN} : SV("none"));
    if (!net_allows(api->operations_allow, req->remote_addr))
        (void)ctx_fail(&ctx, ERR_NOT_FOUND, "no_such_route", NULL, HTTP_NO_ROUTE);
    (void)http_dispatch(&ctx, &table, service, req, res);
}

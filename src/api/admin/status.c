/* SPDX-License-Identifier: MIT */
/*
 * /status: the state of the service, for people and scripts. A member keeps its name and meaning;
 * additions are new members. It holds no secret and no data of a session.
 */
#include "operations.h"

#include <unistd.h>

static int64_t gauge_value(const _Atomic int64_t *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static int64_t counter_value(const _Atomic uint64_t *counter)
{
    return (int64_t)atomic_load_explicit(counter, memory_order_relaxed);
}

/* Each request is in exactly one bucket of this histogram. */
static int64_t requests_of(const struct metrics_slot *slot)
{
    int64_t n = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++)
        n += counter_value(&slot->latency.bucket[i]);
    return n;
}

/* Those that share the database; at most DB_HOSTS_SHOWN_MAX of them. */
static void add_hosts(struct json_tree *t, const struct api_service *api)
{
    struct db_host seen[DB_HOSTS_SHOWN_MAX];
    int64_t registered;
    const size_t n = db_hosts_seen(api->hosts, seen, &registered);
    json_tree_number(t, t->root, "hosts_registered", registered);
    struct json_object *hosts = json_tree_array(t, t->root, "hosts");
    for (size_t i = 0; i < n; i++) {
        const struct db_host *h = &seen[i];
        struct json_object *host = json_tree_object(t, hosts, NULL);
        json_tree_text(t, host, "id", h->id);
        json_tree_text(t, host, "address", h->address);
        json_tree_text(t, host, "version", h->version);
        json_tree_number(t, host, "workers", h->workers);
        json_tree_text(t, host, "mode", h->alone ? "one" : "many");
        json_tree_number(t, host, "seen_seconds_ago",
                         h->seen_ago_us > 0 ? h->seen_ago_us / 1000000 : 0);
        json_tree_bool(t, host, "self", h->self);
    }
}

/* Those that run now. */
static void add_workers(struct json_tree *t, const struct api_service *api)
{
    static const char *const states[] = {[API_WORKER_STARTING] = "starting",
                                         [API_WORKER_SERVING] = "serving",
                                         [API_WORKER_LEAVING] = "leaving"};
    struct json_object *workers = json_tree_array(t, t->root, "workers");
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slot *s = &api->slots[i];
        const pid_t pid = atomic_load(&api->host->workers[i].pid);
        if (pid == 0)
            continue;
        struct json_object *worker = json_tree_object(t, workers, NULL);
        json_tree_number(t, worker, "worker", (int64_t)i);
        json_tree_number(t, worker, "pid", pid);
        json_tree_number(t, worker, "worker_set", gauge_value(&api->host->workers[i].worker_set));
        json_tree_text(t, worker, "state", states[atomic_load(&api->host->workers[i].state)]);
        json_tree_number(t, worker, "requests", requests_of(s));
        json_tree_number(t, worker, "threads_busy", gauge_value(&s->threads_busy));
        struct json_object *pool = json_tree_object(t, worker, "pool");
        json_tree_number(t, pool, "open", gauge_value(&s->pool_open));
        json_tree_number(t, pool, "idle", gauge_value(&s->pool_idle));
        json_tree_number(t, pool, "in_use", gauge_value(&s->pool_in_use));
        json_tree_number(t, pool, "waiting", gauge_value(&s->pool_waiting));
        json_tree_number(t, pool, "max", gauge_value(&s->pool_max));
    }
}

/* Since the start of the service, over all workers, also those that have ended. */
static void add_totals(struct json_tree *t, const struct api_service *api)
{
    static const char *const sources[METRICS_SOURCES] = {"memory", "redis", "postgres"};
    int64_t requests = 0, errors = 0, replays = 0, refused = 0;
    int64_t hits[METRICS_SOURCES] = {0}, misses[METRICS_SOURCES] = {0};
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slot *s = &api->slots[i];
        requests += requests_of(s);
        for (size_t e = 0; e < ERR_COUNT; e++)
            errors += counter_value(&s->errors[e]);
        replays += counter_value(&s->replays);
        refused += counter_value(&s->queue_refused);
        for (size_t k = 0; k < METRICS_SOURCES; k++) {
            hits[k] += counter_value(&s->source_hits[k]);
            misses[k] += counter_value(&s->source_misses[k]);
        }
    }
    struct json_object *totals = json_tree_object(t, t->root, "totals");
    json_tree_number(t, totals, "requests", requests);
    json_tree_number(t, totals, "errors", errors);
    json_tree_number(t, totals, "replays", replays);
    json_tree_number(t, totals, "queue_refused", refused);
    for (size_t k = 0; k < METRICS_SOURCES; k++) {
        struct json_object *source = json_tree_object(t, totals, sources[k]);
        json_tree_number(t, source, "hits", hits[k]);
        json_tree_number(t, source, "misses", misses[k]);
    }
}

struct settings {
    struct json_tree *t;
    struct json_object *in;
};

static void add_setting(void *arg, const char *name, const char *text, int64_t number)
{
    const struct settings *s = arg;
    if (text)
        json_tree_text(s->t, s->in, name, text);
    else
        json_tree_number(s->t, s->in, name, number);
}

static void add_service(struct json_tree *t, const struct api_service *api,
                        const struct ops_health *h)
{
    char reason[API_REASON_MAX], started[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(api->started_at, started);
    api_host_reload_reason(api->host, reason);
    json_tree_text(t, t->root, "status", h->status);
    json_tree_text(t, t->root, "version", api->version);
    json_tree_number(t, t->root, "pid", getpid());
    json_tree_text(t, t->root, "started_at", started);
    json_tree_number(t, t->root, "uptime_seconds", (clock_wall_us() - api->started_at) / 1000000);
    json_tree_number(t, t->root, "crash_looping", h->crash_looping);
    json_tree_number(t, t->root, "worker_set", gauge_value(&api->host->worker_set));
    json_tree_number(t, t->root, "reloads", gauge_value(&api->host->reloads));
    json_tree_number(t, t->root, "reloads_refused", gauge_value(&api->host->reloads_refused));
    json_tree_text(t, t->root, "reload_reason", reason[0] ? reason : NULL);
    json_tree_number(t, t->root, "recycled", gauge_value(&api->host->recycled));
}

static void add_memory(struct json_tree *t, const struct cache_status *cache)
{
    struct json_object *memory = json_tree_object(t, t->root, "memory");
    json_tree_text(t, memory, "status", cache->memory_bytes > 0 ? "up" : "off");
    json_tree_number(t, memory, "bytes", (int64_t)cache->memory_bytes);
    json_tree_number(t, memory, "used", (int64_t)cache->memory_used);
}

enum err ops_status(struct api_call *c)
{
    enum { LINES = 2 };
    const struct api_service *api = c->api;
    struct ops_health h;
    struct json_tree t;
    ops_health_read(api, &h);
    TRY(ops_tree_init(c->ctx, &t));
    add_service(&t, api, &h);
    struct json_object *part = ops_put_health(&t, t.root, "postgresql", h.database, h.db.reason);
    json_tree_number(&t, part, "schema_version", h.db.schema_version);
    part = ops_put_health(&t, t.root, "redis", h.redis, h.cache.reason);
    json_tree_number(&t, part, "mismatches", (int64_t)h.cache.mismatches);
    add_memory(&t, &h.cache);
    ops_put_shortcut(&t, t.root, "state", &h);
    add_hosts(&t, api);
    add_workers(&t, api);
    add_totals(&t, api);
    struct settings settings = {&t, json_tree_object(&t, t.root, "settings")};
    if (api->each_setting)
        api->each_setting(api->settings, add_setting, &settings);
    return ops_tree_answer(c, &t, 200, LINES);
}

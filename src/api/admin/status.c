/* SPDX-License-Identifier: MIT */
/*
 * /status: the whole service at one look, for people and scripts. The names are stable: what is
 * added comes as a new member. It holds no secret and nothing of a session.
 */
#include "operations.h"

#include <unistd.h>

static int64_t load(const _Atomic int64_t *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static int64_t count(const _Atomic uint64_t *counter)
{
    return (int64_t)atomic_load_explicit(counter, memory_order_relaxed);
}

/* Each request is in one bucket of this histogram. */
static int64_t requests_of(const struct metrics_slot *slot)
{
    int64_t n = 0;
    for (size_t i = 0; i <= METRICS_BUCKETS; i++)
        n += count(&slot->latency.bucket[i]);
    return n;
}

static const char *worker_state(int state)
{
    return state == API_WORKER_SERVING   ? "serving"
           : state == API_WORKER_LEAVING ? "leaving"
                                         : "starting";
}

/* Those that share the database, as far as there is room. */
static void write_hosts(struct json_writer *j, const struct api_service *api)
{
    struct db_host seen[DB_HOSTS_SHOWN_MAX];
    int64_t registered;
    const size_t n = db_hosts_seen(api->hosts, seen, &registered);
    json_put_i64(j, "hosts_registered", registered);
    json_put_array(j, "hosts");
    for (size_t i = 0; i < n; i++) {
        const struct db_host *h = &seen[i];
        json_write_object_open(j);
        json_put_str(j, "id", h->id);
        json_put_str(j, "address", h->address);
        json_put_str(j, "version", h->version);
        json_put_i64(j, "workers", h->workers);
        json_put_sv(j, "mode", h->alone ? SV("one") : SV("many"));
        json_put_i64(j, "seen_seconds_ago", h->seen_ago_us > 0 ? h->seen_ago_us / 1000000 : 0);
        json_put_bool(j, "self", h->self);
        json_write_object_close(j);
    }
    json_write_array_close(j);
}

/* Those that run now. */
static void write_workers(struct json_writer *j, const struct api_service *api)
{
    json_put_array(j, "workers");
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slot *s = &api->slots[i];
        const pid_t pid = atomic_load(&api->host->workers[i].pid);
        if (pid == 0)
            continue;
        json_write_object_open(j);
        json_put_i64(j, "worker", (int64_t)i);
        json_put_i64(j, "pid", pid);
        json_put_i64(j, "worker_set", load(&api->host->workers[i].worker_set));
        json_put_str(j, "state", worker_state(atomic_load(&api->host->workers[i].state)));
        json_put_i64(j, "requests", requests_of(s));
        json_put_i64(j, "threads_busy", load(&s->threads_busy));
        json_put_object(j, "pool");
        json_put_i64(j, "open", load(&s->pool_open));
        json_put_i64(j, "idle", load(&s->pool_idle));
        json_put_i64(j, "in_use", load(&s->pool_in_use));
        json_put_i64(j, "waiting", load(&s->pool_waiting));
        json_put_i64(j, "max", load(&s->pool_max));
        json_write_object_close(j);
        json_write_object_close(j);
    }
    json_write_array_close(j);
}

/* Since the start of the service, over all workers that were. */
static void write_totals(struct json_writer *j, const struct api_service *api)
{
    static const char *const tiers[METRICS_SOURCES] = {"memory", "redis", "postgres"};
    int64_t requests = 0, errors = 0, replays = 0, refused = 0;
    int64_t hits[METRICS_SOURCES] = {0}, misses[METRICS_SOURCES] = {0};
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slot *s = &api->slots[i];
        requests += requests_of(s);
        for (size_t e = 0; e < ERR_COUNT; e++)
            errors += count(&s->errors[e]);
        replays += count(&s->replays);
        refused += count(&s->queue_refused);
        for (size_t t = 0; t < METRICS_SOURCES; t++) {
            hits[t] += count(&s->source_hits[t]);
            misses[t] += count(&s->source_misses[t]);
        }
    }
    json_put_object(j, "totals");
    json_put_i64(j, "requests", requests);
    json_put_i64(j, "errors", errors);
    json_put_i64(j, "replays", replays);
    json_put_i64(j, "queue_refused", refused);
    for (size_t t = 0; t < METRICS_SOURCES; t++) {
        json_put_object(j, tiers[t]);
        json_put_i64(j, "hits", hits[t]);
        json_put_i64(j, "misses", misses[t]);
        json_write_object_close(j);
    }
    json_write_object_close(j);
}

static void write_setting(void *arg, const char *name, const char *text, int64_t number)
{
    struct json_writer *j = arg;
    json_write_key(j, name);
    if (text)
        json_write_sv(j, sv_from(text));
    else
        json_write_i64(j, number);
}

static void write_service(struct json_writer *j, const struct api_service *api,
                          const struct ops_health *h)
{
    char reason[API_REASON_MAX];
    json_put_str(j, "status", h->status);
    json_put_str(j, "version", api->version);
    json_put_i64(j, "pid", getpid());
    json_put_time(j, "started_at", api->started_at);
    json_put_i64(j, "uptime_seconds", (clock_wall_us() - api->started_at) / 1000000);
    json_put_i64(j, "crash_looping", h->crash_looping);
    json_put_i64(j, "worker_set", load(&api->host->worker_set));
    json_put_i64(j, "reloads", load(&api->host->reloads));
    json_put_i64(j, "reloads_refused", load(&api->host->reloads_refused));
    api_host_reload_reason(api->host, reason);
    json_put_sv(j, "reload_reason", reason[0] ? sv_from(reason) : SV_NONE);
    json_put_i64(j, "recycled", load(&api->host->recycled));
}

static void write_memory(struct json_writer *j, const struct cache_status *cache)
{
    json_put_object(j, "memory");
    json_put_sv(j, "status", cache->memory_bytes > 0 ? SV("up") : SV("off"));
    json_put_i64(j, "bytes", (int64_t)cache->memory_bytes);
    json_put_i64(j, "used", (int64_t)cache->memory_used);
    json_write_object_close(j);
}

static void newline(struct buf *out, int depth)
{
    buf_putc(out, '\n');
    for (int i = 0; i < depth; i++)
        BUF_LIT(out, "  ");
}

/* Our own JSON text with a line for each member down to two levels: for people, who read it too. */
static void indent(struct buf *out, struct sv json)
{
    enum { LEVELS = 2 };
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.n; i++) {
        const char c = json.p[i];
        const bool opens = !quoted && (c == '{' || c == '['), ends = c == '}' || c == ']';
        if (quoted && c == '\\') {
            buf_put(out, &json.p[i++], 2);
            continue;
        }
        if (c == '"')
            quoted = !quoted;
        if (!quoted && ends && depth-- <= LEVELS)
            newline(out, depth);
        buf_putc(out, c);
        if (opens)
            depth++;
        if ((opens || (!quoted && c == ',')) && depth <= LEVELS)
            newline(out, depth);
        else if (!quoted && c == ':')
            buf_putc(out, ' ');
    }
    buf_putc(out, '\n');
}

enum err ops_status(struct api_call *c)
{
    const struct api_service *api = c->api;
    struct ops_health h;
    struct json_writer j;
    struct buf text;
    ops_look(api, &h);
    buf_init(&text, c->ctx->arena, 4096);
    (void)api_begin(c->res, 200);
    json_write_init(&j, &text);
    json_write_object_open(&j);
    write_service(&j, api, &h);
    ops_open_database(&j, &h);
    json_put_i64(&j, "schema_version", h.db.schema_version);
    json_write_object_close(&j);
    ops_open_redis(&j, &h);
    json_put_i64(&j, "mismatches", (int64_t)h.cache.mismatches);
    json_write_object_close(&j);
    write_memory(&j, &h.cache);
    ops_write_shortcut(&j, "state", &h);
    write_hosts(&j, api);
    write_workers(&j, api);
    write_totals(&j, api);
    json_put_object(&j, "settings");
    if (api->each_setting)
        api->each_setting(api->settings, write_setting, &j);
    json_write_object_close(&j);
    json_write_object_close(&j);
    if (text.failed)
        return ctx_nomem(c->ctx);
    indent(&c->res->body, buf_get(&text));
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/* /readyz shows which parts of the host are up. /status shows all that the host knows of itself. */
#include <stdio.h>
#include <unistd.h>

#include "api/common/handler.h"

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

/* Begins an object with the status of a part and, unless empty, the reason. member: what the status
 * is called there. */
static void open_part(struct json_writer *j, const char *name, const char *member,
                      const char *status, const char *reason)
{
    json_put_object(j, name);
    json_put_str(j, member, status);
    if (*reason)
        json_put_text(j, "reason", sv_from(reason));
}

static void put_shortcut(struct json_writer *j, const char *member, const struct health *h)
{
    const bool many = h->shortcut == DB_HOSTS_MANY, on = h->shortcut == DB_HOSTS_ON;
    const char *state = many ? "not configured" : on ? "on" : "off";
    open_part(j, "shortcut", member, state, many ? "" : h->shortcut_reason);
    json_write_object_close(j);
}

/* Without PostgreSQL it is 503, although cached sessions can still be read: a load balancer that
 * knows only up and down must prefer a host that can write. Where no host can, it may use all of
 * them, or those whose "serves" is "reads". Without Redis everything works, slower. */
enum err api_readyz(struct api_call *c)
{
    struct health h;
    char looping[64] = "";
    read_health(c->api, &h);
    const bool ready = h.db.state == DB_UP;
    const bool reads =
        (h.cache.redis == CACHE_UP || h.cache.memory_bytes > 0) && auth_accepts_keys(c->api->auth);
    if (h.crash_looping > 0)
        snprintf(looping, sizeof(looping), "%lld of them keep dying", (long long)h.crash_looping);
    struct json_writer j = api_begin_object(c->res, ready ? 200 : 503);
    json_put_str(&j, "status", h.status);
    json_put_str(&j, "serves", ready ? "everything" : reads ? "reads" : "nothing");
    json_put_object(&j, "checks");
    open_part(&j, "postgresql", "status", h.database, h.db.reason);
    json_write_object_close(&j);
    open_part(&j, "redis", "status", h.redis, h.cache.reason);
    json_write_object_close(&j);
    open_part(&j, "workers", "status", h.crash_looping > 0 ? "crash_looping" : "up", looping);
    json_write_object_close(&j);
    if (h.shortcut != DB_HOSTS_MANY)
        put_shortcut(&j, "status", &h);
    json_write_object_close(&j);
    json_write_object_close(&j);
    if (!ready)
        http_response_header(c->res, "Retry-After", SV("1"));
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

void api_put_host(struct json_writer *j, const struct db_host *h)
{
    json_put_str(j, "id", h->id);
    json_put_str(j, "address", h->address);
    json_put_str(j, "version", h->version);
    json_put_i64(j, "workers", h->workers);
    json_put_str(j, "mode", h->alone ? "one" : "many");
    json_put_i64(j, "seen_seconds_ago", h->seen_ago_us > 0 ? h->seen_ago_us / 1000000 : 0);
}

static void put_replication(struct json_writer *j, const struct db_replication *r)
{
    json_put_object(j, "replication");
    json_put_str(j, "synchronous_standby_names", r->names);
    json_put_i64(j, "commits_waiting", r->commits_waiting);
    json_put_i64(j, "standbys", r->standbys);
    if (r->synchronous >= 0)
        json_put_i64(j, "synchronous", r->synchronous);
    else
        json_put_raw(j, "synchronous", SV_NONE); /* the login may not see it */
    json_write_object_close(j);
}

static void put_servers(struct json_writer *j, const struct api_service *api,
                        const struct db_status *db)
{
    static const char *const states[] = {"unknown", "primary", "standby", "former_primary", "away"};
    json_put_array(j, "servers");
    for (int i = 0; i < db->n_servers; i++) {
        json_write_object_open(j);
        json_put_text(j, "name", sv_from(db->servers[i].name));
        json_put_str(j, "state", states[db->servers[i].state]);
        json_put_i64(j, "timeline", db->servers[i].timeline);
        json_put_i64(j, "connections", SUM(slots_of(api), pool_servers[i]));
        json_write_object_close(j);
    }
    json_write_array_close(j);
    json_put_bool(j, "pooler", db->pooled);
}

/* Those that run now. */
static void put_workers(struct json_writer *j, const struct api_service *api)
{
    static const char *const states[] = {[API_WORKER_STARTING] = "starting",
                                         [API_WORKER_SERVING] = "serving",
                                         [API_WORKER_LEAVING] = "leaving"};
    json_put_array(j, "workers");
    for (size_t i = 0; i < atomic_load(&api->host->n_slots); i++) {
        const struct metrics_slots own = {&api->slots[i], 1};
        const pid_t pid = atomic_load(&api->host->workers[i].pid);
        if (pid == 0)
            continue;
        json_write_object_open(j);
        json_put_i64(j, "worker", (int64_t)i);
        json_put_i64(j, "pid", pid);
        json_put_i64(j, "worker_set", atomic_load(&api->host->workers[i].worker_set));
        json_put_str(j, "state", states[atomic_load(&api->host->workers[i].state)]);
        json_put_i64(j, "requests", SUM(own, requests));
        json_put_i64(j, "threads_busy", SUM(own, threads_busy));
        json_put_object(j, "pool");
        json_put_i64(j, "open", SUM(own, pool_open));
        json_put_i64(j, "idle", SUM(own, pool_idle));
        json_put_i64(j, "in_use", SUM(own, pool_in_use));
        json_put_i64(j, "abandoned", SUM(own, pool_abandoned));
        json_put_i64(j, "waiting", SUM(own, pool_waiting));
        json_put_i64(j, "max", SUM(own, pool_max));
        json_write_object_close(j);
        json_write_object_close(j);
    }
    json_write_array_close(j);
}

/* Writes that shared a statement: how many batches there were, and members in all of them. */
static void put_batches(struct json_writer *j, const char *name, int64_t batches, int64_t members)
{
    json_put_object(j, name);
    json_put_i64(j, "batches", batches);
    json_put_i64(j, "members", members);
    json_put_i64(j, "average_size", batches > 0 ? (members + batches / 2) / batches : 0);
    json_write_object_close(j);
}

/* Since the start of the service, over all workers, also those that have ended. */
static void put_totals(struct json_writer *j, struct metrics_slots all)
{
    static const char *const sources[METRICS_SOURCES] = {"memory", "redis", "postgres"};
    json_put_object(j, "totals");
    json_put_i64(j, "requests", SUM(all, requests));
    json_put_i64(j, "errors", SUM(all, errors));
    json_put_i64(j, "replays", SUM(all, replays));
    json_put_i64(j, "queue_refused", SUM(all, queue_refused));
    put_batches(j, "append_batches", SUM(all, appends.size), SUM(all, appends.members));
    put_batches(j, "create_batches", SUM(all, creates.size), SUM(all, creates.members));
    for (size_t k = 0; k < METRICS_SOURCES; k++) {
        json_put_object(j, sources[k]);
        json_put_i64(j, "hits", SUM(all, source_hits[k]));
        json_put_i64(j, "misses", SUM(all, source_misses[k]));
        json_write_object_close(j);
    }
    json_write_object_close(j);
}

/* arg: a struct json_writer. */
static void put_setting(void *arg, const char *name, const char *text, int64_t number)
{
    if (text)
        json_put_text(arg, name, sv_from(text));
    else
        json_put_i64(arg, name, number);
}

static void put_service(struct json_writer *j, const struct api_service *api,
                        const struct health *h)
{
    const char *reason = api->host->reason[atomic_load(&api->host->reasons) % 2];
    json_put_str(j, "status", h->status);
    json_put_str(j, "version", api->version);
    json_put_i64(j, "pid", getpid());
    json_put_i64(j, "supervisor_pid", atomic_load(&api->host->supervisor));
    json_put_time(j, "started_at", api->host->started_at);
    json_put_i64(j, "uptime_seconds", (clock_wall_us() - api->host->started_at) / 1000000);
    json_put_i64(j, "crash_looping", h->crash_looping);
    json_put_i64(j, "worker_set", atomic_load(&api->host->worker_set));
    json_put_i64(j, "reloads", atomic_load(&api->host->reloads));
    json_put_i64(j, "reloads_refused", atomic_load(&api->host->reloads_refused));
    json_put_text(j, "reload_reason", reason[0] ? sv_from(reason) : SV_NONE);
    json_put_i64(j, "recycled", atomic_load(&api->host->recycled));
}

enum err api_status(struct api_call *c)
{
    const struct api_service *api = c->api;
    struct health h;
    read_health(api, &h);
    struct json_writer j = api_begin_object(c->res, 200);
    put_service(&j, api, &h);
    open_part(&j, "postgresql", "status", h.database, h.db.reason);
    json_put_i64(&j, "schema_version", h.db.schema_version);
    put_replication(&j, &h.hosts.replication);
    put_servers(&j, api, &h.db);
    json_write_object_close(&j);
    open_part(&j, "redis", "status", h.redis, h.cache.reason);
    if (h.cache.endpoint[0])
        json_put_text(&j, "endpoint", sv_from(h.cache.endpoint));
    json_put_i64(&j, "mismatches", (int64_t)h.cache.mismatches);
    json_write_object_close(&j);
    open_part(&j, "memory", "status", h.cache.memory_bytes > 0 ? "up" : "off", "");
    json_put_i64(&j, "bytes", (int64_t)h.cache.memory_bytes);
    json_put_i64(&j, "used", (int64_t)h.cache.memory_used);
    json_write_object_close(&j);
    put_shortcut(&j, "state", &h);
    json_put_i64(&j, "hosts_registered", h.hosts.registered);
    json_put_array(&j, "hosts");
    for (size_t i = 0; i < h.hosts.n; i++) {
        json_write_object_open(&j);
        api_put_host(&j, &h.hosts.table[i]);
        json_put_bool(&j, "self", h.hosts.table[i].self);
        json_write_object_close(&j);
    }
    json_write_array_close(&j);
    put_workers(&j, api);
    put_totals(&j, slots_of(api));
    json_put_object(&j, "settings");
    api->each_setting(api->settings, put_setting, &j);
    json_write_object_close(&j);
    json_write_object_close(&j);
    json_indent(&c->res->body);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * The operations routes: /livez says that the process answers, /readyz what is up and what is not,
 * /metrics the sums over all workers of the host, /status (status.c) all of it. They have a socket
 * and a thread of their own and ask no database, so that they answer when everything else is stuck.
 */
#include "operations.h"

#include "parley/base/uuid.h"
#include "parley/http/problem.h"

static const char *const db_states[] = {[DB_STARTING] = "starting",
                                        [DB_UP] = "up",
                                        [DB_DOWN] = "down",
                                        [DB_MISCONFIGURED] = "misconfigured"};

static const char *cache_state_name(enum cache_state s)
{
    return s == CACHE_OFF ? "off" : s == CACHE_UP ? "up" : "down";
}

static enum err ops_livez(struct api_call *c)
{
    struct json_writer j = api_begin(c->res, 200);
    json_write_object_open(&j);
    json_put_sv(&j, "status", SV("alive"));
    json_put_str(&j, "version", c->api->version);
    json_write_object_close(&j);
    return ERR_NONE;
}

void ops_look(const struct api_service *api, struct ops_health *out)
{
    db_status(api->db, &out->db);
    out->cache = (struct cache_status){.redis = CACHE_OFF, .reason = ""};
    if (api->cache)
        cache_status(api->cache, &out->cache);
    out->crash_looping = atomic_load(&api->host->crash_looping);
    out->shortcut =
        db_hosts_shortcut(api->hosts, out->shortcut_reason, sizeof(out->shortcut_reason));
    /* Each service starts without it. */
    const bool slow = out->shortcut == DB_HOSTS_OTHERS || out->shortcut == DB_HOSTS_SILENT;
    const bool degraded = slow || out->cache.redis == CACHE_DOWN || out->crash_looping > 0;
    out->status = out->db.state != DB_UP ? "down" : degraded ? "degraded" : "ready";
}

void ops_write_shortcut(struct json_writer *j, const char *member, const struct ops_health *h)
{
    json_put_object(j, "shortcut");
    json_put_sv(j, member,
                h->shortcut == DB_HOSTS_MANY ? SV("not configured")
                : h->shortcut == DB_HOSTS_ON ? SV("on")
                                             : SV("off"));
    if (h->shortcut_reason[0] && h->shortcut != DB_HOSTS_MANY)
        json_put_str(j, "reason", h->shortcut_reason);
    json_write_object_close(j);
}

void ops_open_check(struct json_writer *j, const char *name, const char *state, const char *reason)
{
    json_put_object(j, name);
    json_put_str(j, "status", state);
    if (*reason)
        json_put_str(j, "reason", reason);
}

void ops_open_database(struct json_writer *j, const struct ops_health *h)
{
    ops_open_check(j, "postgresql", db_states[h->db.state], h->db.reason);
}

void ops_open_redis(struct json_writer *j, const struct ops_health *h)
{
    ops_open_check(j, "redis", cache_state_name(h->cache.redis), h->cache.reason);
}

/* Without PostgreSQL: 503, although reads of what the tiers hold are served. A load balancer that
 * knows only up and down must prefer a host that can write; where none can, it may be told to fall
 * back on all of them, or on those whose "serves" is "reads". Without Redis everything works,
 * slower. */
static enum err ops_readyz(struct api_call *c)
{
    struct ops_health h;
    ops_look(c->api, &h);
    const bool ready = h.db.state == DB_UP;
    const bool tiers =
        (h.cache.redis == CACHE_UP || h.cache.memory_bytes > 0) && auth_accepts_keys(c->api->auth);
    struct sv looping =
        arena_printf(c->ctx->arena, "%lld of them keep dying", (long long)h.crash_looping);
    struct json_writer j = api_begin(c->res, ready ? 200 : 503);
    json_write_object_open(&j);
    json_put_str(&j, "status", h.status);
    json_put_sv(&j, "serves", ready ? SV("everything") : tiers ? SV("reads") : SV("nothing"));
    json_put_object(&j, "checks");
    ops_open_database(&j, &h);
    json_write_object_close(&j);
    ops_open_redis(&j, &h);
    json_write_object_close(&j);
    ops_open_check(&j, "workers", h.crash_looping > 0 ? "crash_looping" : "up",
                   h.crash_looping > 0 && looping.p ? looping.p : "");
    json_write_object_close(&j);
    if (h.shortcut != DB_HOSTS_MANY)
        ops_write_shortcut(&j, "status", &h);
    json_write_object_close(&j);
    json_write_object_close(&j);
    if (!ready)
        http_response_header(c->res, "Retry-After", SV("1"));
    return ERR_NONE;
}

static enum err ops_metrics(struct api_call *c)
{
    const char *names[METRICS_ROUTES_MAX];
    const size_t n = api_route_names(names);
    c->res->status = 200;
    c->res->content_type = "text/plain; version=0.0.4";
    metrics_render(&c->res->body, c->api->slots, atomic_load(&c->api->host->n_slots), names, n);
    return ERR_NONE;
}

static const struct api_route routes[] = {
    {{HTTP_GET, "/livez", "livez", api_run}, {ops_livez, 0, NULL}},
    {{HTTP_GET, "/readyz", "readyz", api_run}, {ops_readyz, 0, NULL}},
    {{HTTP_GET, "/metrics", "metrics", api_run}, {ops_metrics, 0, NULL}},
    {{HTTP_GET, "/status", "status", api_run}, {ops_status, 0, NULL}},
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
    (void)http_dispatch(&ctx, &table, service, req, res);
}

/* SPDX-License-Identifier: MIT */
/*
 * The operations routes: /livez says that the process answers, /readyz which parts are up, /metrics
 * the sums over all workers of the host, /status (status.c) everything. They have a socket and a
 * thread of their own and query no server, so they answer even if all handlers are stuck.
 */
#include "operations.h"

#include <stdio.h>

#include "parley/base/uuid.h"
#include "parley/http/problem.h"

static enum err ops_livez(struct api_call *c)
{
    struct json_tree t;
    TRY(ops_tree_init(c->ctx, &t));
    json_tree_text(&t, t.root, "status", "alive");
    json_tree_text(&t, t.root, "version", c->api->version);
    return ops_tree_answer(c, &t, 200, 0);
}

/* Without PostgreSQL it is 503, although cached sessions can still be read: a load balancer that
 * knows only up and down must prefer a host that can write. Where no host can, it may use all of
 * them, or those whose "serves" is "reads". Without Redis everything works, slower. */
static enum err ops_readyz(struct api_call *c)
{
    struct ops_health h;
    struct json_tree t;
    char looping[64] = "";
    ops_health_read(c->api, &h);
    const bool ready = h.db.state == DB_UP;
    const bool reads =
        (h.cache.redis == CACHE_UP || h.cache.memory_bytes > 0) && auth_accepts_keys(c->api->auth);
    if (h.crash_looping > 0)
        snprintf(looping, sizeof(looping), "%lld of them keep dying", (long long)h.crash_looping);
    TRY(ops_tree_init(c->ctx, &t));
    json_tree_text(&t, t.root, "status", h.status);
    json_tree_text(&t, t.root, "serves", ready ? "everything" : reads ? "reads" : "nothing");
    struct json_object *checks = json_tree_object(&t, t.root, "checks");
    (void)ops_put_health(&t, checks, "postgresql", h.database, h.db.reason);
    (void)ops_put_health(&t, checks, "redis", h.redis, h.cache.reason);
    (void)ops_put_health(&t, checks, "workers", h.crash_looping > 0 ? "crash_looping" : "up",
                         looping);
    if (h.shortcut != DB_HOSTS_MANY)
        ops_put_shortcut(&t, checks, "status", &h);
    if (!ready)
        http_response_header(c->res, "Retry-After", SV("1"));
    return ops_tree_answer(c, &t, ready ? 200 : 503, 0);
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

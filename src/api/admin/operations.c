/* SPDX-License-Identifier: MIT */
/*
 * The operations routes: /livez says that the process answers, /readyz which parts are up, /metrics
 * the sums over all workers of the host, /status everything. They have a socket and a thread of
 * their own and query no server, so they answer even if all handlers are stuck. To clients that are
 * neither of this machine nor in PARLEY_OPERATIONS_ALLOW they do not exist.
 */
#include "api/common/handler.h"
#include "parley/base/net.h"
#include "parley/base/uuid.h"

static enum err get_livez(struct api_call *c)
{
    struct json_writer j = api_begin_object(c->res, 200);
    json_put_str(&j, "status", "alive");
    json_put_str(&j, "version", c->api->version);
    json_write_object_close(&j);
    return ERR_NONE;
}

static int64_t highest(struct metrics_slots all, size_t offset, size_t n)
{
    uint64_t max = 0;
    for (struct metrics_slots one = {all.at, 1}; one.at < all.at + all.n; one.at++)
        max = metrics_sum(one, offset, n) > max ? metrics_sum(one, offset, n) : max;
    return (int64_t)max;
}

static void write_host_metrics(struct buf *out, const struct api_service *api,
                               struct metrics_slots all)
{
    const struct api_host *host = api->host;
    struct db_status db;
    struct db_hosts_found hosts;
    struct cache_status cache;
    db_status(api->db, &db);
    db_hosts_last_poll(api->hosts, &hosts);
    cache_status(api->cache, &cache);
    const struct {
        const char *name, *help;
        int64_t value;
    } values[] = {
        {"parley_postgresql_up", "1: PostgreSQL can be used.", db.state == DB_UP},
        {"parley_memory_bytes", "Memory for sessions that the workers share.",
         (int64_t)cache.memory_bytes},
        {"parley_memory_used_bytes", "How much of it holds sessions.", (int64_t)cache.memory_used},
        {"parley_worker_deaths_total", "Workers that ended unexpectedly.",
         atomic_load(&host->deaths)},
        {"parley_workers_looping", "Workers that die again and again.",
         atomic_load(&host->crash_looping)},
        {"parley_workers_recycled_total", "Workers that were replaced as planned.",
         atomic_load(&host->recycled)},
        {"parley_reloads_total", "Reloads that were done.", atomic_load(&host->reloads)},
        {"parley_reloads_refused_total", "Reloads that changed nothing.",
         atomic_load(&host->reloads_refused)},
        {"parley_commits_waiting", "Commits that wait for a synchronous standby.",
         hosts.replication.commits_waiting},
        {"parley_standbys", "Standbys that are connected to PostgreSQL.",
         hosts.replication.standbys},
        {"parley_search_waiting", "Messages that wait for the index of search.",
         highest(all, METRICS_AT(search_waiting))},
        {"parley_search_oldest_seconds", "How long the first of them has waited.",
         highest(all, METRICS_AT(search_oldest_s))},
    };
    metrics_write(out, "parley_build_info", "Always 1; its label is the version.", "version",
                  api->version, 1);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        metrics_write(out, values[i].name, values[i].help, NULL, NULL, values[i].value);
    if (cache.redis != CACHE_OFF)
        metrics_write(out, "parley_redis_up", "1: Redis can be used.", NULL, NULL,
                      cache.redis == CACHE_UP);
    static const char *const of_server[] = {"parley_postgresql_connections",
                                            "parley_postgresql_timeline",
                                            "parley_postgresql_former_primary"};
    for (size_t k = 0; k < ARRAY_LEN(of_server); k++)
        for (int i = 0; i < db.n_servers; i++) {
            const struct db_server *s = &db.servers[i];
            const int64_t n[] = {(int64_t)metrics_sum(all, METRICS_AT(pool_servers[i])),
                                 s->timeline, s->state == DB_SERVER_FORMER_PRIMARY};
            metrics_write(out, of_server[k], i == 0 ? "Of each server in DATABASE_URL." : NULL,
                          "server", s->name, n[k]);
        }
}

static enum err get_metrics(struct api_call *c)
{
    const char *names[METRICS_ROUTES_MAX];
    const size_t n = api_route_names(names);
    const struct metrics_slots all = {c->api->slots, atomic_load(&c->api->host->n_slots)};
    c->res->status = 200;
    c->res->content_type = "text/plain; version=0.0.4";
    metrics_render(&c->res->body, all, names, n);
    write_host_metrics(&c->res->body, c->api, all);
    if (c->api->auth)
        auth_write_counts(c->api->auth, &c->res->body);
    return ERR_NONE;
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
    {{HTTP_GET, "/readyz", "readyz", api_run}, {api_readyz, 0, NULL}},
    {{HTTP_GET, "/metrics", "metrics", api_run}, {get_metrics, 0, NULL}},
    {{HTTP_GET, "/status", "status", api_run}, {api_status, 0, NULL}},
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

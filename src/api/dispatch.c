/* SPDX-License-Identifier: MIT */
/*
 * The way of one request through the interfaces:
 *
 *   fcgi/ → api_dispatch (here) → http_dispatch → api_run (run.c) → a handler (native_sessions.c,
 * …) → session/ → repository → db/
 */
#include "parley/api/api.h"

#include <string.h>

#include "api/common/interface.h"
#include "parley/base/uuid.h"
#include "parley/obs/log.h"
#include "parley/session/ahead.h"

static const struct api_interface *const interfaces[] = {&docs_interface, &openai_interface,
                                                         &langgraph_interface, &native_interface};

static bool has_prefix(struct sv target, const char *prefix)
{
    const size_t n = strlen(prefix);
    return target.n >= n && memcmp(target.p, prefix, n) == 0 &&
           (target.n == n || target.p[n] == '/' || target.p[n] == '?');
}

static bool has_path(const struct api_interface *in, struct sv target)
{
    for (const char *const *p = in->prefixes; *p; p++)
        if (has_prefix(target, *p))
            return true;
    return false;
}

/* The interface of a path, and under which index its first route is counted. */
static const struct api_interface *interface_of(struct sv target, size_t *first)
{
    *first = 0;
    for (size_t i = 0; i + 1 < ARRAY_LEN(interfaces); i++) {
        if (has_path(interfaces[i], target))
            return interfaces[i];
        *first += interfaces[i]->table.n;
    }
    return interfaces[ARRAY_LEN(interfaces) - 1];
}

size_t api_route_names(const char *out[METRICS_ROUTES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(interfaces); i++)
        for (size_t k = 0; k < interfaces[i]->table.n && n < METRICS_ROUTES_MAX - 1; k++)
            out[n++] = http_table_at(&interfaces[i]->table, k)->name;
    out[n] = "none";
    return n + 1;
}

/* A client's own id is taken over if it is harmless in a header and a log; else one is made. */
static struct sv request_id(const struct http_request *req, char made[UUID_LEN + 1])
{
    struct sv given = http_header_get(req, "x-request-id");
    if (given.p && session_id_valid(given))
        return given;
    uuid_v7(made);
    return (struct sv){made, UUID_LEN};
}

/* One line for what went wrong on our side, or was slow; what a client got wrong is counted only.
 * Nothing that a client has chosen is in it but the id of the request. */
static void log_request(const struct api_service *api, const struct request_ctx *ctx,
                        const char *route, int status, int64_t queued_us, int64_t took_us)
{
    struct log_line l;
    /* Whatever status an interface has for it. */
    const bool failed = (status >= 500 && ctx->err.err != ERR_NOT_IMPLEMENTED) ||
                        ctx->err.err == ERR_OUTCOME_UNKNOWN;
    if (!failed && queued_us + took_us < api->slow_ms * 1000)
        return;
    log_begin(&l, failed ? LOG_ERROR : LOG_INFO, failed ? "request_failed" : "request");
    log_sv(&l, "request_id", ctx->request_id);
    log_sv(&l, "tenant", ctx->tenant);
    log_str(&l, "route", route);
    log_int(&l, "status", status);
    if (status >= 400)
        log_str(&l, "error", err_name(ctx->err.err));
    if (failed)
        log_str(&l, "cause", ctx->err.cause);
    log_int(&l, "total_us", queued_us + took_us);
    log_int(&l, "queue_us", queued_us);
    log_int(&l, "pool_us", ctx->trace.pool_us);
    log_int(&l, "sql_us", ctx->trace.sql_us);
    log_int(&l, "cache_us", ctx->trace.cache_us);
    log_int(&l, "round_trips", ctx->trace.round_trips);
    log_str(&l, "tier", ctx->trace.tier);
    log_end(&l);
}

/* The index of the requests that matched no route: behind all others. */
static unsigned count_none(void)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(interfaces); i++)
        n += interfaces[i]->table.n;
    return (unsigned)n;
}

/* A request from its arrival on; in its arena. */
struct call {
    struct request_ctx ctx;
    const struct api_interface *interface;
    size_t first; /* index of the interface's first route */
    int64_t began;
    bool late;
    char made_id[UUID_LEN + 1];
};

/* Until when it has to be answered. A failure is in ctx. */
static void begin(const struct api_service *api, struct arena *arena, struct http_request *req,
                  struct call *c)
{
    struct request_ctx *ctx = &c->ctx;
    c->began = clock_mono_us();
    ctx_init(ctx, arena, deadline_in_ms(api->request_ms - req->queued_us / 1000), SV(""),
             request_id(req, c->made_id));
    ctx->before_wait = req->before_wait;
    c->late = (api->queue_ms > 0 && req->queued_us > api->queue_ms * 1000) ||
              deadline_passed(ctx->deadline);
    /* Its client may be gone, and those behind it wait as long: work is for who is still there. */
    if (c->late)
        (void)ctx_fail(ctx, ERR_OVERLOAD, NULL, NULL,
                       "The server is busy: the request waited too long, and nothing was done.");
    c->interface = interface_of(req->target, &c->first);
}

/* Whose request it is. A failure stays in ctx, for the interface to say in its own form. */
static void authenticate(struct api_service *api, struct call *c, const struct http_request *req)
{
    struct request_ctx *ctx = &c->ctx;
    const struct auth_claim claim = {http_header_get(req, "authorization"),
                                     http_header_get(req, "x-api-key"), req->remote_addr};
    if (c->late || c->interface->open)
        return;
    enum err e = auth_check(api->auth, ctx, &claim);
    if (e != ERR_NONE && ctx->err.err == ERR_NONE)
        ctx->err.err = e;
}

/* ---- reading ahead ---- */

/* Paths whose first segment behind them names a session, and whose GET reads it. */
static const struct sv session_paths[] = {SV_INIT("/v1/sessions/"), SV_INIT("/v1/conversations/"),
                                          SV_INIT("/threads/")};

bool api_reads_session(struct sv target)
{
    for (size_t i = 0; i < ARRAY_LEN(session_paths); i++)
        if (sv_starts_with(target, session_paths[i]))
            return true;
    return false;
}

/* The session that a target names, as it is written there; absent: it is to be decoded first. */
static struct sv session_of(struct sv target)
{
    struct sv id = target;
    size_t n = 0;
    (void)sv_cut(&id, '/');
    if (sv_starts_with(target, SV("/v1/")))
        (void)sv_cut(&id, '/');
    (void)sv_cut(&id, '/');
    while (id.p && n < id.n && id.p[n] != '/' && id.p[n] != '?')
        n++;
    id.n = n;
    return id.p && session_id_valid(id) ? id : SV_NONE;
}

bool api_gathers(void *service)
{
    const struct api_service *api = service;
    return db_is_up(api->db) && session_ahead_is_useful(api->sessions);
}

void api_read_ahead(void *service, struct arena *const *arenas, struct http_request *const *reqs,
                    size_t n)
{
    struct api_service *api = service;
    struct session_ahead *ahead[SESSION_AHEAD_MAX] = {NULL};
    size_t asked = 0;
    /* The time of all begins now: each may wait for its key to be confirmed. */
    for (size_t i = 0; i < n; i++) {
        reqs[i]->prepared = arena_alloc(arenas[i], sizeof(struct call));
        if (reqs[i]->prepared)
            begin(api, arenas[i], reqs[i], reqs[i]->prepared);
    }
    for (size_t i = 0; i < n; i++) {
        struct call *c = reqs[i]->prepared;
        struct sv id = session_of(reqs[i]->target);
        if (!c)
            continue;
        authenticate(api, c, reqs[i]);
        if (asked == SESSION_AHEAD_MAX || c->ctx.err.err != ERR_NONE || !id.p ||
            session_id_canonical(&c->ctx, &id) != ERR_NONE)
            continue;
        ahead[asked] = session_ahead_new(&c->ctx, id);
        asked += ahead[asked] != NULL;
    }
    session_ahead_read(api->sessions, arenas[0], ahead, asked);
    for (size_t i = 0; i < n; i++) {
        const struct call *c = reqs[i]->prepared;
        reqs[i]->ready = c && session_ahead_is_done(&c->ctx);
    }
}

/* ---- the answer ---- */

void api_dispatch(void *service, struct arena *arena, struct http_request *req,
                  struct http_response *res)
{
    struct api_service *api = service;
    struct call own, *c = req->prepared ? req->prepared : &own;
    if (c == &own) {
        begin(api, arena, req, c);
        authenticate(api, c, req);
    }
    struct request_ctx *ctx = &c->ctx;
    /* The id must outlive the response's headers, which are sent after this function returns. */
    struct sv kept = arena_dup(arena, ctx->request_id);
    ctx->request_id = kept.p ? kept : SV("none");
    const struct http_table *table = &c->interface->table;
    const size_t route = http_dispatch(ctx, table, service, req, res);
    if (res->status == 401)
        http_response_header(res, "WWW-Authenticate", SV("Bearer realm=\"parley\""));
    const char *name = route < table->n ? http_table_at(table, route)->name : "none";
    const int64_t took = clock_mono_us() - c->began;
    if (api->slot) {
        metrics_request(api->slot, route < table->n ? (unsigned)(c->first + route) : count_none(),
                        res->status, took);
        metrics_observe(&api->slot->queue, req->queued_us);
        metrics_add(&api->slot->queue_refused, c->late);
        if (res->status >= 400)
            metrics_add(&api->slot->errors[ctx->err.err], 1);
    }
    /* What was refused unread has a counter: a line each would be work for those that are gone. */
    if (!c->late || api->slow_ms == 0)
        log_request(api, ctx, name, res->status, req->queued_us, took);
}

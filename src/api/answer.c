/* SPDX-License-Identifier: MIT */
/*
 * The way of one request through the interfaces:
 *
 *   fcgi/ → api_answer (here) → http_dispatch → a handler (native_sessions.c and the like)
 *         → session/ → repository → db/
 */
#include "parley/api/api.h"

#include <string.h>

#include "interface.h"
#include "parley/base/uuid.h"
#include "parley/obs/log.h"

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
            out[n++] = interfaces[i]->table.routes[k].name;
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

/* Whose request it is. A failure stays in ctx, for the interface to say in its own form. */
static void authenticate(struct api_service *api, struct request_ctx *ctx,
                         const struct http_request *req)
{
    const struct auth_claim claim = {http_header_get(req, "authorization"),
                                     http_header_get(req, "x-api-key"), req->remote_addr};
    enum err e = auth_check(api->auth, ctx, &claim);
    if (e != ERR_NONE && ctx->err.err == ERR_NONE)
        ctx->err.err = e;
}

/* The index of the requests that matched no route: behind all others. */
static unsigned count_none(void)
{
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(interfaces); i++)
        n += interfaces[i]->table.n;
    return (unsigned)n;
}

void api_answer(void *service, struct arena *arena, struct http_request *req,
                struct http_response *res)
{
    struct api_service *api = service;
    const int64_t began = clock_mono_us();
    struct request_ctx ctx;
    char made[UUID_LEN + 1];
    ctx_init(&ctx, arena, deadline_in_ms(api->request_ms - req->queued_us / 1000), SV(""),
             request_id(req, made));
    ctx.before_wait = req->before_wait;
    /* The id must outlive the response's headers, which are sent after this function returns. */
    struct sv kept = arena_dup(arena, ctx.request_id);
    if (kept.p)
        ctx.request_id = kept;
    else
        ctx.request_id = SV("none");
    const bool late = (api->queue_ms > 0 && req->queued_us > api->queue_ms * 1000) ||
                      deadline_passed(ctx.deadline);
    /* Its client may be gone, and those behind it wait as long: work is for who is still there. */
    if (late)
        (void)ctx_fail(&ctx, ERR_OVERLOAD, NULL, NULL,
                       "The server is busy: the request waited too long, and nothing was done.");
    size_t first;
    const struct api_interface *interface = interface_of(req->target, &first);
    const struct http_table *table = &interface->table;
    if (!late && !interface->open)
        authenticate(api, &ctx, req);
    const size_t route = http_dispatch(&ctx, table, service, req, res);
    if (res->status == 401)
        http_response_header(res, "WWW-Authenticate", SV("Bearer realm=\"parley\""));
    const char *name = route < table->n ? table->routes[route].name : "none";
    const int64_t took = clock_mono_us() - began;
    if (api->slot) {
        metrics_request(api->slot, route < table->n ? (unsigned)(first + route) : count_none(),
                        res->status, took);
        metrics_observe(&api->slot->queue, req->queued_us);
        metrics_add(&api->slot->queue_refused, late);
        if (res->status >= 400)
            metrics_add(&api->slot->errors[ctx.err.err], 1);
    }
    /* What was refused unread has a counter: a line each would be work for those that are gone. */
    if (!late || api->slow_ms == 0)
        log_request(api, &ctx, name, res->status, req->queued_us, took);
}

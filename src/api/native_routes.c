/* SPDX-License-Identifier: MIT */
/*
 * The native interface: its route table, and the way of one request through it.
 *
 *   fcgi/ → api_answer (here) → http_dispatch → a handler (native_sessions.c and the like)
 *         → session/ → repository → db/
 */
#include "native.h"

#include <string.h>

#include "parley/base/uuid.h"
#include "parley/obs/log.h"

static const struct http_route routes[] = {
    {HTTP_POST, "/v1/sessions", "session_create", native_session_create},
    {HTTP_PUT, "/v1/sessions/*", "session_put", native_session_put},
    {HTTP_GET, "/v1/sessions/*", "session_get", native_session_get},
    {HTTP_PATCH, "/v1/sessions/*", "session_patch", native_session_patch},
    {HTTP_DELETE, "/v1/sessions/*", "session_delete", native_session_delete},
    {HTTP_POST, "/v1/sessions/*/messages", "messages_append", native_messages_append},
    {HTTP_GET, "/v1/sessions/*/messages", "messages_page", native_messages_page},
    {HTTP_GET, "/v1/sessions/*/messages/*", "message_get", native_message_get},
    {HTTP_DELETE, "/v1/sessions/*/messages/*", "message_delete", native_message_delete},
    {HTTP_GET, "/v1/users/*/sessions", "user_sessions", native_user_sessions},
    {HTTP_GET, "/v1/users/*/export", "user_export", native_user_export},
    {HTTP_DELETE, "/v1/users/*", "user_delete", native_user_delete},
};

const char *const *api_route_names(size_t *n)
{
    static const char *const names[] = {
        "session_create",  "session_put",   "session_get", "session_patch",  "session_delete",
        "messages_append", "messages_page", "message_get", "message_delete", "user_sessions",
        "user_export",     "user_delete",   "none"};
    _Static_assert(ARRAY_LEN(names) == ARRAY_LEN(routes) + 1, "a name for each route, and none");
    *n = ARRAY_LEN(names);
    return names;
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
    const bool failed = status >= 500 && ctx->err.err != ERR_NOT_IMPLEMENTED;
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

void api_answer(void *service, struct arena *arena, struct http_request *req,
                struct http_response *res)
{
    struct api_service *api = service;
    const int64_t began = clock_mono_us();
    struct request_ctx ctx;
    char made[UUID_LEN + 1];
    ctx_init(&ctx, arena, deadline_in_ms(api->request_ms - req->queued_us / 1000), SV("default"),
             request_id(req, made));
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
    size_t route = http_dispatch(&ctx, routes, ARRAY_LEN(routes), service, req, res);
    size_t n_names;
    const char *name = api_route_names(&n_names)[route];
    const int64_t took = clock_mono_us() - began;
    if (api->slot) {
        metrics_request(api->slot, (unsigned)route, res->status, took);
        metrics_observe(&api->slot->queue, req->queued_us);
        metrics_add(&api->slot->queue_refused, late);
        if (res->status >= 400)
            metrics_add(&api->slot->errors[ctx.err.err], 1);
    }
    /* What was refused unread has a counter: a line each would be work for those that are gone. */
    if (!late || api->slow_ms == 0)
        log_request(api, &ctx, name, res->status, req->queued_us, took);
}

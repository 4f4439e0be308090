/* SPDX-License-Identifier: MIT */
/*
 * Takes a request from fcgi/, finds its interface and tenant, and logs and counts the answer.
 *
 *   fcgi/ → api_dispatch (here) → http_dispatch → api_run (common/route_run.c)
 *         → a handler (native/native_sessions.c, …) → session/ → session/sql/ → db/
 */
#include "api/common/handler.h"

#include <inttypes.h>
#include <string.h>

#include "parley/obs/log.h"

static const struct api_interface *const interfaces[] = {&docs_interface, &openai_interface,
                                                         &langgraph_interface, &native_interface};

static bool has_path(const struct api_interface *in, struct sv target)
{
    for (const char *const *p = in->prefixes; *p; p++) {
        const size_t n = strlen(*p);
        if (sv_starts_with(target, (struct sv){*p, n}) &&
            (target.n == n || target.p[n] == '/' || target.p[n] == '?'))
            return true;
    }
    return false;
}

/* The interface that serves a path: an index into interfaces. */
static size_t interface_of(struct sv target)
{
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(interfaces) && !has_path(interfaces[i], target))
        i++;
    return i;
}

/* The index in the metrics of the first route of an interface, or of requests without a route. */
static size_t first_route(size_t interface)
{
    size_t n = 0;
    for (size_t i = 0; i < interface; i++)
        n += interfaces[i]->table.n;
    return n;
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

enum { REQUEST_ID_MAX = 128 };

/* The client's own id if it is harmless in a header and a log; else a new one. nginx/problems.conf
 * has the same rule. */
static struct sv request_id(const struct http_request *req, char made[UUID_LEN + 1])
{
    struct sv given = http_header_get(req, "x-request-id");
    if (given.n >= 1 && given.n <= REQUEST_ID_MAX && sv_all_of(given, "._:-") &&
        !sv_eq(given, SV(".")) && !sv_eq(given, SV("..")))
        return given;
    uuid_v7(made);
    return (struct sv){made, UUID_LEN};
}

/* Writes one line about a request that failed in the server or was slow, and with PARLEY_LOG=debug
 * about one that was refused. The request id and the ids of a valid traceparent are the only texts
 * from the client in the line. */
static void log_request(const struct api_service *api, const struct request_ctx *ctx,
                        const struct http_request *req, const char *route, int status,
                        int64_t took_us)
{
    struct log_line l;
    struct sv trace, parent;
    const int64_t queued_us = req->queued_us;
    /* Some interfaces answer an unknown outcome with a 4xx. */
    const bool failed = status >= 500 || ctx->err.err == ERR_OUTCOME_UNKNOWN;
    const bool slow = queued_us + took_us >= api->slow_ms * 1000;
    const bool explained = api->log_debug && status >= 400;
    if (!failed && !slow && !explained)
        return;
    log_begin(&l,
              failed ? LOG_ERROR
              : slow ? LOG_INFO
                     : LOG_DEBUG,
              failed ? "request_failed" : "request");
    log_sv(&l, "request_id", ctx->request_id);
    if (http_trace(req, &trace, &parent)) {
        log_sv(&l, "trace_id", trace);
        log_sv(&l, "parent_id", parent);
    }
    log_sv(&l, "tenant", ctx->tenant);
    log_str(&l, "route", route);
    log_int(&l, "status", status);
    if (status >= 400)
        log_str(&l, "error", err_name(ctx->err.err));
    if (failed)
        log_str(&l, "cause", ctx->err.cause);
    if (explained) {
        const struct http_fault fault = http_fault_of(ctx);
        log_str(&l, "code", fault.code);
        log_sv(&l, "field", ctx->err.field_is_sent ? SV_NONE : sv_from(ctx->err.field));
        log_sv(&l, "detail", ctx->err.detail_is_sent ? SV_NONE : sv_from(fault.detail));
    }
    log_int(&l, "total_us", queued_us + took_us);
    log_int(&l, "queue_us", queued_us);
    log_int(&l, "pool_us", ctx->trace.pool_us);
    log_int(&l, "sql_us", ctx->trace.sql_us);
    log_int(&l, "cache_us", ctx->trace.cache_us);
    log_int(&l, "round_trips", ctx->trace.round_trips);
    log_int(&l, "batch", ctx->trace.batch);
    log_str(&l, "source", ctx->trace.source);
    log_end(&l);
}

/* A request from its arrival on. Lies in the arena of the request, or on the stack. */
struct call {
    struct request_ctx ctx;
    size_t interface; /* index into interfaces */
    int64_t began;
    bool late, reported;
    char made_id[UUID_LEN + 1];
    LIST_ENTRY(call) link;
};

static void enter_call(struct api_service *api, struct call *c)
{
    pthread_mutex_lock(&api->calls_lock);
    LIST_INSERT_HEAD(&api->calls, c, link);
    pthread_mutex_unlock(&api->calls_lock);
}

static void leave_call(struct api_service *api, struct call *c)
{
    pthread_mutex_lock(&api->calls_lock);
    LIST_REMOVE(c, link);
    pthread_mutex_unlock(&api->calls_lock);
}

/* Another thread runs the call: only what was set before enter_call, and what is atomic, may be
 * read here. */
static void begin_hang(struct log_line *l, const struct call *c, int64_t took_us)
{
    log_begin(l, LOG_ERROR, "request_hangs");
    log_sv(l, "request_id", c->ctx.request_id);
    log_str(l, "route", c->ctx.trace.route);
    log_int(l, "total_us", took_us);
    log_str(l, "message", "its worker is to be replaced");
}

bool api_hangs(struct api_service *api, int64_t limit_us)
{
    const int64_t now = clock_mono_us();
    bool hangs = false, reports = false;
    struct log_line l;
    struct call *c;
    pthread_mutex_lock(&api->calls_lock);
    LIST_FOREACH(c, &api->calls, link)
    {
        if (now - c->began <= limit_us)
            continue;
        hangs = true;
        if (reports || c->reported)
            continue; /* the next call reports it */
        begin_hang(&l, c, now - c->began);
        reports = c->reported = true;
    }
    pthread_mutex_unlock(&api->calls_lock);
    /* Without the lock: a write to a disk may hang, too. */
    if (reports)
        log_end(&l);
    if (reports && api->slot)
        metrics_add(&api->slot->hangs, 1);
    return hangs;
}

/* Sets up the context with the deadline. A failure stays in ctx. */
static void begin_call(const struct api_service *api, struct arena *arena, struct http_request *req,
                       struct call *c)
{
    struct request_ctx *ctx = &c->ctx;
    c->began = clock_mono_us();
    c->reported = false;
    ctx_init(ctx, arena, deadline_in_ms(api->request_ms - req->queued_us / 1000), SV(""),
             request_id(req, c->made_id));
    ctx->before_wait = req->before_wait;
    ctx->known_roles = api->known_roles;
    c->late = (api->queue_ms > 0 && req->queued_us > api->queue_ms * 1000) ||
              deadline_passed(ctx->deadline);
    /* The client may be gone, and later requests wait as long: serve those. */
    if (c->late)
        (void)ctx_fail(ctx, ERR_OVERLOAD, NULL, NULL,
                       "The server is busy: the request waited too long, and nothing was done.");
    c->interface = interface_of(req->target);
}

/* Finds the tenant. A failure stays in ctx: the interface answers it in its own form. */
static void authenticate(struct api_service *api, struct call *c, const struct http_request *req)
{
    struct request_ctx *ctx = &c->ctx;
    /* A browser sends no key with a preflight request (OPTIONS), and no route has that method. */
    if (c->late || interfaces[c->interface]->open || req->method == HTTP_OPTIONS)
        return;
    enum err e = auth_check(api->auth, ctx, req);
    if (e != ERR_NONE && ctx->err.err == ERR_NONE)
        ctx->err.err = e;
}

/* ---- reading ahead ---- */

/* The next segment names a session, and GET reads it. */
static const struct sv session_paths[] = {SV_INIT("/v1/sessions/"), SV_INIT("/v1/conversations/"),
                                          SV_INIT("/threads/")};

/* What follows the path's prefix in a target that reads a session; absent: it reads none. */
static struct sv after_prefix(struct sv target)
{
    for (size_t i = 0; i < ARRAY_LEN(session_paths); i++)
        if (sv_starts_with(target, session_paths[i]))
            return (struct sv){target.p + session_paths[i].n, target.n - session_paths[i].n};
    return SV_NONE;
}

/* The session that a target names. Absent: it names none, or ctx has the failure. */
static struct sv session_named_by(struct request_ctx *ctx, struct sv target)
{
    struct sv path = after_prefix(target), id = SV_NONE;
    path = sv_cut(&path, '?');
    const struct sv segment = sv_cut(&path, '/');
    if (!segment.p || http_segment_decode(ctx, segment, &id) != ERR_NONE || !id_valid(id) ||
        session_id_canonical(ctx, SESSION_PREFIX, &id) != ERR_NONE)
        return SV_NONE;
    return id;
}

/* The target may be followed by other bytes of the request. */
bool api_gathers(void *service, struct sv target)
{
    const struct api_service *api = service;
    return after_prefix(target).p && db_is_up(api->db) && session_ahead_is_useful(api->sessions);
}

void api_read_ahead(void *service, struct arena *const *arenas, struct http_request *const *reqs,
                    size_t n)
{
    struct api_service *api = service;
    struct session_ahead *ahead[SESSION_AHEAD_MAX] = {NULL};
    size_t asked = 0;
    /* One entry for all these requests: if their reads hang, they have no entries of their own. */
    struct call all = {.ctx = {.request_id = SV("none")}, .began = clock_mono_us()};
    all.ctx.trace.route = "read_ahead";
    enter_call(api, &all);
    /* All deadlines start before the first key is checked, because that check may wait. */
    for (size_t i = 0; i < n; i++) {
        reqs[i]->prepared = arena_alloc(arenas[i], sizeof(struct call));
        if (reqs[i]->prepared)
            begin_call(api, arenas[i], reqs[i], reqs[i]->prepared);
    }
    for (size_t i = 0; i < n; i++) {
        struct call *c = reqs[i]->prepared;
        if (!c)
            continue;
        authenticate(api, c, reqs[i]);
        if (asked == SESSION_AHEAD_MAX || c->ctx.err.err != ERR_NONE)
            continue;
        const struct sv id = session_named_by(&c->ctx, reqs[i]->target);
        ahead[asked] = id.p ? session_ahead_new(&c->ctx, id) : NULL;
        asked += ahead[asked] != NULL;
    }
    session_ahead_read(api->sessions, arenas[0], ahead, asked);
    leave_call(api, &all);
    for (size_t i = 0; i < n; i++) {
        const struct call *c = reqs[i]->prepared;
        reqs[i]->ready = c && session_ahead_is_done(&c->ctx);
    }
}

/* ---- the answer ---- */

/* draft-ietf-httpapi-ratelimit-headers-10. Only for a tenant that has a limit. */
static void add_rate_limit(struct request_ctx *ctx, struct http_response *res)
{
    if (ctx->rate_limit == 0)
        return;
    const struct sv policy =
        arena_printf(ctx->arena, "\"tenant\";q=%" PRId64 ";w=1", ctx->rate_limit);
    const struct sv left = arena_printf(ctx->arena, "\"tenant\";r=%" PRId64 "%s", ctx->rate_left,
                                        ctx->rate_left > 0 ? "" : ";t=1");
    if (!policy.p || !left.p)
        return;
    http_response_header(res, "RateLimit-Policy", policy);
    http_response_header(res, "RateLimit", left);
}

void api_dispatch(void *service, struct arena *arena, struct http_request *req,
                  struct http_response *res)
{
    struct api_service *api = service;
    struct call own, *c = req->prepared ? req->prepared : &own;
    if (c == &own)
        begin_call(api, arena, req, c);
    struct request_ctx *ctx = &c->ctx;
    /* Headers are sent after this function returns, so the id must be in the arena. */
    struct sv kept = arena_dup(arena, ctx->request_id);
    ctx->request_id = kept.p ? kept : SV("none");
    enter_call(api, c);
    if (c == &own)
        authenticate(api, c, req);
    const struct http_table *table = &interfaces[c->interface]->table;
    const size_t route = http_dispatch(ctx, table, service, req, res);
    leave_call(api, c);
    if (res->status == 401)
        http_response_header(res, "WWW-Authenticate", SV("Bearer realm=\"parley\""));
    add_rate_limit(ctx, res);
    api_cors(api, req, res);
    const char *name = ctx->trace.route ? ctx->trace.route : "none";
    const int64_t took = clock_mono_us() - c->began;
    if (api->slot) {
        const size_t counted = route < table->n ? first_route(c->interface) + route
                                                : first_route(ARRAY_LEN(interfaces));
        metrics_request(api->slot, (unsigned)counted, res->status, took);
        metrics_observe(&api->slot->queue, req->queued_us);
        auth_count(api->auth, ctx->tenant, res->status);
        metrics_add(&api->slot->queue_refused, c->late);
        if (res->status >= 400)
            metrics_add(&api->slot->errors[ctx->err.err], 1);
    }
    /* A late request has a counter; a line for each would add work to an overload. */
    if (!c->late || api->slow_ms == 0)
        log_request(api, ctx, req, name, res->status, took);
}

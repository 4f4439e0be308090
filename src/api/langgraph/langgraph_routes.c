/* SPDX-License-Identifier: MIT */
/* LangGraph's threads: the route table, and errors with the statuses that its SDK understands. */
#include "langgraph.h"

#include <string.h>

enum { READ = API_THREAD | API_USER_HEADER, WRITE = API_THREAD | API_PRECONDITIONS };

static const struct api_route routes[] = {
    {{HTTP_POST, "/threads", "thread_create", api_run},
     {langgraph_thread_create, API_PRECONDITIONS | API_CREATES | API_BODY_OPTIONAL, NULL}},
    {{HTTP_GET, "/threads/*", "thread_get", api_run}, {langgraph_thread_get, READ, NULL}},
    {{HTTP_PATCH, "/threads/*", "thread_patch", api_run},
     {langgraph_thread_patch, WRITE | API_BODY_PATCH, NULL}},
    {{HTTP_DELETE, "/threads/*", "thread_delete", api_run}, {api_session_delete, WRITE, NULL}},
    {{HTTP_POST, "/threads/search", "threads_search", api_run},
     {langgraph_threads_search, API_USER_HEADER | API_BODY_OPTIONAL, NULL}},
    {{HTTP_POST, "/threads/count", "threads_count", api_run},
     {langgraph_threads_count, API_USER_HEADER | API_BODY_OPTIONAL, NULL}},
    {{HTTP_POST, "/threads/*/copy", "thread_copy", api_run},
     {langgraph_thread_copy, WRITE | API_FORKS, NULL}},
    {{HTTP_GET, "/threads/*/state", "thread_state_get", api_run},
     {langgraph_state_get, READ, NULL}},
    {{HTTP_POST, "/threads/*/state", "thread_state_update", api_run},
     {langgraph_state_update, WRITE | API_BODY_REQUIRED, NULL}},
    {{HTTP_GET, "/threads/*/state/*", "thread_state_get_at", api_run},
     {langgraph_state_get, READ, NULL}},
    {{HTTP_POST, "/threads/*/state/checkpoint", "thread_state_find", api_run},
     {langgraph_state_find, READ | API_BODY_REQUIRED, NULL}},
};

/* LangGraph's SDK repeats a request by itself, up to four times, after every status but 400 to 409
 * and 422. So a failure that can pass is a 429 or a 5xx, and one that cannot is a 422.
 * A change that may have been made is a 409 where repeating it could make it twice: a POST without
 * an idempotency key. A tenant at its bound of sessions gets 429, although that lasts until a
 * session ends: Retry-After says when to try again, and the repetitions cost little. */
static int status_of(const struct request_ctx *ctx, const struct http_request *req, int status)
{
    switch (ctx->err.err) {
    case ERR_BUSY:
        return 503;
    case ERR_PRECONDITION:
        return 409;
    case ERR_OUTCOME_UNKNOWN:
        return req->method == HTTP_POST && !http_header_get(req, "idempotency-key").p ? 409
                                                                                      : status;
    case ERR_TIMEOUT:
        return ctx->err.slug ? 422 : status; /* langgraph_too_slow */
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_URI_TOO_LONG:
    case ERR_MEDIA_TYPE:
        return 422;
    default:
        return status;
    }
}

static const char no_graphs[] =
    "There is no such route: parley keeps threads with their metadata and their current state. It "
    "runs no graphs, so it has no runs, checkpoints, assistants, crons or store.";

/* The name here of a field of the session module. */
static struct sv field_of(const char *field)
{
    if (strcmp(field, "session_id") == 0)
        return SV("thread_id");
    return strcmp(field, "context") == 0 ? SV("values") : sv_from(field);
}

static void langgraph_problem(struct request_ctx *ctx, const struct http_request *req,
                              struct http_response *res)
{
    struct http_fault fault = http_fault_of(ctx);
    fault.status = status_of(ctx, req, fault.status);
    if (fault.status == 422)
        fault.retry_after_s = 0; /* of the status that it is elsewhere */
    if (strcmp(fault.detail, HTTP_NO_ROUTE) == 0)
        fault.detail = no_graphs;
    if (ctx->err.err == ERR_NOT_FOUND || ctx->err.err == ERR_CONFLICT || ctx->err.err == ERR_BUSY)
        fault.detail = api_renamed(ctx, fault.detail, "session", "thread");
    http_fault_begin(ctx, &fault, res);
    struct json_writer j = api_begin_object(res, fault.status);
    json_put_str(&j, "detail", fault.detail);
    json_put_str(&j, "code", fault.code);
    if (ctx->err.field[0])
        json_put_sv(&j, "field", field_of(ctx->err.field));
    json_put_sv(&j, "request_id", ctx->request_id);
    json_write_object_close(&j);
}

const struct api_interface langgraph_interface = {
    {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]), langgraph_problem, false},
    {"/threads", "/runs", "/assistants", "/crons", "/store"},
    false};

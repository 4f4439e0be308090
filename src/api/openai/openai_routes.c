/* SPDX-License-Identifier: MIT */
/* OpenAI's Conversations: the route table and the form of an error. */
#include "openai.h"

#include <stdio.h>
#include <string.h>

/* Accepted and ignored: parley returns everything anyway. */
static const struct api_param include_params[] = {
    {.name = "include", .max = API_LIST}, {.name = "include[]", .max = API_LIST}, {.name = NULL}};

enum { READ = API_CONVERSATION | API_USER_HEADER, WRITE = API_CONVERSATION | API_PRECONDITIONS };

static const struct api_route routes[] = {
    {{HTTP_POST, "/v1/conversations", "openai_conversation_create", api_run},
     {openai_conversation_create, API_PRECONDITIONS | API_CREATES | API_BODY_OPTIONAL,
      include_params}},
    {{HTTP_GET, "/v1/conversations/*", "openai_conversation_get", api_run},
     {openai_conversation_get, READ, api_no_params}},
    {{HTTP_POST, "/v1/conversations/*", "openai_conversation_update", api_run},
     {openai_conversation_update, WRITE | API_BODY_REQUIRED, include_params}},
    {{HTTP_DELETE, "/v1/conversations/*", "openai_conversation_delete", api_run},
     {openai_conversation_delete, WRITE, include_params}},
    {{HTTP_POST, "/v1/conversations/*/items", "openai_items_create", api_run},
     {openai_items_create, WRITE | API_BODY_REQUIRED, include_params}},
    {{HTTP_GET, "/v1/conversations/*/items", "openai_items_list", api_run},
     {openai_items_list, READ, openai_list_params}},
    {{HTTP_GET, "/v1/conversations/*/items/*", "openai_item_get", api_run},
     {openai_item_get, READ | API_ITEM, include_params}},
    {{HTTP_DELETE, "/v1/conversations/*/items/*", "openai_item_delete", api_run},
     {openai_item_delete, WRITE | API_ITEM, include_params}},
};

static const char *error_type(int status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status == 429 ? "rate_limit_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

/* OpenAI's clients repeat a request by themselves after 408, 409, 429 and any 5xx, without a key.
 * They must not repeat a change that may have been made, nor a request that fails each time. */
static bool may_repeat(const struct request_ctx *ctx, const struct http_request *req)
{
    switch (ctx->err.err) {
    case ERR_OUTCOME_UNKNOWN:
        return http_header_get(req, "idempotency-key").p != NULL;
    case ERR_LIMITED:
        /* A bound on requests ends with the second; one on sessions only when a session ends. */
        return ctx->err.slug && strcmp(ctx->err.slug, "tenant_requests") == 0;
    case ERR_NOMEM:
    case ERR_INTERNAL:
        return false;
    default:
        return true;
    }
}

static struct sv param_name(struct request_ctx *ctx)
{
    size_t at = 0;
    if (ctx->err.slug && strcmp(ctx->err.slug, "message_id_taken") == 0) {
        (void)sscanf(ctx->err.field, "messages[%zu]", &at);
        return arena_printf(ctx->arena, "items[%zu].id", at);
    }
    /* The session module calls it session_id. */
    if (strcmp(ctx->err.field, "session_id") == 0)
        return SV("conversation_id");
    return ctx->err.field[0] ? sv_from(ctx->err.field) : SV_NONE;
}

/* detail in this interface's words. If the base URL ends in /conversations, that word is taken for
 * a conversation's id. */
static const char *detail_of(struct request_ctx *ctx, const struct http_request *req,
                             const char *detail)
{
    const enum err e = ctx->err.err;
    struct sv rest = req->target, id = SV_NONE;
    for (int i = 0; i < 4; i++)
        id = sv_cut(&rest, '/');
    if (e == ERR_NOT_FOUND && sv_eq(id, SV("conversations")))
        return HTTP_OPENAI_BASE;
    if (e == ERR_NOT_FOUND)
        detail = api_renamed(ctx, detail, "message", "item");
    if (e == ERR_NOT_FOUND || e == ERR_CONFLICT || e == ERR_BUSY)
        detail = api_renamed(ctx, detail, "session", "conversation");
    return detail;
}

static void openai_problem(struct request_ctx *ctx, const struct http_request *req,
                           struct http_response *res)
{
    struct http_fault fault = http_fault_of(ctx);
    /* An id stays taken, and clients would repeat a 409. */
    if (ctx->err.err == ERR_CONFLICT)
        fault.status = 400;
    fault.detail = detail_of(ctx, req, fault.detail);
    http_fault_begin(ctx, &fault, res);
    if (ctx->err.err == ERR_BUSY)
        http_response_header(res, "retry-after-ms", SV("50"));
    if (!may_repeat(ctx, req))
        http_response_header(res, "x-should-retry", SV("false"));
    struct json_writer j = api_begin_object(res, fault.status);
    json_put_object(&j, "error");
    json_put_str(&j, "message", fault.detail[0] ? fault.detail : http_status_reason(fault.status));
    json_put_str(&j, "type", error_type(fault.status));
    json_put_sv(&j, "param", param_name(ctx));
    json_put_str(&j, "code", fault.code);
    json_write_object_close(&j);
    json_write_object_close(&j);
}

const struct api_interface openai_interface = {
    {&routes[0].http, ARRAY_LEN(routes), sizeof(routes[0]), openai_problem, false},
    {"/v1/conversations", "/conversations"},
    false};

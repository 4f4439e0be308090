/* SPDX-License-Identifier: MIT */
#include "parley/http/response.h"

#include "parley/json/members.h"

/* The one table from enum err to HTTP. detail: for an error that has no text of its own, such as a
 * failure of the server, or a value that the database refused. */
static const struct {
    int status, retry_after_s;
    const char *detail;
} problems[ERR_COUNT] = {
    [ERR_INVALID] = {400, 0,
                     "The request, or the data that it refers to, has a value that the database "
                     "does not accept."},
    [ERR_UNAUTHENTICATED] = {401, 0, ""},
    [ERR_FORBIDDEN] = {403, 0, ""}, /* nginx sends its own 403 as 404 */
    [ERR_NOT_FOUND] = {404, 0, ""},
    [ERR_METHOD] = {405, 0, ""},
    [ERR_NOT_ACCEPTABLE] = {406, 0, ""},
    [ERR_CONFLICT] = {409, 0, "The request conflicts with data in the database."},
    [ERR_BUSY] = {409, 1, "Another request on the same data is under way; try again."},
    [ERR_PRECONDITION] = {412, 0, ""},
    [ERR_TOO_LARGE] = {413, 0, "The request exceeds a limit of the database."},
    [ERR_URI_TOO_LONG] = {414, 0, ""},
    [ERR_MEDIA_TYPE] = {415, 0, ""},
    [ERR_NO_WINDOW] = {422, 0, ""},
    [ERR_TOO_MANY] = {422, 0, ""},
    [ERR_KEY_REUSED] = {422, 0, ""},
    [ERR_LIMITED] = {429, 1, ""},
    [ERR_TIMEOUT] = {503, 1, "The request took too long; nothing was changed."},
    [ERR_OVERLOAD] = {503, 1, "The server is busy; nothing was changed."},
    [ERR_UNAVAILABLE] = {503, 1, "The database is not available; nothing was changed."},
    [ERR_OUTCOME_UNKNOWN] = {503, 1,
                             "The connection to the database was lost, and it is not known whether "
                             "the change was made. Repeat the request with its Idempotency-Key."},
    [ERR_NOMEM] = {500, 0, "The answer is too large."},
    [ERR_INTERNAL] = {500, 0, ""},
};

struct http_fault http_fault_of(const struct request_ctx *ctx)
{
    const struct err_info *e = &ctx->err;
    const enum err known = problems[e->err].status ? e->err : ERR_INTERNAL;
    return (struct http_fault){
        .status = problems[known].status,
        .code = e->slug ? e->slug : err_name(known),
        .detail = e->detail[0] ? e->detail : problems[known].detail,
        .retry_after_s = e->retry_after_s ? e->retry_after_s : problems[known].retry_after_s,
    };
}

void http_fault_begin(struct request_ctx *ctx, const struct http_fault *fault,
                      struct http_response *res)
{
    http_response_init(res, res->body.arena);
    res->status = fault->status;
    if (fault->retry_after_s == 0)
        return;
    struct sv value = arena_printf(ctx->arena, "%d", fault->retry_after_s);
    if (value.p)
        http_response_header(res, "Retry-After", value);
}

void http_problem(struct request_ctx *ctx, const struct http_request *req,
                  struct http_response *res)
{
    (void)req;
    const struct http_fault fault = http_fault_of(ctx);
    http_fault_begin(ctx, &fault, res);
    res->content_type = "application/problem+json";
    struct json_writer j = {.b = &res->body};
    json_write_object_open(&j);
    /* The page at /docs has an entry for each. */
    const struct sv type = arena_printf(ctx->arena, "/docs#error-%s", fault.code);
    json_put_sv(&j, "type", type.p ? type : SV("about:blank"));
    json_put_str(&j, "title", http_status_reason(res->status));
    json_put_i64(&j, "status", res->status);
    json_put_str(&j, "detail", fault.detail);
    json_put_str(&j, "code", fault.code);
    if (ctx->err.field[0])
        json_put_str(&j, "field", ctx->err.field);
    json_members_write(&j, sv_from(ctx->err.members), NULL);
    json_put_sv(&j, "request_id", ctx->request_id);
    json_write_object_close(&j);
}

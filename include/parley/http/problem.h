/* Problem details (RFC 9457): the one table from enum err to HTTP. */
#ifndef PARLEY_HTTP_PROBLEM_H
#define PARLEY_HTTP_PROBLEM_H

#include "parley/http/request.h"
#include "parley/http/response.h"

/* What every form of an error says of ctx->err. code and detail: static storage, or ctx's. */
struct http_fault {
    int status;
    const char *code, *detail; /* detail may be "" */
    int retry_after_s;         /* 0: none */
};
struct http_fault http_fault_of(const struct request_ctx *ctx);
/* Makes res an error without a body yet: cleared, with status and Retry-After. */
void http_fault_begin(struct request_ctx *ctx, const struct http_fault *fault,
                      struct http_response *res);

/* What a problem's type begins with; its code follows. The page at /docs has an entry under each.
 */
#define HTTP_PROBLEM_TYPE "/docs#error-"
/* Makes res the problem document of ctx->err: type, title, status, detail, code, field, request_id.
 */
void http_problem(struct request_ctx *ctx, const struct http_request *req,
                  struct http_response *res);

#endif

/* SPDX-License-Identifier: MIT */
/* Problem details (RFC 9457), from the one table of enum err to HTTP statuses. */
#ifndef PARLEY_HTTP_PROBLEM_H
#define PARLEY_HTTP_PROBLEM_H

#include "parley/http/request.h"
#include "parley/http/response.h"

/* What an error in any interface's form says. code and detail: static, or borrowed from ctx. */
struct http_fault {
    int status;
    const char *code, *detail; /* detail may be "" */
    int retry_after_s;         /* 0: none */
};
struct http_fault http_fault_of(const struct request_ctx *ctx);
/* Clears res and sets status and Retry-After; the caller adds the body. */
void http_fault_begin(struct request_ctx *ctx, const struct http_fault *fault,
                      struct http_response *res);

/* The prefix of a problem's type; the code follows. The page at /docs has an entry for each. */
#define HTTP_PROBLEM_TYPE "/docs#error-"
/* Makes res the problem document of ctx->err. */
void http_problem(struct request_ctx *ctx, const struct http_request *req,
                  struct http_response *res);

#endif

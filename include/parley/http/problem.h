/* Problem details (RFC 9457): the one table from enum err to HTTP. */
#ifndef PARLEY_HTTP_PROBLEM_H
#define PARLEY_HTTP_PROBLEM_H

#include "parley/http/response.h"

int http_problem_status(enum err e);
/* Makes res the problem document of ctx->err: type, title, status, detail, code, field, request_id.
 */
void http_problem(struct request_ctx *ctx, struct http_response *res);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Dispatch by a static table of routes. A pattern is a path whose segments are literal or "*"; the
 * handler gets the segments that "*" matched, in order. The first match counts, so literal segments
 * stand before "*" in the table.
 */
#pragma once

#include "parley/http/request.h"
#include "parley/http/response.h"

enum { HTTP_CAPTURES_MAX = 3 };

struct http_route;
struct http_call {
    const struct http_request *req;
    const struct http_route *route;
    struct sv captures[HTTP_CAPTURES_MAX];
    void *service; /* what the table was dispatched with */
};

typedef enum err http_handler(struct request_ctx *ctx, const struct http_call *call,
                              struct http_response *res);

struct http_route {
    enum http_method method; /* GET serves HEAD as well */
    const char *pattern;     /* "/v1/sessions/ * /messages" (without the blanks) */
    const char *name;        /* in logs and metrics */
    http_handler *handler;
};

struct http_table {
    const struct http_route *routes; /* each may be the first member of a larger row */
    size_t n, stride;                /* how many rows; the size of one */
    http_problem_fn *problem;        /* http_problem, or the form of another interface */
    bool any_type;                   /* answers are not JSON: Accept is ignored */
};

const struct http_route *http_table_at(const struct http_table *table, size_t i);

/* Answers req completely: checks, routing (405 with Allow, OPTIONS), the handler, and the problem
 * document for whatever failed. If ctx has an error already, only the problem document is made.
 * Returns the index of the route, or table->n if none matched. Every response has X-Request-Id,
 * Cache-Control and X-Content-Type-Options. */
size_t http_dispatch(struct request_ctx *ctx, const struct http_table *table, void *service,
                     struct http_request *req, struct http_response *res);

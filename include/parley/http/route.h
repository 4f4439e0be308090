/*
 * One static table of routes. A pattern is a path whose segments are literal or "*"; captured
 * segments are handed to the handler in order. Literal segments win over "*" by their place in the
 * table: the first match counts.
 */
#ifndef PARLEY_HTTP_ROUTE_H
#define PARLEY_HTTP_ROUTE_H

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
    const char *name;        /* label in logs and metrics */
    http_handler *handler;
};

/* Writes the response of a failed request from ctx->err, in place of whatever res holds. */
typedef void (*http_problem_fn)(struct request_ctx *ctx, const struct http_request *req,
                                struct http_response *res);

struct http_table {
    const struct http_route *routes; /* each may be the first member of a larger struct */
    size_t n, stride;                /* how many; the size of that struct */
    http_problem_fn problem;         /* http_problem, or another form of the same */
    bool any_type;                   /* answers are not JSON: Accept is not looked at */
};

const struct http_route *http_table_at(const struct http_table *table, size_t i);

/* Answers req completely. A ctx that holds an error already gets its problem document and nothing
 * is run. Else: routing, 405 with Allow, OPTIONS, 406, 413, 414, the handler, and the problem
 * document for whatever failed. Returns the index of the route, or table->n if none matched. Every
 * response carries X-Request-Id, Cache-Control (no-store, unless the handler gave one) and
 * X-Content-Type-Options. */
size_t http_dispatch(struct request_ctx *ctx, const struct http_table *table, void *service,
                     struct http_request *req, struct http_response *res);

#endif

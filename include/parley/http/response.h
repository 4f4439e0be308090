/* SPDX-License-Identifier: MIT */
/*
 * A response as a plain struct. It is complete before its first byte is sent, so that a failure
 * gives a problem document and never half an answer. The exception is a body too large for memory:
 * its first piece is followed by more, and a failure then closes the connection.
 */
#pragma once

#include "parley/base/buf.h"
#include "parley/base/ctx.h"
#include "parley/http/request.h"

enum { HTTP_RESPONSE_HEADERS_MAX = 20 };

/* Writes the next piece of a body into an empty buffer; *more: another one follows. The arena is
 * rewound after each. The function logs its own failure. */
typedef enum err (*http_piece_fn)(void *arg, struct buf *piece, bool *more);

struct http_response {
    int status;
    struct {
        const char *name; /* static storage */
        struct sv value;  /* in the arena, without control characters */
    } headers[HTTP_RESPONSE_HEADERS_MAX];
    size_t n_headers;
    const char *content_type;  /* static storage; NULL: no body */
    const char *cache_control; /* static storage; no-store unless the handler sets it */
    struct buf body;
    http_piece_fn next_piece; /* NULL: body is the whole body */
    void *piece_arg;
};

/* Also discards body and headers, if a failure is found late. */
void http_response_init(struct http_response *r, struct arena *a);
/* Aborts for a control character in value, or too many headers: both are bugs. */
void http_response_header(struct http_response *r, const char *name, struct sv value);
/* Writes the head of an answer: status and reason (without a protocol version), all headers,
 * Content-Length, and the empty line. */
void http_response_head(struct buf *b, const struct http_response *res);
/* The reason phrase of a status that parley sends (RFC 9110, section 15); "Unknown" for others. */
const char *http_status_reason(int status);

/* ---- problem.c: problem details (RFC 9457), from one table of enum err to HTTP statuses ---- */

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

/* Replaces res by the answer to a failed request, made from ctx->err. */
typedef void http_problem_fn(struct request_ctx *ctx, const struct http_request *req,
                             struct http_response *res);
http_problem_fn http_problem;

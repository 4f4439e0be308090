/*
 * A response as a plain struct. It is whole before its first byte is sent: a failure half-way
 * becomes a problem document, never half an answer. The exception is a body too large for memory:
 * it goes on in pieces behind the first one, and a failure half-way cuts the connection.
 */
#ifndef PARLEY_HTTP_RESPONSE_H
#define PARLEY_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/buf.h"
#include "parley/base/ctx.h"

enum { HTTP_RESPONSE_HEADERS_MAX = 12 };

/* Writes the next piece of a body into an empty buffer; *more: there is another one behind it. What
 * it takes of the arena is given back after each. A failure is its own to log. */
typedef enum err (*http_piece_fn)(void *arg, struct buf *piece, bool *more);

struct http_response {
    int status;
    struct {
        const char *name; /* static storage */
        struct sv value;  /* in the arena, without control bytes */
    } headers[HTTP_RESPONSE_HEADERS_MAX];
    size_t n_headers;
    const char *content_type; /* static storage; NULL: no body */
    struct buf body;
    http_piece_fn next_piece; /* NULL: body is all there is */
    void *piece_arg;
};

void http_response_init(struct http_response *r, struct arena *a);
/* A control byte in value, or one header too many, is a programming error: aborts. */
void http_response_header(struct http_response *r, const char *name, struct sv value);
/* The reason phrase of a status that parley gives (RFC 9110, section 15), such as "Created"; never
 * NULL. */
const char *http_status_reason(int status);
/* Forgets body and headers, for a failure found late. */
void http_response_clear(struct http_response *r);

#endif

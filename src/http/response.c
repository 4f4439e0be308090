/* SPDX-License-Identifier: MIT */
#include "parley/http/response.h"

#include <stdlib.h>

void http_response_init(struct http_response *r, struct arena *a)
{
    r->status = 500;
    r->n_headers = 0;
    r->content_type = NULL;
    buf_init(&r->body, a, 0);
}

void http_response_header(struct http_response *r, const char *name, struct sv value)
{
    /* A line break here would let a value write headers of its own. */
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            abort();
    if (r->n_headers == HTTP_RESPONSE_HEADERS_MAX)
        abort();
    r->headers[r->n_headers].name = name;
    r->headers[r->n_headers].value = value;
    r->n_headers++;
}

void http_response_clear(struct http_response *r)
{
    http_response_init(r, r->body.arena);
}

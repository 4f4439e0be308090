/* SPDX-License-Identifier: MIT */
#include "parley/http/response.h"

#include <stdlib.h>

void http_response_init(struct http_response *r, struct arena *a)
{
    *r = (struct http_response){.status = 500, .cache_control = "no-store"};
    buf_init(&r->body, a, 0);
}

void http_response_header(struct http_response *r, const char *name, struct sv value)
{
    /* With a line break a value could add headers. */
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            abort();
    if (r->n_headers == HTTP_RESPONSE_HEADERS_MAX)
        abort();
    r->headers[r->n_headers].name = name;
    r->headers[r->n_headers].value = value;
    r->n_headers++;
}

const char *http_status_reason(int status)
{
    static const char *const reasons[] = {[200] = "OK",
                                          [201] = "Created",
                                          [204] = "No Content",
                                          [304] = "Not Modified",
                                          [400] = "Bad Request",
                                          [401] = "Unauthorized",
                                          [403] = "Forbidden",
                                          [404] = "Not Found",
                                          [405] = "Method Not Allowed",
                                          [406] = "Not Acceptable",
                                          [409] = "Conflict",
                                          [412] = "Precondition Failed",
                                          [413] = "Content Too Large",
                                          [414] = "URI Too Long",
                                          [415] = "Unsupported Media Type",
                                          [422] = "Unprocessable Content",
                                          [429] = "Too Many Requests",
                                          [500] = "Internal Server Error",
                                          [503] = "Service Unavailable"};
    const bool known = status >= 0 && (size_t)status < ARRAY_LEN(reasons) && reasons[status];
    return known ? reasons[status] : "Unknown";
}

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

static void write_header(struct buf *b, const char *name, struct sv value)
{
    buf_sv(b, sv_from(name));
    BUF_LIT(b, ": ");
    buf_sv(b, value);
    BUF_LIT(b, "\r\n");
}

void http_response_head(struct buf *b, const struct http_response *res)
{
    const bool has_body = res->content_type != NULL;
    buf_u64(b, (uint64_t)res->status);
    buf_putc(b, ' ');
    buf_sv(b, sv_from(http_status_reason(res->status)));
    BUF_LIT(b, "\r\n");
    if (has_body)
        write_header(b, "Content-Type", sv_from(res->content_type));
    /* Always known, so that a worker's death shows as a short body and not as a whole one. 204 and
     * 304 have none (RFC 9110, section 8.6). */
    if (res->next_piece == NULL && (has_body || (res->status != 204 && res->status != 304))) {
        BUF_LIT(b, "Content-Length: ");
        buf_u64(b, has_body ? buf_get(&res->body).n : 0);
        BUF_LIT(b, "\r\n");
    }
    for (size_t i = 0; i < res->n_headers; i++)
        write_header(b, res->headers[i].name, res->headers[i].value);
    BUF_LIT(b, "\r\n");
}

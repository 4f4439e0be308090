/* SPDX-License-Identifier: MIT */
/*
 * struct http_response to FastCGI output. libfcgi gathers it in a buffer of 8 KB, closing records
 * included: a response that fits is one write(2), a longer one is a write(2) for each 8 KB.
 */
#include "fcgi_internal.h"

#include <stdio.h>

static void put(FCGX_Stream *out, struct sv s)
{
    if (s.n > 0)
        (void)FCGX_PutStr(s.p, (int)s.n, out); /* an error stays in out and closes in the end */
}

static void put_header(FCGX_Stream *out, const char *name, struct sv value)
{
    put(out, sv_from(name));
    put(out, SV(": "));
    put(out, value);
    put(out, SV("\r\n"));
}

static void put_number(FCGX_Stream *out, const char *name, size_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%zu", n);
    put_header(out, name, (struct sv){text, (size_t)len});
}

/* With its reason: nginx copies the line as it is, and HTTP/1.1 wants a blank behind the number. */
static void put_status(FCGX_Stream *out, int status)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%d %s", status, http_status_reason(status));
    put_header(out, "Status", (struct sv){text, (size_t)len});
}

/* The pieces behind the first. Each is sent before the next is made, so that nginx hears something
 * at least as often as a piece is made, and memory holds one of them. */
static bool put_pieces(FCGX_Stream *out, const struct http_response *res)
{
    const struct arena_mark mark = arena_get_mark(res->body.arena);
    for (bool more = true; more;) {
        struct buf piece;
        buf_init(&piece, res->body.arena, 0);
        if (FCGX_FFlush(out) != 0 || FCGX_GetError(out) != 0 ||
            res->next_piece(res->piece_arg, &piece, &more) != ERR_NONE || piece.failed)
            return false;
        put(out, buf_get(&piece));
        arena_rewind(res->body.arena, mark);
    }
    return true;
}

bool fcgi_respond(FCGX_Stream *out, const struct http_response *res, bool head)
{
    if (res->body.failed || res->status < 200 || res->status > 599) {
        fcgi_respond_nomem(out, head);
        return true;
    }
    struct sv body = buf_get(&res->body);
    bool has_body = res->content_type != NULL;
    put_status(out, res->status);
    if (has_body)
        put_header(out, "Content-Type", sv_from(res->content_type));
    /* Always known, so that a worker's death shows as a short body and not as a whole one. 204 and
     * 304 have none (RFC 9110, section 8.6). */
    if (res->next_piece == NULL && (has_body || (res->status != 204 && res->status != 304)))
        put_number(out, "Content-Length", has_body ? body.n : 0);
    for (size_t i = 0; i < res->n_headers; i++)
        put_header(out, res->headers[i].name, res->headers[i].value);
    put(out, SV("\r\n"));
    /* nginx closes the connection when a HEAD is answered with a body. */
    if (has_body && !head)
        put(out, body);
    return head || !res->next_piece || put_pieces(out, res);
}

void fcgi_respond_nomem(FCGX_Stream *out, bool head)
{
    const struct sv body = SV("{\"type\":\"about:blank\",\"title\":\"Service Unavailable\","
                              "\"status\":503,\"code\":\"out_of_memory\"}");
    put_status(out, 503);
    put_header(out, "Content-Type", SV("application/problem+json"));
    put_number(out, "Content-Length", body.n);
    put_header(out, "Retry-After", SV("1"));
    put_header(out, "Cache-Control", SV("no-store"));
    put(out, SV("\r\n"));
    if (!head)
        put(out, body);
}

/* SPDX-License-Identifier: MIT */
/*
 * Input: the bytes that a web server writes on one connection. A handler must run once if the
 * request is complete and valid, with exactly its method, target and body, and else never. The
 * request must get one complete answer, and the connection may stay open only if it was to be kept.
 * Each request is sent by itself, as nginx does; bytes after the last one are sent with it.
 *
 * For a stream with records of another request, which nginx never sends, only crashes are checked.
 * Known faults of libfcgi are excluded (stream.c).
 */
#include "fuzz.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fastcgi.h>

#include "../../src/fcgi/fcgi_internal.h"
#include "stream.h"

enum { MAX_BODY = 4096, INPUT_MAX = 64 << 10 };

/* The request that the handler must get, and how often it ran. */
struct expected {
    const struct stream_request *request; /* NULL: none is known */
    int runs;
};

static void answer(void *service, struct arena *arena, struct http_request *req,
                   struct http_response *res)
{
    struct expected *x = service;
    x->runs++;
    if (x->request) {
        const bool large = x->request->body.n > MAX_BODY;
        DEMAND(sv_eq(req->method_text, x->request->method));
        DEMAND(sv_eq(req->target, x->request->target));
        DEMAND(req->body_too_large == (large ? MAX_BODY : 0));
        DEMAND(large || sv_eq(req->body, x->request->body));
    }
    http_response_init(res, arena);
    res->status = 200;
    res->content_type = "text/plain";
    BUF_LIT(&res->body, "hello");
}

/* The records of one complete answer, and nothing after them. */
static void answered_once(int fd)
{
    unsigned char p[4096];
    ssize_t n = recv(fd, p, sizeof(p), MSG_DONTWAIT);
    size_t at = 0;
    bool ended = false;
    DEMAND(n > 0 && (size_t)n < sizeof(p));
    while (at < (size_t)n) {
        DEMAND((size_t)n - at >= FCGI_HEADER_LEN && !ended);
        const unsigned char *h = p + at;
        DEMAND(h[0] == FCGI_VERSION_1 && (h[1] == FCGI_STDOUT || h[1] == FCGI_END_REQUEST));
        ended = h[1] == FCGI_END_REQUEST;
        at += FCGI_HEADER_LEN + ((size_t)h[4] << 8 | h[5]) + h[6];
    }
    DEMAND(at == (size_t)n && ended);
}

struct connection {
    struct fcgi_server server;
    struct fcgi_conn *conn;
    struct expected expected;
    int peer;
};

static void open_connection(struct connection *c)
{
    int fds[2];
    memset(c, 0, sizeof(*c));
    c->server.settings = (struct fcgi_settings){.max_body = MAX_BODY,
                                                .answer = answer,
                                                .service = &c->expected,
                                                .slot = &c->server.own_slot};
    c->conn = calloc(1, sizeof(*c->conn));
    DEMAND(c->conn && socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pthread_mutex_init(&c->server.lock, NULL);
    FCGX_InitRequest(&c->conn->fcgx, -1, 0);
    c->conn->fcgx.ipcFd = fds[0];
    LIST_INSERT_HEAD(&c->server.conns, c->conn, link);
    c->server.n_conns = 1;
    c->peer = fds[1];
}

static void close_connection(struct connection *c)
{
    fcgi_conn_close(&c->server, c->conn);
    close(c->peer);
    pthread_mutex_destroy(&c->server.lock);
}

/* Takes one request, or the rest, from wire. False: the connection was closed. */
static bool exchange(struct connection *c, struct arena *arena, struct sv *wire)
{
    struct stream_request request;
    const enum stream_verdict verdict = stream_read(arena, *wire, &request);
    const size_t size = verdict == STREAM_GOOD ? request.size : wire->n;
    if (verdict == STREAM_LEFT_OUT)
        return false;
    c->expected = (struct expected){verdict == STREAM_GOOD ? &request : NULL, 0};
    DEMAND(send(c->peer, wire->p, size, MSG_NOSIGNAL) == (ssize_t)size);
    if (size == wire->n)
        (void)shutdown(c->peer, SHUT_WR);
    wire->p += size;
    wire->n -= size;

    struct fcgi_thread thread = {.server = &c->server};
    struct fcgi_job job = {.conn = c->conn, .arena = arena};
    fcgi_request_peek(&c->server, &job);
    const bool kept = fcgi_request_read(&thread, &job) && fcgi_request_answer(&thread, &job);
    if (verdict == STREAM_BAD)
        DEMAND(c->expected.runs == 0 && !kept);
    if (verdict == STREAM_GOOD) {
        DEMAND(c->expected.runs == 1);
        DEMAND(kept == request.keep);
        answered_once(c->peer);
    }
    return kept && verdict == STREAM_GOOD;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct connection c;
    struct sv wire = {(const char *)data, n};
    if (n == 0 || n > INPUT_MAX)
        return 0;
    DEMAND(FCGX_Init() == 0);
    signal(SIGPIPE, SIG_IGN);
    fuzz_open(&f);
    open_connection(&c);
    while (wire.n > 0 && exchange(&c, f.arena, &wire))
        ;
    close_connection(&c);
    fuzz_close(&f);
    return 0;
}

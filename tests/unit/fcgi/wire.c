/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <fastcgi.h>

#include "../suite.h"

/* Bounds what hangs; nothing depends on its length. */
enum { PATIENCE_S = 20 };

void wire_record(struct wire *w, int type, const void *p, size_t n)
{
    const unsigned char *from = p;
    do {
        size_t part = n < FCGI_MAX_LENGTH ? n : FCGI_MAX_LENGTH;
        const unsigned char head[FCGI_HEADER_LEN] = {
            FCGI_VERSION_1,     (unsigned char)type, 0, 1, (unsigned char)(part >> 8),
            (unsigned char)part};
        memcpy(w->p + w->n, head, sizeof head);
        if (part)
            memcpy(w->p + w->n + sizeof head, from, part);
        w->n += sizeof head + part;
        from = part ? from + part : from;
        n -= part;
    } while (n > 0);
}

void wire_begin(struct wire *w, int flags)
{
    const unsigned char body[8] = {0, FCGI_RESPONDER, (unsigned char)flags};
    wire_record(w, FCGI_BEGIN_REQUEST, body, sizeof body);
}

static size_t put_length(unsigned char *to, size_t n)
{
    if (n < 128) {
        to[0] = (unsigned char)n;
        return 1;
    }
    to[0] = (unsigned char)(n >> 24 | 0x80);
    to[1] = (unsigned char)(n >> 16);
    to[2] = (unsigned char)(n >> 8);
    to[3] = (unsigned char)n;
    return 4;
}

void wire_param(struct wire *w, const char *name, const char *value)
{
    unsigned char p[FCGI_MAX_LENGTH];
    size_t name_n = strlen(name), value_n = strlen(value);
    size_t n = put_length(p, name_n);
    n += put_length(p + n, value_n);
    memcpy(p + n, name, name_n);
    memcpy(p + n + name_n, value, value_n);
    wire_record(w, FCGI_PARAMS, p, n + name_n + value_n);
}

void wire_body(struct wire *w, const void *body, size_t n)
{
    wire_record(w, FCGI_PARAMS, NULL, 0);
    if (n > 0)
        wire_record(w, FCGI_STDIN, body, n);
    wire_record(w, FCGI_STDIN, NULL, 0);
}

static void put_request(struct wire *w, int flags, const char *method, const char *target,
                        const char *length, const void *body, size_t n)
{
    wire_begin(w, flags);
    wire_param(w, "REQUEST_METHOD", method);
    wire_param(w, "REQUEST_URI", target);
    wire_param(w, "CONTENT_TYPE", "application/json");
    wire_param(w, "CONTENT_LENGTH", length);
    wire_param(w, "REMOTE_ADDR", "192.0.2.1");
    wire_param(w, "PARLEY_END", "1");
    wire_param(w, "HTTP_X_TEST", target);
    wire_body(w, body, n);
}

void wire_request(struct wire *w, int flags, const char *method, const char *target,
                  const char *body)
{
    char length[24] = "";
    size_t n = body ? strlen(body) : 0;
    if (body)
        snprintf(length, sizeof length, "%zu", n);
    put_request(w, flags, method, target, length, body, n);
}

void wire_request_n(struct wire *w, int flags, const void *body, size_t n, const char *declared)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", n);
    put_request(w, flags, "POST", "/n", declared ? declared : length, body, n);
}

/* ---- server ---- */

/* Ten pieces of 100,000 bytes, of which the arena has room for two; the sixth one of /fails does
 * not come. */
static enum err next_piece(void *arg, struct buf *piece, bool *more)
{
    struct bench *b = arg;
    for (int i = 0; i < 10000; i++)
        BUF_LIT(piece, "0123456789");
    pthread_mutex_lock(&b->lock);
    const int n = ++b->n_pieces;
    const bool fails = b->fails && n == 6;
    pthread_mutex_unlock(&b->lock);
    *more = n < 10;
    return fails ? ERR_UNAVAILABLE : ERR_NONE;
}

/* Under the lock. */
static void note_thread(struct bench *b)
{
    for (int i = 0; i < b->n_threads; i++)
        if (pthread_equal(b->ran[i], pthread_self()))
            return;
    if (b->n_threads < (int)ARRAY_LEN(b->ran))
        b->ran[b->n_threads++] = pthread_self();
}

/* Answers with "METHOD target:body"; /empty with 204, /big with 100,000 bytes, /pieces and /fails
 * with pieces behind that, /slow after a millisecond. */
static void answer(void *service, struct arena *arena, struct http_request *req,
                   struct http_response *res)
{
    struct bench *b = service;
    if (sv_eq(req->target, SV("/hold")))
        req->before_wait.fn(req->before_wait.arg);
    pthread_mutex_lock(&b->lock);
    note_thread(b);
    if (b->n_seen < SEEN_MAX)
        snprintf(b->seen[b->n_seen], sizeof b->seen[0], "%.*s %.*s", SV_ARG(req->method_text),
                 SV_ARG(req->target));
    b->n_seen++;
    b->too_large = req->body_too_large;
    const struct sv test = http_header_get(req, "x-test");
    snprintf(b->last_header, sizeof b->last_header, "%.*s", SV_ARG(test));
    if (sv_eq(req->target, SV("/hold"))) {
        b->n_held++;
        pthread_cond_broadcast(&b->changed);
        while (b->hold)
            pthread_cond_wait(&b->changed, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    if (sv_eq(req->target, SV("/slow")))
        (void)poll(NULL, 0, 1);
    http_response_init(res, arena);
    res->status = 200;
    if (sv_eq(req->target, SV("/empty"))) {
        res->status = 204;
        return;
    }
    res->content_type = "text/plain";
    http_response_header(res, "X-Answer", req->target);
    buf_sv(&res->body, req->method_text);
    buf_putc(&res->body, ' ');
    buf_sv(&res->body, req->target);
    buf_putc(&res->body, ':');
    buf_sv(&res->body, req->body);
    if (sv_eq(req->target, SV("/big")))
        for (int i = 0; i < 10000; i++)
            BUF_LIT(&res->body, "0123456789");
    const bool fails = sv_eq(req->target, SV("/fails"));
    if (fails || sv_eq(req->target, SV("/pieces"))) {
        pthread_mutex_lock(&b->lock);
        b->fails = fails;
        b->n_pieces = 0;
        pthread_mutex_unlock(&b->lock);
        res->next_piece = next_piece;
        res->piece_arg = b;
    }
}

void bench_listen(struct bench *b)
{
    memset(b, 0, sizeof *b);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    b->address.sun_family = AF_UNIX;
    b->address_n = sizeof b->address;
    /* With the family alone the kernel finds a free name, one that is not in the file system. */
    CU_ASSERT_TRUE_FATAL(
        b->listen_fd >= 0 && fcgi_library_init() == ERR_NONE &&
        bind(b->listen_fd, (struct sockaddr *)&b->address, sizeof(sa_family_t)) == 0 &&
        getsockname(b->listen_fd, (struct sockaddr *)&b->address, &b->address_n) == 0 &&
        listen(b->listen_fd, 512) == 0);
}

struct fcgi_server *bench_server(struct bench *b, int threads, size_t connections)
{
    struct fcgi_settings settings = {
        .listen_fd = b->listen_fd,
        .threads = threads,
        .watchers = b->watchers,
        .connections = connections,
        .max_body = WIRE_MAX_BODY,
        .arena_limit = 256 * 1024,
        .io_timeout_ms = PATIENCE_S * 1000,
        .answer = answer,
        .service = b,
        .slot = &b->slot,
    };
    struct fcgi_server *s;
    if (b->adjust)
        b->adjust(&settings);
    return fcgi_server_start(&settings, &s) == ERR_NONE ? s : NULL;
}

void bench_close(struct bench *b)
{
    bench_release(b);
    if (b->server)
        (void)fcgi_server_stop(b->server, PATIENCE_S * 1000);
    close(b->listen_fd);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

static void close_bench(void *b)
{
    bench_close(b);
}

struct bench *bench_open(int threads, int watchers)
{
    struct arena *a = test_ctx()->arena;
    struct bench *b = arena_zalloc(a, sizeof *b);
    bench_listen(b);
    CU_ASSERT_EQUAL(arena_defer(a, close_bench, b), ERR_NONE);
    b->watchers = watchers;
    if (threads > 0) {
        b->server = bench_server(b, threads, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b->server);
    }
    return b;
}

int bench_seen(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    int n = b->n_seen;
    pthread_mutex_unlock(&b->lock);
    return n;
}

bool bench_saw(struct bench *b, const char *what)
{
    bool found = false;
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < b->n_seen && i < SEEN_MAX; i++)
        found = found || strcmp(b->seen[i], what) == 0;
    pthread_mutex_unlock(&b->lock);
    return found;
}

void bench_wait_held(struct bench *b, int n)
{
    pthread_mutex_lock(&b->lock);
    while (b->n_held < n)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

int bench_hold(struct bench *b, int n)
{
    const int fd = client_connect(b);
    if (client_request(fd, "GET", "/hold", NULL))
        bench_wait_held(b, n);
    return fd;
}

void bench_release(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    b->hold = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

bool bench_connections(struct bench *b, size_t n)
{
    for (int i = 0; i < PATIENCE_S * 100; i++) {
        if (fcgi_server_connections(b->server) == n)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

bool bench_works(struct bench *b)
{
    struct wire w = {.n = 0};
    struct reply r;
    int before = bench_seen(b);
    wire_request(&w, 0, "PUT", "/good", "hello");
    client_ask(b, &w, &r);
    return r.ended && r.closed && strstr(r.text, "\r\n\r\nPUT /good:hello") != NULL &&
           bench_seen(b) == before + 1;
}

/* ---- client ---- */

int client_connect(struct bench *b)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&b->address, b->address_n) == 0)
        return fd;
    close(fd);
    return -1;
}

bool client_send(int fd, const struct wire *w, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t sent = send(fd, w->p + done, n - done, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += (size_t)sent;
    }
    return true;
}

bool client_request(int fd, const char *method, const char *target, const char *body)
{
    struct wire w = {.n = 0};
    wire_request(&w, WIRE_KEEP, method, target, body);
    return client_send(fd, &w, w.n);
}

bool client_gets(int fd, const char *text)
{
    struct reply r;
    client_read(fd, &r);
    return r.ended && strstr(r.text, text);
}

bool client_get(int fd, const char *target)
{
    char want[64];
    snprintf(want, sizeof want, "GET %s:", target);
    return client_request(fd, "GET", target, NULL) && client_gets(fd, want);
}

/* 1: n bytes were read; 0: the connection ended; -1: nothing came for a long time. */
static int read_all(int fd, void *p, size_t n)
{
    ssize_t got = n ? recv(fd, p, n, MSG_WAITALL) : 0;
    if (got == (ssize_t)n)
        return 1;
    return got >= 0 || errno == ECONNRESET ? 0 : -1;
}

bool client_is_closed(int fd)
{
    char c;
    return read_all(fd, &c, 1) == 0;
}

static void take_output(struct reply *r, const unsigned char *p, size_t n)
{
    size_t room = r->n < sizeof r->text - 1 ? sizeof r->text - 1 - r->n : 0;
    memcpy(r->text + (room ? r->n : 0), p, n < room ? n : room);
    r->n += n;
    r->records += n > 0;
}

void client_read(int fd, struct reply *r)
{
    memset(r, 0, sizeof *r);
    while (!r->ended) {
        unsigned char head[FCGI_HEADER_LEN], body[FCGI_MAX_LENGTH + 256];
        int got = read_all(fd, head, sizeof head);
        size_t n = (size_t)head[4] << 8 | head[5];
        if (got == 1)
            got = read_all(fd, body, n + head[6]);
        if (got != 1) {
            r->closed = got == 0;
            return;
        }
        if (head[1] == FCGI_STDOUT)
            take_output(r, body, n);
        r->ended = head[1] == FCGI_END_REQUEST;
    }
}

void client_ask(struct bench *b, const struct wire *w, struct reply *r)
{
    memset(r, 0, sizeof *r);
    int fd = client_connect(b);
    if (fd < 0)
        return;
    /* The server may close before it has all. */
    (void)client_send(fd, w, w->n);
    (void)shutdown(fd, SHUT_WR);
    client_read(fd, r);
    if (r->ended)
        r->closed = client_is_closed(fd);
    close(fd);
}

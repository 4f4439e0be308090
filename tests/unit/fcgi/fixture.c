/* SPDX-License-Identifier: MIT */
/* A FastCGI server in this process whose handler records what reaches it. */
#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"

/* Ten pieces of 100,000 bytes, of which the arena has room for two; the sixth one of /fails does
 * not come. */
static enum err next_piece(void *arg, struct buf *piece, bool *more)
{
    struct fixture *b = arg;
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
static void record_thread(struct fixture *b)
{
    for (int i = 0; i < b->n_threads; i++)
        if (pthread_equal(b->ran[i], pthread_self()))
            return;
    if (b->n_threads < (int)ARRAY_LEN(b->ran))
        b->ran[b->n_threads++] = pthread_self();
}

/* Answers with "METHOD target:body"; /empty with 204, /big with 100,000 bytes, /pieces and /fails
 * with pieces after that, /slow after a millisecond. */
static void answer(void *service, struct arena *arena, struct http_request *req,
                   struct http_response *res)
{
    struct fixture *b = service;
    if (sv_eq(req->target, SV("/hold")))
        req->before_wait.fn(req->before_wait.arg);
    pthread_mutex_lock(&b->lock);
    record_thread(b);
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

void fixture_listen(struct fixture *b)
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

struct fcgi_server *fixture_start_server(struct fixture *b, int threads, size_t connections)
{
    struct fcgi_settings settings = {
        .listen_fd = b->listen_fd,
        .threads = threads,
        .pollers = b->pollers,
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

void fixture_close(struct fixture *b)
{
    fixture_clear(b, &b->hold);
    if (b->server)
        (void)fcgi_server_stop(b->server, PATIENCE_S * 1000);
    close(b->listen_fd);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
}

static void close_fixture(void *b)
{
    fixture_close(b);
}

struct fixture *fixture_open(int threads, int pollers)
{
    struct arena *a = test_ctx()->arena;
    struct fixture *b = arena_zalloc(a, sizeof *b);
    fixture_listen(b);
    CU_ASSERT_EQUAL(arena_defer(a, close_fixture, b), ERR_NONE);
    b->pollers = pollers;
    if (threads > 0) {
        b->server = fixture_start_server(b, threads, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(b->server);
    }
    return b;
}

int fixture_seen(struct fixture *b)
{
    pthread_mutex_lock(&b->lock);
    int n = b->n_seen;
    pthread_mutex_unlock(&b->lock);
    return n;
}

bool fixture_saw(struct fixture *b, const char *what)
{
    bool found = false;
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < b->n_seen && i < SEEN_MAX; i++)
        found = found || strcmp(b->seen[i], what) == 0;
    pthread_mutex_unlock(&b->lock);
    return found;
}

void fixture_wait(struct fixture *b, const int *count, int n)
{
    pthread_mutex_lock(&b->lock);
    while (*count < n)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

int fixture_hold(struct fixture *b, int n)
{
    const int fd = client_connect(b);
    if (client_request(fd, "GET", "/hold", NULL))
        fixture_wait(b, &b->n_held, n);
    return fd;
}

void fixture_clear(struct fixture *b, bool *flag)
{
    pthread_mutex_lock(&b->lock);
    *flag = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

bool fixture_has_connections(struct fixture *b, size_t n)
{
    for (int i = 0; i < PATIENCE_S * 100; i++) {
        if (fcgi_server_connections(b->server) == n)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

bool fixture_works(struct fixture *b)
{
    struct wire w = {.n = 0};
    struct reply r;
    int before = fixture_seen(b);
    wire_request(&w, 0, "PUT", "/good", "hello");
    client_ask(b, &w, &r);
    return r.ended && r.closed && strstr(r.text, "\r\n\r\nPUT /good:hello") != NULL &&
           fixture_seen(b) == before + 1;
}

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
    struct fixture *f = arg;
    for (int i = 0; i < 10000; i++)
        BUF_LIT(piece, "0123456789");
    pthread_mutex_lock(&f->lock);
    const int n = ++f->n_pieces;
    const bool fails = f->fails && n == 6;
    pthread_mutex_unlock(&f->lock);
    *more = n < 10;
    return fails ? ERR_UNAVAILABLE : ERR_NONE;
}

/* Under the lock. */
static void record_thread(struct fixture *f)
{
    for (int i = 0; i < f->n_threads; i++)
        if (pthread_equal(f->ran[i], pthread_self()))
            return;
    if (f->n_threads < (int)ARRAY_LEN(f->ran))
        f->ran[f->n_threads++] = pthread_self();
}

/* Answers with "METHOD target:body"; /empty with 204, /big with 100,000 bytes, /pieces and /fails
 * with pieces after that, /slow after a millisecond. */
static void answer(void *service, struct arena *arena, struct http_request *req,
                   struct http_response *res)
{
    struct fixture *f = service;
    if (sv_eq(req->target, SV("/hold")))
        req->before_wait.fn(req->before_wait.arg);
    pthread_mutex_lock(&f->lock);
    record_thread(f);
    if (f->n_seen < SEEN_MAX)
        snprintf(f->seen[f->n_seen], sizeof f->seen[0], "%.*s %.*s", SV_ARG(req->method_text),
                 SV_ARG(req->target));
    f->n_seen++;
    f->too_large = req->body_too_large;
    const struct sv test = http_header_get(req, "x-test");
    snprintf(f->last_header, sizeof f->last_header, "%.*s", SV_ARG(test));
    if (sv_eq(req->target, SV("/hold"))) {
        f->n_held++;
        pthread_cond_broadcast(&f->changed);
        while (f->hold)
            pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
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
        pthread_mutex_lock(&f->lock);
        f->fails = fails;
        f->n_pieces = 0;
        pthread_mutex_unlock(&f->lock);
        res->next_piece = next_piece;
        res->piece_arg = f;
    }
}

void fixture_listen(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    f->address.sun_family = AF_UNIX;
    f->address_n = sizeof f->address;
    /* With the family alone the kernel finds a free name, one that is not in the file system. */
    CU_ASSERT_TRUE_FATAL(
        f->listen_fd >= 0 &&
        bind(f->listen_fd, (struct sockaddr *)&f->address, sizeof(sa_family_t)) == 0 &&
        getsockname(f->listen_fd, (struct sockaddr *)&f->address, &f->address_n) == 0 &&
        listen(f->listen_fd, 512) == 0);
}

struct fcgi_server *fixture_start_server(struct fixture *f, int threads, size_t connections)
{
    struct fcgi_settings settings = {
        .listen_fd = f->listen_fd,
        .threads = threads,
        .pollers = f->pollers,
        .connections = connections > 0 ? connections : 100000,
        .max_body = WIRE_MAX_BODY,
        .arena_limit = 256 * 1024,
        .io_timeout_ms = PATIENCE_S * 1000,
        .answer = answer,
        .service = f,
        .slot = &f->slot,
    };
    struct fcgi_server *s;
    if (f->adjust)
        f->adjust(&settings);
    return fcgi_server_start(&settings, &s) == ERR_NONE ? s : NULL;
}

void fixture_close(struct fixture *f)
{
    fixture_clear(f, &f->hold);
    if (f->server)
        (void)fcgi_server_stop(f->server, PATIENCE_S * 1000);
    close(f->listen_fd);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

static void close_fixture(void *f)
{
    fixture_close(f);
}

struct fixture *fixture_open(int threads, int pollers)
{
    struct arena *a = test_ctx()->arena;
    struct fixture *f = arena_zalloc(a, sizeof *f);
    fixture_listen(f);
    CU_ASSERT_EQUAL(arena_defer(a, close_fixture, f), ERR_NONE);
    f->pollers = pollers;
    if (threads > 0) {
        f->server = fixture_start_server(f, threads, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f->server);
    }
    return f;
}

int fixture_seen(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    int n = f->n_seen;
    pthread_mutex_unlock(&f->lock);
    return n;
}

bool fixture_saw(struct fixture *f, const char *what)
{
    bool found = false;
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < f->n_seen && i < SEEN_MAX; i++)
        found = found || strcmp(f->seen[i], what) == 0;
    pthread_mutex_unlock(&f->lock);
    return found;
}

void fixture_wait(struct fixture *f, const int *count, int n)
{
    pthread_mutex_lock(&f->lock);
    while (*count < n)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

int fixture_hold(struct fixture *f, int n)
{
    const int fd = client_connect(f);
    if (client_request(fd, "GET", "/hold", NULL))
        fixture_wait(f, &f->n_held, n);
    return fd;
}

void fixture_clear(struct fixture *f, bool *flag)
{
    pthread_mutex_lock(&f->lock);
    *flag = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

bool fixture_has_connections(struct fixture *f, size_t n)
{
    for (int i = 0; i < PATIENCE_S * 100; i++) {
        if (fcgi_server_connections(f->server) == n)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

bool fixture_works(struct fixture *f)
{
    struct wire w = {.n = 0};
    struct reply r;
    int before = fixture_seen(f);
    wire_request(&w, 0, "PUT", "/good", "hello");
    client_ask(f, &w, &r);
    return r.ended && r.closed && strstr(r.text, "\r\n\r\nPUT /good:hello") != NULL &&
           fixture_seen(f) == before + 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * Reads one request from a connection, and has it answered. A connection is parked again only if
 * everything about the request was in order; else it is closed. Above all the body must have been
 * read to its end by then. libfcgi does not do that, and the rest of a body on a kept connection is
 * parsed as the next request: whoever wrote the body could forge one.
 */
#include "fcgi_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <fastcgi.h>

#include "parley/base/net.h"

/* PEEK: a request without a body and the headers of ordinary clients fit. SENT_AT_ONCE: a longer
 * answer may have to wait for nginx to read it. */
enum { PEEK = 4096, SENT_AT_ONCE = 64 * 1024 };
/* A body of up to BODY_SMALL reserves nothing of body_memory. */
enum { BODY_SMALL = 64 * 1024, BODY_PIECE = 8 * 1024 };
_Static_assert(BODY_SMALL % BODY_PIECE == 0, "read_body stops there");

/* Whether p holds all further records of the request that began, which then has no body: reading
 * them will not wait. libfcgi skips records of another request or version. */
static bool is_whole(const FCGI_Header *began, const unsigned char *p, size_t n)
{
    FCGI_Header h;
    while (n >= sizeof h) {
        memcpy(&h, p, sizeof h);
        if (h.version != began->version || h.requestIdB1 != began->requestIdB1 ||
            h.requestIdB0 != began->requestIdB0)
            return false;
        const size_t size = ((size_t)h.contentLengthB1 << 8 | h.contentLengthB0) + h.paddingLength;
        if (h.type == FCGI_STDIN)
            return size == 0;
        if (h.type != FCGI_PARAMS || size > n - sizeof h)
            return false;
        p += sizeof h + size;
        n -= sizeof h + size;
    }
    return false;
}

/* Whether the parameters in p are those of a GET that the settings accept. A value directly
 * follows its name (FastCGI, section 3.4). A header that looks the same only changes the order in
 * which requests are served. */
static bool is_gathered(const struct fcgi_server *s, const unsigned char *p, size_t n)
{
    static const char get[] = "REQUEST_METHODGET", uri[] = "REQUEST_URI";
    const char *at = memmem(p, n, uri, sizeof uri - 1);
    if (!s->settings.gathers || !at || !memmem(p, n, get, sizeof get - 1))
        return false;
    at += sizeof uri - 1;
    return s->settings.gathers(s->settings.service,
                               (struct sv){at, n - (size_t)(at - (const char *)p)});
}

/* libfcgi is only given a request whose first record is the one that nginx sends. Its parser of
 * other records writes beyond a stack buffer (FCGI_GET_VALUES), and loses its position when this
 * one is padded. nginx sends these 16 bytes in one piece, so fewer are a fault. */
void fcgi_request_peek(const struct fcgi_server *s, struct fcgi_job *job)
{
    FCGI_BeginRequestRecord r;
    unsigned char p[PEEK];
    (void)atomic_load_explicit(&job->conn->parked, memory_order_acquire);
    job->first = FIRST_BAD;
    job->whole = job->gather = false;
    ssize_t n = recv(job->conn->fcgx.ipcFd, p, sizeof p, MSG_PEEK | MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno == ECONNRESET))
        job->first = FIRST_NONE;
    if (n < (ssize_t)sizeof r)
        return;
    memcpy(&r, p, sizeof r);
    bool good = r.header.version == FCGI_VERSION_1 && r.header.type == FCGI_BEGIN_REQUEST &&
                (r.header.requestIdB1 | r.header.requestIdB0) != 0 &&
                r.header.contentLengthB1 == 0 && r.header.contentLengthB0 == sizeof r.body &&
                r.header.paddingLength == 0 && r.body.roleB1 == 0 &&
                r.body.roleB0 == FCGI_RESPONDER;
    if (!good)
        return;
    job->first = FIRST_GOOD;
    job->whole = is_whole(&r.header, p + sizeof r, (size_t)n - sizeof r);
    job->gather = job->whole && is_gathered(s, p + sizeof r, (size_t)n - sizeof r);
}

/* What a request has reserved of body_memory. Lives in the arena of the request. */
struct body_reservation {
    struct metrics_slot *slot;
    int64_t bytes;
};

static void release_body_memory(void *reservation)
{
    const struct body_reservation *b = reservation;
    atomic_fetch_sub_explicit(&b->slot->body_bytes, b->bytes, memory_order_relaxed);
}

/* False: too little of body_memory is left, or the arena has no memory. The reset of the arena
 * ends the reservation, also if the client has gone away. */
static bool reserve_body_memory(const struct fcgi_settings *s, struct arena *arena, uint64_t body)
{
    struct body_reservation *b = arena_alloc(arena, sizeof *b);
    if (!b)
        return false;
    *b = (struct body_reservation){s->slot, (int64_t)(body * s->body_copies)};
    int64_t held = atomic_load_explicit(&s->slot->body_bytes, memory_order_relaxed);
    do {
        if (held + b->bytes > (int64_t)s->body_memory) {
            metrics_add(&s->slot->body_refused, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&s->slot->body_bytes, &held, held + b->bytes));
    return arena_defer(arena, release_body_memory, b) == ERR_NONE;
}

/* Reads to the end of the body: exactly n bytes and then its closing record. p == NULL: dropped.
 * A large body reserves memory once BODY_SMALL has arrived: a client that announces a body and does
 * not send it reserves none. One that sends slowly must be done within io_timeout_ms, which is
 * checked after each BODY_PIECE. */
static bool read_body(const struct fcgi_settings *s, FCGX_Stream *in, struct arena *arena, char *p,
                      struct http_request *req, uint64_t n)
{
    char waste[BODY_PIECE];
    const struct deadline end = deadline_in_ms(s->io_timeout_ms);
    for (uint64_t at = 0; at < n;) {
        const size_t want = n - at < sizeof waste ? (size_t)(n - at) : sizeof waste;
        if (FCGX_GetStr(p ? p + at : waste, (int)want, in) != (int)want)
            return false;
        at += want;
        if (p && at == BODY_SMALL && n > BODY_SMALL && !reserve_body_memory(s, arena, n)) {
            req->body_refused = true;
            p = NULL;
        }
        if (p && at > BODY_SMALL && deadline_passed(end))
            return false;
    }
    if (p)
        req->body = (struct sv){p, (size_t)n};
    return FCGX_GetChar(in) == EOF && FCGX_GetError(in) == 0;
}

/* ERR_INVALID: the connection must be closed. ERR_NOMEM: the request was read and is in order, but
 * there was no memory to hold it. */
static enum err read_request(struct fcgi_server *s, FCGX_Request *r, struct arena *arena,
                             struct http_request *req)
{
    uint64_t n;
    char *p = NULL;
    /* Parameters that were cut short give a partial environment and no failure but this one. */
    if (FCGX_GetError(r->in) != 0)
        return ERR_INVALID;
    enum err e = fcgi_params_read(arena, r->envp, req, &n);
    if (e == ERR_INVALID)
        return e;
    req->body_too_large = n > s->settings.max_body ? s->settings.max_body : 0;
    if (n > 0 && !req->body_too_large && e == ERR_NONE) {
        p = arena_alloc(arena, (size_t)n);
        if (!p)
            e = ERR_NOMEM;
    }
    return read_body(&s->settings, r->in, arena, p, req, n) ? e : ERR_INVALID;
}

bool fcgi_request_read(struct fcgi_thread *t, struct fcgi_job *job)
{
    struct fcgi_server *s = t->server;
    FCGX_Request *r = &job->conn->fcgx;
    job->req = (struct http_request){.method = HTTP_OTHER};
    job->err = ERR_INVALID;
    if (job->first == FIRST_NONE)
        return false;
    if (!job->whole)
        fcgi_poller_yield(t);
    /* Makes libfcgi read from ipcFd instead of accepting. It sets this to the FCGI_KEEP_CONN flag
     * of the request when it reads the first record. */
    r->keepConnection = 1;
    /* See fcgi_conn_close: libfcgi closes by itself when a record is wrong or a send failed. */
    r->detached = 1;
    if (job->first == FIRST_GOOD && FCGX_Accept_r(r) == 0)
        job->err = read_request(s, r, job->arena, &job->req);
    if (job->err == ERR_INVALID)
        metrics_add(&s->settings.slot->bad_connections, 1);
    job->req.before_wait = (struct ctx_hook){fcgi_poller_yield, t};
    /* nginx is on another machine: that one's clock may differ, and its loopback is not ours. */
    if (job->conn->peer[0]) {
        job->req.queued_us = 0;
        if (net_is_local(job->req.remote_addr))
            job->req.remote_addr = sv_from(job->conn->peer);
    }
    return job->err != ERR_INVALID;
}

bool fcgi_request_answer(struct fcgi_thread *t, struct fcgi_job *job)
{
    const struct fcgi_settings *settings = &t->server->settings;
    FCGX_Request *r = &job->conn->fcgx;
    const bool head = job->req.method == HTTP_HEAD;
    struct http_response res;
    bool whole;
    atomic_fetch_add_explicit(&t->server->requests, 1, memory_order_relaxed);
    if (job->err == ERR_NONE) {
        http_response_init(&res, job->arena);
        settings->answer(settings->service, job->arena, &job->req, &res);
        if (res.next_piece || res.body.n > SENT_AT_ONCE)
            fcgi_poller_yield(t);
        whole = fcgi_respond(r->ipcFd, r->requestId, &res, head);
    } else {
        whole = fcgi_respond_nomem(r->ipcFd, r->requestId, head);
    }
    /* Not FCGX_Finish_r, which would send an end record as well. */
    FCGX_Free(r, 0);
    return whole && r->keepConnection;
}

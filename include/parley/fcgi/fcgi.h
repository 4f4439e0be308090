/*
 * FastCGI: bytes of a connection to struct http_request, struct http_response to bytes. No name of
 * libfcgi is seen outside of src/fcgi.
 *
 * A server is one listening socket, one epoll and a number of handler threads in this process.
 * Idle kept connections wait in the epoll and occupy no thread.
 */
#pragma once

#include "parley/http/request.h"
#include "parley/http/response.h"
#include "parley/obs/metrics.h"

struct fcgi_server;

/* Answers one request. Runs on a handler thread with that thread's arena, which the server resets
 * afterwards; the response borrows from the arena until it is sent. Must call req->before_wait
 * before it waits for another process (ctx_will_wait does): if it waits without that call, other
 * requests may have to wait as well. */
typedef void (*fcgi_answer_fn)(void *service, struct arena *arena, struct http_request *req,
                               struct http_response *res);

/* Prepares n requests together. The same thread then asks for their answers, those marked ready
 * first. arenas[0] is reset last, so it may hold what all of them share. */
typedef void (*fcgi_read_ahead_fn)(void *service, struct arena *const *arenas,
                                   struct http_request *const *reqs, size_t n);

struct fcgi_settings {
    int listen_fd;     /* non-blocking, CLOEXEC; borrowed */
    const char *allow; /* networks whose TCP connections are accepted: see net_allows. Borrowed */
    int threads;
    /* Threads that poll for requests at once; 0: all. The others sleep until one of these is about
     * to wait. Waking a thread for a request that a running one could have taken costs more than
     * many an answer. Should be this process's share of the processors: with more, fewer requests
     * are gathered. While none are gathered, the server lets twice as many poll. */
    int pollers;
    /* With so many open connections further ones wait, except that each thread may accept one
     * before this is seen. */
    size_t connections;
    size_t max_body; /* bytes; a longer body is read, dropped and marked body_too_large */
    /* Bytes for all requests with a body above 64 KiB. Each counts as body_copies times its body.
     * If too little is left, the body is read, dropped and marked body_refused. */
    size_t body_memory, body_copies;
    /* Bytes a request may take, at most INT_MAX, since libfcgi counts in int. Above max_body by
     * what nginx's header buffers hold, at least. */
    size_t arena_limit;
    int io_timeout_ms; /* for each receive and send on a connection */
    fcgi_answer_fn answer;
    void *service;
    /* A thread takes several requests at once if gathers accepts the beginning of each target. It
     * passes them to read_ahead, and then answers one after the other. NULL: each request alone. */
    bool (*gathers)(void *service, struct sv target);
    fcgi_read_ahead_fn read_ahead;
    struct metrics_slot *slot; /* NULL: nobody reads the counts */
};

/* Starts the threads, all signals blocked in them. libfcgi replaces the handlers of SIGTERM and
 * SIGUSR1; SIGPIPE is ignored. */
MUSTCHECK enum err fcgi_server_start(const struct fcgi_settings *settings,
                                     struct fcgi_server **out);
/* Accepts no new connections from now on; open ones are still served. Any thread, more than once.
 */
void fcgi_server_drain(struct fcgi_server *s);
/* Number of open connections; after fcgi_server_drain it falls to 0 as nginx closes them. */
size_t fcgi_server_connections(struct fcgi_server *s);
/* Requests since the start that were answered, or are being answered. */
unsigned long long fcgi_server_requests(struct fcgi_server *s);
/* Closes idle connections, waits at most grace_ms for busy threads, frees everything. False: a
 * thread was still busy, and the process must exit without touching what threads use. */
bool fcgi_server_stop(struct fcgi_server *s, int grace_ms);

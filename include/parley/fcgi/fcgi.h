/*
 * The seam over libfcgi: bytes of a connection to struct http_request, struct http_response to
 * bytes. No FCGX_ name is seen outside of this room.
 *
 * A server is one listening socket, one epoll and a number of handler threads in this process.
 * Idle kept connections are parked in the epoll and hold no thread.
 */
#ifndef PARLEY_FCGI_FCGI_H
#define PARLEY_FCGI_FCGI_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/http/request.h"
#include "parley/http/response.h"
#include "parley/obs/metrics.h"

struct fcgi_server;

/* Answers one request; runs on a handler thread with the thread's own arena, which the server
 * resets afterwards. The response borrows from the arena until it is sent. Before it waits for
 * another process it must call req->before_wait (ctx_will_wait does). If it waits without that
 * call, other requests may have to wait, too. */
typedef void (*fcgi_answer_fn)(void *service, struct arena *arena, struct http_request *req,
                               struct http_response *res);

/* Prepares n requests together. The same thread asks for their answers next, for those first that
 * are ready. The first arena is the last to be reset. */
typedef void (*fcgi_read_ahead_fn)(void *service, struct arena *const *arenas,
                                   struct http_request *const *reqs, size_t n);

struct fcgi_settings {
    int listen_fd; /* non-blocking, CLOEXEC; borrowed */
    int threads;
    /* Threads that look for requests at once; 0: all. The others sleep until one of these is about
     * to wait: a thread that is woken for a request which one that runs could have taken as well
     * costs more than many an answer. Should be this process's share of the processors: with more,
     * fewer requests are gathered. While none are gathered, the server lets twice as many watch. */
    int watchers;
    size_t connections; /* with so many open further ones wait, but for one more a thread that may
                         * be taken before it is seen; 0: any number */
    size_t max_body;    /* bytes; a longer body is read, dropped and marked body_too_large */
    size_t arena_limit; /* bytes a request may take */
    int io_timeout_ms;  /* for each receive and send on a connection */
    fcgi_answer_fn answer;
    void *service;
    /* A thread takes several requests at once if gathers agrees and gather_target accepts the
     * beginning of each target. It passes them to read_ahead, and then answers one after the other.
     * All NULL: each request alone. */
    bool (*gathers)(void *service);
    bool (*gather_target)(struct sv target);
    fcgi_read_ahead_fn read_ahead;
    struct metrics_slot *slot; /* may be NULL */
};

/* Starts the threads, all signals blocked in them. fcgi_library_init must have been called. */
MUSTCHECK enum err fcgi_server_start(const struct fcgi_settings *settings,
                                     struct fcgi_server **out);
/* Stops accepting new connections; parked ones are still served. Any thread; once or more. */
void fcgi_server_leave(struct fcgi_server *s);
/* Number of connections that are open; after leave it falls to 0 as nginx closes them. */
size_t fcgi_server_connections(struct fcgi_server *s);
/* Requests since the start that were answered, or are being answered. */
unsigned long long fcgi_server_requests(struct fcgi_server *s);
/* Closes idle connections, waits at most grace_ms for busy threads, frees everything. False when a
 * thread was still busy then: the process must exit without touching what threads use. */
bool fcgi_server_stop(struct fcgi_server *s, int grace_ms);

/* FCGX_Init, once a process, before the caller installs its own signal handlers: libfcgi replaces
 * those of SIGTERM, SIGUSR1 and SIGPIPE. */
MUSTCHECK enum err fcgi_library_init(void);

#endif

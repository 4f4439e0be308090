/* SPDX-License-Identifier: MIT */
/*
 * What the files of fcgi/ share. server.c has the loop of the handler threads: it reads a request,
 * or several together (request_reader.c, params.c), has them answered and sends the answers
 * (respond.c). connection.c accepts and closes connections, poller.c decides which threads wait in
 * the epoll.
 *
 * Life of a connection: accepted by a handler thread, parked in the epoll, taken by one thread that
 * serves one request on it, parked again or closed. EPOLLONESHOT gives a readable connection to
 * one thread alone; that thread owns it until it parks it.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <fcgiapp.h>
#include <netinet/in.h>

#include "parley/fcgi/fcgi.h"

/* The most requests that a thread takes at once. */
enum { FCGI_GATHER_MAX = 16 };
/* After so many requests in a row that were not gathered, twice as many threads poll. */
enum { FCGI_UNGATHERED_MANY = 8 };

struct fcgi_conn {
    FCGX_Request fcgx;  /* fcgx.ipcFd is the descriptor; libfcgi closes it, too */
    atomic_bool parked; /* for C's memory order alone: the next thread sees what the last one did */
    char peer[INET6_ADDRSTRLEN]; /* "": of this machine */
    LIST_ENTRY(fcgi_conn) link;
};

/*
 * A thread is a poller, works without being one, or is idle. A poller waits in the epoll, or has
 * taken a request from there and has not waited since. Before it waits it stops being a poller, and
 * wakes an idle thread to be one if no other is. So a running thread takes one request after the
 * other, and no other is woken for them. After its work a thread becomes a poller again, unless
 * there are enough.
 */
struct fcgi_thread {
    struct fcgi_server *server;
    struct arena *arenas[FCGI_GATHER_MAX]; /* one for each request at hand; made when first used */
    pthread_t id;
    bool is_poller; /* the thread's own; under the lock while it is idle */
    struct fcgi_conn *deferred[FCGI_GATHER_MAX]; /* taken, to be served next: see defer_conn */
    size_t n_deferred;
    sem_t wake;               /* is_poller was set, or the server is stopping */
    struct fcgi_thread *next; /* in the list of idle ones */
};

struct fcgi_server {
    struct fcgi_settings settings;
    struct metrics_slot own_slot; /* where the settings have none */
    int epoll_fd;
    int wake_fd; /* an eventfd, written once by stop and never read: it wakes every thread */
    atomic_bool stopping;
    atomic_bool backlog; /* connections may wait in the listener while others are served */
    atomic_ullong requests;
    _Atomic int64_t refused_at; /* when the log last had a peer that is not allowed; 0: never */
    /* Requests in a row that were not gathered; stops at FCGI_UNGATHERED_MANY. */
    atomic_int n_ungathered;
    pthread_mutex_t lock; /* of what follows; never held around a read, a write or a wait for one */
    LIST_HEAD(fcgi_conns, fcgi_conn) conns; /* all of them */
    size_t n_conns;
    bool accepting; /* new connections are wanted */
    bool polled;    /* the listener is in the epoll: while there is room for another connection */
    int n_pollers;
    struct fcgi_thread *idle; /* last in, first out: its memory is still in the processor's cache */
    atomic_bool requeue_due;  /* the listener could not be put back into the epoll */
    struct fcgi_thread *threads;
    int n_threads; /* that were started, and not ended by fcgi_server_stop */
};

/* ---- connection.c ---- */

/* Takes the listener out of the epoll for good. With take_waiting, what waits in its queue is
 * accepted first. Later calls do nothing. */
void fcgi_listener_close(struct fcgi_server *s, bool take_waiting);
/* Puts the listener into the epoll, last in the order in which the kernel wakes processes. */
void fcgi_listener_requeue(struct fcgi_server *s);
/* After an event of the listener: accepts, and requeues it. */
void fcgi_listener_accept(struct fcgi_server *s);
/* Accepts one more connection if some may wait. */
void fcgi_listener_accept_more(struct fcgi_server *s);
/* Ends a request on c: c waits for its next one, or is closed. */
void fcgi_conn_finish(struct fcgi_server *s, struct fcgi_conn *c, bool keep);
void fcgi_conn_close(struct fcgi_server *s, struct fcgi_conn *c);

/* ---- request_reader.c ---- */

/* One request, from reading it to parking its connection. */
struct fcgi_job {
    struct fcgi_conn *conn;
    struct arena *arena;
    /* What has arrived on the connection, as far as a peek shows. */
    enum { FIRST_GOOD, FIRST_BAD, FIRST_NONE } first;
    bool whole;  /* all of the request is there, and it has no body */
    bool gather; /* and settings.gathers accepts its target */
    struct http_request req;
    enum err err; /* ERR_NOMEM: read, but there was no memory to hold it */
};
/* Looks at what has arrived on the connection, without reading it. */
void fcgi_request_peek(const struct fcgi_server *s, struct fcgi_job *job);
/* Reads the request. False: the connection is to be closed. */
MUSTCHECK bool fcgi_request_read(struct fcgi_thread *t, struct fcgi_job *job);
/* Has it answered and sends the answer. False: the connection must be closed and not parked. */
MUSTCHECK bool fcgi_request_answer(struct fcgi_thread *t, struct fcgi_job *job);

/* ---- poller.c ---- */

/* Waits until t is a poller; false: the server is stopping. */
MUSTCHECK bool fcgi_poller_begin(struct fcgi_thread *t);
/* To be called before a struct fcgi_thread waits for anything but the epoll: others may then poll,
 * and serve the connections that it has deferred. */
void fcgi_poller_yield(void *thread);

/* ---- params.c ---- */

/* Makes req (zeroed before) of the parameters; values are borrowed from envp. content_length: 0
 * when there is no body. ERR_INVALID: not what our nginx configuration sends. ERR_NOMEM: req lacks
 * its headers, but content_length is right. */
MUSTCHECK enum err fcgi_params_read(struct arena *arena, char *const *envp,
                                    struct http_request *req, uint64_t *content_length);

/* ---- respond.c ---- */

/* Sends the whole answer to request id on fd, without its body if head is set. False: it could not
 * be ended. The connection must then be closed without an end record, so that nginx and the client
 * see that. */
MUSTCHECK bool fcgi_respond(int fd, int id, const struct http_response *res, bool head);
/* The answer when there is no memory to make one. */
MUSTCHECK bool fcgi_respond_nomem(int fd, int id, bool head);

/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share.
 *
 * Life of a connection: accepted by a handler thread, PARKED in the epoll, BUSY while one thread
 * serves one request on it, PARKED again or closed. EPOLLONESHOT gives a readable connection to
 * one thread alone; that thread owns it until it parks it. Only fcgi_server_stop takes a PARKED
 * connection away from the epoll (CLOSING), and no connection is freed while it may still be named
 * by an event that a thread has already fetched: those of the server's end are freed after the
 * last thread.
 */
#ifndef PARLEY_FCGI_INTERNAL_H
#define PARLEY_FCGI_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <fcgiapp.h>

#include "parley/fcgi/fcgi.h"

/* The most requests that a thread takes at once. */
enum { FCGI_GATHER_MAX = 16 };
/* From so many turns on whose request was not to be gathered, twice as many threads watch. */
enum { FCGI_UNGATHERED_MANY = 8 };

enum conn_state { CONN_PARKED, CONN_BUSY, CONN_CLOSING };

struct fcgi_conn {
    FCGX_Request fcgx; /* fcgx.ipcFd is the descriptor; libfcgi closes it, too */
    _Atomic int state; /* enum conn_state */
    struct fcgi_conn *next, *prev;
};

/*
 * A thread watches, works without watching, or is idle. One that watches waits in the epoll, or has
 * taken a request from there and waits for nobody. Before it waits it gives up the watch, to an
 * idle thread if no other watches. So a running thread takes one request after the other, and no
 * other is woken for them. After its work a thread watches again, unless enough others do.
 */
struct fcgi_thread {
    struct fcgi_server *server;
    struct arena *arenas[FCGI_GATHER_MAX]; /* one for each request at hand; made when first used */
    pthread_t id;
    bool watches; /* the thread's own; under the lock while it is idle */
    struct fcgi_conn *passed[FCGI_GATHER_MAX]; /* taken, and to be served next: see pass_by */
    size_t n_passed;
    sem_t turn;               /* watches was set, or the server is stopping */
    struct fcgi_thread *next; /* idle ones */
};

struct fcgi_server {
    struct fcgi_settings settings;
    int epoll_fd;
    int wake_fd; /* an eventfd, written once by stop and never read: it wakes every thread */
    atomic_bool stopping;
    atomic_bool crowded; /* connections may wait in the listener beside those that are served */
    atomic_ullong requests;
    /* Turns in a row whose request was not to be gathered; stops at FCGI_UNGATHERED_MANY. */
    atomic_int n_ungathered;
    pthread_mutex_t lock; /* of what follows; never held around a read, a write or a wait for one */
    pthread_cond_t ended;
    struct fcgi_conn *conns;
    size_t n_conns;
    bool listening; /* new connections are wanted */
    bool watched;   /* the listener is in the epoll: while there is room for another connection */
    int n_live;     /* threads that have not ended */
    int n_watching;
    struct fcgi_thread *idle; /* the last to come is the first to go: its memory is in the cache */
    atomic_bool returning;    /* the listener is to be put back into the epoll */
    struct fcgi_thread *threads;
    int n_threads;
};

/* ---- connection.c ---- */

/* Takes one connection from the listener and parks it. False when there is none, or no room. */
bool fcgi_conn_accept(struct fcgi_server *s);
/* Takes one more if the server is crowded, and finds out whether it still is. */
void fcgi_conn_accept_more(struct fcgi_server *s);
/* Under the lock: puts the listener into the epoll, if there is room for another connection. False:
 * the kernel has no memory for it. */
bool fcgi_listener_watch(struct fcgi_server *s);
/* Ends a turn: c waits for its next request, or is closed. */
void fcgi_conn_end_turn(struct fcgi_server *s, struct fcgi_conn *c, bool keep);
/* True if c is the caller's now; false when the server is closing it. */
MUSTCHECK bool fcgi_conn_take(struct fcgi_conn *c);
void fcgi_conn_close(struct fcgi_server *s, struct fcgi_conn *c);
/* Ends the connections that are parked, without freeing them. */
void fcgi_conns_hang_up(struct fcgi_server *s);

/* ---- exchange.c ---- */

/* What has arrived on a connection, as far as a peek shows. */
struct fcgi_peek {
    enum { FIRST_GOOD, FIRST_BAD, FIRST_NONE } first;
    bool whole;  /* all of the request is there, and it has no body */
    bool gather; /* and settings.gather_target accepts its target */
};
/* One request on the way from reading it to parking its connection. */
struct fcgi_turn {
    struct fcgi_conn *conn;
    struct arena *arena;
    struct fcgi_peek peek;
    struct http_request req;
    enum err err; /* ERR_NOMEM: read, but there was no memory to hold it */
};
void fcgi_peek(const struct fcgi_server *s, struct fcgi_conn *c, struct fcgi_peek *out);
/* Reads the request. False: the connection is to be closed. */
MUSTCHECK bool fcgi_read(struct fcgi_thread *t, struct fcgi_turn *turn);
/* Has it answered and sends the answer. False: the connection must be closed and not parked. */
MUSTCHECK bool fcgi_answer(struct fcgi_thread *t, struct fcgi_turn *turn);

/* ---- watch.c ---- */

/* Waits until t watches; false: the server is stopping. */
MUSTCHECK bool fcgi_poller_take(struct fcgi_thread *t);
/* To be called before t waits for anything but the epoll: others may then watch, and serve the
 * connections that t has passed by. */
void fcgi_poller_give(struct fcgi_thread *t);
/* Wakes all that are idle: the server is stopping. */
void fcgi_poller_end(struct fcgi_server *s);

/* ---- params.c ---- */

/* Makes req (zeroed before) of the parameters; values are borrowed from envp. content_length: 0
 * when there is no body. ERR_INVALID: not what our nginx configuration sends. ERR_NOMEM: req lacks
 * its headers, but content_length is right. */
MUSTCHECK enum err fcgi_params_read(struct arena *arena, char *const *envp,
                                    struct http_request *req, uint64_t *content_length);

/* ---- respond.c ---- */

/* Sends the whole answer to request id on fd, without its body if head is set. False: it could not
 * be ended, and the connection must be closed as it is, so that nginx and the client see that. */
MUSTCHECK bool fcgi_respond(int fd, int id, const struct http_response *res, bool head);
/* The answer when there is no memory to make one. */
MUSTCHECK bool fcgi_respond_nomem(int fd, int id, bool head);
/* Leaves of m what is behind its first n bytes, and nothing empty in front. */
void fcgi_iov_advance(struct msghdr *m, size_t n);

#endif

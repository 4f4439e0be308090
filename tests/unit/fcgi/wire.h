/* SPDX-License-Identifier: MIT */
/*
 * The other side of the socket: FastCGI records as nginx writes them (or would never write them),
 * a server in this process whose handler records what reaches it, and clients that speak to it.
 */
#ifndef PARLEY_TESTS_FCGI_WIRE_H
#define PARLEY_TESTS_FCGI_WIRE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "parley/fcgi/fcgi.h"

enum { WIRE_KEEP = 1, WIRE_MAX_BODY = 64 * 1024, WIRE_SIZE = 512 * 1024 };

/* ---- bytes ---- */

struct wire {
    unsigned char p[WIRE_SIZE];
    size_t n;
};

struct wire_param {
    const char *name, *value;
};

void wire_record(struct wire *w, int type, const void *p, size_t n);
void wire_begin(struct wire *w, int flags);
/* One PARAMS record a call, so that records end where parameters do. */
void wire_param(struct wire *w, const char *name, const char *value);
/* The records that end the parameters, hold body and end it; body NULL: none. */
void wire_body(struct wire *w, const void *body, size_t n);
/* A whole request that is in order, with the parameters that nginx sends. */
void wire_request(struct wire *w, int flags, const char *method, const char *target,
                  const char *body);
/* As above, but with n bytes of body declared as declared (NULL: their number). */
void wire_request_n(struct wire *w, int flags, const void *body, size_t n, const char *declared);

/* ---- server ---- */

enum { SEEN_MAX = 600 };

struct bench {
    int listen_fd;
    struct sockaddr_un address;
    socklen_t address_n;
    struct fcgi_server *server;
    struct metrics_slot slot;
    int watchers;
    void (*adjust)(struct fcgi_settings *settings); /* called for each server; NULL: nothing */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* What reached the handler. */
    int n_seen;
    int n_threads; /* that ran the handler */
    pthread_t ran[16];
    char seen[SEEN_MAX][64]; /* "METHOD target" */
    bool too_large;          /* of the last request */
    char last_header[64];    /* its x-test header */
    /* A request to /hold stays in the handler until this is false, and says so before. */
    bool hold;
    int n_held;
    int n_pieces; /* made for the last /pieces or /fails; one such request at a time */
    bool fails;
};

/* A listener and, unless threads is 0, a server; both end with the test. watchers: as in
 * fcgi_settings. */
struct bench *bench_open(int threads, int watchers);
void bench_listen(struct bench *b);
/* Stops the server, too. */
void bench_close(struct bench *b);
/* Another server on b's listener, answering with b's handler; connections: as in fcgi_settings.
 * NULL if it could not be started. */
struct fcgi_server *bench_server(struct bench *b, int threads, size_t connections);
int bench_seen(struct bench *b);
bool bench_saw(struct bench *b, const char *what);
void bench_wait_held(struct bench *b, int n);
/* A new connection whose request is the n-th that is held; it waits until it is. */
int bench_hold(struct bench *b, int n);
void bench_release(struct bench *b);
/* Waits until n connections are open; false after a long time. */
bool bench_connections(struct bench *b, size_t n);
/* A new connection with one good request on it gets its answer. */
bool bench_works(struct bench *b);

/* ---- client ---- */

struct reply {
    bool ended;  /* END_REQUEST came */
    bool closed; /* then or instead the connection was closed */
    char text[4096];
    size_t n;       /* bytes of output, which may be more than text holds */
    size_t records; /* output records that were not empty */
};

int client_connect(struct bench *b);
bool client_send(int fd, const struct wire *w, size_t n);
/* Reads one reply, up to END_REQUEST or the end of the connection. */
void client_read(int fd, struct reply *r);
/* Sends a request that is in order; false if it does not go. */
bool client_request(int fd, const char *method, const char *target, const char *body);
/* Reads one reply: whether it is whole, and holds text. */
bool client_gets(int fd, const char *text);
/* Asks for target: whether its answer comes. */
bool client_get(int fd, const char *target);
/* Whether the peer has closed: waits for it. */
bool client_is_closed(int fd);
/* Sends w on a new connection, reads the reply, closes. */
void client_ask(struct bench *b, const struct wire *w, struct reply *r);

#endif

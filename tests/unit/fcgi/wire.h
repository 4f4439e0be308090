/* SPDX-License-Identifier: MIT */
/*
 * FastCGI over a socket for tests: records as nginx writes them, or never would (wire.c), a server
 * in this process whose handler records what reaches it (fixture.c), and clients (wire.c).
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
/* Bounds what hangs; no test depends on its length. */
enum { PATIENCE_S = 20 };

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

struct fixture {
    int listen_fd;
    struct sockaddr_un address;
    socklen_t address_n;
    struct fcgi_server *server;
    struct metrics_slot slot;
    int pollers;
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

/* A listener and, unless threads is 0, a server; both end with the test. pollers: as in
 * fcgi_settings. */
struct fixture *fixture_open(int threads, int pollers);
void fixture_listen(struct fixture *f);
/* Stops the server, too. */
void fixture_close(struct fixture *f);
/* Another server on b's listener, answering with b's handler; connections: as in fcgi_settings.
 * NULL if it could not be started. */
struct fcgi_server *fixture_start_server(struct fixture *f, int threads, size_t connections);
int fixture_seen(struct fixture *f);
bool fixture_saw(struct fixture *f, const char *what);
/* Waits until the handler has raised *count to n. */
void fixture_wait(struct fixture *f, const int *count, int n);
/* A new connection whose request is the n-th that is held; it waits until it is. */
int fixture_hold(struct fixture *f, int n);
/* Clears a flag that keeps requests in the handler. */
void fixture_clear(struct fixture *f, bool *flag);
/* Waits until n connections are open; false after a long time. */
bool fixture_has_connections(struct fixture *f, size_t n);
/* A new connection with one good request on it gets its answer. */
bool fixture_works(struct fixture *f);

/* ---- client ---- */

struct reply {
    bool ended;  /* END_REQUEST came */
    bool closed; /* then or instead the connection was closed */
    char text[4096];
    size_t n;       /* bytes of output, which may be more than text holds */
    size_t records; /* output records that were not empty */
};

int client_connect(struct fixture *f);
bool client_send(int fd, const struct wire *w, size_t n);
/* Sends w and reads one reply: whether it is whole. */
bool client_exchange(int fd, const struct wire *w, struct reply *r);
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
void client_ask(struct fixture *f, const struct wire *w, struct reply *r);

#endif

/* SPDX-License-Identifier: MIT */
/* FastCGI records as nginx writes them, or never would, and clients that send them. */
#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include <fastcgi.h>

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

static size_t encode_length(unsigned char *to, size_t n)
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
    size_t n = encode_length(p, name_n);
    n += encode_length(p + n, value_n);
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

static void write_request(struct wire *w, int flags, const char *method, const char *target,
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
    write_request(w, flags, method, target, length, body, n);
}

void wire_request_n(struct wire *w, int flags, const void *body, size_t n, const char *declared)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", n);
    write_request(w, flags, "POST", "/n", declared ? declared : length, body, n);
}

int client_connect(struct fixture *f)
{
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&f->address, f->address_n) == 0)
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

bool client_exchange(int fd, const struct wire *w, struct reply *r)
{
    const bool sent = client_send(fd, w, w->n);
    client_read(fd, r);
    return sent && r->ended;
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

void client_ask(struct fixture *f, const struct wire *w, struct reply *r)
{
    memset(r, 0, sizeof *r);
    int fd = client_connect(f);
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

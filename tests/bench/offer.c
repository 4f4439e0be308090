/* SPDX-License-Identifier: MIT */
/*
 * offer PORT CONNECTIONS RATE SECONDS KEY METHOD PATH BODY LOW HIGH
 *
 * Sends RATE requests a second to an HTTP server on this machine, whether it keeps up or not. (A
 * load generator that waits for answers, as wrk does, never sends more than is served.) RATE 0:
 * each connection sends the next request when it has its answer. {n} in PATH is a number between
 * LOW and HIGH in twelve digits.
 *
 * A request that is due while all connections wait for answers is not sent, but counted.
 * Prints RESULT and: seconds; requests sent, served (2xx), refused (429, 503), failed, not sent;
 * and in us the 50th and 99th percentile and the maximum of served, then of refused ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, EVENTS = 256, LINGER_US = 15000000 };

struct connection {
    int fd;
    bool busy;
    int64_t sent_us;
    size_t n_head;    /* of head, until the body is reached */
    size_t body_left; /* once it is */
    bool in_body;
    int status;
    char head[HEAD_MAX + 1];
};

struct times {
    uint32_t *us;
    size_t n, room;
};

static struct {
    uint16_t port;
    const char *before, *after; /* of the number; after is NULL when there is none */
    long low, high;
    int epoll;
    struct connection *all;
    size_t n_all, *idle, first_idle,
        n_idle; /* a ring of indexes of all: who waits longest is next */
    struct times served, refused;
    uint64_t sent, failed, unsent, random;
    bool closed_loop;
} o;

static void die(const char *what)
{
    fprintf(stderr, "offer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void times_add(struct times *t, int64_t us)
{
    if (t->n == t->room) {
        t->room = t->room ? t->room * 2 : 65536;
        t->us = realloc(t->us, t->room * sizeof *t->us);
        if (!t->us)
            die("memory");
    }
    t->us[t->n++] = (uint32_t)us;
}

static int times_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void times_print(struct times *t)
{
    if (t->n > 0)
        qsort(t->us, t->n, sizeof *t->us, times_order);
    printf(" %u %u %u", t->n ? t->us[t->n / 2] : 0, t->n ? t->us[t->n * 99 / 100] : 0,
           t->n ? t->us[t->n - 1] : 0);
}

/* Blocking until it is connected: the listener's backlog is what it waits for. */
static void connection_open(struct connection *c)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(o.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    const int on = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)(c - o.all)};
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        epoll_ctl(o.epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
        die("socket");
    c->busy = c->in_body = false;
    c->n_head = c->body_left = 0;
}

static long number_next(void)
{
    o.random = o.random * 6364136223846793005u + 1442695040888963407u;
    return o.low + (long)((o.random >> 33) % (uint64_t)(o.high - o.low + 1));
}

/* A request is far smaller than a socket's buffer: what does not go out at once is an error. */
static void request_send(struct connection *c)
{
    char text[HEAD_MAX];
    int n = o.after ? snprintf(text, sizeof text, "%s%012ld%s", o.before, number_next(), o.after)
                    : snprintf(text, sizeof text, "%s", o.before);
    c->busy = true;
    c->sent_us = now_us();
    o.sent++;
    /* A server that has just closed it is met when it is read. */
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n && errno != EPIPE && errno != ECONNRESET)
        die("send");
}

static void idle_put(const struct connection *c)
{
    o.idle[(o.first_idle + o.n_idle++) % o.n_all] = (size_t)(c - o.all);
}

static struct connection *idle_take(void)
{
    struct connection *c = &o.all[o.idle[o.first_idle]];
    o.first_idle = (o.first_idle + 1) % o.n_all;
    o.n_idle--;
    return c;
}

static void connection_done(struct connection *c)
{
    const int64_t took = now_us() - c->sent_us;
    if (c->status >= 200 && c->status < 300)
        times_add(&o.served, took);
    else if (c->status == 429 || c->status == 503)
        times_add(&o.refused, took);
    else
        o.failed++;
    const bool last = strcasestr(c->head, "\r\nconnection: close") != NULL;
    c->busy = c->in_body = false;
    c->n_head = 0;
    if (last) {
        close(c->fd);
        connection_open(c);
    }
    if (o.closed_loop)
        request_send(c);
    else
        idle_put(c);
}

/* Bytes of an answer: its head is kept until it is whole, its body only counted. */
static void connection_take(struct connection *c, const char *data, size_t n)
{
    while (n > 0 && c->busy) {
        if (c->in_body) {
            const size_t part = n < c->body_left ? n : c->body_left;
            c->body_left -= part;
            data += part;
            n -= part;
        } else {
            const size_t room = HEAD_MAX - c->n_head, part = n < room ? n : room, had = c->n_head;
            memcpy(c->head + had, data, part);
            c->n_head += part;
            c->head[c->n_head] = 0;
            const char *end = strstr(c->head, "\r\n\r\n");
            const char *length = strcasestr(c->head, "\r\ncontent-length:");
            if (!end && c->n_head < HEAD_MAX)
                return;
            if (!end || !length || sscanf(c->head, "HTTP/1.1 %d", &c->status) != 1) {
                errno = EPROTO;
                die(c->head);
            }
            const size_t used = (size_t)(end + 4 - c->head) - had;
            c->head[end + 4 - c->head] = 0;
            c->body_left = strtoul(length + 17, NULL, 10);
            c->in_body = true;
            data += used;
            n -= used;
        }
        if (c->in_body && c->body_left == 0)
            connection_done(c);
    }
}

static void connection_read(struct connection *c)
{
    static char data[65536];
    const ssize_t n = recv(c->fd, data, sizeof data, 0);
    if (n > 0) {
        connection_take(c, data, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        const bool lost = c->busy;
        o.failed += lost;
        close(c->fd);
        connection_open(c);
        if (lost && o.closed_loop)
            request_send(c);
        else if (lost)
            idle_put(c);
    }
}

/* Sends what is due by now. */
static void offer_due(int64_t began, double rate, uint64_t *offered)
{
    const uint64_t due = (uint64_t)((double)(now_us() - began) / 1e6 * rate);
    for (; *offered < due; ++*offered) {
        if (o.n_idle == 0) {
            o.unsent += due - *offered;
            *offered = due;
            return;
        }
        request_send(idle_take());
    }
}

static void serve_events(int timeout_ms)
{
    struct epoll_event events[EVENTS];
    const int n = epoll_wait(o.epoll, events, EVENTS, timeout_ms);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++)
        connection_read(&o.all[events[i].data.u64]);
}

static void measure(double rate, double seconds)
{
    for (size_t i = 0; i < o.n_all; i++) {
        connection_open(&o.all[i]);
        idle_put(&o.all[i]);
    }
    const int64_t began = now_us(), end = began + (int64_t)(seconds * 1e6);
    uint64_t offered = 0;
    if (o.closed_loop)
        while (o.n_idle > 0)
            request_send(idle_take());
    while (now_us() < end) {
        if (!o.closed_loop)
            offer_due(began, rate, &offered);
        serve_events(1);
    }
    const double took = (double)(now_us() - began) / 1e6;
    const size_t served = o.served.n, refused = o.refused.n;
    /* Goodput ends here; how long the others have to wait belongs to the percentiles. */
    o.closed_loop = false;
    const uint64_t sent = o.sent;
    while (o.n_idle < o.n_all && now_us() < end + LINGER_US)
        serve_events(100);
    o.failed += o.n_all - o.n_idle;
    printf("RESULT %f %lu %zu %zu %lu %lu", took, sent, served, refused, o.failed, o.unsent);
    times_print(&o.served);
    times_print(&o.refused);
    printf("\n");
}

int main(int argc, char **argv)
{
    if (argc != 11) {
        fprintf(stderr,
                "usage: offer PORT CONNECTIONS RATE SECONDS KEY METHOD PATH BODY LOW HIGH\n");
        return 2;
    }
    const double rate = strtod(argv[3], NULL), seconds = strtod(argv[4], NULL);
    static char whole[HEAD_MAX];
    const int n = snprintf(whole, sizeof whole,
                           "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                           "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                           argv[6], argv[7], argv[5], strlen(argv[8]), argv[8]);
    o.n_all = strtoul(argv[2], NULL, 10);
    o.port = (uint16_t)strtoul(argv[1], NULL, 10);
    o.low = strtol(argv[9], NULL, 10);
    o.high = strtol(argv[10], NULL, 10);
    if (o.n_all == 0 || o.port == 0 || o.low > o.high || n < 0 || n >= HEAD_MAX - 16) {
        fprintf(stderr, "offer: bad arguments\n");
        return 2;
    }
    o.before = whole;
    char *at = strstr(whole, "{n}");
    if (at) {
        *at = 0;
        o.after = at + 3;
    }
    o.random = (uint64_t)now_us();
    o.closed_loop = rate <= 0;
    o.all = calloc(o.n_all, sizeof *o.all);
    o.idle = calloc(o.n_all, sizeof *o.idle);
    o.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!o.all || !o.idle || o.epoll < 0)
        die("start");
    measure(rate, seconds);
    return 0;
}

/* SPDX-License-Identifier: MIT */
#include "../suite.h"
#include "wire.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <fastcgi.h>

#include "../../../src/fcgi/fcgi_internal.h"

/* Asks twice on one connection, which is kept. */
static void ask_twice(const char *method, const char *target, struct reply *r)
{
    struct fixture *f = fixture_open(1, 0);
    int fd = client_connect(f);
    CU_ASSERT_TRUE(client_request(fd, method, target, NULL));
    client_read(fd, r);
    CU_ASSERT_TRUE(r->ended);
    CU_ASSERT_TRUE(client_request(fd, method, target, NULL));
    CU_ASSERT_TRUE(client_gets(fd, ""));
    close(fd);
}

/* Fails if fcgi_respond does not look at head: tried. */
TEST(whole_response)
{
    static const struct {
        const char *method, *target, *text;
    } rows[] = {
        {"GET", "/a",
         "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
         "X-Answer: /a\r\n\r\nGET /a:"},
        {"HEAD", "/a",
         "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n"
         "X-Answer: /a\r\n\r\n"},
        {"GET", "/empty", "Status: 204 No Content\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply r;
        ask_twice(rows[i].method, rows[i].target, &r);
        CU_ASSERT_STRING_EQUAL(r.text, rows[i].text);
        CU_ASSERT_EQUAL(r.records, 1);
    }
}

/* Fails if the arena is not rewound between pieces: tried. It has room for two of ten. */
TEST(large_responses)
{
    static const struct {
        const char *method, *target, *length;
        size_t body_n, records;
    } rows[] = {{"GET", "/big", "\r\nContent-Length: 100009\r\n", 100009, 2},
                {"GET", "/pieces", NULL, 12 + 1000000, 0},
                {"HEAD", "/pieces", NULL, 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply r;
        ask_twice(rows[i].method, rows[i].target, &r);
        CU_ASSERT_PTR_NOT_NULL(strstr(r.text, rows[i].length ? rows[i].length : "\r\n"));
        CU_ASSERT_EQUAL(strstr(r.text, "Content-Length") != NULL, rows[i].length != NULL);
        const char *body = strstr(r.text, "\r\n\r\n");
        CU_ASSERT_TRUE(body && r.n == (size_t)(body + 4 - r.text) + rows[i].body_n);
        CU_ASSERT_TRUE(rows[i].body_n == 0 || strstr(body, ":0123456789"));
        CU_ASSERT_TRUE(rows[i].records == 0 || r.records == rows[i].records);
    }
}

/* ---- records, and sends that are cut short ---- */

enum { ID = 0x1234, LONG = 400000 };

struct sending {
    int fd;
    const struct http_response *res;
    bool whole;
    atomic_bool done;
};

static void *send_main(void *arg)
{
    struct sending *s = arg;
    s->whole = fcgi_respond(s->fd, ID, s->res, false);
    atomic_store(&s->done, true);
    close(s->fd);
    return NULL;
}

/* Replaces n bytes of records by the output in them. False unless they are whole, of request ID,
 * only the last output record is empty, and the end of the request is the last record. */
static bool unwrap(unsigned char *p, size_t *n)
{
    size_t at = 0, to = 0;
    bool closed = false, ended = false;
    while (at + FCGI_HEADER_LEN <= *n && !ended) {
        const unsigned char *h = p + at;
        const size_t len = (size_t)h[4] << 8 | h[5], pad = h[6];
        if (h[0] != FCGI_VERSION_1 || (h[2] << 8 | h[3]) != ID ||
            *n - at - FCGI_HEADER_LEN < len + pad)
            return false;
        ended = h[1] == FCGI_END_REQUEST && closed && len == sizeof(FCGI_EndRequestBody);
        if (!ended && (h[1] != FCGI_STDOUT || closed))
            return false;
        closed = len == 0;
        memmove(p + to, h + FCGI_HEADER_LEN, ended ? 0 : len);
        to += ended ? 0 : len;
        at += FCGI_HEADER_LEN + len + pad;
    }
    const bool all = ended && at == *n;
    *n = to;
    return all;
}

static void interrupt(int signal)
{
    (void)signal;
}

/* Reads some bytes at a time, with a signal to the sender before each: sends end short, or with
 * EINTR. */
static size_t read_slowly(int fd, pthread_t sender, struct sending *s, unsigned char *p,
                          size_t size)
{
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n<size; n += got> 0 ? (size_t)got : 0) {
        if (!atomic_load(&s->done))
            (void)pthread_kill(sender, SIGUSR2);
        got = read(fd, p + n, size - n < 3001 ? size - n : 3001);
    }
    return n;
}

/* In the arena of the test. */
static struct http_response response_of(size_t body_n)
{
    struct http_response res;
    http_response_init(&res, test_ctx()->arena);
    res.status = 200;
    res.content_type = "text/plain";
    for (size_t i = 0; i < body_n; i++)
        buf_putc(&res.body, (char)('a' + i % 23));
    return res;
}

/* A response with a body of body_n bytes, read slowly, arrives whole. */
static void respond_with(size_t body_n)
{
    static unsigned char wire[LONG + 4096];
    const struct http_response res = response_of(body_n);
    struct sending s = {.res = &res};
    pthread_t sender;
    const int small = 4096;
    int fds[2];
    CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    s.fd = fds[0];
    CU_ASSERT_FATAL(pthread_create(&sender, NULL, send_main, &s) == 0);
    size_t n = read_slowly(fds[1], sender, &s, wire, sizeof wire);
    (void)pthread_join(sender, NULL);
    CU_ASSERT_TRUE(s.whole && unwrap(wire, &n));
    CU_ASSERT_TRUE(n > body_n && memcmp(wire + n - body_n, buf_get(&res.body).p, body_n) == 0);
    CU_ASSERT_TRUE(n > body_n + 4 && memcmp(wire + n - body_n - 4, "\r\n\r\n", 4) == 0);
    close(fds[1]);
}

/* Fails if the rest of a send that ended short is not sent, or is sent from its beginning: tried.
 */
TEST(sends_that_end_short)
{
    struct sigaction was;
    const struct sigaction now = {.sa_handler = interrupt};
    const size_t sizes[] = {1, 65000, 65528, 131056, LONG};
    CU_ASSERT_FATAL(sigaction(SIGUSR2, &now, &was) == 0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        respond_with(sizes[i]);
    /* Around the length where header and body fill one record and the next one begins. */
    for (size_t n = 65440; n <= 65466; n++)
        respond_with(n);
    (void)sigaction(SIGUSR2, &was, NULL);
}

/* It occupies the thread until the time-out of one send, and no longer. */
TEST(peer_that_reads_nothing)
{
    const struct http_response res = response_of(LONG);
    const struct timeval soon = {.tv_usec = 20000};
    int fds[2];
    CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    CU_ASSERT_FALSE(fcgi_respond(fds[0], ID, &res, false));
    close(fds[1]);
    CU_ASSERT_FALSE(fcgi_respond(fds[0], ID, &res, false));
    close(fds[0]);
}

/* No END_REQUEST, so that nginx knows. Fails if fcgi_request_answer ends the request all the same:
 * tried. */
TEST(failed_piece_ends_the_connection)
{
    struct wire w = {.n = 0};
    struct reply r;
    struct fixture *f = fixture_open(1, 0);
    wire_request(&w, WIRE_KEEP, "GET", "/fails", NULL);
    client_ask(f, &w, &r);
    CU_ASSERT_TRUE(!r.ended && r.closed);
    CU_ASSERT_TRUE(r.n >= 500000 && r.n < 600000);
    CU_ASSERT_TRUE(fixture_works(f));
}

/* A client that closes is noticed at the next piece or the one after, and the thread is free.
 * Fails if send_pieces ignores a failed send: tried. */
TEST(client_closes_between_pieces)
{
    struct fixture *f = fixture_open(1, 0);
    int fd = client_connect(f);
    CU_ASSERT_TRUE(client_request(fd, "GET", "/pieces", NULL));
    char some[100];
    CU_ASSERT_TRUE(read(fd, some, sizeof some) > 0);
    close(fd);
    CU_ASSERT_TRUE(fixture_works(f));
    CU_ASSERT_TRUE(f->n_pieces < 10);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
}

/* SPDX-License-Identifier: MIT */
#include "../suite.h"
#include "wire.h"

#include <string.h>
#include <unistd.h>

static void ask(const char *method, const char *target, struct reply *r, bool *kept)
{
    struct bench b;
    struct wire w = {.n = 0};
    struct reply again;
    CU_ASSERT_TRUE(bench_start(&b, 1));
    int fd = client_connect(&b);
    wire_request(&w, WIRE_KEEP, method, target, NULL);
    CU_ASSERT_TRUE(client_send(fd, &w, w.n));
    client_read(fd, r);
    CU_ASSERT_TRUE(client_send(fd, &w, w.n));
    client_read(fd, &again);
    *kept = again.ended;
    close(fd);
    bench_stop(&b);
}

static void whole_response(void)
{
    struct reply r;
    bool kept;
    ask("GET", "/a", &r, &kept);
    CU_ASSERT_STRING_EQUAL(r.text,
                           "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
                           "X-Answer: /a\r\n\r\nGET /a:");
    /* One record: libfcgi sent it, and what ends the request, with one write. */
    CU_ASSERT_EQUAL(r.records, 1);
    CU_ASSERT_TRUE(kept);
}

/* Fails if fcgi_respond does not look at head: tried. */
static void head_has_no_body(void)
{
    struct reply r;
    bool kept;
    ask("HEAD", "/a", &r, &kept);
    CU_ASSERT_STRING_EQUAL(r.text,
                           "Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n"
                           "X-Answer: /a\r\n\r\n");
    CU_ASSERT_TRUE(kept);
}

static void no_content(void)
{
    struct reply r;
    bool kept;
    ask("GET", "/empty", &r, &kept);
    CU_ASSERT_STRING_EQUAL(r.text, "Status: 204 No Content\r\n\r\n");
    CU_ASSERT_TRUE(kept);
}

static void large_body(void)
{
    struct reply r;
    bool kept;
    ask("GET", "/big", &r, &kept);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.text, "\r\nContent-Length: 100009\r\n"));
    const char *body = strstr(r.text, "\r\n\r\n");
    CU_ASSERT_EQUAL(r.n, (size_t)(body + 4 - r.text) + 100009);
    CU_ASSERT_TRUE(r.ended && kept);
}

/* Fails if the arena is not rewound between pieces: tried. It has room for two of ten. */
static void pieces(void)
{
    struct reply r;
    bool kept;
    ask("GET", "/pieces", &r, &kept);
    CU_ASSERT_PTR_NULL(strstr(r.text, "Content-Length"));
    const char *body = strstr(r.text, "\r\n\r\nGET /pieces:0123456789");
    CU_ASSERT_PTR_NOT_NULL(body);
    CU_ASSERT_TRUE(body && r.n == (size_t)(body + 4 - r.text) + 12 + 1000000);
    CU_ASSERT_TRUE(r.ended && kept);
}

static void head_makes_no_pieces(void)
{
    struct reply r;
    bool kept;
    ask("HEAD", "/pieces", &r, &kept);
    CU_ASSERT_PTR_NULL(strstr(r.text, "Content-Length"));
    const char *end = strstr(r.text, "\r\n\r\n");
    CU_ASSERT_TRUE(end && r.n == (size_t)(end + 4 - r.text));
    CU_ASSERT_TRUE(r.ended && kept);
}

/* No END_REQUEST, so that nginx knows. Fails if fcgi_exchange finishes the request all the same:
 * tried. */
static void a_piece_that_fails_cuts(void)
{
    struct bench b;
    struct wire w = {.n = 0};
    struct reply r;
    CU_ASSERT_TRUE(bench_start(&b, 1));
    wire_request(&w, WIRE_KEEP, "GET", "/fails", NULL);
    client_ask(&b, &w, &r);
    CU_ASSERT_TRUE(!r.ended && r.closed);
    CU_ASSERT_TRUE(r.n >= 500000 && r.n < 600000);
    CU_ASSERT_TRUE(bench_works(&b));
    bench_stop(&b);
}

/* A client that goes away is noticed at the next piece or the one after, and the thread is free.
 * Fails if put_pieces does not look for errors of the stream: tried. */
static void a_client_that_goes_away(void)
{
    struct bench b;
    struct wire w = {.n = 0};
    CU_ASSERT_TRUE(bench_start(&b, 1));
    wire_request(&w, WIRE_KEEP, "GET", "/pieces", NULL);
    int fd = client_connect(&b);
    CU_ASSERT_TRUE(client_send(fd, &w, w.n));
    char some[100];
    CU_ASSERT_TRUE(read(fd, some, sizeof some) > 0);
    close(fd);
    CU_ASSERT_TRUE(bench_works(&b));
    CU_ASSERT_TRUE(b.n_pieces < 10);
    CU_ASSERT_TRUE(bench_connections(&b, 0));
    bench_stop(&b);
}

SUITE(respond, "fcgi/respond", {"a whole response in one record", whole_response},
      {"HEAD gets headers and no body", head_has_no_body}, {"204 has no body", no_content},
      {"a body larger than libfcgi's buffer", large_body}, {"a body in pieces", pieces},
      {"HEAD makes no pieces", head_makes_no_pieces},
      {"a piece that fails cuts the connection", a_piece_that_fails_cuts},
      {"a client that goes away", a_client_that_goes_away})

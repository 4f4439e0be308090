/* SPDX-License-Identifier: MIT */
/*
 * A bad request never reaches the handler, its connection is closed, and the next good request
 * works. Good requests on one connection stay apart.
 */
#include "../suite.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <fastcgi.h>

/* w is answered by closing, counted as bad, and reaches no handler; the server works afterwards. */
static bool refused(struct fixture *f, const struct wire *w)
{
    struct reply r;
    int seen = fixture_seen(f);
    uint64_t bad = atomic_load(&f->slot.bad_connections);
    client_ask(f, w, &r);
    return !r.ended && r.n == 0 && r.closed && fixture_seen(f) == seen &&
           atomic_load(&f->slot.bad_connections) == bad + 1 && fixture_works(f);
}

/* Fails if read_request skips the body of a request that is too large: tried. The DELETE then
 * lies where libfcgi's next read begins, and reaches the handler. */
TEST(forged_request_in_a_body)
{
    struct wire forged = {.n = 0}, w = {.n = 0};
    struct reply r;
    static unsigned char body[WIRE_MAX_BODY + 8192];
    struct fixture *f = fixture_open(2, 0);
    wire_request(&forged, WIRE_KEEP, "DELETE", "/victim", NULL);
    wire_request_n(&w, WIRE_KEEP, body, sizeof body, NULL);
    /* Where the stream, not the body, passes a multiple of 8192: libfcgi reads in such pieces. */
    for (size_t at = 8192; at + forged.n < WIRE_MAX_BODY; at += 8192)
        memcpy(w.p + at, forged.p, forged.n);
    int fd = client_connect(f);
    CU_ASSERT_TRUE(client_exchange(fd, &w, &r));
    CU_ASSERT_TRUE(f->too_large);
    CU_ASSERT_TRUE(client_get(fd, "/after"));
    close(fd);
    CU_ASSERT_FALSE(fixture_saw(f, "DELETE /victim"));
    CU_ASSERT_EQUAL(fixture_seen(f), 2);
    CU_ASSERT_TRUE(fixture_works(f));
}

/* At every byte, and so at every end of a record. Fails if read_body does not call
 * FCGX_GetError: tried; libfcgi takes the end of the stream for the end of what it reads. */
TEST(stream_cut_at_every_byte)
{
    struct wire w = {.n = 0};
    struct fixture *f = fixture_open(2, 0);
    wire_request(&w, WIRE_KEEP, "POST", "/cut", "{\"a\":1}");
    unsigned wrong = 0;
    for (size_t n = 0; n < w.n; n++) {
        struct reply r;
        struct wire cut = w;
        cut.n = n;
        client_ask(f, &cut, &r);
        wrong += r.ended || r.n > 0 || !r.closed;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(fixture_seen(f), 0);
    /* A connection that ends before its first byte is not a bad one. */
    CU_ASSERT_EQUAL(atomic_load(&f->slot.bad_connections), w.n - 1);
    CU_ASSERT_TRUE(fixture_works(f));
    struct reply r;
    client_ask(f, &w, &r);
    CU_ASSERT_PTR_NOT_NULL(strstr(r.text, "POST /cut:{\"a\":1}"));
}

/* Fails if read_body returns true when GetStr is short, or does not look for the end: both tried;
 * each makes half of the rows fail. */
TEST(body_of_another_length)
{
    struct wire w = {.n = 0};
    struct fixture *f = fixture_open(2, 0);
    const struct {
        size_t n;
        const char *declared;
    } bad[] = {{5, "10"},     {15, "10"},
               {5, ""},       {0, "5"},
               {5, "0"},      {5, "5 "},
               {5, "-5"},     {5, "0005"},
               {5, "five"},   {5, "18446744073709551621"},
               {5, "200000"}, {WIRE_MAX_BODY + 2, "65537"}};
    static const unsigned char body[WIRE_MAX_BODY + 2];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        w.n = 0;
        wire_request_n(&w, WIRE_KEEP, body, bad[i].n, bad[i].declared);
        CU_ASSERT_TRUE(refused(f, &w));
    }
}

/* Fails if fcgi_params_read does not require PARLEY_END (the first three), or lets parameters
 * follow it or come twice: tried. */
TEST(wrong_parameters)
{
    static const struct wire_param bad[][6] = {
        {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "/"}},
        {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "/"}, {"PARLEY_END", "0"}},
        {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "/"}, {"HTTP_PARLEY_END", "1"}},
        {{"REQUEST_METHOD", "GET"}, {"PARLEY_END", "1"}, {"REQUEST_URI", "/"}},
        {{"REQUEST_METHOD", "GET"}, {"REQUEST_URI", "/"}, {"PARLEY_END", "1"}, {"PARLEY_END", "1"}},
        {{"REQUEST_METHOD", "GET"},
         {"REQUEST_URI", "/"},
         {"REQUEST_URI", "/b"},
         {"PARLEY_END", "1"}},
        {{"REQUEST_METHOD", "GET"}, {"PARLEY_END", "1"}},
        {{"REQUEST_URI", "/"}, {"PARLEY_END", "1"}},
    };
    struct fixture *f = fixture_open(2, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct wire w = {.n = 0};
        wire_begin(&w, WIRE_KEEP);
        for (const struct wire_param *p = bad[i]; p->name; p++)
            wire_param(&w, p->name, p->value);
        wire_body(&w, NULL, 0);
        CU_ASSERT_TRUE(refused(f, &w));
    }
}

/* FCGI_GET_VALUES with 40 known names overruns a buffer on libfcgi's stack and ends the process.
 * Fails if fcgi_request_peek lets other types through: tried (SIGABRT). */
TEST(get_values_first)
{
    struct wire w = {.n = 0}, names = {.n = 0};
    struct fixture *f = fixture_open(2, 0);
    for (int i = 0; i < 40; i++) {
        static const char name[] = "\16\0FCGI_MAX_CONNS";
        memcpy(names.p + names.n, name, sizeof name - 1);
        names.n += sizeof name - 1;
    }
    wire_record(&w, FCGI_GET_VALUES, names.p, names.n);
    w.p[3] = 0; /* a management record has no request id */
    wire_request(&w, WIRE_KEEP, "GET", "/", NULL);
    CU_ASSERT_TRUE(refused(f, &w));
}

/* Fails if fcgi_request_peek does not compare the role or the padding: tried. libfcgi refuses the
 * rest as well, except for the case of get_values_first. */
TEST(first_record_changed)
{
    static const struct {
        size_t at;
        unsigned char value;
    } change[] = {
        {0, 0},
        {0, 2},
        {1, FCGI_ABORT_REQUEST},
        {1, FCGI_PARAMS},
        {1, FCGI_STDIN},
        {3, 0},
        {4, 1},
        {5, 0},
        {5, 16},
        {6, 8},
        {8, 1},
        {9, 0},
        {9, FCGI_AUTHORIZER},
        {9, FCGI_FILTER},
    };
    struct wire w = {.n = 0};
    struct fixture *f = fixture_open(2, 0);
    wire_request(&w, WIRE_KEEP, "GET", "/", NULL);
    for (size_t i = 0; i < ARRAY_LEN(change); i++) {
        struct wire bad = w;
        bad.p[change[i].at] = change[i].value;
        CU_ASSERT_TRUE(refused(f, &bad));
    }
}

/* Fails if FCGX_Free is left out: tried. */
TEST(requests_on_one_connection)
{
    struct fixture *f = fixture_open(3, 0);
    int fd = client_connect(f);
    for (int i = 0; i < 50; i++) {
        struct reply r;
        char target[16], body[16], want[48];
        snprintf(target, sizeof target, "/%d", i);
        snprintf(body, sizeof body, "body %d", i * 7);
        snprintf(want, sizeof want, "\r\n\r\nPOST %s:%s", target, i % 3 ? body : "");
        CU_ASSERT_TRUE(client_request(fd, "POST", target, i % 3 ? body : NULL));
        client_read(fd, &r);
        CU_ASSERT_TRUE(r.ended);
        const char *end = strstr(r.text, "\r\n\r\n");
        CU_ASSERT_TRUE(end && strcmp(end, want) == 0);
        CU_ASSERT_STRING_EQUAL(f->last_header, target);
    }
    CU_ASSERT_TRUE(fixture_has_connections(f, 1));
    close(fd);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
    CU_ASSERT_EQUAL(fcgi_server_requests(f->server), 50);
    CU_ASSERT_EQUAL(atomic_load(&f->slot.bad_connections), 0);
}

/* Fails if keepConnection is set once more after FCGX_Accept_r: tried. */
TEST(not_kept_unless_asked)
{
    struct wire w = {.n = 0};
    struct reply r;
    struct fixture *f = fixture_open(2, 0);
    int fd = client_connect(f);
    wire_request(&w, 0, "GET", "/", NULL);
    CU_ASSERT_TRUE(client_exchange(fd, &w, &r));
    CU_ASSERT_TRUE(client_is_closed(fd));
    close(fd);
}

/* A client that leaves while its parameters or body are read, and while its answer is made. Fails
 * if serve_one does not close what it may not keep: tried. */
TEST(client_gone_in_the_middle)
{
    struct wire w = {.n = 0};
    struct fixture *f = fixture_open(2, 0);
    wire_request(&w, WIRE_KEEP, "POST", "/gone", "some body");
    for (size_t n = 20; n < w.n; n += 37) {
        int fd = client_connect(f);
        CU_ASSERT_TRUE(client_send(fd, &w, n));
        close(fd);
    }
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
    CU_ASSERT_FALSE(fixture_saw(f, "POST /gone"));
    f->hold = true;
    int fd = fixture_hold(f, 1);
    close(fd);
    fixture_clear(f, &f->hold);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
    CU_ASSERT_TRUE(fixture_works(f));
}

/* More headers than the arena holds: 503, no handler, and the connection is in order. Fails if
 * read_request returns before it has read the body: tried. */
TEST(no_memory_for_the_request)
{
    static const unsigned char body[60000]; /* much more than libfcgi has read ahead */
    struct wire w = {.n = 0};
    struct reply r;
    struct fixture *f = fixture_open(2, 0);
    wire_begin(&w, WIRE_KEEP);
    wire_param(&w, "REQUEST_METHOD", "POST");
    wire_param(&w, "REQUEST_URI", "/");
    wire_param(&w, "CONTENT_LENGTH", "60000");
    wire_param(&w, "PARLEY_END", "1");
    for (int i = 0; i < 16000; i++)
        wire_param(&w, "HTTP_A", "1");
    wire_body(&w, body, sizeof body);
    int fd = client_connect(f);
    CU_ASSERT_TRUE(client_exchange(fd, &w, &r));
    CU_ASSERT_EQUAL(strncmp(r.text, "Status: 503 Service Unavailable\r\n", 33), 0);
    CU_ASSERT_EQUAL(fixture_seen(f), 0);
    CU_ASSERT_TRUE(client_get(fd, "/after"));
    close(fd);
}

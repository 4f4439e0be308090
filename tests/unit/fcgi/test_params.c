/* SPDX-License-Identifier: MIT */
/* What a request holds. test_request_reader.c tests the same over sockets. */
#include "../suite.h"
#include "wire.h"

#include <stdio.h>
#include <string.h>

#include "../../../src/fcgi/fcgi_internal.h"

#include "parley/base/clock.h"

static enum err read_params(const char *const *env, struct http_request *req, uint64_t *n)
{
    static char text[16][128]; /* writable, as libfcgi gives them */
    char *envp[17] = {NULL};
    for (int i = 0; env[i] && i < 16; i++) {
        strncpy(text[i], env[i], sizeof text[i] - 1);
        envp[i] = text[i];
    }
    memset(req, 0, sizeof *req);
    return fcgi_params_read(test_ctx()->arena, envp, req, n);
}

TEST(request_as_nginx_sends_it)
{
    static const char *const env[] = {"FCGI_ROLE=RESPONDER",
                                      "REQUEST_METHOD=PATCH",
                                      "REQUEST_URI=/v1/a%2Fb?x=1=2",
                                      "CONTENT_LENGTH=12",
                                      "CONTENT_TYPE=text/html",
                                      "REMOTE_ADDR=192.0.2.7",
                                      "QUERY_STRING=x=1=2",
                                      "PARLEY_END=1",
                                      "HTTP_IF_MATCH=\"a=b\"",
                                      "HTTP_X_TWICE=1",
                                      "HTTP_X_TWICE=2",
                                      "HTTP_CONTENT_TYPE=application/json",
                                      "HTTP_EMPTY=",
                                      NULL};
    struct http_request req;
    uint64_t n;
    CU_ASSERT_EQUAL(read_params(env, &req, &n), ERR_NONE);
    CU_ASSERT_EQUAL(n, 12);
    CU_ASSERT_EQUAL(req.method, HTTP_PATCH);
    CU_ASSERT_TRUE(sv_eq(req.method_text, SV("PATCH")));
    CU_ASSERT_TRUE(sv_eq(req.target, SV("/v1/a%2Fb?x=1=2")));
    CU_ASSERT_TRUE(sv_eq(req.remote_addr, SV("192.0.2.7")));
    CU_ASSERT_PTR_NULL(req.body.p);
    static const struct http_pair want[] = {
        {{"if-match", 8}, {"\"a=b\"", 5}}, {{"x-twice", 7}, {"1", 1}},
        {{"x-twice", 7}, {"2", 1}},        {{"content-type", 12}, {"application/json", 16}},
        {{"empty", 5}, {"", 0}},
    };
    CU_ASSERT_EQUAL(req.n_headers, ARRAY_LEN(want));
    for (size_t i = 0; i < req.n_headers && i < ARRAY_LEN(want); i++) {
        CU_ASSERT_TRUE(sv_eq(req.headers[i].name, want[i].name));
        CU_ASSERT_TRUE(sv_eq(req.headers[i].value, want[i].value));
    }
}

TEST(without_a_body)
{
    static const char *const env[] = {"REQUEST_METHOD=BREW", "REQUEST_URI=/", "CONTENT_LENGTH=",
                                      "CONTENT_TYPE=a/b",    "PARLEY_END=1",  NULL};
    struct http_request req;
    uint64_t n;
    CU_ASSERT_EQUAL(read_params(env, &req, &n), ERR_NONE);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(req.method, HTTP_OTHER);
    CU_ASSERT_PTR_NULL(req.remote_addr.p);
    CU_ASSERT_EQUAL(req.n_headers, 1);
    CU_ASSERT_TRUE(sv_eq(http_header_get(&req, "content-type"), SV("a/b")));
}

static int64_t queued(struct sv sent_at)
{
    char value[96];
    const char *env[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/", value, "PARLEY_END=1", NULL};
    struct http_request req;
    uint64_t n;
    snprintf(value, sizeof value, "REQUEST_MSEC=%.*s", SV_ARG(sent_at));
    CU_ASSERT_EQUAL(read_params(env, &req, &n), ERR_NONE);
    return req.queued_us;
}

static int64_t queued_since(int64_t at_us)
{
    char text[64];
    snprintf(text, sizeof text, "%lld.%03lld", (long long)(at_us / 1000000),
             (long long)(at_us / 1000 % 1000));
    return queued(sv_from(text));
}

/* An impossible time counts as unknown. Fails if a time in the future, or more than an hour ago, is
 * believed, or if ".007" is read as 7 tenths: tried. */
TEST(time_in_the_queue)
{
    const int64_t second = 1000000, before = clock_wall_us();
    const int64_t at = (before / second - 10) * second + 7000;
    int64_t us = queued_since(at);
    CU_ASSERT_TRUE(us >= before - at && us <= clock_wall_us() - at);
    CU_ASSERT_TRUE(queued_since(before - 3500 * second) >= 3500 * second);
    CU_ASSERT_EQUAL(queued_since(before - 3601 * second), 0);
    CU_ASSERT_EQUAL(queued_since(before + 60 * second), 0);
    struct sv not_from_nginx = SV("|1|.|1.|.123|1.5|-1.000|1.0000|1. 12|1.-12|1e9.000|x.123|"
                                  "4294967296.000|99999999999999999999.000");
    while (not_from_nginx.p)
        CU_ASSERT_EQUAL(queued(sv_cut(&not_from_nginx, '|')), 0);
    /* Our nginx configuration does not send it twice. */
    static const char *const twice[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/", "REQUEST_MSEC=1.000",
                                        "REQUEST_MSEC=2.000", "PARLEY_END=1",  NULL};
    struct http_request req;
    uint64_t n;
    CU_ASSERT_EQUAL(read_params(twice, &req, &n), ERR_INVALID);
}

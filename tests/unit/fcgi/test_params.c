/* SPDX-License-Identifier: MIT */
/* The whole of the room is driven over sockets in test_exchange.c; here is what a request holds. */
#include "../suite.h"
#include "wire.h"

#include <string.h>

#include "../../../src/fcgi/fcgi_internal.h"

static enum err take(struct arena *a, const char *const *env, struct http_request *req, uint64_t *n)
{
    static char text[16][128]; /* what libfcgi gives is writable, and this is not to write to it */
    char *envp[17] = {NULL};
    for (int i = 0; env[i] && i < 16; i++) {
        strncpy(text[i], env[i], sizeof text[i] - 1);
        envp[i] = text[i];
    }
    memset(req, 0, sizeof *req);
    return fcgi_params_read(a, envp, req, n);
}

static void request_as_nginx_sends_it(void)
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
    struct arena *a = arena_create(64 * 1024);
    struct http_request req;
    uint64_t n;
    CU_ASSERT_EQUAL(take(a, env, &req, &n), ERR_NONE);
    CU_ASSERT_EQUAL(n, 12);
    CU_ASSERT_EQUAL(req.method, HTTP_PATCH);
    CU_ASSERT_TRUE(sv_eq(req.method_text, SV("PATCH")));
    CU_ASSERT_TRUE(sv_eq(req.target, SV("/v1/a%2Fb?x=1=2")));
    CU_ASSERT_TRUE(sv_eq(req.remote_addr, SV("192.0.2.7")));
    CU_ASSERT_PTR_NULL(req.body.p);
    static const struct http_header want[] = {
        {{"if-match", 8}, {"\"a=b\"", 5}}, {{"x-twice", 7}, {"1", 1}},
        {{"x-twice", 7}, {"2", 1}},        {{"content-type", 12}, {"application/json", 16}},
        {{"empty", 5}, {"", 0}},
    };
    CU_ASSERT_EQUAL(req.n_headers, ARRAY_LEN(want));
    for (size_t i = 0; i < req.n_headers && i < ARRAY_LEN(want); i++) {
        CU_ASSERT_TRUE(sv_eq(req.headers[i].name, want[i].name));
        CU_ASSERT_TRUE(sv_eq(req.headers[i].value, want[i].value));
    }
    arena_destroy(a);
}

static void without_a_body(void)
{
    static const char *const env[] = {"REQUEST_METHOD=BREW", "REQUEST_URI=/", "CONTENT_LENGTH=",
                                      "CONTENT_TYPE=a/b",    "PARLEY_END=1",  NULL};
    struct arena *a = arena_create(64 * 1024);
    struct http_request req;
    uint64_t n;
    CU_ASSERT_EQUAL(take(a, env, &req, &n), ERR_NONE);
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(req.method, HTTP_OTHER);
    CU_ASSERT_PTR_NULL(req.remote_addr.p);
    CU_ASSERT_EQUAL(req.n_headers, 1);
    CU_ASSERT_TRUE(sv_eq(http_header_get(&req, "content-type"), SV("a/b")));
    arena_destroy(a);
}

SUITE(params, "fcgi/params", {"a request as nginx sends it", request_as_nginx_sends_it},
      {"a request without a body", without_a_body})

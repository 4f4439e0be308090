/* SPDX-License-Identifier: MIT */
#include "parley/http/response.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* At first, and again. */
TEST(begins_as_a_failure)
{
    struct http_rig *r = http_rig("GET", "/");
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(r->res.status, 500);
        CU_ASSERT_EQUAL(r->res.n_headers, 0);
        CU_ASSERT_PTR_NULL(r->res.content_type);
        CU_ASSERT_EQUAL(r->res.body.n, 0);
        CU_ASSERT_PTR_EQUAL(r->res.body.arena, r->ctx->arena);
        r->res.status = 200;
        r->res.content_type = "text/plain";
        http_response_header(&r->res, "ETag", SV("\"a\""));
        buf_sv(&r->res.body, SV("text"));
        http_response_init(&r->res, r->ctx->arena);
    }
}

/* Whether setting these headers ends the process. */
static bool aborts(struct sv value, size_t times)
{
    struct http_rig *r = http_rig("GET", "/");
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        for (size_t i = 0; i < times; i++)
            http_response_header(&r->res, "X", value);
        _exit(0);
    }
    int status = 0;
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* Fails if a value with a line break is accepted: tried. */
TEST(headers_that_abort)
{
    CU_ASSERT_TRUE(aborts(SV("a\r\nSet-Cookie: b"), 1));
    CU_ASSERT_TRUE(aborts(SV("a\nb"), 1));
    CU_ASSERT_TRUE(aborts(SV("\x7f"), 1));
    CU_ASSERT_TRUE(aborts((struct sv){"a\0b", 3}, 1));
    CU_ASSERT_FALSE(aborts(SV("a b \xc3\xa9"), 1));
    CU_ASSERT_FALSE(aborts(SV("a"), HTTP_RESPONSE_HEADERS_MAX));
    CU_ASSERT_TRUE(aborts(SV("a"), HTTP_RESPONSE_HEADERS_MAX + 1));
}

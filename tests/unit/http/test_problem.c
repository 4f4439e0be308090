/* SPDX-License-Identifier: MIT */
#include "parley/http/response.h"

#include <stdio.h>
#include <string.h>

#include "rig.h"

static const int expected[ERR_COUNT] = {
    [ERR_NONE] = 500, /* a bug of the caller */
    [ERR_INVALID] = 400,      [ERR_UNAUTHENTICATED] = 401,
    [ERR_FORBIDDEN] = 403,    [ERR_NOT_FOUND] = 404,
    [ERR_METHOD] = 405,       [ERR_NOT_ACCEPTABLE] = 406,
    [ERR_CONFLICT] = 409,     [ERR_BUSY] = 409,
    [ERR_PRECONDITION] = 412, [ERR_TOO_LARGE] = 413,
    [ERR_URI_TOO_LONG] = 414, [ERR_MEDIA_TYPE] = 415,
    [ERR_KEY_REUSED] = 422,   [ERR_LIMITED] = 429,
    [ERR_TIMEOUT] = 503,      [ERR_OVERLOAD] = 503,
    [ERR_UNAVAILABLE] = 503,  [ERR_OUTCOME_UNKNOWN] = 503,
    [ERR_NOMEM] = 500,        [ERR_INTERNAL] = 500,
    [ERR_NO_WINDOW] = 422,    [ERR_TOO_MANY] = 422,
};

/* Without an entry in the table the code is "internal". Fails if an entry is removed: tried. */
TEST(every_error_has_an_entry)
{
    for (int e = 1; e < ERR_COUNT; e++) {
        char code[64], status[32];
        struct http_rig *r = http_rig("GET", "/");
        r->ctx->err.err = (enum err)e;
        http_problem(r->ctx, &r->req, &r->res);
        snprintf(code, sizeof(code), "\"code\":\"%s\"", err_name((enum err)e));
        snprintf(status, sizeof(status), "\"status\":%d,", expected[e]);
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), code));
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), status));
        CU_ASSERT_EQUAL(r->res.status, expected[e]);
        CU_ASSERT_EQUAL(strcmp(err_name((enum err)e), "internal") == 0, e == ERR_INTERNAL);
    }
}

/* The errors that src/db/db_sqlstate.c gives have a detail even if the caller gave none. */
TEST(database_errors_have_a_detail)
{
    static const enum err errors[] = {ERR_INVALID, ERR_CONFLICT,    ERR_BUSY,
                                      ERR_TIMEOUT, ERR_UNAVAILABLE, ERR_TOO_LARGE};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct request_ctx *ctx = test_ctx();
        (void)ctx_fault(ctx, errors[i], "postgres 22003: value overflows numeric format");
        CU_ASSERT_STRING_NOT_EQUAL(http_fault_of(ctx).detail, "");
    }
}

TEST(document)
{
    struct http_rig *r = http_rig("GET", "/");
    buf_sv(&r->res.body, SV("half an answer"));
    http_response_header(&r->res, "ETag", SV("\"1.v1\""));
    (void)ctx_fail(r->ctx, ERR_INVALID, "wrong_type", "messages[3].role", "A \"string\" it is.");
    http_problem(r->ctx, &r->req, &r->res);
    CU_ASSERT_STRING_EQUAL(
        http_rig_body(r),
        "{\"type\":\"/docs#error-wrong_type\",\"title\":\"Bad Request\",\"status\":400,"
        "\"detail\":\"A \\\"string\\\" it is.\",\"code\":\"wrong_type\","
        "\"field\":\"messages[3].role\",\"request_id\":\"req-1\"}");
    CU_ASSERT_STRING_EQUAL(r->res.content_type, "application/problem+json");
    CU_ASSERT_EQUAL(r->res.n_headers, 0);
}

/* A cause is for the log alone. */
TEST(cause_is_not_sent)
{
    struct http_rig *r = http_rig("GET", "/");
    (void)ctx_fault(r->ctx, ERR_INTERNAL, "postgres 42P01: relation secret");
    http_problem(r->ctx, &r->req, &r->res);
    CU_ASSERT_PTR_NULL(strstr(http_rig_body(r), "secret"));
    CU_ASSERT_PTR_NULL(strstr(http_rig_body(r), "postgres"));
}

TEST(retry_after)
{
    struct http_rig *r = http_rig("GET", "/");
    (void)ctx_fault(r->ctx, ERR_UNAVAILABLE, "away");
    http_problem(r->ctx, &r->req, &r->res);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Retry-After"), "1");
    r->ctx->err.retry_after_s = 30;
    http_problem(r->ctx, &r->req, &r->res);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Retry-After"), "30");
    ctx_clear_error(r->ctx);
    (void)ctx_fail(r->ctx, ERR_NOT_FOUND, NULL, NULL, NULL);
    http_problem(r->ctx, &r->req, &r->res);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Retry-After"), "");
}

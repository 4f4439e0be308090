/* SPDX-License-Identifier: MIT */
#include "parley/http/request.h"

#include <string.h>

#include "../suite.h"
#include "rig.h"

enum { ROOM = 1 << 16 };

TEST(methods)
{
    static const struct {
        const char *text;
        enum http_method method;
    } known[] = {{"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},   {"POST", HTTP_POST},
                 {"PUT", HTTP_PUT},         {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
                 {"OPTIONS", HTTP_OPTIONS}, {"get", HTTP_OTHER},   {"TRACE", HTTP_OTHER},
                 {"GETS", HTTP_OTHER},      {"", HTTP_OTHER},      {"POS", HTTP_OTHER}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        CU_ASSERT_EQUAL(http_method_parse(sv_from(known[i].text)), known[i].method);
}

static enum err check(struct http_rig *r, const struct http_header *headers, size_t n)
{
    http_rig_open(r, ROOM, "GET", SV("/"));
    r->req.headers = headers;
    r->req.n_headers = n;
    return http_headers_check(&r->ctx, &r->req);
}

/* Fails if a repeated header is let through, the first or the last one winning: tried. */
TEST(repeated_headers)
{
    static const struct {
        const char *name, *shown;
    } once[] = {{"content-type", "Content-Type"},   {"idempotency-key", "Idempotency-Key"},
                {"if-match", "If-Match"},           {"if-none-match", "If-None-Match"},
                {"x-parley-user", "X-Parley-User"}, {"authorization", "Authorization"},
                {"x-api-key", "X-Api-Key"},         {"x-request-id", "X-Request-Id"}};
    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        struct http_rig r;
        const struct http_header two[] = {{sv_from(once[i].name), SV("a")},
                                          {SV("accept"), SV("*/*")},
                                          {sv_from(once[i].name), SV("a")}};
        CU_ASSERT_EQUAL(check(&r, two, 3), ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(r.ctx.err.field, once[i].shown);
        http_rig_close(&r);
        CU_ASSERT_EQUAL(check(&r, two, 2), ERR_NONE);
        CU_ASSERT_TRUE(sv_eq(http_header_get(&r.req, once[i].name), SV("a")));
        CU_ASSERT_PTR_NULL(http_header_get(&r.req, "x-none").p);
        http_rig_close(&r);
    }
}

TEST(other_headers_may_repeat)
{
    struct http_rig r;
    const struct http_header two[] = {{SV("accept"), SV("*/*")}, {SV("accept"), SV("a/b")}};
    CU_ASSERT_EQUAL(check(&r, two, 2), ERR_NONE);
    http_rig_close(&r);
}

TEST(control_characters)
{
    static const char *const values[] = {"a\nb", "\r", "\x01", "a\x7f"};
    struct http_rig r;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        const struct http_header h = {SV("x-parley-user"), sv_from(values[i])};
        CU_ASSERT_EQUAL(check(&r, &h, 1), ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(r.ctx.err.field, "X-Parley-User");
        http_rig_close(&r);
    }
    const struct http_header nul = {SV("if-match"), {"a\0b", 3}};
    CU_ASSERT_EQUAL(check(&r, &nul, 1), ERR_INVALID);
    http_rig_close(&r);
    const struct http_header fine = {SV("x-parley-user"), SV("a\tb \xc3\xa9")};
    CU_ASSERT_EQUAL(check(&r, &fine, 1), ERR_NONE);
    http_rig_close(&r);
}

TEST(integers)
{
    static const struct {
        const char *target;
        enum err err;
        int64_t value;
    } cases[] = {{"/?n=5", ERR_NONE, 5},       {"/", ERR_NONE, 7},
                 {"/?n=-3", ERR_NONE, -3},     {"/?n=10", ERR_NONE, 10},
                 {"/?n=11", ERR_INVALID, 0},   {"/?n=-4", ERR_INVALID, 0},
                 {"/?n=", ERR_INVALID, 0},     {"/?n", ERR_INVALID, 0},
                 {"/?n=1.0", ERR_INVALID, 0},  {"/?n=+1", ERR_INVALID, 0},
                 {"/?n=%2B1", ERR_INVALID, 0}, {"/?n=01", ERR_INVALID, 0},
                 {"/?n=1e1", ERR_INVALID, 0},  {"/?n=99999999999999999999", ERR_INVALID, 0},
                 {"/?n=true", ERR_INVALID, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig r;
        int64_t v = -100;
        http_rig_open(&r, ROOM, "GET", sv_from(cases[i].target));
        CU_ASSERT_EQUAL(http_target_parse(&r.ctx, &r.req), ERR_NONE);
        CU_ASSERT_EQUAL(http_param_i64(&r.ctx, &r.req, "n", -3, 10, 7, &v), cases[i].err);
        if (cases[i].err == ERR_NONE)
            CU_ASSERT_EQUAL(v, cases[i].value);
        CU_ASSERT_STRING_EQUAL(r.ctx.err.field, cases[i].err == ERR_NONE ? "" : "n");
        http_rig_close(&r);
    }
}

TEST(unknown_parameters)
{
    static const char *const known[] = {"limit", "order", NULL};
    struct http_rig r;
    http_rig_open(&r, ROOM, "GET", SV("/?order=asc&limit=1"));
    CU_ASSERT_EQUAL(http_target_parse(&r.ctx, &r.req), ERR_NONE);
    CU_ASSERT_EQUAL(http_params_only(&r.ctx, &r.req, known), ERR_NONE);
    http_rig_close(&r);
    http_rig_open(&r, ROOM, "GET", SV("/?limit=1&limi=2"));
    CU_ASSERT_EQUAL(http_target_parse(&r.ctx, &r.req), ERR_NONE);
    CU_ASSERT_EQUAL(http_params_only(&r.ctx, &r.req, known), ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(r.ctx.err.field, "limi");
    CU_ASSERT_STRING_EQUAL(r.ctx.err.slug, "unknown_parameter");
    http_rig_close(&r);
}

/* See the test of the same name for http_target_parse. */
TEST(shows_whole_characters)
{
    static const char *const known[] = {NULL};
    struct http_rig r;
    char target[256] = "/?x";
    for (int i = 0; i < 41; i++)
        strcat(target, "\xe2\x82\xac");
    http_rig_open(&r, ROOM, "GET", sv_from(target));
    CU_ASSERT_EQUAL(http_target_parse(&r.ctx, &r.req), ERR_NONE);
    CU_ASSERT_EQUAL(http_params_only(&r.ctx, &r.req, known), ERR_INVALID);
    CU_ASSERT_TRUE(strlen(r.ctx.err.field) > 50);
    CU_ASSERT_EQUAL((strlen(r.ctx.err.field) - 1) % 3, 0);
    http_rig_close(&r);
}

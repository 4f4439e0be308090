/* SPDX-License-Identifier: MIT */
#include "parley/http/request.h"

#include <string.h>

#include "rig.h"

TEST(methods)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        CU_ASSERT_EQUAL(http_method_parse(sv_from(known[i])), (enum http_method)i);
        CU_ASSERT_STRING_EQUAL(http_method_name((enum http_method)i), known[i]);
    }
    for (struct sv rest = SV("get|TRACE|GETS||POS"); rest.p;)
        CU_ASSERT_EQUAL(http_method_parse(sv_cut(&rest, '|')), HTTP_OTHER);
}

/* The field of the error, or "". */
static const char *fault_of(const struct http_pair *headers, size_t n)
{
    struct http_rig *r = http_rig("GET", "/");
    r->req.headers = headers;
    r->req.n_headers = n;
    const bool good = http_headers_check(r->ctx, &r->req) == ERR_NONE;
    CU_ASSERT_EQUAL(r->ctx->err.err, good ? ERR_NONE : ERR_INVALID);
    return r->ctx->err.field;
}

/* Fails if a repeated header is accepted: tried. */
TEST(repeated_headers)
{
    static const struct {
        const char *name, *shown;
    } once[] = {{"content-type", "Content-Type"},
                {"idempotency-key", "Idempotency-Key"},
                {"if-match", "If-Match"},
                {"if-none-match", "If-None-Match"},
                {"x-parley-user", "X-Parley-User"},
                {"authorization", "Authorization"},
                {"x-api-key", "X-Api-Key"},
                {"x-request-id", "X-Request-Id"},
                {"content-encoding", "Content-Encoding"}};
    for (size_t i = 0; i < ARRAY_LEN(once); i++) {
        const struct http_pair two[] = {{sv_from(once[i].name), SV("a")},
                                        {SV("accept"), SV("*/*")},
                                        {sv_from(once[i].name), SV("a")}};
        const struct http_request req = {.headers = two, .n_headers = 2};
        CU_ASSERT_STRING_EQUAL(fault_of(two, 3), once[i].shown);
        CU_ASSERT_STRING_EQUAL(fault_of(two, 2), "");
        CU_ASSERT_TRUE(sv_eq(http_header_get(&req, once[i].name), SV("a")));
        CU_ASSERT_PTR_NULL(http_header_get(&req, "x-none").p);
    }
    const struct http_pair others[] = {{SV("accept"), SV("*/*")}, {SV("accept"), SV("a/b")}};
    CU_ASSERT_STRING_EQUAL(fault_of(others, 2), "");
}

TEST(control_characters)
{
    static const struct sv bad[] = {SV_INIT("a\nb"), SV_INIT("\r"), SV_INIT("\x01"),
                                    SV_INIT("a\x7f"), SV_INIT("a\0b")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_STRING_EQUAL(fault_of(&(struct http_pair){SV("x-parley-user"), bad[i]}, 1),
                               "X-Parley-User");
    const struct http_pair fine = {SV("x-parley-user"), SV("a\tb \xc3\xa9")};
    CU_ASSERT_STRING_EQUAL(fault_of(&fine, 1), "");
}

TEST(integers)
{
    static const struct {
        const char *targets; /* separated by '|' */
        enum err err;
        int64_t value;
    } cases[] = {{"/?n=5", ERR_NONE, 5},
                 {"/|/?m=1", ERR_NONE, 7},
                 {"/?n=-3", ERR_NONE, -3},
                 {"/?n=10", ERR_NONE, 10},
                 {"/?n=11|/?n=-4|/?n=|/?n|/?n=1.0|/?n=+1|/?n=%2B1|/?n=01|/?n=1e1|/?n=true|"
                  "/?n=99999999999999999999",
                  ERR_INVALID, -100}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (struct sv rest = sv_from(cases[i].targets); rest.p;) {
            int64_t v = -100;
            struct http_rig *r = http_rig("GET", "");
            r->req.target = sv_cut(&rest, '|');
            CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_NONE);
            CU_ASSERT_EQUAL(http_param_i64(r->ctx, &r->req, "n", -3, 10, 7, &v), cases[i].err);
            CU_ASSERT_EQUAL(v, cases[i].value);
            CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].err == ERR_NONE ? "" : "n");
        }
    }
}

/* The parameter that is refused as unknown, or "". */
static const char *unknown_in(const char *target)
{
    static const char *const known[] = {"limit", "order"};
    struct http_rig *r = http_rig("GET", target);
    CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_NONE);
    if (http_params_only(r->ctx, &r->req, &NAMES(known)) == ERR_NONE)
        return "";
    CU_ASSERT_EQUAL(r->ctx->err.err, ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(r->ctx->err.slug, "unknown_parameter");
    CU_ASSERT_PTR_NOT_NULL(strstr(r->ctx->err.detail, "Allowed: limit, order."));
    return r->ctx->err.field;
}

/* A name is cut between characters: see test_target.c. */
TEST(unknown_parameters)
{
    CU_ASSERT_STRING_EQUAL(unknown_in("/?order=asc&limit=1"), "");
    CU_ASSERT_STRING_EQUAL(unknown_in("/?limit=1&limi=2"), "limi");
    char target[256] = "/?x";
    for (int i = 0; i < 41; i++)
        strcat(target, "\xe2\x82\xac");
    const size_t shown = strlen(unknown_in(target));
    CU_ASSERT_TRUE(shown > 50);
    CU_ASSERT_EQUAL((shown - 1) % 3, 0);
}

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

/* The examples of W3C Trace Context, level 1, sections 3.2 and 3.2.4, and what its grammar
 * excludes. Fails if a later version may not have more, if 00 may, if zeros or ff are taken, or if
 * only one of two headers is looked at: tried. */
TEST(traceparent)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-00", true},
        {"00-" TRACE "-" PARENT "-ff", true},
        {"01-" TRACE "-" PARENT "-09", true},
        {"cc-" TRACE "-" PARENT "-01-what-the-future-will-be-like", true},
        {"cc-" TRACE "-" PARENT "-01-", true},
        {"fe-" TRACE "-" PARENT "-01", true},
        {"00-" TRACE "-" PARENT "-01-", false},
        {"00-" TRACE "-" PARENT "-01-what-the-future-will-be-like", false},
        {"cc-" TRACE "-" PARENT "-01.what-the-future-will-be-like", false},
        {"cc-" TRACE "-" PARENT "-011", false},
        {"ff-" TRACE "-" PARENT "-01", false},
        {"0-" TRACE "-" PARENT "-01", false},
        {"000-" TRACE "-" PARENT "-01", false},
        {".0-" TRACE "-" PARENT "-01", false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-00000000000000000000000000000001-" PARENT "-01", true},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-" TRACE "-0000000000000001-01", true},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
        {"00-" TRACE "-00F067AA0BA902B7-01", false},
        {"00-" TRACE "-" PARENT "-0A", false},
        {"00-.bf92f3577b34da6a3ce929d0e0e4736-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "-.0", false},
        {"00-" TRACE "-" PARENT "-1", false},
        {"00-" TRACE "-" PARENT, false},
        {"00-" TRACE "_" PARENT "-01", false},
        {"00_" TRACE "-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "_01", false},
        {" 00-" TRACE "-" PARENT "-01", false},
        {"", false},
    };
    struct sv trace = SV_NONE, parent = SV_NONE;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_rig *r = http_rig("GET", "/");
        http_rig_send(r, "traceparent", sv_from(rows[i].text));
        CU_ASSERT_EQUAL(http_trace(&r->req, &trace, &parent), rows[i].valid);
        if (rows[i].valid) {
            CU_ASSERT_TRUE(sv_eq(trace, (struct sv){rows[i].text + 3, 32}));
            CU_ASSERT_TRUE(sv_eq(parent, (struct sv){rows[i].text + 36, 16}));
        }
        http_rig_send(r, "traceparent", sv_from(rows[i].text));
        CU_ASSERT_FALSE(http_trace(&r->req, &trace, &parent)); /* two of them */
    }
    const struct sv inner = {"00-" TRACE "-" PARENT "-\0001", 55};
    struct http_rig *r = http_rig("GET", "/");
    CU_ASSERT_FALSE(http_trace(&r->req, &trace, &parent));
    http_rig_send(r, "traceparent", inner);
    CU_ASSERT_FALSE(http_trace(&r->req, &trace, &parent));
}

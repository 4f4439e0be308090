/* SPDX-License-Identifier: MIT */
#include "parley/http/route.h"

#include <stdio.h>
#include <string.h>

#include "parley/json/doc.h"
#include "rig.h"

/* The service of the routes: what their handler was called with. */
struct seen {
    int calls;
    struct sv captures[HTTP_CAPTURES_MAX];
};

static enum err answer(struct request_ctx *ctx, const struct http_call *call,
                       struct http_response *res)
{
    struct seen *seen = call->service;
    (void)ctx;
    seen->calls++;
    memcpy(seen->captures, call->captures, sizeof(seen->captures));
    res->status = 200;
    res->content_type = "application/json";
    buf_sv(&res->body, SV("{}"));
    return ERR_NONE;
}

static enum err fail(struct request_ctx *ctx, const struct http_call *call,
                     struct http_response *res)
{
    (void)call;
    http_response_header(res, "ETag", SV("\"late\""));
    buf_sv(&res->body, SV("{\"half\":"));
    return ctx_fail(ctx, ERR_CONFLICT, "session_exists", "session_id", "It exists.");
}

/* Fails without details. */
static enum err fail_without_details(struct request_ctx *ctx, const struct http_call *call,
                                     struct http_response *res)
{
    (void)ctx;
    (void)call;
    (void)res;
    return ERR_UNAVAILABLE;
}

/* Fails after taking all memory. */
static enum err exhaust(struct request_ctx *ctx, const struct http_call *call,
                        struct http_response *res)
{
    (void)call;
    (void)res;
    for (size_t n = 4096; n > 0; n /= 2)
        while (arena_alloc(ctx->arena, n))
            ;
    return ctx_nomem(ctx);
}

/* Does not check that its body fits. */
static enum err overflow(struct request_ctx *ctx, const struct http_call *call,
                         struct http_response *res)
{
    (void)ctx;
    (void)call;
    res->status = 200;
    res->content_type = "application/json";
    while (!res->body.failed)
        buf_sv(&res->body, SV("0123456789abcdef"));
    return ERR_NONE;
}

enum {
    R_LIST,
    R_MAKE,
    R_LITERAL,
    R_ONE,
    R_DROP,
    R_PARTS,
    R_COUNT,
    R_FAIL,
    R_BARE,
    R_EXHAUST,
    R_OVERFLOW
};

static const struct http_route routes[] = {
    [R_LIST] = {HTTP_GET, "/things", "list", answer},
    [R_MAKE] = {HTTP_POST, "/things", "make", answer},
    [R_LITERAL] = {HTTP_GET, "/things/special", "special", answer},
    [R_ONE] = {HTTP_GET, "/things/*", "one", answer},
    [R_DROP] = {HTTP_DELETE, "/things/*", "drop", answer},
    [R_PARTS] = {HTTP_GET, "/things/*/parts/*", "parts", answer},
    [R_COUNT] = {HTTP_POST, "/things/*/parts/count", "count", answer},
    [R_FAIL] = {HTTP_GET, "/fail", "fail", fail},
    [R_BARE] = {HTTP_GET, "/bare", "bare", fail_without_details},
    [R_EXHAUST] = {HTTP_GET, "/exhaust", "exhaust", exhaust},
    [R_OVERFLOW] = {HTTP_GET, "/overflow", "overflow", overflow},
};

static const struct http_table table = {routes, ARRAY_LEN(routes), sizeof(routes[0]), http_problem,
                                        false};

static size_t dispatch(struct http_rig *r, struct seen *seen)
{
    *seen = (struct seen){0};
    size_t route = http_dispatch(r->ctx, &table, seen, &r->req, &r->res);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "X-Request-Id"), "req-1");
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Cache-Control"), "no-store");
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "X-Content-Type-Options"), "nosniff");
    return route;
}

/* The answer is a valid problem document with this status and code. */
static void expect_problem(struct http_rig *r, int status, const char *code)
{
    struct json_doc doc;
    struct sv text = SV_NONE;
    CU_ASSERT_EQUAL(r->res.status, status);
    CU_ASSERT_PTR_NOT_NULL_FATAL(r->res.content_type);
    CU_ASSERT_STRING_EQUAL(r->res.content_type, "application/problem+json");
    CU_ASSERT_FALSE(r->res.body.failed);
    CU_ASSERT_EQUAL_FATAL(json_doc_parse(r->ctx, buf_get(&r->res.body), json_everything, &doc),
                          ERR_NONE);
    const struct json_node *node = json_doc_member(&doc, &doc.nodes[0], SV("code"));
    CU_ASSERT_TRUE(node && json_doc_string(r->ctx, node, "", &text) == ERR_NONE &&
                   sv_eq(text, sv_from(code)));
}

/* A pattern that matches in part, or has another method, leaves nothing. Fails if its captures
 * stay: tried. */
TEST(finds_routes)
{
    static const struct {
        const char *method, *target;
        size_t route;
        const char *first, *second;
    } cases[] = {{"GET", "/things", R_LIST, NULL, NULL},
                 {"POST", "/things?x=1", R_MAKE, NULL, NULL},
                 {"GET", "/things/special", R_LITERAL, NULL, NULL},
                 {"GET", "/things/a", R_ONE, "a", NULL},
                 {"DELETE", "/things/special", R_DROP, "special", NULL},
                 {"GET", "/things/a%2Fb", R_ONE, "a/b", NULL},
                 {"GET", "/things/a/parts/7", R_PARTS, "a", "7"},
                 {"POST", "/things/a/parts/count", R_COUNT, "a", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r;
        struct seen seen;
        CU_ASSERT_EQUAL(dispatch(r = http_rig(cases[i].method, cases[i].target), &seen),
                        cases[i].route);
        CU_ASSERT_EQUAL(seen.calls, 1);
        CU_ASSERT_EQUAL(r->res.status, 200);
        CU_ASSERT_TRUE(sv_eq(seen.captures[0], sv_from(cases[i].first)));
        CU_ASSERT_TRUE(sv_eq(seen.captures[1], sv_from(cases[i].second)));
    }
}

/* Fails if the arena is not rewound before the problem document is written: tried with /exhaust. */
TEST(problems)
{
    static char too_long[HTTP_URI_MAX + 2] = "/";
    memset(too_long + 1, 'a', HTTP_URI_MAX);
    const char *no_route = "no_such_route", *method = err_name(ERR_METHOD);
    enum { NONE = ARRAY_LEN(routes) };
    const struct {
        const char *method, *target;
        size_t route;
        int status;
        const char *code, *allow;
    } rows[] = {
        {"GET", "/", NONE, 404, no_route, ""},
        {"GET", "/thing", NONE, 404, no_route, ""},
        {"GET", "/things/a/b", NONE, 404, no_route, ""},
        {"GET", "/things/", NONE, 404, no_route, ""},
        {"POST", "/things/", NONE, 404, no_route, ""},
        {"GET", "/things/a/", NONE, 404, no_route, ""},
        {"GET", "/things/a/parts/", NONE, 404, no_route, ""},
        {"GET", "/things/a/parts", NONE, 404, no_route, ""},
        {"GET", "/things/a/parts/7/8", NONE, 404, no_route, ""},
        {"GET", "//things", NONE, 404, no_route, ""},
        {"GET", "/Things", NONE, 404, no_route, ""},
        {"GET", "/things/special/x", NONE, 404, no_route, ""},
        {"OPTIONS", "/nothing", NONE, 404, no_route, ""},
        {"PATCH", "/things", NONE, 405, method, "GET, HEAD, POST, OPTIONS"},
        {"BREW", "/things/a", NONE, 405, method, "GET, HEAD, DELETE, OPTIONS"},
        {"GET", too_long, NONE, 414, "uri_too_long", ""},
        {"GET", "/fail", R_FAIL, 409, "session_exists", ""},
        {"GET", "/bare", R_BARE, 503, "unavailable", ""},
        {"GET", "/exhaust", R_EXHAUST, 500, err_name(ERR_NOMEM), ""},
        {"GET", "/overflow", R_OVERFLOW, 500, err_name(ERR_NOMEM), ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_rig *r = http_rig(rows[i].method, rows[i].target);
        struct seen seen;
        const size_t route = dispatch(r, &seen);
        if (route != rows[i].route || r->res.status != rows[i].status)
            printf("\n    %.40s: %d", rows[i].target, r->res.status);
        CU_ASSERT_EQUAL(route, rows[i].route);
        CU_ASSERT_EQUAL(seen.calls, 0);
        expect_problem(r, rows[i].status, rows[i].code);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Allow"), rows[i].allow);
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), rows[i].allow));
        /* Nothing of the incomplete answer. */
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "ETag"), "");
        CU_ASSERT_PTR_NULL(strstr(http_rig_body(r), "half"));
        CU_ASSERT_PTR_NULL(strstr(http_rig_body(r), "0123"));
        CU_ASSERT_EQUAL(strstr(http_rig_body(r), "\"field\":\"session_id\"") != NULL,
                        route == R_FAIL);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Retry-After"), route == R_BARE ? "1" : "");
    }
}

TEST(options)
{
    struct http_rig *r = http_rig("OPTIONS", "/things");
    struct seen seen;
    (void)dispatch(r, &seen);
    CU_ASSERT_EQUAL(r->res.status, 204);
    CU_ASSERT_EQUAL(r->res.body.n, 0);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Allow"), "GET, HEAD, POST, OPTIONS");
    CU_ASSERT_EQUAL(seen.calls, 0);
}

/* Fails if an empty segment is an id: tried. */
TEST(an_empty_segment_is_no_id)
{
    static const char *const targets[] = {"/things/", "//things", "/things//parts/7",
                                          "/things/a/parts/", "/things/a/"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_rig *r = http_rig("GET", targets[i]);
        struct seen seen;
        CU_ASSERT_EQUAL(dispatch(r, &seen), table.n);
        expect_problem(r, 404, "no_such_route");
        CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "it has an empty segment"));
    }
}

TEST(head_is_get)
{
    struct http_rig *r = http_rig("HEAD", "/things/a");
    struct seen seen;
    CU_ASSERT_EQUAL(dispatch(r, &seen), R_ONE);
    CU_ASSERT_EQUAL(seen.calls, 1);
    CU_ASSERT_EQUAL(r->res.status, 200);
    /* A path that only takes POST has no HEAD. */
    static const struct http_route post = {HTTP_POST, "/p", "p", answer};
    static const struct http_table one = {&post, 1, sizeof(post), http_problem, false};
    r = http_rig("HEAD", "/p");
    CU_ASSERT_EQUAL(http_dispatch(r->ctx, &one, &seen, &r->req, &r->res), 1);
    CU_ASSERT_EQUAL(r->res.status, 405);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Allow"), "POST, OPTIONS");
}

TEST(accept)
{
    static const struct {
        int status;
        const char *values; /* separated by '|' */
    } rows[] = {{200,
                 "*/*|application/json|Application/JSON|application/*|application/problem+json||"
                 "text/html, application/json;q=0.5|text/html ,\t*/* ; q=0.1|"
                 "application/json; charset=utf-8|application/json;q=0.001"},
                {406, "text/html|application/xml|application/jsonx|text/*|application/json;q=0|"
                      "application/json; q=0.0|application/json;q=0.00|application/json;q=0.000|"
                      "*/*;q=0.|application/json;Q=0"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (struct sv rest = sv_from(rows[i].values); rest.p;) {
            struct http_rig *r = http_rig("GET", "/things");
            struct seen seen;
            http_rig_send(r, "accept", sv_cut(&rest, '|'));
            (void)dispatch(r, &seen);
            CU_ASSERT_EQUAL(r->res.status, rows[i].status);
            CU_ASSERT_EQUAL(seen.calls, rows[i].status == 200);
            if (rows[i].status == 406)
                expect_problem(r, 406, "not_acceptable");
        }
    }
}

/* Lines of one list (RFC 9110, section 5.3). Fails if only the first one counts: tried. */
TEST(accept_in_several_lines)
{
    static const struct {
        struct sv first, second;
        int status;
    } rows[] = {{SV_INIT("text/html"), SV_INIT("application/json"), 200},
                {SV_INIT("application/json"), SV_INIT("text/html"), 200},
                {SV_INIT(""), SV_INIT("text/html"), 406},
                {SV_INIT("text/html"), SV_INIT("text/plain"), 406}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_rig *r = http_rig("GET", "/things");
        struct seen seen;
        http_rig_send(r, "accept", rows[i].first);
        http_rig_send(r, "accept", rows[i].second);
        (void)dispatch(r, &seen);
        CU_ASSERT_EQUAL(r->res.status, rows[i].status);
    }
}

/* A body in a coding that is not undone would be stored, or refused as something else. */
TEST(content_codings)
{
    static const struct {
        const char *value, *body;
        int status;
    } rows[] = {{"identity", "{}", 200},
                {"Identity", "{}", 200},
                {"", "{}", 200},
                {"gzip", "", 200},
                {"gzip", "{}", 415},
                {"br", "{}", 415},
                {"identity, x-gzip", "{}", 415},
                {"identity, identity", "{}", 415}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int large = 0; large < 2; large++) {
            struct http_rig *r = http_rig("POST", "/things");
            struct seen seen;
            const int status = large && rows[i].status == 200 ? 413 : large ? 415 : rows[i].status;
            http_rig_send(r, "content-encoding", sv_from(rows[i].value));
            r->req.body = large ? SV_NONE : sv_from(rows[i].body);
            r->req.body_too_large = (size_t)large;
            (void)dispatch(r, &seen);
            CU_ASSERT_EQUAL(seen.calls, status == 200);
            CU_ASSERT_EQUAL(r->res.status, large && !rows[i].body[0] ? 415 : status);
            CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Accept-Encoding"),
                                   r->res.status == 415 ? "identity" : "");
            CU_ASSERT_EQUAL(strstr(http_rig_body(r), "\"field\":\"Content-Encoding\"") != NULL,
                            r->res.status == 415);
        }
    }
}

TEST(body_too_large)
{
    struct http_rig *r = http_rig("POST", "/things");
    struct seen seen;
    r->req.body_too_large = 1048576;
    CU_ASSERT_EQUAL(dispatch(r, &seen), R_MAKE);
    CU_ASSERT_EQUAL(seen.calls, 0);
    expect_problem(r, 413, "too_large");
    CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "may have 1048576 bytes (PARLEY_MAX_BODY)"));
}

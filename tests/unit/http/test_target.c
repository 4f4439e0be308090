/* SPDX-License-Identifier: MIT */
#include "parley/http/request.h"

#include <stdio.h>
#include <string.h>

#include "rig.h"

/* target is valid. */
static const struct http_request *parse(const char *target)
{
    struct http_rig *r = http_rig("GET", target);
    CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_NONE);
    return &r->req;
}

static void expect_segments(const char *target, size_t n, const struct sv *segments)
{
    const struct http_request *req = parse(target);
    CU_ASSERT_EQUAL(req->n_segments, n);
    for (size_t i = 0; i < n && i < req->n_segments; i++)
        CU_ASSERT_TRUE(sv_eq(req->segments[i], segments[i]));
}

TEST(splits)
{
    expect_segments("/v1/sessions/a", 3, (struct sv[]){SV("v1"), SV("sessions"), SV("a")});
    expect_segments("/", 1, (struct sv[]){SV("")});
    expect_segments("/a//b", 3, (struct sv[]){SV("a"), SV(""), SV("b")});
    expect_segments("/a/", 2, (struct sv[]){SV("a"), SV("")});
    expect_segments("/a?x=1/2", 1, (struct sv[]){SV("a")});
    expect_segments("/a/./../b", 4, (struct sv[]){SV("a"), SV("."), SV(".."), SV("b")});
}

/* Fails if the path is decoded before it is split, or decoded twice: tried. */
TEST(decodes_once)
{
    expect_segments("/a%2Fb/c", 2, (struct sv[]){SV("a/b"), SV("c")});
    expect_segments("/a%2fb", 1, (struct sv[]){SV("a/b")});
    expect_segments("/%252F%2541", 1, (struct sv[]){SV("%2F%41")});
    expect_segments("/%41%3a%7E", 1, (struct sv[]){SV("A:~")});
    expect_segments("/a%3Fb%26c", 1, (struct sv[]){SV("a?b&c")});
    /* In a path a plus is a plus. */
    expect_segments("/a+b", 1, (struct sv[]){SV("a+b")});
    expect_segments("/%C3%A9\xc3\xa9", 1, (struct sv[]){SV("\xc3\xa9\xc3\xa9")});
}

static void expect_bad(struct sv target, enum err e, const char *field)
{
    struct http_rig *r = http_rig("GET", "");
    r->req.target = target;
    CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), e);
    CU_ASSERT_EQUAL(r->ctx->err.err, e);
    CU_ASSERT_STRING_EQUAL(r->ctx->err.field, field);
    if (strcmp(r->ctx->err.field, field) != 0)
        fprintf(stderr, "%.*s: %s\n", SV_ARG(target), r->ctx->err.field);
}

TEST(refuses)
{
    static const struct {
        const char *field, *targets; /* separated by '|' */
    } rows[] = {{"path",
                 "|a|*|http://host/a|/%|/%4|/a%|/%zz|/%4g|/%g4|/% 41|/%-1|/%00|/a%00b|/%0a|/%1f|"
                 "/%7f|/a b|/a\tb|/\x7f|/%ff|/%c3|/\xc3|/%c0%af|/%ed%a0%80|/%f4%90%80%80|"
                 "/%c3/%a9"},
                {"query", "/a?%zz=1|/a?%00=1"},
                {"limit", "/a?limit=%zz|/a?limit=%00|/a?limit=%ff"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (struct sv rest = sv_from(rows[i].targets); rest.p;)
            expect_bad(sv_cut(&rest, '|'), ERR_INVALID, rows[i].field);
    expect_bad(SV("/a\0b"), ERR_INVALID, "path");
    expect_bad(SV("/1/2/3/4/5/6/7/8/9"), ERR_NOT_FOUND, "");
}

TEST(reads_parameters)
{
    const struct http_request *req = parse("/a?x=1&y=a+b%2Bc&z&&w=%26%3D=&v=?");
    CU_ASSERT_EQUAL(req->n_params, 5);
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "x"), SV("1")));
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "y"), SV("a b+c")));
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "z"), SV("")));
    CU_ASSERT_PTR_NOT_NULL(http_param_get(req, "z").p);
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "w"), SV("&==")));
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "v"), SV("?")));
    CU_ASSERT_PTR_NULL(http_param_get(req, "q").p);
}

/* Some clients encode the brackets of a list. */
TEST(reads_lists)
{
    const struct http_request *req = parse("/a?include%5B%5D=x&include[]=y&limit=1");
    CU_ASSERT_EQUAL(req->n_params, 3);
    CU_ASSERT_TRUE(sv_eq(http_param_get(req, "include[]"), SV("x")));
    /* Whether a name may come twice is the route's affair. */
    CU_ASSERT_EQUAL(parse("/a?include=x&include=y")->n_params, 2);
}

TEST(counts_parameters)
{
    char target[1024] = "/a?";
    for (int i = 0; i < HTTP_PARAMS_MAX; i++)
        snprintf(target + strlen(target), sizeof(target) - strlen(target), "p%d=%d&", i, i);
    CU_ASSERT_EQUAL(parse(target)->n_params, HTTP_PARAMS_MAX);
    strcat(target, "one=more");
    expect_bad(sv_from(target), ERR_INVALID, "query");
}

TEST(bounds_length)
{
    static char target[HTTP_URI_MAX + 2] = "/";
    memset(target + 1, 'a', HTTP_URI_MAX);
    expect_bad(sv_from(target), ERR_URI_TOO_LONG, "");
    target[HTTP_URI_MAX] = '\0';
    CU_ASSERT_EQUAL(parse(target)->segments[0].n, HTTP_URI_MAX - 1);
}

/* A long name in an error is cut; half a character would make the problem document invalid. Fails
 * if it is cut between bytes: tried. */
TEST(cuts_names_between_characters)
{
    char target[256] = "/a?x";
    for (int i = 0; i < 41; i++)
        strcat(target, "\xe2\x82\xac");
    strcat(target, "=%zz");
    struct http_rig *r = http_rig("GET", target);
    CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_INVALID);
    CU_ASSERT_TRUE(strlen(r->ctx->err.field) > 50);
    CU_ASSERT_EQUAL(r->ctx->err.field[0], 'x');
    CU_ASSERT_EQUAL((strlen(r->ctx->err.field) - 1) % 3, 0);
}

/* With any amount of memory. */
TEST(little_memory)
{
    unsigned refused = 0;
    for (size_t limit = 0; limit < 512; limit += 16) {
        struct http_rig *r = http_rig("GET", "/aaaaaaaaaaaaaaaa/b?ccccccccccccccccc=dddd&e=f");
        struct request_ctx small = *r->ctx;
        small.arena = arena_create(limit);
        if (small.arena && http_target_parse(&small, &r->req) != ERR_NONE) {
            CU_ASSERT_EQUAL(small.err.err, ERR_NOMEM);
            refused++;
        }
        arena_destroy(small.arena);
    }
    CU_ASSERT_TRUE(refused > 0);
}

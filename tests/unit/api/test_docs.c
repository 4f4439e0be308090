/* SPDX-License-Identifier: MIT */
/* docs.c: the description and its page, as embedded; that they are true is
 * tests/system/test_openapi.py's. */
#include <string.h>

#include "../suite.h"
#include "parley/api/api.h"
#include "parley/json/doc.h"

struct bench {
    struct arena *arena;
    struct http_response res;
};

static void ask(struct bench *b, const char *target, struct sv accept, struct sv none_match)
{
    struct api_service api = {.request_ms = 60000, .slow_ms = 60000};
    const struct http_header headers[] = {{SV("accept"), accept},
                                          {SV("if-none-match"), none_match}};
    struct http_request req = {.method = HTTP_GET,
                               .method_text = SV("GET"),
                               .target = sv_from(target),
                               .headers = headers,
                               .n_headers = none_match.p ? 2 : 1};
    b->arena = arena_create(1 << 20);
    http_response_init(&b->res, b->arena);
    api_answer(&api, b->arena, &req, &b->res);
}

static struct sv header(const struct bench *b, const char *name)
{
    for (size_t i = 0; i < b->res.n_headers; i++)
        if (strcmp(b->res.headers[i].name, name) == 0)
            return b->res.headers[i].value;
    return SV_NONE;
}

static bool holds(struct sv text, const char *part)
{
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

TEST(description_is_json)
{
    struct bench b;
    struct request_ctx ctx;
    struct jdoc doc;
    ask(&b, "/openapi.json", SV("*/*"), SV_NONE);
    ctx_init(&ctx, b.arena, deadline_in_ms(60000), SV(""), SV("t"));
    CU_ASSERT_EQUAL(b.res.status, 200);
    CU_ASSERT_STRING_EQUAL(b.res.content_type, "application/json");
    CU_ASSERT_EQUAL(jdoc_parse(&ctx, buf_get(&b.res.body), &doc), ERR_NONE);
    CU_ASSERT_TRUE(holds(buf_get(&b.res.body), "\"openapi\": \"3.1.0\""));
    CU_ASSERT_TRUE(sv_eq(header(&b, "Cache-Control"), SV("no-cache")));
    arena_destroy(b.arena);
}

/* A browser that takes no JSON gets it all the same. */
TEST(page_comes_with_its_policy)
{
    struct bench b;
    ask(&b, "/docs", SV("text/html"), SV_NONE);
    CU_ASSERT_EQUAL(b.res.status, 200);
    CU_ASSERT_STRING_EQUAL(b.res.content_type, "text/html; charset=utf-8");
    CU_ASSERT_TRUE(holds(buf_get(&b.res.body), "<!doctype html>"));
    CU_ASSERT_TRUE(holds(header(&b, "Content-Security-Policy"), "default-src 'none'"));
    arena_destroy(b.arena);
}

TEST(what_is_known_is_not_sent)
{
    struct bench first, b;
    ask(&first, "/docs", SV("*/*"), SV_NONE);
    ask(&b, "/docs", SV("*/*"), header(&first, "ETag"));
    CU_ASSERT_EQUAL(b.res.status, 304);
    CU_ASSERT_EQUAL(b.res.body.n, 0);
    CU_ASSERT_TRUE(sv_eq(header(&b, "ETag"), header(&first, "ETag")));
    arena_destroy(b.arena);
    ask(&b, "/openapi.json", SV("*/*"), header(&first, "ETag"));
    CU_ASSERT_EQUAL(b.res.status, 200);
    arena_destroy(b.arena);
    arena_destroy(first.arena);
}

TEST(other_paths_and_parameters_are_refused)
{
    struct bench b;
    ask(&b, "/docs?x=1", SV("*/*"), SV_NONE);
    CU_ASSERT_EQUAL(b.res.status, 400);
    arena_destroy(b.arena);
    ask(&b, "/docs/x", SV("*/*"), SV_NONE);
    CU_ASSERT_EQUAL(b.res.status, 404);
    CU_ASSERT_TRUE(sv_eq(header(&b, "Cache-Control"), SV("no-store")));
    arena_destroy(b.arena);
}

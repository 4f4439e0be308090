/* SPDX-License-Identifier: MIT */
/* docs.c: the description and its page, as embedded. tests/system/test_openapi.py compares them
 * with the server. */
#include <stdio.h>
#include <string.h>

#include "../http/rig.h"
#include "parley/api/api.h"
#include "parley/json/doc.h"

static struct http_rig *get_page(const char *target, struct sv accept, const char *none_match)
{
    struct api_service api = {.request_ms = 60000, .slow_ms = 60000, .version = "1.2"};
    struct http_rig *r = http_rig("GET", target);
    http_rig_send(r, "accept", accept);
    if (none_match)
        http_rig_send(r, "if-none-match", sv_from(none_match));
    api_dispatch(&api, r->ctx->arena, &r->req, &r->res);
    return r;
}

TEST(description_is_json)
{
    struct http_rig *r = get_page("/openapi.json", SV("*/*"), NULL);
    struct json_doc doc;
    CU_ASSERT_EQUAL(r->res.status, 200);
    CU_ASSERT_STRING_EQUAL(r->res.content_type, "application/json");
    CU_ASSERT_EQUAL(json_doc_parse(r->ctx, buf_get(&r->res.body), json_everything, &doc), ERR_NONE);
    CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "\"openapi\": \"3.1.0\""));
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Cache-Control"), "no-cache");
}

/* A browser accepts no JSON, and gets the page. */
TEST(page_comes_with_its_policy)
{
    struct http_rig *r = get_page("/docs", SV("text/html"), NULL);
    CU_ASSERT_EQUAL(r->res.status, 200);
    CU_ASSERT_STRING_EQUAL(r->res.content_type, "text/html; charset=utf-8");
    CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "<!doctype html>"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(http_rig_header(r, "Content-Security-Policy"), "default-src 'none'"));
}

TEST(not_modified)
{
    char tag[128];
    snprintf(tag, sizeof(tag), "%s", http_rig_header(get_page("/docs", SV("*/*"), NULL), "ETag"));
    struct http_rig *r = get_page("/docs", SV("*/*"), tag);
    CU_ASSERT_EQUAL(r->res.status, 304);
    CU_ASSERT_EQUAL(r->res.body.n, 0);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "ETag"), tag);
    CU_ASSERT_EQUAL(get_page("/openapi.json", SV("*/*"), tag)->res.status, 200);
}

TEST(other_paths_and_parameters_are_refused)
{
    CU_ASSERT_EQUAL(get_page("/docs?x=1", SV("*/*"), NULL)->res.status, 400);
    CU_ASSERT_EQUAL(get_page("/?x=1", SV("*/*"), NULL)->res.status, 400);
    struct http_rig *r = get_page("/docs/x", SV("*/*"), NULL);
    CU_ASSERT_EQUAL(r->res.status, 404);
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Cache-Control"), "no-store");
    CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "/docs shows all calls"));
}

TEST(root_says_where_the_documentation_is)
{
    struct http_rig *r = get_page("/", SV("text/html"), NULL);
    CU_ASSERT_EQUAL(r->res.status, 200);
    CU_ASSERT_STRING_EQUAL(http_rig_body(r),
                           "{\"name\":\"parley\",\"version\":\"1.2\",\"documentation\":\"/docs\","
                           "\"openapi\":\"/openapi.json\"}");
    r = get_page("/docs/", SV("text/html"), NULL);
    CU_ASSERT_EQUAL(r->res.status, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(http_rig_body(r), "<!doctype html>"));
}

/* SPDX-License-Identifier: MIT */
/* The headers for pages of other origins, in every interface. */
#include <string.h>

#include "../../../src/api/common/handler.h"
#include "../http/rig.h"

static struct http_rig *send_from(const char *setting, const char *method, const char *target,
                                  const char *origin, const char *wanted)
{
    struct api_service api = {.request_ms = 60000, .slow_ms = 60000, .cors_origins = setting};
    struct http_rig *r = http_rig(method, target);
    if (origin)
        http_rig_send(r, "origin", sv_from(origin));
    if (wanted) {
        http_rig_send(r, "access-control-request-method", SV("PATCH"));
        http_rig_send(r, "access-control-request-headers", sv_from(wanted));
    }
    api_dispatch(&api, r->ctx->arena, &r->req, &r->res);
    return r;
}

TEST(origins)
{
    static const struct {
        const char *setting, *origin, *allowed, *vary;
    } rows[] = {{NULL, "https://a.example", "", ""},
                {"", "https://a.example", "", ""},
                {"*", "https://a.example", "*", ""},
                {"*", NULL, "", ""},
                {"https://a.example", NULL, "", "Origin"},
                {"https://a.example", "https://a.example", "https://a.example", "Origin"},
                {"https://a.example", "https://a.example.evil", "", "Origin"},
                {"https://a.example", "http://a.example", "", "Origin"},
                {"https://a.example", "https://a.example:8443", "", "Origin"},
                {"https://a.example", "null", "", "Origin"},
                {"https://a.example", "", "", "Origin"},
                {"https://A.example,http://b:1  http://c", "https://a.example", "https://a.example",
                 "Origin"},
                {"https://a.example,http://b:1  http://c", "http://b:1", "http://b:1", "Origin"},
                {"https://a.example,http://b:1  http://c", "http://c", "http://c", "Origin"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_rig *r =
            send_from(rows[i].setting, "GET", "/openapi.json", rows[i].origin, NULL);
        CU_ASSERT_EQUAL(r->res.status, 200);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Origin"), rows[i].allowed);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Vary"), rows[i].vary);
        CU_ASSERT_EQUAL(strstr(http_rig_header(r, "Access-Control-Expose-Headers"), "ETag") != NULL,
                        rows[i].allowed[0] != '\0');
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Methods"), "");
    }
}

/* There is no struct auth: a request whose key is checked ends the test. The 404 for an unknown
 * path is the answer to the request itself, not to its preflight request. */
TEST(preflight_needs_no_key)
{
    static const char *const targets[] = {"/v1/sessions/a", "/v1/conversations/a/items",
                                          "/threads/a/state", "/docs", "/v1/no/such"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_rig *r = send_from("http://c", "OPTIONS", targets[i], "http://c",
                                       "authorization, if-match,x-parley-user");
        CU_ASSERT_EQUAL(r->res.status, 204);
        CU_ASSERT_PTR_NULL(r->res.content_type);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Origin"), "http://c");
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Methods"),
                               "GET, HEAD, POST, PUT, PATCH, DELETE");
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Headers"),
                               "authorization, if-match,x-parley-user");
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Max-Age"), "7200");
        r = send_from("http://c", "OPTIONS", targets[i], "http://d", "authorization");
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Origin"), "");
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Headers"), "");
        CU_ASSERT_EQUAL(send_from(NULL, "OPTIONS", targets[i], NULL, NULL)->res.status,
                        i < 4 ? 204 : 404);
    }
    struct http_rig *r = send_from("*", "OPTIONS", "/v1/sessions/a", "http://c", "a\tb");
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Headers"), "");
    r = send_from("*", "OPTIONS", "/v1/sessions/a", "http://c", "a\"b");
    CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Headers"), "");
}

/* parley's own errors can be read, too, in each interface's form. */
TEST(errors)
{
    static const char *const targets[] = {"/v1/sessions/%", "/v1/conversations/%", "/threads/%",
                                          "/docs/x"};
    struct api_service api = {.request_ms = -1, .slow_ms = 60000, .cors_origins = "http://c"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct http_rig *r = http_rig("GET", targets[i]); /* late: it has no time at all */
        http_rig_send(r, "origin", SV("http://c"));
        api_dispatch(&api, r->ctx->arena, &r->req, &r->res);
        CU_ASSERT_EQUAL(r->res.status, 503);
        CU_ASSERT_STRING_EQUAL(http_rig_header(r, "Access-Control-Allow-Origin"), "http://c");
        CU_ASSERT_PTR_NOT_NULL(
            strstr(http_rig_header(r, "Access-Control-Expose-Headers"), "Retry-After"));
    }
}

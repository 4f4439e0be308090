/* SPDX-License-Identifier: MIT */
#include "parley/http/conditional.h"

#include <string.h>

#include "../suite.h"

static enum err parse(const char *value, bool strong, struct http_condition *c)
{
    struct request_ctx *ctx = test_ctx();
    enum err e = http_condition_parse(ctx, "If-Match", sv_from(value), strong, c);
    CU_ASSERT_STRING_EQUAL(ctx->err.field, e == ERR_NONE ? "" : "If-Match");
    return e;
}

TEST(absent_and_star)
{
    struct http_condition c;
    CU_ASSERT_EQUAL(parse(NULL, true, &c), ERR_NONE);
    CU_ASSERT_FALSE(c.given);
    CU_ASSERT_FALSE(http_condition_has(&c, SV("1.v1")));
    CU_ASSERT_EQUAL(parse(" * ", true, &c), ERR_NONE);
    CU_ASSERT_TRUE(c.given && c.any && c.n == 0);
    CU_ASSERT_TRUE(http_condition_has(&c, SV("1.v1")));
}

TEST(lists)
{
    struct http_condition c;
    CU_ASSERT_EQUAL(parse("\"1.v1\"", true, &c), ERR_NONE);
    CU_ASSERT_TRUE(c.given && !c.any && c.n == 1);
    CU_ASSERT_TRUE(http_condition_has(&c, SV("1.v1")));
    CU_ASSERT_FALSE(http_condition_has(&c, SV("1.v2")));
    CU_ASSERT_FALSE(http_condition_has(&c, SV("1.v")));
    /* A comma inside the quotes belongs to the tag. */
    CU_ASSERT_EQUAL(parse("\"a\" , \"b,c\",\t\"\"", true, &c), ERR_NONE);
    CU_ASSERT_EQUAL(c.n, 3);
    CU_ASSERT_TRUE(http_condition_has(&c, SV("b,c")));
    CU_ASSERT_TRUE(http_condition_has(&c, SV("")));
    CU_ASSERT_FALSE(http_condition_has(&c, SV("b")));
}

/* Fails if a weak tag satisfies If-Match: tried. */
TEST(weak_tags)
{
    struct http_condition c;
    CU_ASSERT_EQUAL(parse("W/\"a\", \"b\"", true, &c), ERR_NONE);
    CU_ASSERT_EQUAL(c.n, 1);
    CU_ASSERT_FALSE(http_condition_has(&c, SV("a")));
    CU_ASSERT_TRUE(http_condition_has(&c, SV("b")));
    CU_ASSERT_EQUAL(parse("W/\"a\"", true, &c), ERR_NONE);
    CU_ASSERT_TRUE(c.given && c.n == 0 && !c.any);
    CU_ASSERT_EQUAL(parse("W/\"a\", \"b\"", false, &c), ERR_NONE);
    CU_ASSERT_EQUAL(c.n, 2);
    CU_ASSERT_TRUE(http_condition_has(&c, SV("a")));
}

TEST(malformed)
{
    static const char *const bad[] = {"",        " ",      "a",           "\"a",      "a\"",
                                      "'a'",     "\"a\"b", "\"a\" \"b\"", "*, \"a\"", "\"a\", *",
                                      "w/\"a\"", "W/a",    "W/",          "\"",       "\"a\";\"b\"",
                                      "1.v1",    "**",     "W/ \"a\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_condition c;
        CU_ASSERT_EQUAL(parse(bad[i], true, &c), ERR_INVALID);
    }
}

TEST(many_tags)
{
    struct http_condition c;
    char value[256] = "\"t\"";
    for (int i = 1; i < HTTP_ETAGS_MAX; i++)
        strcat(value, ",\"t\"");
    CU_ASSERT_EQUAL(parse(value, true, &c), ERR_NONE);
    CU_ASSERT_EQUAL(c.n, HTTP_ETAGS_MAX);
    strcat(value, ",\"t\"");
    CU_ASSERT_EQUAL(parse(value, true, &c), ERR_INVALID);
}

/* What the repository compares them with is generation || '.v' || version || '.' || to_hex(mark).
 */
TEST(tags_of_a_session)
{
    struct arena *a = test_ctx()->arena;
    CU_ASSERT_TRUE(sv_eq(http_etag_version(a, 12, 3, 0xab), SV("12.v3.ab")));
    CU_ASSERT_TRUE(sv_eq(http_etag_state(a, INT64_MAX, 0, UINT64_MAX),
                         SV("9223372036854775807.s0.ffffffffffffffff")));
    CU_ASSERT_FALSE(sv_eq(http_etag_version(a, 12, 3, 1), http_etag_version(a, 12, 3, 2)));
    CU_ASSERT_FALSE(sv_eq(http_etag_version(a, 12, 3, 1), http_etag_state(a, 12, 3, 1)));
}

/* SPDX-License-Identifier: MIT */
#include "parley/http/request.h"

#include <string.h>

#include "../suite.h"

static enum err parse(const char *value, struct http_condition *c)
{
    struct request_ctx *ctx = test_ctx();
    enum err e = http_condition_parse(ctx, "If-Match", sv_from(value), c);
    CU_ASSERT_STRING_EQUAL(ctx->err.field, e == ERR_NONE ? "" : "If-Match");
    return e;
}

/* tags: separated by '|'. */
static void expect_tags(const struct http_condition *c, const char *tags, bool has)
{
    struct sv rest = sv_from(tags);
    while (rest.p)
        CU_ASSERT_EQUAL(http_condition_has(c, sv_cut(&rest, '|')), has);
}

/* A comma inside the quotes belongs to the tag. Fails if a tag that nginx has weakened matches
 * nothing: tried. */
TEST(lists)
{
    static const struct {
        const char *value;
        bool given, any;
        size_t n;
        const char *has, *has_not;
    } rows[] = {{NULL, false, false, 0, NULL, "1.v1"},
                {" * ", true, true, 0, "1.v1", NULL},
                {"\"1.v1\"", true, false, 1, "1.v1", "1.v2|1.v"},
                {"\"a\" , \"b,c\",\t\"\"", true, false, 3, "b,c|", "b"},
                {"W/\"a\"", true, false, 1, "a", "W/\"a\""},
                {"W/\"a\", \"b\"", true, false, 2, "a|b", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_condition c;
        CU_ASSERT_EQUAL(parse(rows[i].value, &c), ERR_NONE);
        CU_ASSERT_EQUAL(c.given, rows[i].given);
        CU_ASSERT_EQUAL(c.any, rows[i].any);
        CU_ASSERT_EQUAL(c.n, rows[i].n);
        expect_tags(&c, rows[i].has, true);
        expect_tags(&c, rows[i].has_not, false);
    }
}

TEST(malformed)
{
    static const char *const bad[] = {"",        " ",      "a",           "\"a",      "a\"",
                                      "'a'",     "\"a\"b", "\"a\" \"b\"", "*, \"a\"", "\"a\", *",
                                      "w/\"a\"", "W/a",    "W/",          "\"",       "\"a\";\"b\"",
                                      "1.v1",    "**",     "W/ \"a\""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_condition c;
        CU_ASSERT_EQUAL(parse(bad[i], &c), ERR_INVALID);
    }
}

TEST(many_tags)
{
    struct http_condition c;
    char value[256] = "\"t\"";
    for (int i = 1; i < HTTP_ETAGS_MAX; i++)
        strcat(value, ",\"t\"");
    CU_ASSERT_EQUAL(parse(value, &c), ERR_NONE);
    CU_ASSERT_EQUAL(c.n, HTTP_ETAGS_MAX);
    strcat(value, ",\"t\"");
    CU_ASSERT_EQUAL(parse(value, &c), ERR_INVALID);
}

/* The same text as SQL makes: generation || '.v' || version || '.' || to_hex(mark). */
TEST(tags_of_a_session)
{
    struct arena *a = test_ctx()->arena;
    CU_ASSERT_TRUE(sv_eq(http_etag(a, 12, 'v', 3, 0xab), SV("12.v3.ab")));
    CU_ASSERT_TRUE(sv_eq(http_etag(a, INT64_MAX, 's', 0, UINT64_MAX),
                         SV("9223372036854775807.s0.ffffffffffffffff")));
    CU_ASSERT_FALSE(sv_eq(http_etag(a, 12, 'v', 3, 1), http_etag(a, 12, 'v', 3, 2)));
    CU_ASSERT_FALSE(sv_eq(http_etag(a, 12, 'v', 3, 1), http_etag(a, 12, 's', 3, 1)));
}

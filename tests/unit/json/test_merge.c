/* SPDX-License-Identifier: MIT */
#include "parley/json/merge.h"

#include <stdio.h>
#include <string.h>

#include "parley/json/doc.h"

#include "../suite.h"

struct merge_case {
    const char *target, *patch, *result;
};

typedef enum err (*merge_fn)(struct request_ctx *ctx, struct sv target, struct sv patch,
                             struct sv *out);

static void expect_of(merge_fn merge, const struct merge_case *c, size_t n)
{
    struct arena *a = arena_create(1024 * 1024);
    for (size_t i = 0; i < n; i++) {
        struct request_ctx ctx;
        struct sv out = SV_NONE;
        ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
        enum err e = merge(&ctx, sv_from(c[i].target), sv_from(c[i].patch), &out);
        CU_ASSERT_EQUAL(e, ERR_NONE);
        bool same = sv_eq(out, sv_from(c[i].result));
        if (!same)
            printf("\n    %s + %s: %.*s %s", c[i].target, c[i].patch, SV_ARG(out), ctx.err.cause);
        CU_ASSERT_TRUE(same);
        arena_reset(a);
    }
    arena_destroy(a);
}

static void expect(const struct merge_case *c, size_t n)
{
    expect_of(jmerge_patch, c, n);
}

/* Fails if nulls delete, or objects are merged: tried with jmerge_patch in its place. */
static void overlay(void)
{
    static const struct merge_case c[] = {
        {"{\"a\":1,\"b\":{\"x\":1}}", "{\"b\":{\"y\":2}}", "{\"a\":1,\"b\":{\"y\":2}}"},
        {"{\"a\":1}", "{\"a\":null,\"c\":[null]}", "{\"a\":null,\"c\":[null]}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
        {"{\"a\":1}", "{\"\\u0061\":1.50}", "{\"a\":1.50}"},
        {"{}", "{\"\\u0061\": -0}", "{\"\\u0061\": -0}"},
    };
    expect_of(jmerge_overlay, c, ARRAY_LEN(c));
}

/* RFC 7396, appendix A: all of the table whose target and patch are objects, as ours always are.
 * Fails if nulls inside a new object are kept: tried. */
static void rfc_7396_appendix_a(void)
{
    static const struct merge_case c[] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    expect(c, ARRAY_LEN(c));
}

static void numbers_and_strings_keep_their_text(void)
{
    static const struct merge_case c[] = {
        {"{\"a\":0.10,\"b\":1e2,\"c\":-0.0}", "{\"d\":1.50E+3}",
         "{\"a\":0.10,\"b\":1e2,\"c\":-0.0,\"d\":1.50E+3}"},
        {"{\"a\":18446744073709551615,\"b\":-9223372036854775808}", "{}",
         "{\"a\":18446744073709551615,\"b\":-9223372036854775808}"},
        {"{\"a\":-0}", "{}", "{\"a\":0}"},
        {"{\"a/b\":\"\\u00e9 \\ud83d\\ude00 / \\\" \\\\ \\n \\u0001\"}", "{}",
         "{\"a/b\":\"\xc3\xa9 \xf0\x9f\x98\x80 / \\\" \\\\ \\n \\u0001\"}"},
        {" { \"a\" : [ 1 , { } ] }\n", "\t{ }\r\n", "{\"a\":[1,{}]}"},
    };
    expect(c, ARRAY_LEN(c));
}

static void other_shapes(void)
{
    static const struct merge_case c[] = {
        {"{\"a\":1}", "{\"a\":{\"b\":null,\"c\":2}}", "{\"a\":{\"c\":2}}"},
        {"{\"a\":[1,null]}", "{\"b\":[null,{\"c\":null}]}",
         "{\"a\":[1,null],\"b\":[null,{\"c\":null}]}"}, /* a patch does not look into arrays */
        {"{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"c\":null}}}",
         "{\"a\":{\"b\":{\"d\":2}}}"},
        {"{\"\\u0061\":1}", "{\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1}", "{\"x\":null}", "{\"a\":1}"},
    };
    expect(c, ARRAY_LEN(c));
}

/* What the guard accepts at its deepest, the merge takes too. Fails if the tokener's depth is the
 * guard's own: tried. */
static void deepest(void)
{
    struct arena *a = arena_create(1024 * 1024);
    struct request_ctx ctx;
    char text[32 * 6 + 2];
    size_t n = 0;
    for (int i = 0; i < JDOC_DEPTH_MAX; i++, n += 5)
        memcpy(text + n, "{\"a\":", 5);
    text[n++] = '1';
    for (int i = 0; i < JDOC_DEPTH_MAX; i++)
        text[n++] = '}';
    struct sv deep = {text, n}, out = SV_NONE;

    ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
    struct jdoc d;
    CU_ASSERT_EQUAL(jdoc_parse(&ctx, deep, &d), ERR_NONE);
    CU_ASSERT_EQUAL(jmerge_patch(&ctx, SV("{}"), deep, &out), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(out, deep));
    CU_ASSERT_EQUAL(jmerge_patch(&ctx, deep, deep, &out), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(out, deep));
    arena_destroy(a);
}

static void what_was_not_checked_is_a_fault(void)
{
    static const char *const bad[] = {"[1]", "1", "null", "{", "", "{}x"};
    struct arena *a = arena_create(1024 * 1024);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct request_ctx ctx;
        struct sv out = SV_NONE;
        ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
        CU_ASSERT_EQUAL(jmerge_patch(&ctx, SV("{}"), sv_from(bad[i]), &out), ERR_INTERNAL);
        CU_ASSERT_STRING_EQUAL(ctx.err.detail, "");
    }
    arena_destroy(a);
}

SUITE(json_merge, "json/merge", {"RFC 7396 appendix A", rfc_7396_appendix_a},
      {"numbers and strings keep their text", numbers_and_strings_keep_their_text},
      {"overlay", overlay}, {"other shapes", other_shapes}, {"deepest", deepest},
      {"what was not checked is a fault", what_was_not_checked_is_a_fault})

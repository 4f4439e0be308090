/* SPDX-License-Identifier: MIT */
#include "parley/json/merge.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "parley/base/buf.h"
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

static enum err overlay_one(struct request_ctx *ctx, struct sv target, struct sv patch,
                            struct sv *out)
{
    return jmerge_overlay(ctx, target, &patch, 1, out);
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
        {"{}", "{}", "{}"},
        {" { } ", "{}", "{}"},
        /* What stays keeps its text: */
        {"{\"a\": -0 ,\n\"\\u00e9\":{ \"x\" : \"\\/\" },\"c\":1}", "{\"c\": [ 1 ]}",
         "{\"a\":-0,\"\\u00e9\":{ \"x\" : \"\\/\" },\"c\":[ 1 ]}"},
        {"{\"b\\n\":1,\"\":2,\"bn\":3}", "{\"\":4,\"b\\u000a\":5,\"ab\":6}",
         "{\"b\\n\":5,\"\":4,\"bn\":3,\"ab\":6}"},
    };
    expect_of(overlay_one, c, ARRAY_LEN(c));
}

/* Fails if the first of a name wins, or if names are compared as they are written: tried. */
static void overlays_of_several(void)
{
    static const struct sv patches[] = {SV_INIT("{\"x\":1,\"b\":{\"x\":1}}"), SV_INIT("{}"),
                                        SV_INIT("{\"\\u0062\":2,\"y\":[]}"),
                                        SV_INIT("{ \"x\" : null , \"b\" : 3 }")};
    static const struct {
        const char *target;
        size_t n;
        const char *result;
    } t[] = {{"{}", 0, "{}"},
             {"{\"a\":1}", 0, "{\"a\":1}"},
             {"{}", 4, "{\"x\":null,\"b\":3,\"y\":[]}"},
             {"{\"y\":0,\"b\":0,\"z\":0}", 3, "{\"y\":[],\"b\":2,\"z\":0,\"x\":1}"},
             {"{\"a\":0}", 2, "{\"a\":0,\"x\":1,\"b\":{\"x\":1}}"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct arena *a = arena_create(1 << 20);
        struct request_ctx ctx;
        struct sv out = SV_NONE;
        ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
        CU_ASSERT_EQUAL(jmerge_overlay(&ctx, sv_from(t[i].target), patches, t[i].n, &out),
                        ERR_NONE);
        CU_ASSERT_TRUE(sv_eq(out, sv_from(t[i].result)));
        if (!sv_eq(out, sv_from(t[i].result)))
            printf("\n    %s: %.*s", t[i].target, SV_ARG(out));
        arena_destroy(a);
    }
}

static size_t in_use(void)
{
    const struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* Of a patch, one that fails too, nothing but its text is left, and that in the arena. Fails if the
 * trees of json-c wait for the arena's reset: tried. Under a sanitizer's malloc it sees nothing. */
static void nothing_is_left_behind(void)
{
    struct arena *a = arena_create(64 << 20);
    struct request_ctx ctx;
    struct buf target;
    ctx_init(&ctx, a, deadline_in_ms(60000), SV("default"), SV("r"));
    buf_init(&target, a, 0);
    buf_putc(&target, '{');
    for (int i = 0; i < 100; i++)
        buf_printf(&target, "%s\"%d\":{}", i ? "," : "", i);
    buf_putc(&target, '}');
    size_t before = 0;
    for (int i = 0; i < 1001; i++) {
        struct sv out;
        const struct sv patch = SV("{\"a\":{\"b\":{}}}");
        CU_ASSERT_EQUAL(jmerge_patch(&ctx, buf_get(&target), patch, &out), ERR_NONE);
        CU_ASSERT_EQUAL(jmerge_patch(&ctx, buf_get(&target), SV("{"), &out), ERR_INTERNAL);
        CU_ASSERT_EQUAL(jmerge_overlay(&ctx, buf_get(&target), &patch, 1, &out), ERR_NONE);
        ctx_clear_error(&ctx);
        if (i == 0)
            before = in_use();
    }
    CU_ASSERT_TRUE(in_use() < before + (16 << 20));
    arena_destroy(a);
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
        /* json-c takes these for halves of a pair: a sign, and a character of Chinese names. */
        {"{\"\\ud836\\udc00\":\"\\ud876\\udc00\",\"\\ud836\\udc01\":\"\\\\ud876\"}", "{}",
         "{\"\xf0\x9d\xa0\x80\":\"\xf0\xad\xa0\x80\",\"\xf0\x9d\xa0\x81\":\"\\\\ud876\"}"},
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
      {"overlay", overlay}, {"overlays of several", overlays_of_several},
      {"nothing is left behind", nothing_is_left_behind}, {"other shapes", other_shapes},
      {"deepest", deepest}, {"what was not checked is a fault", what_was_not_checked_is_a_fault})

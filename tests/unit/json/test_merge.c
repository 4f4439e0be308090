/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include <stdio.h>
#include <string.h>

#include "parley/base/buf.h"
#include "parley/json/doc.h"

#include "../suite.h"

struct merge_case {
    const char *target, *patch, *result;
};

static void expect(enum json_merge_mode mode, const struct merge_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct request_ctx *ctx = test_ctx();
        struct sv out = SV_NONE;
        enum err e = json_merge(ctx, sv_from(c[i].target), sv_from(c[i].patch), mode, &out);
        CU_ASSERT_EQUAL(e, ERR_NONE);
        bool same = sv_eq(out, sv_from(c[i].result));
        if (!same)
            printf("\n    %s + %s: %.*s %s", c[i].target, c[i].patch, SV_ARG(out), ctx->err.cause);
        CU_ASSERT_TRUE(same);
    }
}

/* Fails if nulls delete, or objects are merged: tried with JSON_MERGE_PATCH in its place. */
TEST(overlay)
{
    static const struct merge_case c[] = {
        {"{\"a\":1,\"b\":{\"x\":1}}", "{\"b\":{\"y\":2}}", "{\"a\":1,\"b\":{\"y\":2}}"},
        {"{\"a\":1}", "{\"a\":null,\"c\":[null]}", "{\"a\":null,\"c\":[null]}"},
        {"{\"a\":1}", "{}", "{\"a\":1}"},
        {"{\"a\":1}", "{\"\\u0061\":1.50}", "{\"a\":1.50}"},
        {"{}", "{\"\\u0061\": -0}", "{\"\\u0061\":-0}"},
        {"{}", "{}", "{}"},
        {" { } ", "{}", "{}"},
        {"{\"a\": -0 ,\n\"\\u00e9\":{ \"x\" : \"\\/\" },\"c\":1}", "{\"c\": [ 1 ]}",
         "{\"a\":-0,\"\\u00e9\":{ \"x\" : \"\\/\" },\"c\":[ 1 ]}"},
        {"{\"b\\n\":1,\"\":2,\"bn\":3}", "{\"\":4,\"b\\u000a\":5,\"ab\":6}",
         "{\"b\\n\":5,\"\":4,\"bn\":3,\"ab\":6}"},
    };
    expect(JSON_MERGE_OVERLAY, c, ARRAY_LEN(c));
}

/* Fails if the first member of a name wins, or names are compared without unescaping: tried. */
TEST(patches_with_repeated_names)
{
    static const struct merge_case c[] = {
        {"{}", "{\"x\":1,\"b\":{\"x\":1},\"\\u0062\":2,\"y\":[], \"x\" : null , \"b\" : 3 }",
         "{\"x\":null,\"b\":3,\"y\":[]}"},
        {"{\"y\":0,\"b\":0,\"z\":0}", "{\"x\":1,\"b\":{\"x\":1},\"\\u0062\":2,\"y\":[]}",
         "{\"y\":[],\"b\":2,\"z\":0,\"x\":1}"}};
    expect(JSON_MERGE_OVERLAY, c, ARRAY_LEN(c));
}

/* Fails if a name for which there is no memory is skipped, as json-c does. */
TEST(without_memory)
{
    char text[4096] = "{";
    for (int i = 0; i < 100; i++)
        sprintf(text + strlen(text), "%s\"\\u00e9%d\":{\"a\":%d}", i ? "," : "", i, i);
    strcat(text, "}");
    int full = 0, whole = 0;
    for (size_t limit = 1024; limit < 64 * 1024; limit += 1024) {
        struct request_ctx small = *test_ctx();
        struct sv out = SV_NONE;
        small.arena = arena_create(limit);
        enum err e = json_merge(&small, SV("{}"), sv_from(text), JSON_MERGE_PATCH, &out);
        CU_ASSERT_TRUE(e == ERR_NOMEM || sv_eq(out, sv_from(text)));
        full += e == ERR_NOMEM;
        whole += e == ERR_NONE;
        arena_destroy(small.arena);
    }
    CU_ASSERT_TRUE(full > 0 && whole > 0);
}

/* RFC 7396, appendix A: the rows whose target and patch are objects. Fails if nulls inside a new
 * object are kept: tried. */
TEST(rfc_7396_appendix_a)
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
    expect(JSON_MERGE_PATCH, c, ARRAY_LEN(c));
}

TEST(numbers_and_strings_keep_their_text)
{
    static const struct merge_case c[] = {
        {"{\"a\":0.10,\"b\":1e2,\"c\":-0.0}", "{\"d\":1.50E+3}",
         "{\"a\":0.10,\"b\":1e2,\"c\":-0.0,\"d\":1.50E+3}"},
        {"{\"a\":18446744073709551615,\"b\":-9223372036854775808}", "{}",
         "{\"a\":18446744073709551615,\"b\":-9223372036854775808}"},
        {"{\"a\":-0}", "{}", "{\"a\":-0}"},
        {"{\"a/b\":\"\\u00e9 \\ud83d\\ude00 / \\\" \\\\ \\n \\u0001\"}", "{}",
         "{\"a/b\":\"\\u00e9 \\ud83d\\ude00 / \\\" \\\\ \\n \\u0001\"}"},
        {" { \"a\" : [ 1 , { } ] }\n", "\t{ }\r\n", "{\"a\":[ 1 , { } ]}"},
        /* The low 16 bits of this code point look like a surrogate: json-c 0.16 makes it U+FFFD. */
        {"{\"\\ud836\\udc00\":\"\\ud876\\udc00\",\"\\ud836\\udc01\":1}", "{\"\xf0\x9d\xa0\x80\":2}",
         "{\"\\ud836\\udc00\":2,\"\\ud836\\udc01\":1}"},
    };
    expect(JSON_MERGE_PATCH, c, ARRAY_LEN(c));
}

TEST(other_shapes)
{
    static const struct merge_case c[] = {
        {"{\"a\":1}", "{\"a\":{\"b\":null,\"c\":2}}", "{\"a\":{\"c\":2}}"},
        {"{\"a\":[1,null]}", "{\"b\":[null,{\"c\":null}]}",
         "{\"a\":[1,null],\"b\":[null,{\"c\":null}]}"}, /* arrays are not merged */
        {"{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"c\":null}}}",
         "{\"a\":{\"b\":{\"d\":2}}}"},
        {"{\"\\u0061\":1}", "{\"a\":2}", "{\"\\u0061\":2}"},
        {"{\"a\":1}", "{\"x\":null}", "{\"a\":1}"},
        {"{\"a\":{\"b\":1},\"c\":2}", "{\"\\u0061\":{\"b\":[]},\"d\":{}}",
         "{\"a\":{\"b\":[]},\"c\":2,\"d\":{}}"},
        {"{\"null\":1}", "{\"n\":\"null\"}", "{\"null\":1,\"n\":\"null\"}"},
        /* Fails if a name ends at a NUL, or unpaired surrogates are all the same: tried. */
        {"{\"a\\u0000b\":1,\"a\\u0000c\":2,\"a\":3}", "{\"a\\u0000c\":null,\"a\":4}",
         "{\"a\\u0000b\":1,\"a\":4}"},
        {"{\"\\ud800\":1,\"\\uD801\":2,\"\\udc00\":3,\"\\ud800\\udc00\":4,\"\xef\xbf\xbd\":5}",
         "{\"\\uD800\":null,\"\\ud801\":\"\\udfff\",\"\xf0\x90\x80\x80\":1e-99999}",
         "{\"\\uD801\":\"\\udfff\",\"\\udc00\":3,\"\\ud800\\udc00\":1e-99999,\"\xef\xbf\xbd\":5}"},
    };
    expect(JSON_MERGE_PATCH, c, ARRAY_LEN(c));
}

/* The deepest object that the validator accepts. */
TEST(deepest)
{
    struct request_ctx *ctx = test_ctx();
    char text[JSON_DOC_DEPTH_MAX * 6 + 2];
    size_t n = 0;
    for (int i = 0; i < JSON_DOC_DEPTH_MAX; i++, n += 5)
        memcpy(text + n, "{\"a\":", 5);
    text[n++] = '1';
    for (int i = 0; i < JSON_DOC_DEPTH_MAX; i++)
        text[n++] = '}';
    struct sv deep = {text, n}, out = SV_NONE;

    struct json_doc d;
    CU_ASSERT_EQUAL(json_doc_parse(ctx, deep, json_everything, &d), ERR_NONE);
    CU_ASSERT_EQUAL(json_merge(ctx, SV("{}"), deep, JSON_MERGE_PATCH, &out), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(out, deep));
    CU_ASSERT_EQUAL(json_merge(ctx, deep, deep, JSON_MERGE_PATCH, &out), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(out, deep));
}

/* SPDX-License-Identifier: MIT */
#include "parley/json/doc.h"

#include <stdio.h>
#include <string.h>

#include "parley/base/buf.h"

#include "../suite.h"
#include "same.h"

struct hazard {
    struct sv text;
    const char *slug, *field;
};

/* Each must be refused, at the latest for jsonb, with this slug and field; others are reported with
 * their number. */
static void expect_refused(const struct hazard *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        enum err e = json_strict(ctx, h[i].text, &d);
        bool as_expected = e == ERR_INVALID && ctx->err.err == ERR_INVALID && ctx->err.slug &&
                           strcmp(ctx->err.slug, h[i].slug) == 0 &&
                           strcmp(ctx->err.field, h[i].field) == 0 && ctx->err.detail[0];
        if (!as_expected)
            printf("\n    hazard %zu (%.*s): %s %s at \"%s\": %s", i, SV_ARG(h[i].text),
                   err_name(e), ctx->err.slug ? ctx->err.slug : "-", ctx->err.field,
                   ctx->err.detail);
        CU_ASSERT_TRUE(as_expected);
    }
}

#define INVALID "invalid_json"

/* Text that json-c 0.16 accepts although it is not JSON, and other edges of the grammar. */
TEST(grammar)
{
    static const struct hazard h[] = {
        {SV_INIT(""), INVALID, ""},
        {SV_INIT("  \n"), INVALID, ""},
        {SV_INIT("NaN"), INVALID, ""},
        {SV_INIT("[Infinity]"), INVALID, "[0]"},
        {SV_INIT("{\"a\":-Infinity}"), INVALID, "a"},
        {SV_INIT("nul"), INVALID, ""},
        {SV_INIT("True"), INVALID, ""},
        {SV_INIT("truex"), INVALID, ""},
        {SV_INIT("'a'"), INVALID, ""},
        {SV_INIT("{'a':1}"), INVALID, ""},
        {SV_INIT("{a:1}"), INVALID, ""},
        {SV_INIT("{\"a\" 1}"), INVALID, "a"},
        {SV_INIT("{\"a\":}"), INVALID, "a"},
        {SV_INIT("{\"a\":1,}"), INVALID, ""},
        {SV_INIT("{\"a\":1 \"b\":2}"), INVALID, "a"},
        {SV_INIT("{,}"), INVALID, ""},
        {SV_INIT("{1:2}"), INVALID, ""},
        {SV_INIT("[1,]"), INVALID, "[1]"},
        {SV_INIT("[,1]"), INVALID, "[0]"},
        {SV_INIT("[1 2]"), INVALID, "[0]"},
        {SV_INIT("[1}"), INVALID, "[0]"},
        {SV_INIT("{\"a\":1]"), INVALID, "a"},
        {SV_INIT("["), INVALID, "[0]"},
        {SV_INIT("[1"), INVALID, "[0]"},
        {SV_INIT("{\"a\":[{\"b\":"), INVALID, "a[0].b"},
        {SV_INIT("]"), INVALID, ""},
        {SV_INIT("{} {}"), INVALID, ""},
        {SV_INIT("1 1"), INVALID, ""},
        {SV_INIT("{}\0"), INVALID, ""},
        {SV_INIT("{}//c"), INVALID, ""},
        {SV_INIT("/*c*/{}"), INVALID, ""},
        {SV_INIT("\xef\xbb\xbf{}"), INVALID, ""}, /* byte order mark */
        {SV_INIT("[1,\f2]"), INVALID, "[1]"},     /* a form feed is no white space in JSON */
        {SV_INIT("\xc2\xa0{}"), INVALID, ""},     /* nor is a no-break space */
    };
    expect_refused(h, ARRAY_LEN(h));
}

/* Fails if the check for \u0000, surrogates, control characters or the UTF-8 bound is left out:
 * tried, one by one. */
TEST(strings)
{
    static const struct hazard h[] = {
        {SV_INIT("\"a"), INVALID, ""},
        {SV_INIT("\"a\\"), INVALID, ""},
        {SV_INIT("\"a\\\""), INVALID, ""},
        {SV_INIT("\"\\x41\""), INVALID, ""},
        {SV_INIT("\"\\'\""), INVALID, ""},
        {SV_INIT("\"\\\0\""), INVALID, ""},
        {SV_INIT("\"\\u12\""), INVALID, ""},
        {SV_INIT("\"\\u12g4\""), INVALID, ""},
        {SV_INIT("\"\\U0041\""), INVALID, ""},
        {SV_INIT("[\"tab\there\"]"), INVALID, "[0]"},
        {SV_INIT("{\"m\":\"line\nfeed\"}"), INVALID, "m"},
        {SV_INIT("\"nul\0byte\""), INVALID, ""},
        {SV_INIT("\"\x1f\""), INVALID, ""},
        {SV_INIT("{\"a\\u0000b\":1,\"a\":2}"), INVALID, ""},
        {SV_INIT("{\"c\":\"a\\u0000\"}"), INVALID, "c"},
        {SV_INIT("\"\\ud800\""), INVALID, ""},
        {SV_INIT("\"\\ud800x\""), INVALID, ""},
        {SV_INIT("\"\\ud800\\n1234\""), INVALID, ""},
        {SV_INIT("\"\\ud800\\u0041\""), INVALID, ""},
        {SV_INIT("\"\\ud800\\ud800\""), INVALID, ""},
        {SV_INIT("\"\\udc00\""), INVALID, ""},
        {SV_INIT("\"\\udc00\\ud800\""), INVALID, ""},
        {SV_INIT("\"\\ud83d\\ude0"), INVALID, ""},
        {SV_INIT("\"\xc0\x80\""), "invalid_utf8", ""},
        {SV_INIT("\"\xed\xa0\x80\""), "invalid_utf8", ""},
        {SV_INIT("\"\xed\xa0\xbd\xed\xb8\x80\""), "invalid_utf8", ""}, /* CESU-8 */
        {SV_INIT("\"\xf5\x80\x80\x80\""), "invalid_utf8", ""},
        {SV_INIT("\"\xff\""), "invalid_utf8", ""},
        {SV_INIT("\"\xc3\""), "invalid_utf8", ""},
        {SV_INIT("\"\xe2\x82"), "invalid_utf8", ""},
        {SV_INIT("{\"a\":[\"ok\",\"\x80\"]}"), "invalid_utf8", "a[1]"},
        {SV_INIT("{\"\x80\":1}"), "invalid_utf8", ""},
        {SV_INIT("[1,\xff]"), "invalid_utf8", "[1]"},
        {SV_INIT("{}\xff"), "invalid_utf8", ""},
        {SV_INIT("\xfe\xff"), "invalid_utf8", ""},
    };
    expect_refused(h, ARRAY_LEN(h));
}

/* Text keeps what jsonb does not take. No C string is made of it. */
TEST(text_may_have_any_escape)
{
    static const char *const good[] = {"\"a\\u0000\"",         "\"\\ud800\"",
                                       "\"\\ud800x\"",         "\"\\ud800\\n1234\"",
                                       "\"\\ud800\\u0041\"",   "\"\\ud800\\ud800\"",
                                       "\"\\udc00\"",          "\"\\udc00\\ud800\"",
                                       "\"\\ud800\\\\udc00\"", "\"\\ud83d\\ud83d\\ude00\""};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct sv s = SV("untouched");
        CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(good[i]), json_everything, &d), ERR_NONE);
        CU_ASSERT_TRUE(sv_eq(d.nodes[0].raw, sv_from(good[i])));
        CU_ASSERT_EQUAL(json_doc_string(ctx, d.nodes, "a.b", &s), ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, "a.b");
        CU_ASSERT_TRUE(sv_eq(s, SV("untouched")));
    }
}

/* Fails if a name ends at a NUL, an unpaired surrogate is U+FFFD, or it is compared as text: tried.
 */
TEST(names_that_have_no_text)
{
    static const struct {
        const char *text, *field; /* NULL: accepted */
    } t[] = {
        {"{\"a\\u0000\":1,\"a\":2,\"a\\u0000b\":3,\"\":4}", NULL},
        {"{\"\\ud800\":1,\"\\ud801\":2,\"\\udc00\":3,\"\\ud800\\udc00\":4,\"\\ufffd\":5}", NULL},
        {"{\"m\":{\"a\\u0000\":1,\"\\u0061\\u0000\":2}}", "m.a\xef\xbf\xbd"},
        {"{\"\\ud800\":1,\"\\uD800\":2}", "\xef\xbf\xbd"},
        {"{\"\\uDC00\\uD800\":1,\"\\udc00\\ud800\":2}", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"{\"\xed\x95\x9c\":1,\"\\ud55c\":2}", "\xed\x95\x9c"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(t[i].text), json_everything, &d),
                        t[i].field ? ERR_INVALID : ERR_NONE);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, t[i].field ? t[i].field : "");
        CU_ASSERT_TRUE(!t[i].field ||
                       (ctx->err.slug && strcmp(ctx->err.slug, "duplicate_key") == 0));
    }
}

/* Fails if keys are compared before unescaping, or only next to each other: tried. */
TEST(duplicate_keys)
{
    static const struct hazard h[] = {
        {SV_INIT("{\"a\":1,\"a\":1}"), "duplicate_key", "a"},
        {SV_INIT("{\"\":1,\"\":2}"), "duplicate_key", ""},
        {SV_INIT("{\"a\":1,\"b\":{},\"a\":null}"), "duplicate_key", "a"},
        {SV_INIT("{\"a\":1,\"\\u0061\":2}"), "duplicate_key", "a"},
        {SV_INIT("{\"\\u0061\":1,\"\\u0061\":2}"), "duplicate_key", "a"},
        {SV_INIT("{\"/\":1,\"\\/\":2}"), "duplicate_key", "/"},
        {SV_INIT("{\"\xc3\xa9\":1,\"\\u00e9\":2}"), "duplicate_key", "\xc3\xa9"},
        {SV_INIT("{\"\xf0\x9f\x98\x80\":1,\"\\uD83D\\uDE00\":2}"), "duplicate_key",
         "\xf0\x9f\x98\x80"},
        {SV_INIT("{\"m\":[0,{\"x\":{\"k\":1,\"k\":2}}]}"), "duplicate_key", "m[1].x.k"},
        {SV_INIT(
             "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"a\":0}"),
         "duplicate_key", "a"},
    };
    expect_refused(h, ARRAY_LEN(h));
}

TEST(same_key_in_different_objects)
{
    static const char *const good[] = {"{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}",
                                       "[{\"a\":1},{\"a\":1}]", "{\"a\":1,\"A\":2,\"a \":3,\"\":4}",
                                       "{\"\\u0061\":1,\"\\\\u0061\":2,\"u0061\":3}"};
    struct json_doc d;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CU_ASSERT_EQUAL(json_doc_parse(test_ctx(), sv_from(good[i]), json_everything, &d),
                        ERR_NONE);
}

TEST(duplicates_among_many_members)
{
    static const struct {
        const char *last;
        enum err e;
    } t[] = {{"k", ERR_NONE},
             {"k0", ERR_INVALID},
             {"k77777", ERR_INVALID},
             {"\\u006b99999", ERR_INVALID}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct buf b;
        buf_init(&b, ctx->arena, 1024);
        for (int k = 0; k < 100000; k++)
            buf_printf(&b, "%s\"k%d\":0", k == 0 ? "{" : ",", k);
        buf_printf(&b, ",\"%s\":0}", t[i].last);
        CU_ASSERT_EQUAL(json_doc_parse(ctx, buf_get(&b), json_everything, &d), t[i].e);
        if (t[i].e)
            CU_ASSERT_STRING_EQUAL(ctx->err.slug, "duplicate_key");
    }
}

/* open, n times; 1; close, n times. */
static struct sv nested(struct arena *a, int n, const char *open, const char *close)
{
    struct buf b;
    buf_init(&b, a, 1024);
    for (int i = 0; i < n; i++)
        buf_sv(&b, sv_from(open));
    buf_putc(&b, '1');
    for (int i = 0; i < n; i++)
        buf_sv(&b, sv_from(close));
    return buf_get(&b);
}

/* Fails if the depth is one more or one less: tried. */
TEST(depth)
{
    static const struct {
        int depth;
        const char *open, *close, *field; /* at which it is refused; NULL: accepted */
    } rows[] = {{JSON_DOC_DEPTH_MAX, "[", "]", NULL},
                {JSON_DOC_DEPTH_MAX, "{\"a\":", "}", NULL},
                {JSON_DOC_DEPTH_MAX + 1, "{\"a\":", "}", "a.a.a.a.a."},
                {1000000, "[", "", ""}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        const struct sv text = nested(ctx->arena, rows[i].depth, rows[i].open, rows[i].close);
        CU_ASSERT_EQUAL(json_doc_parse(ctx, text, json_everything, &d),
                        rows[i].field ? ERR_INVALID : ERR_NONE);
        if (rows[i].field) {
            CU_ASSERT_STRING_EQUAL(ctx->err.slug, "too_deep");
            CU_ASSERT_EQUAL(strncmp(ctx->err.field, rows[i].field, strlen(rows[i].field)), 0);
        }
    }
}

static struct sv array_of(struct arena *a, int n)
{
    struct buf b;
    buf_init(&b, a, 1024);
    for (int i = 0; i < n; i++)
        buf_sv(&b, i > 0 ? SV(",0") : SV("[0"));
    buf_putc(&b, ']');
    return buf_get(&b);
}

TEST(number_of_values)
{
    struct request_ctx *ctx = test_ctx(), small = *ctx;
    struct json_doc d;
    CU_ASSERT_EQUAL(
        json_doc_parse(ctx, array_of(ctx->arena, JSON_DOC_NODES_MAX - 1), json_everything, &d),
        ERR_NONE);
    CU_ASSERT_EQUAL(d.n, JSON_DOC_NODES_MAX);
    CU_ASSERT_EQUAL(d.nodes[0].children, JSON_DOC_NODES_MAX - 1);
    CU_ASSERT_EQUAL(
        json_doc_parse(ctx, array_of(ctx->arena, JSON_DOC_NODES_MAX), json_everything, &d),
        ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(ctx->err.slug, "too_many_values");

    /* A small arena is not the client's fault. */
    small.arena = arena_create(100000);
    CU_ASSERT_EQUAL(json_doc_parse(&small, array_of(ctx->arena, 20000), json_everything, &d),
                    ERR_NOMEM);
    arena_destroy(small.arena);
}

/* item: # is its number. */
static void repeat(struct buf *b, size_t size, const char *open, const char *item,
                   const char *close)
{
    buf_sv(b, sv_from(open));
    for (size_t i = 0; b->n < size; i++)
        for (const char *c = item; *c; c++)
            *c == '#' ? buf_i64(b, (int64_t)i) : buf_putc(b, *c);
    buf_sv(b, sv_from(close));
}

/* Whatever a content of 10 MiB consists of, its index is small. Fails if values inside of it get
 * nodes, or count as values: tried. */
TEST(memory_does_not_grow_with_content)
{
    static const struct json_shape message[] = {{NULL, NULL}};
    static const struct json_shape shape[] = {{"messages", message}, {NULL, NULL}};
    static const char *const items[] = {"0,", "{\"a\":#,\"b\":[]},", "[[[[\"x\"]]]],",
                                        "\"\\u0000\\ud800\",", "{\"#\":{\"#\":1e999}},"};
    for (size_t i = 0; i <= ARRAY_LEN(items); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct buf b;
        buf_init(&b, ctx->arena, 11 << 20);
        if (i < ARRAY_LEN(items))
            repeat(&b, 10 << 20, "{\"messages\":[{\"content\":[", items[i],
                   "0],\"metadata\":{}}]}");
        else
            repeat(&b, 10 << 20, "{\"messages\":[{\"content\":{", "\"#\":0,",
                   "\"\":0},\"metadata\":{}}]}");
        const size_t before = arena_used(ctx->arena);
        CU_ASSERT_EQUAL_FATAL(json_doc_parse(ctx, buf_get(&b), shape, &d), ERR_NONE);
        CU_ASSERT_EQUAL_FATAL(d.n, 5);
        CU_ASSERT_TRUE(arena_used(ctx->arena) - before < 4096);
        const struct json_node *m =
            json_doc_first(&d, json_doc_member(&d, d.nodes, SV("messages")));
        const struct json_node *content = m ? json_doc_member(&d, m, SV("content")) : NULL;
        CU_ASSERT_TRUE(content && content->raw.n > 9 << 20 && content->children > 1000);
        CU_ASSERT_PTR_NULL(json_doc_first(&d, content));
        CU_ASSERT_TRUE(sv_eq(json_doc_member(&d, m, SV("metadata"))->raw, SV("{}")));
    }
}

/* A value that no shape names has levels of its own. Fails if they are counted from the top, or
 * from its members: tried. */
TEST(depth_is_that_of_the_value)
{
    static const struct json_shape message[] = {{NULL, NULL}};
    static const struct json_shape shape[] = {{"messages", message}, {NULL, NULL}};
    static const struct {
        const char *before, *after, *field;
    } t[] = {{"{\"content\":", "}", "content"},
             {"{\"messages\":[{\"a\":[],\"content\":", "}]}", "messages[0].content"},
             {"{\"messages\":[[0,", "]]}", "messages[0][1]"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        for (int more = 0; more < 2; more++) {
            struct request_ctx *ctx = test_ctx();
            struct json_doc d;
            const struct sv deep = nested(ctx->arena, JSON_DOC_DEPTH_MAX + more, "[", "]");
            const struct sv text =
                arena_printf(ctx->arena, "%s%.*s%s", t[i].before, SV_ARG(deep), t[i].after);
            CU_ASSERT_EQUAL(json_doc_parse(ctx, text, shape, &d), more ? ERR_INVALID : ERR_NONE);
            CU_ASSERT_EQUAL(strncmp(ctx->err.field, more ? t[i].field : "", strlen(t[i].field)), 0);
        }
}

TEST(index_has_the_text_as_sent)
{
    static const char text[] =
        " { \"a\" : [ 1.50 , \"x\\ny\" , { } ] ,\"\\u0062\":null, \"c\" :true}\n";
    struct request_ctx *ctx = test_ctx();
    struct json_doc d;
    struct sv s = SV_NONE;
    CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(text), json_everything, &d), ERR_NONE);
    CU_ASSERT_EQUAL(d.n, 7);
    const struct json_node *top = d.nodes;
    CU_ASSERT_EQUAL(top->type, JSON_IS_OBJECT);
    CU_ASSERT_EQUAL(top->children, 3);
    CU_ASSERT_TRUE(sv_eq(top->raw, (struct sv){text + 1, sizeof(text) - 3}));

    const struct json_node *list = json_doc_member(&d, top, SV("a"));
    CU_ASSERT_TRUE(sv_eq(list->raw, SV("[ 1.50 , \"x\\ny\" , { } ]")));
    CU_ASSERT_EQUAL(list->children, 3);
    const struct json_node *item = json_doc_first(&d, list);
    CU_ASSERT_TRUE(item->type == JSON_IS_NUMBER && sv_eq(item->raw, SV("1.50")));
    CU_ASSERT_EQUAL(json_doc_string(ctx, item, "", &s), ERR_INTERNAL);
    item = json_doc_next(&d, item);
    CU_ASSERT_EQUAL(item->type, JSON_IS_STRING);
    CU_ASSERT_EQUAL(json_doc_string(ctx, item, "", &s), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(s, SV("x\ny")));
    item = json_doc_next(&d, item);
    CU_ASSERT_TRUE(item->type == JSON_IS_OBJECT && item->children == 0);
    CU_ASSERT_PTR_NULL(json_doc_first(&d, item));
    CU_ASSERT_PTR_NULL(json_doc_next(&d, item));

    CU_ASSERT_EQUAL(json_doc_member(&d, top, SV("b"))->type, JSON_IS_NULL); /* sent as \u0062 */
    CU_ASSERT_EQUAL(json_doc_member(&d, top, SV("c"))->type, JSON_IS_TRUE);
    CU_ASSERT_PTR_NULL(json_doc_member(&d, top, SV("\\u0062")));
    CU_ASSERT_PTR_NULL(json_doc_member(&d, top, SV("d")));
    CU_ASSERT_PTR_NULL(json_doc_member(&d, list, SV("a")));
}

TEST(long_paths_are_cut_not_broken)
{
    struct request_ctx *ctx = test_ctx();
    struct json_doc d;
    struct sv text =
        nested(ctx->arena, 127, "{\"\\u00e9\xf0\x9f\x98\x80 a long name of a member\":", "");
    CU_ASSERT_EQUAL(json_doc_parse(ctx, text, json_everything, &d), ERR_INVALID);
    CU_ASSERT_TRUE(strlen(ctx->err.field) >= 120);
    CU_ASSERT_EQUAL(strncmp(ctx->err.field, "\xc3\xa9\xf0\x9f\x98\x80 a", 8), 0);
}

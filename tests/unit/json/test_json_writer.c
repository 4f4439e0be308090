/* SPDX-License-Identifier: MIT */
#include "parley/json/json_writer.h"

#include "parley/json/doc.h"

#include "../suite.h"

TEST(commas_and_nesting)
{
    struct arena *a = test_ctx()->arena;
    struct buf b;
    buf_init(&b, a, 16);
    struct json_writer j = {.b = &b};
    json_write_object_open(&j);
    json_put_array(&j, "list");
    json_write_i64(&j, INT64_MIN);
    json_write_object_open(&j);
    json_write_object_close(&j);
    json_write_array_open(&j);
    json_write_array_close(&j);
    json_write_null(&j);
    json_write_array_close(&j);
    json_put_bool(&j, "yes", true);
    json_put_bool(&j, "no", false);
    json_put_raw(&j, "raw", SV("{\"x\": 1.50}"));
    json_put_raw(&j, "none", SV_NONE);
    json_put_time(&j, "at", 0);
    json_write_object_close(&j);
    CU_ASSERT_TRUE(sv_eq(buf_get(&b), SV("{\"list\":[-9223372036854775808,{},[],null],\"yes\":true,"
                                         "\"no\":false,\"raw\":{\"x\": 1.50},\"none\":null,"
                                         "\"at\":\"1970-01-01T00:00:00.000000Z\"}")));
}

TEST(strings_are_escaped)
{
    struct arena *a = test_ctx()->arena;
    struct buf b;
    buf_init(&b, a, 16);
    struct json_writer j = {.b = &b};
    json_write_array_open(&j);
    json_write_sv(&j, SV("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f\xc3\xa9"));
    json_write_sv(&j, SV(""));
    json_write_sv(&j, SV_NONE);
    json_write_array_close(&j);
    CU_ASSERT_TRUE(sv_eq(buf_get(&b), SV("[\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9"
                                         "\",\"\",null]")));
}

/* Every character below U+0800. Fails if the range of escapes ends at 0x1e: tried. */
TEST(what_is_written_is_read)
{
    struct request_ctx *ctx = test_ctx();
    struct buf text, b;
    struct json_doc d;
    struct sv back = SV_NONE;
    buf_init(&text, ctx->arena, 16);
    for (int c = 1; c < 0x800; c++) {
        if (c >= 0x80)
            buf_putc(&text, (char)(0xc0 | c >> 6));
        buf_putc(&text, (char)(c < 0x80 ? c : 0x80 | (c & 0x3f)));
    }
    buf_init(&b, ctx->arena, 16);
    struct json_writer j = {.b = &b};
    json_write_sv(&j, buf_get(&text));
    CU_ASSERT_EQUAL(json_doc_parse(ctx, buf_get(&b), json_everything, &d), ERR_NONE);
    CU_ASSERT_EQUAL(json_doc_string(ctx, d.nodes, "", &back), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(back, buf_get(&text)));
}

/* Fails if a bracket, a comma or a colon of a string counts, a quote after a backslash ends it, or
 * an empty container takes two lines: tried. */
TEST(laid_out_for_people)
{
    static const struct {
        const char *text, *lines;
    } cases[] = {
        {"{}", "{}\n"},
        {"[1,[2,[3,4]]]", "[\n  1,\n  [\n    2,\n    [3,4]\n  ]\n]\n"},
        {"{\"a\":{},\"b\":[],\"c\":[{\"d\":{\"e\":1,\"f\":2}}]}",
         "{\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    {\"d\": {\"e\": 1,\"f\": 2}}\n  ]\n}\n"},
        {"{\"a[{\":\"]},:{\\\"[\\\\\",\"b\":null}",
         "{\n  \"a[{\": \"]},:{\\\"[\\\\\",\n  \"b\": null\n}\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        buf_init(&b, test_ctx()->arena, 16);
        buf_sv(&b, sv_from(cases[i].text));
        json_indent(&b);
        CU_ASSERT_TRUE(sv_eq(buf_get(&b), sv_from(cases[i].lines)));
    }
}

/* The text has a piece missing, and there is room for what is left of it. Fails if that is laid
 * out: tried. */
TEST(nothing_is_laid_out_without_memory)
{
    static const char longer[1000] = "";
    struct arena *small = arena_create(sizeof(longer));
    struct buf b;
    buf_init(&b, small, 16);
    BUF_LIT(&b, "[1,2]");
    buf_put(&b, longer, sizeof(longer));
    json_indent(&b);
    CU_ASSERT_TRUE(b.failed);
    arena_destroy(small);
}

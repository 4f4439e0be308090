/* SPDX-License-Identifier: MIT */
#include "parley/json/json_reader.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"

struct target {
    struct sv name;
    int64_t count;
    const struct json_node *object, *array, *any;
};

static const struct json_field fields[] = {
    {"name", JSON_STRING, JSON_REQUIRED, offsetof(struct target, name), 1, 4},
    {"count", JSON_I64, JSON_NULLABLE, offsetof(struct target, count), -5, 100},
    {"object", JSON_OBJECT, 0, offsetof(struct target, object), 0, 0},
    {"array", JSON_ARRAY, 0, offsetof(struct target, array), 0, 2},
    {"any", JSON_ANY, 0, offsetof(struct target, any), 0, 0},
};

static enum err read_text(struct request_ctx *ctx, const char *text, const char *path,
                          struct target *t)
{
    struct json_doc d;
    CU_ASSERT_EQUAL_FATAL(json_doc_parse(ctx, sv_from(text), json_everything, &d), ERR_NONE);
    const struct json_input in = {ctx, &d, d.nodes, path};
    return json_read(&in, fields, JSON_REFUSED, t);
}

TEST(all_types)
{
    struct request_ctx *ctx = test_ctx();
    struct target t = {.count = 1};
    CU_ASSERT_EQUAL(read_text(ctx,
                              "{\"any\":null,\"array\":[1,2],\"object\":{\"a\":1},"
                              "\"\\u0063ount\":-5,\"name\":\"\\u00e9\xc3\xa9z!\"}",
                              "", &t),
                    ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(t.name, SV("\xc3\xa9\xc3\xa9z!"))); /* four characters, six bytes */
    CU_ASSERT_EQUAL(t.count, -5);
    CU_ASSERT_FATAL(t.object && t.array && t.any);
    CU_ASSERT_TRUE(sv_eq(t.object->raw, SV("{\"a\":1}")));
    CU_ASSERT_EQUAL(t.array->children, 2);
    CU_ASSERT_EQUAL(t.any->type, JSON_IS_NULL);
}

TEST(defaults_stay)
{
    struct request_ctx *ctx = test_ctx();
    struct target t = {.count = 7};
    CU_ASSERT_EQUAL(read_text(ctx, "{\"name\":\"x\",\"count\":null}", "", &t), ERR_NONE);
    CU_ASSERT_EQUAL(t.count, 7);
    CU_ASSERT_PTR_NULL(t.object);
    CU_ASSERT_EQUAL(read_text(ctx, "{\"name\":\"x\"}", "", &t), ERR_NONE);
}

/* Fails if unknown members are skipped, bytes are counted, or a bound is exclusive: tried. */
TEST(faults_name_the_field)
{
    static const struct {
        const char *text, *slug, *field;
    } t[] = {
        {"[]", "wrong_type", "m[3]"},
        {"{}", "missing_field", "m[3].name"},
        {"{\"name\":null}", "wrong_type", "m[3].name"},
        {"{\"name\":5}", "wrong_type", "m[3].name"},
        {"{\"name\":\"\"}", "out_of_range", "m[3].name"},
        {"{\"name\":\"12345\"}", "out_of_range", "m[3].name"},
        {"{\"name\":\"x\",\"count\":\"5\"}", "wrong_type", "m[3].count"},
        {"{\"name\":\"x\",\"count\":1.0}", "wrong_type", "m[3].count"},
        {"{\"name\":\"x\",\"count\":1e1}", "wrong_type", "m[3].count"},
        {"{\"name\":\"x\",\"count\":101}", "out_of_range", "m[3].count"},
        {"{\"name\":\"x\",\"count\":-6}", "out_of_range", "m[3].count"},
        {"{\"name\":\"x\",\"count\":9223372036854775808}", "out_of_range", "m[3].count"},
        {"{\"name\":\"x\",\"object\":[]}", "wrong_type", "m[3].object"},
        {"{\"name\":\"x\",\"array\":{}}", "wrong_type", "m[3].array"},
        {"{\"name\":\"x\",\"array\":[1,2,3]}", "out_of_range", "m[3].array"},
        {"{\"name\":\"x\",\"nam\":1}", "unknown_field", "m[3].nam"},
        {"{\"name\":\"x\",\"names\":1}", "unknown_field", "m[3].names"},
        {"{\"name\":\"x\",\"Name\":1}", "unknown_field", "m[3].Name"},
        {"{\"name\":\"x\",\"\\u00e9\":1}", "unknown_field", "m[3].\xc3\xa9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct target into = {.count = 1};
        enum err e = read_text(ctx, t[i].text, "m[3]", &into);
        CU_ASSERT_EQUAL(e, ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(ctx->err.slug ? ctx->err.slug : "", t[i].slug);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, t[i].field);
        CU_ASSERT_STRING_NOT_EQUAL(ctx->err.detail, "");
    }
    struct request_ctx *ctx = test_ctx();
    struct target into = {.count = 1};
    CU_ASSERT_EQUAL(read_text(ctx, "{\"x\":1}", "", &into), ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(ctx->err.field, "x");
}

/* Fails if an error of a known member is ignored as well: tried. */
TEST(other_members_are_ignored)
{
    static const struct json_field of_n[] = {{"n", JSON_I64, JSON_REQUIRED, 0, 0, 9}};
    static const struct {
        const char *text;
        enum err e;
    } t[] = {{"{\"m\":{\"n\":\"x\"},\"n\":4,\"\\u006e\\u006e\":null}", ERR_NONE},
             {"{\"m\":1,\"n\":\"4\"}", ERR_INVALID},
             {"{\"m\":1}", ERR_INVALID},
             {"[4]", ERR_INVALID}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        int64_t n = 0;
        CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(t[i].text), json_everything, &d), ERR_NONE);
        const struct json_input in = {ctx, &d, d.nodes, ""};
        CU_ASSERT_EQUAL(json_read(&in, of_n, JSON_IGNORED, &n), t[i].e);
        CU_ASSERT_EQUAL(n, t[i].e == ERR_NONE ? 4 : 0);
    }
}

/* Fails if an empty object replaces the default, or an exponent is not refused: tried. */
TEST(texts_of_objects)
{
    static const struct json_field of_texts[] = {
        {"o", JSON_OBJECT_TEXT, JSON_NOT_EMPTY | JSON_NULLABLE | JSON_CHECK_STORED, 0, 0, 0},
        {"a", JSON_ANY_TEXT, 0, sizeof(struct sv), 0, 0}};
    static const struct {
        const char *text, *slug, *object, *any;
    } t[] = {{"{\"o\":{\"n\": [1e20]},\"a\":null}", NULL, "{\"n\": [1e20]}", "null"},
             {"{\"o\":{ },\"a\": \"x\"}", NULL, "default", "\"x\""},
             {"{\"o\":null,\"a\":1e21}", NULL, "default", "1e21"},
             {"{\"o\":[1]}", "wrong_type", "default", ""},
             {"{\"o\":{\"n\":[0,-1E-00021]}}", "invalid_field", "default", ""}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct sv into[2] = {SV("default"), SV("")};
        CU_ASSERT_EQUAL(json_doc_parse(ctx, sv_from(t[i].text), json_everything, &d), ERR_NONE);
        const struct json_input in = {ctx, &d, d.nodes, ""};
        CU_ASSERT_EQUAL(json_read(&in, of_texts, JSON_REFUSED, into),
                        t[i].slug ? ERR_INVALID : ERR_NONE);
        CU_ASSERT_STRING_EQUAL(ctx->err.slug ? ctx->err.slug : "", t[i].slug ? t[i].slug : "");
        CU_ASSERT_TRUE(sv_eq(into[0], sv_from(t[i].object)));
        CU_ASSERT_TRUE(sv_eq(into[1], sv_from(t[i].any)));
    }
}

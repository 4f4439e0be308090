/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include <string.h>

#include "../suite.h"

static bool bytes_are(const void *p, size_t n, const void *expected, size_t expected_n)
{
    return n == expected_n && memcmp(p, expected, n) == 0;
}
#define BYTES(p, n, lit) CU_ASSERT_TRUE(bytes_are((p), (size_t)(n), (lit), sizeof(lit) - 1))

static void begin(struct request_ctx *ctx)
{
    ctx_init(ctx, arena_create(1 << 20), deadline_in_ms(1000), SV("t"), SV("r"));
}

TEST(scalars)
{
    struct request_ctx ctx;
    const char *value;
    int length;
    begin(&ctx);
    struct db_param p = db_i64(-2);
    CU_ASSERT_TRUE(db_param_encode(&ctx, &p, &value, &length));
    BYTES(value, length, "\xff\xff\xff\xff\xff\xff\xff\xfe");
    p = db_i32(258);
    CU_ASSERT_TRUE(db_param_encode(&ctx, &p, &value, &length));
    BYTES(value, length, "\0\0\1\2");
    p = db_bool(true);
    CU_ASSERT_TRUE(db_param_encode(&ctx, &p, &value, &length));
    BYTES(value, length, "\1");
    /* An empty text is not NULL. */
    p = db_text(SV(""));
    CU_ASSERT_TRUE(db_param_encode(&ctx, &p, &value, &length));
    CU_ASSERT_PTR_NOT_NULL(value);
    CU_ASSERT_EQUAL(length, 0);
    p = db_jsonb(SV("{}"));
    CU_ASSERT_TRUE(db_param_encode(&ctx, &p, &value, &length));
    BYTES(value, length, "\1{}");
    arena_destroy(ctx.arena);
}

TEST(nulls)
{
    struct request_ctx ctx;
    begin(&ctx);
    struct db_param all[] = {db_text(SV_NONE), db_jsonb(SV_NONE), db_bytes(SV_NONE), db_null_i64()};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *value = "";
        int length = 1;
        CU_ASSERT_TRUE(db_param_encode(&ctx, &all[i], &value, &length));
        CU_ASSERT_PTR_NULL(value);
        CU_ASSERT_EQUAL(length, 0);
    }
    arena_destroy(ctx.arena);
}

TEST(arrays)
{
    struct request_ctx ctx;
    struct db_param p;
    struct sv words[] = {SV("ab"), SV_NONE, SV("")};
    int64_t numbers[] = {1};
    begin(&ctx);
    CU_ASSERT_EQUAL(db_text_array(&ctx, words, 3, &p), ERR_NONE);
    CU_ASSERT_EQUAL(p.type, OID_TEXT_ARRAY);
    BYTES(p.p, p.n,
          "\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\3\0\0\0\1\0\0\0\2"
          "ab\xff\xff\xff\xff\0\0\0\0");
    CU_ASSERT_EQUAL(db_text_array(&ctx, words, 0, &p), ERR_NONE);
    BYTES(p.p, p.n, "\0\0\0\0\0\0\0\0\0\0\0\x19");
    CU_ASSERT_EQUAL(db_i64_array(&ctx, numbers, 1, &p), ERR_NONE);
    BYTES(p.p, p.n, "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\1\0\0\0\1\0\0\0\x08\0\0\0\0\0\0\0\1");
    CU_ASSERT_EQUAL(db_text_array(&ctx, NULL, 3, &p), ERR_NONE);
    CU_ASSERT_PTR_NULL(p.p);
    CU_ASSERT_EQUAL(p.type, OID_TEXT_ARRAY);
    CU_ASSERT_EQUAL(db_i64_array(&ctx, NULL, 3, &p), ERR_NONE);
    CU_ASSERT_PTR_NULL(p.p);
    CU_ASSERT_EQUAL(p.type, OID_INT8_ARRAY);
    arena_destroy(ctx.arena);
}

TEST(no_memory)
{
    struct request_ctx ctx;
    struct db_param p = db_jsonb(SV("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]"));
    struct sv long_text = {"x", 1};
    const char *value;
    int length;
    ctx_init(&ctx, arena_create(16), deadline_in_ms(1000), SV("t"), SV("r"));
    CU_ASSERT_FALSE(db_param_encode(&ctx, &p, &value, &length));
    CU_ASSERT_EQUAL(db_text_array(&ctx, &long_text, 1, &p), ERR_NOMEM);
    arena_destroy(ctx.arena);
}

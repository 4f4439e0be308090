/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include <string.h>

#include "../suite.h"

#define BYTES(p, n, lit) CU_ASSERT_TRUE(sv_eq((struct sv){(p), (size_t)(n)}, SV(lit)))

/* An empty text is not NULL. */
TEST(scalars_and_nulls)
{
    const struct {
        struct db_param param;
        const char *value;
        int length;
    } rows[] = {{db_i64(-2), "\xff\xff\xff\xff\xff\xff\xff\xfe", 8},
                {db_i32(258), "\0\0\1\2", 4},
                {db_bool(true), "\1", 1},
                {db_text(SV("")), "", 0},
                {db_jsonb(SV("{}")), "\1{}", 3},
                {db_text(SV_NONE), NULL, 0},
                {db_jsonb(SV_NONE), NULL, 0},
                {db_bytes(SV_NONE), NULL, 0},
                {db_null_i64(), NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *value = "x";
        int length = 1;
        CU_ASSERT_TRUE(db_param_encode(test_ctx(), &rows[i].param, &value, &length));
        CU_ASSERT_EQUAL(length, rows[i].length);
        CU_ASSERT_EQUAL(value == NULL, rows[i].value == NULL);
        CU_ASSERT_TRUE(!value || memcmp(value, rows[i].value, (size_t)rows[i].length) == 0);
    }
}

TEST(arrays)
{
    struct request_ctx *ctx = test_ctx();
    struct db_param p;
    struct sv words[] = {SV("ab"), SV_NONE, SV("")};
    int64_t numbers[] = {1};
    CU_ASSERT_EQUAL(db_text_array(ctx, words, 3, &p), ERR_NONE);
    CU_ASSERT_EQUAL(p.type, OID_TEXT_ARRAY);
    BYTES(p.p, p.n,
          "\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\3\0\0\0\1\0\0\0\2"
          "ab\xff\xff\xff\xff\0\0\0\0");
    CU_ASSERT_EQUAL(db_text_array(ctx, words, 0, &p), ERR_NONE);
    BYTES(p.p, p.n, "\0\0\0\0\0\0\0\0\0\0\0\x19");
    CU_ASSERT_EQUAL(db_i64_array(ctx, numbers, 1, &p), ERR_NONE);
    BYTES(p.p, p.n, "\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\1\0\0\0\1\0\0\0\x08\0\0\0\0\0\0\0\1");
    CU_ASSERT_EQUAL(db_text_array(ctx, NULL, 3, &p), ERR_NONE);
    CU_ASSERT_PTR_NULL(p.p);
    CU_ASSERT_EQUAL(p.type, OID_TEXT_ARRAY);
    CU_ASSERT_EQUAL(db_i64_array(ctx, NULL, 3, &p), ERR_NONE);
    CU_ASSERT_PTR_NULL(p.p);
    CU_ASSERT_EQUAL(p.type, OID_INT8_ARRAY);
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

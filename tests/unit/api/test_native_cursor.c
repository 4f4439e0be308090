/* SPDX-License-Identifier: MIT */
#include "../../../src/api/native/native.h"

#include <string.h>

#include "../suite.h"

/* The list of a user. */
#define LIST(who)                                         \
    &(struct session_list_query)                          \
    {                                                     \
        .user = (who), .created_before = SESSION_ANY_TIME \
    }

static enum err make(struct request_ctx *ctx, const struct session_list_query *q,
                     struct session_position at, struct sv *out)
{
    struct native_list list;
    native_list_of(q, &list);
    return native_position_make(ctx, &list, (int64_t[]){at.created_at, at.generation}, out);
}

static enum err read(struct request_ctx *ctx, const struct session_list_query *q, struct sv text,
                     struct session_position *at)
{
    struct native_list list;
    int64_t numbers[2] = {0, 0};
    native_list_of(q, &list);
    const enum err e = native_position_read(ctx, &list, text, numbers);
    *at = (struct session_position){numbers[0], numbers[1]};
    return e;
}

static struct request_ctx *ctx_of_t1(void)
{
    struct request_ctx *ctx = test_ctx();
    ctx->tenant = SV("t1");
    return ctx;
}

static bool reads(struct request_ctx *ctx, struct sv user, struct sv text,
                  struct session_position *at)
{
    ctx_clear_error(ctx);
    bool ok = read(ctx, LIST(user), text, at) == ERR_NONE;
    if (!ok)
        CU_ASSERT_TRUE(ctx->err.err == ERR_INVALID && strcmp(ctx->err.field, "cursor") == 0);
    return ok;
}

TEST(made_and_read)
{
    struct request_ctx *ctx = ctx_of_t1();
    static const struct session_position positions[] = {
        {0, 0}, {1, 2}, {INT64_MAX, INT64_MIN}, {-1, INT64_MAX}, {INT64_C(1795488595864396), 74}};
    for (size_t i = 0; i < ARRAY_LEN(positions); i++) {
        struct sv text = SV_NONE;
        struct session_position got = {7, 7};
        CU_ASSERT_EQUAL(make(ctx, LIST(SV("ann")), positions[i], &text), ERR_NONE);
        CU_ASSERT_TRUE(reads(ctx, SV("ann"), text, &got));
        CU_ASSERT_TRUE(got.created_at == positions[i].created_at &&
                       got.generation == positions[i].generation);
        for (size_t k = 0; k < text.n; k++)
            CU_ASSERT_PTR_NOT_NULL(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789-_",
                                          text.p[k]));
    }
}

/* Fails if the tenant or the user is left out of the checksum, or its length: tried. */
TEST(is_of_one_list)
{
    struct request_ctx *ctx = ctx_of_t1();
    struct sv text = SV_NONE;
    const struct session_position position = {1, 2};
    struct session_position got;
    CU_ASSERT_EQUAL(make(ctx, LIST(SV("ann")), position, &text), ERR_NONE);
    CU_ASSERT_TRUE(reads(ctx, SV("ann"), text, &got));
    CU_ASSERT_FALSE(reads(ctx, SV("bob"), text, &got));
    CU_ASSERT_FALSE(reads(ctx, SV(""), text, &got));
    ctx->tenant = SV("t2");
    CU_ASSERT_FALSE(reads(ctx, SV("ann"), text, &got));
    /* The same bytes, divided into parts in another way. */
    ctx->tenant = SV("t");
    CU_ASSERT_FALSE(reads(ctx, SV("1ann"), text, &got));
    ctx->tenant = SV("t1a");
    CU_ASSERT_FALSE(reads(ctx, SV("nn"), text, &got));
}

/* Fails if one of the filters is left out of the checksum, or if the limit is in it: tried. */
TEST(is_of_its_filters)
{
    struct request_ctx *ctx = ctx_of_t1();
    struct session_position got;
    struct sv text = SV_NONE;
    const struct session_list_query lists[] = {
        {.created_before = 9},
        {.created_before = 8},
        {.created_before = 9, .created_after = 1},
        {.created_before = 1, .created_after = 9},
        {.created_before = 9, .user = SV("ann")},
        {.created_before = 9, .metadata = SV("{\"a\":\"b\"}")},
        {.created_before = 9, .metadata = SV("{\"a\":\"c\"}")},
        {.created_before = 9, .metadata = SV("ann")},
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        CU_ASSERT_EQUAL(make(ctx, &lists[i], (struct session_position){1, 2}, &text), ERR_NONE);
        for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
            struct session_list_query q = lists[k];
            q.limit = 7;
            ctx_clear_error(ctx);
            CU_ASSERT_EQUAL(read(ctx, &q, text, &got) == ERR_NONE, i == k);
        }
    }
}

/* Each character changed, the text cut, and made longer. Fails if the checksum is not compared, or
 * if every text is accepted that libsodium decodes to the same bytes: tried. */
TEST(tampered)
{
    struct request_ctx *ctx = ctx_of_t1();
    static const char all[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n\xad\xdf";
    struct sv text = SV_NONE;
    const struct session_position position = {-1, 74}; /* with underscores in its text */
    struct session_position got;
    char copy[64] = "";
    unsigned wrong = 0;
    CU_ASSERT_EQUAL(make(ctx, LIST(SV("ann")), position, &text), ERR_NONE);
    CU_ASSERT_TRUE(text.n > 0 && text.n < sizeof(copy) - 4);
    for (size_t i = 0; i < text.n; i++) {
        for (size_t k = 0; all[k]; k++) {
            memcpy(copy, text.p, text.n);
            copy[i] = all[k];
            if (copy[i] != text.p[i])
                wrong += reads(ctx, SV("ann"), (struct sv){copy, text.n}, &got);
        }
        wrong += reads(ctx, SV("ann"), (struct sv){text.p, i}, &got);
    }
    memcpy(copy, text.p, text.n);
    memcpy(copy + text.n, "AAAA", 4);
    for (size_t more = 1; more <= 4; more++)
        wrong += reads(ctx, SV("ann"), (struct sv){copy, text.n + more}, &got);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* SPDX-License-Identifier: MIT */
#include "parley/base/ctx.h"

#include <string.h>

#include "../suite.h"

static struct request_ctx new_ctx(struct arena *a)
{
    struct request_ctx ctx;
    memset(&ctx, 0x5a, sizeof(ctx)); /* as of the request before */
    ctx_init(&ctx, a, deadline_in_ms(1000), SV("default"), SV("r-1"));
    return ctx;
}

TEST(init_leaves_nothing_of_before)
{
    struct request_ctx ctx = new_ctx(NULL);
    CU_ASSERT_EQUAL(ctx.err.err, ERR_NONE);
    CU_ASSERT_PTR_NULL(ctx.err.slug);
    CU_ASSERT_STRING_EQUAL(ctx.err.field, "");
    CU_ASSERT_STRING_EQUAL(ctx.err.detail, "");
    CU_ASSERT_STRING_EQUAL(ctx.err.cause, "");
    CU_ASSERT_EQUAL(ctx.err.retry_after_s, 0);
    CU_ASSERT_EQUAL(ctx.trace.sql_us, 0);
    CU_ASSERT_EQUAL(ctx.trace.round_trips, 0);
    CU_ASSERT_PTR_NULL(ctx.trace.source);
    CU_ASSERT_TRUE(sv_eq(ctx.tenant, SV("default")));
    CU_ASSERT_TRUE(sv_eq(ctx.request_id, SV("r-1")));
}

/* Fails if a later failure overwrites the first: tried. */
TEST(first_failure_stays)
{
    struct request_ctx ctx = new_ctx(NULL);
    CU_ASSERT_EQUAL(ctx_fail(&ctx, ERR_INVALID, "bad_role", "messages[3].role", "Not %d.", 3),
                    ERR_INVALID);
    CU_ASSERT_EQUAL(ctx_fail(&ctx, ERR_CONFLICT, "taken", "x", "y"), ERR_CONFLICT);
    CU_ASSERT_EQUAL(ctx_fault(&ctx, ERR_INTERNAL, "z"), ERR_INTERNAL);
    CU_ASSERT_EQUAL(ctx.err.err, ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(ctx.err.slug, "bad_role");
    CU_ASSERT_STRING_EQUAL(ctx.err.field, "messages[3].role");
    CU_ASSERT_STRING_EQUAL(ctx.err.detail, "Not 3.");
    CU_ASSERT_STRING_EQUAL(ctx.err.cause, "");

    ctx_clear_error(&ctx);
    CU_ASSERT_EQUAL(ctx_fail(&ctx, ERR_BUSY, NULL, NULL, NULL), ERR_BUSY);
    CU_ASSERT_EQUAL(ctx.err.err, ERR_BUSY);
    CU_ASSERT_STRING_EQUAL(ctx.err.field, "");
    CU_ASSERT_STRING_EQUAL(ctx.err.detail, "");
}

/* Fails if ctx_fault writes to detail: tried. */
TEST(a_fault_is_for_the_log_alone)
{
    struct arena *a = arena_create(1024);
    struct request_ctx ctx = new_ctx(a);
    CU_ASSERT_EQUAL(ctx_fault(&ctx, ERR_UNAVAILABLE, "server says %s", "no"), ERR_UNAVAILABLE);
    CU_ASSERT_STRING_EQUAL(ctx.err.cause, "server says no");
    CU_ASSERT_STRING_EQUAL(ctx.err.detail, "");
    ctx_clear_error(&ctx);
    CU_ASSERT_EQUAL(ctx_nomem(&ctx), ERR_NOMEM);
    CU_ASSERT_STRING_EQUAL(ctx.err.detail, "");
    CU_ASSERT_STRING_NOT_EQUAL(ctx.err.cause, "");
    arena_destroy(a);
}

/* Fails if drop_last_character is not called, for field or for detail: tried. */
TEST(long_text_is_cut_between_characters)
{
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'a', shift);
        size_t n = shift;
        while (n + 4 < sizeof(text)) {
            memcpy(text + n, "\xf0\x9f\x98\x80", 4);
            n += 4;
        }
        text[n] = '\0';
        struct request_ctx ctx = new_ctx(NULL);
        CU_ASSERT_EQUAL(ctx_fail(&ctx, ERR_INVALID, NULL, text, "%s", text), ERR_INVALID);
        CU_ASSERT_TRUE(utf8_valid(sv_from(ctx.err.field), NULL));
        CU_ASSERT_TRUE(utf8_valid(sv_from(ctx.err.detail), NULL));
        CU_ASSERT_TRUE(strlen(ctx.err.field) >= 120);
        CU_ASSERT_TRUE(strlen(ctx.err.detail) >= 248);
    }
}

/* SPDX-License-Identifier: MIT */
#include "../../../src/session/session_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "same.h"

static struct session_message example_messages[] = {{.seq = 7,
                                                     .message_id = SV_INIT("a-1"),
                                                     .type = SV_INIT("message"),
                                                     .role = SV_INIT("user"),
                                                     .content = SV_INIT("\"\xc3\xa9\""),
                                                     .metadata = SV_INIT("{}"),
                                                     .created_at = 1111},
                                                    {.seq = 9,
                                                     .message_id = SV_INIT("a-2"),
                                                     .type = SV_INIT("call"),
                                                     .metadata = SV_INIT("{\"k\":1}"),
                                                     .extra = SV_INIT("{\"e\":2}"),
                                                     .created_at = 2222}};

/* All fields differ. One of the texts is absent, and one is empty. */
static struct session example(void)
{
    return (struct session){.session_id = SV("s:1"),
                            .user_id = SV_NONE,
                            .language = SV(""),
                            .generation = INT64_MAX,
                            .version = 2,
                            .state_version = 3,
                            .last_seq = 9,
                            .message_count = 5,
                            .ttl_seconds = 604800,
                            .sliding = true,
                            .created_at = -4,
                            .updated_at = INT64_MIN,
                            .expires_at = 6,
                            .context = SV("{\"a\": 1.0}"),
                            .metadata = SV("{}"),
                            .messages = example_messages,
                            .n_messages = 2};
}

/* The example as it is stored. */
static struct sv encoded(struct request_ctx *ctx)
{
    const struct session s = example();
    struct sv bytes = SV_NONE;
    CU_ASSERT_EQUAL(session_codec_encode(ctx, &s, &bytes), ERR_NONE);
    return bytes;
}

/* Fails if a field is left out of either direction, or absent and empty become one: tried. */
TEST(round_trip)
{
    struct request_ctx *ctx = test_ctx();
    struct sv bytes = encoded(ctx);
    struct session s = example(), back;
    CU_ASSERT_TRUE(session_codec_decode(ctx, bytes, &back));
    CU_ASSERT_TRUE(same_session(&s, &back));
    s.sliding = false;
    s.user_id = SV("");
    s.n_messages = 0;
    CU_ASSERT_EQUAL(session_codec_encode(ctx, &s, &bytes), ERR_NONE);
    CU_ASSERT_TRUE(session_codec_decode(ctx, bytes, &back));
    CU_ASSERT_TRUE(same_session(&s, &back));
}

/* A copy of exactly n bytes, so that AddressSanitizer reports an access after them. */
static char *exact(struct sv bytes, size_t n)
{
    char *p = malloc(n ? n : 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p);
    if (n > 0)
        memcpy(p, bytes.p, n);
    return p;
}

/* Each shorter length, and one byte more. Fails if the length of the text is not compared: tried.
 */
TEST(another_length_is_refused)
{
    struct request_ctx *ctx = test_ctx();
    struct buf longer;
    struct session back;
    buf_init(&longer, ctx->arena, 0);
    buf_sv(&longer, encoded(ctx));
    buf_putc(&longer, '\0');
    for (size_t n = 0; n <= longer.n; n++) {
        struct arena_mark mark = arena_get_mark(ctx->arena);
        char *p = exact(buf_get(&longer), n);
        CU_ASSERT_EQUAL(session_codec_decode(ctx, (struct sv){p, n}, &back), n == longer.n - 1);
        free(p);
        arena_rewind(ctx->arena, mark);
    }
}

static bool is_within(struct sv s, const char *p, size_t n)
{
    return !s.p || (s.p >= p && s.p + s.n <= p + n);
}

/* Decodes n bytes, which may be damaged: they are refused, or each text is within them. */
static bool read_damaged(struct request_ctx *ctx, const char *p, size_t n)
{
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct session back;
    const bool read = session_codec_decode(ctx, (struct sv){p, n}, &back);
    if (read) {
        CU_ASSERT_TRUE(is_within(back.session_id, p, n) && is_within(back.context, p, n) &&
                       is_within(back.metadata, p, n));
        for (size_t k = 0; k < back.n_messages; k++)
            CU_ASSERT_TRUE(is_within(back.messages[k].content, p, n) &&
                           is_within(back.messages[k].metadata, p, n));
    }
    arena_rewind(ctx->arena, mark);
    return read;
}

/* Each bit changed, and each byte 0xff. */
TEST(damage_stays_within)
{
    struct request_ctx *ctx = test_ctx();
    const struct sv bytes = encoded(ctx);
    char *p = exact(bytes, bytes.n);
    for (size_t i = 0; i < bytes.n; i++) {
        const char kept = p[i];
        for (int bit = 0; bit < 9; bit++) {
            p[i] = (char)(bit == 8 ? 0xff : kept ^ 1 << bit);
            (void)read_damaged(ctx, p, bytes.n);
        }
        p[i] = kept;
    }
    CU_ASSERT_TRUE(read_damaged(ctx, p, bytes.n));
    free(p);
}

TEST(little_memory)
{
    struct request_ctx *ctx = test_ctx(), small = *ctx;
    const struct sv bytes = encoded(ctx);
    struct sv out = SV_NONE;
    struct session s = example();
    small.arena = arena_create(256);
    CU_ASSERT_EQUAL(session_codec_encode(&small, &s, &out), ERR_NOMEM);
    arena_destroy(small.arena);
    small.arena = arena_create(64);
    CU_ASSERT_FALSE(session_codec_decode(&small, bytes, &s));
    arena_destroy(small.arena);
}

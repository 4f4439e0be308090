/* SPDX-License-Identifier: MIT */
#include "../../../src/session/session_internal.h"

#include <stdlib.h>
#include <string.h>

#include "../suite.h"

enum { ROOM = 1 << 20 };

static void same_text(struct sv a, struct sv b)
{
    CU_ASSERT_TRUE(sv_eq(a, b));
    CU_ASSERT_EQUAL(a.p == NULL, b.p == NULL);
}

static void same_message(const struct session_message *a, const struct session_message *b)
{
    CU_ASSERT_EQUAL(a->seq, b->seq);
    CU_ASSERT_EQUAL(a->created_at, b->created_at);
    same_text(a->message_id, b->message_id);
    same_text(a->type, b->type);
    same_text(a->role, b->role);
    same_text(a->content, b->content);
    same_text(a->metadata, b->metadata);
    same_text(a->extra, b->extra);
}

static void same_session(const struct session *a, const struct session *b)
{
    same_text(a->session_id, b->session_id);
    same_text(a->user_id, b->user_id);
    same_text(a->language, b->language);
    CU_ASSERT_EQUAL(a->generation, b->generation);
    CU_ASSERT_EQUAL(a->version, b->version);
    CU_ASSERT_EQUAL(a->state_version, b->state_version);
    CU_ASSERT_EQUAL(a->last_seq, b->last_seq);
    CU_ASSERT_EQUAL(a->message_count, b->message_count);
    CU_ASSERT_EQUAL(a->ttl_seconds, b->ttl_seconds);
    CU_ASSERT_EQUAL(a->sliding, b->sliding);
    CU_ASSERT_EQUAL(a->created_at, b->created_at);
    CU_ASSERT_EQUAL(a->updated_at, b->updated_at);
    CU_ASSERT_EQUAL(a->expires_at, b->expires_at);
    same_text(a->context, b->context);
    same_text(a->metadata, b->metadata);
    CU_ASSERT_EQUAL(a->n_messages, b->n_messages);
    for (size_t i = 0; i < a->n_messages && i < b->n_messages; i++)
        same_message(&a->messages[i], &b->messages[i]);
}

static struct session_message example_messages[] = {{7,
                                                     SV_INIT("a-1"),
                                                     SV_INIT("message"),
                                                     SV_INIT("user"),
                                                     SV_INIT("\"\xc3\xa9\""),
                                                     SV_INIT("{}"),
                                                     {NULL, 0},
                                                     1111,
                                                     {NULL, 0}},
                                                    {9,
                                                     SV_INIT("a-2"),
                                                     SV_INIT("call"),
                                                     {NULL, 0},
                                                     {NULL, 0},
                                                     SV_INIT("{\"k\":1}"),
                                                     SV_INIT("{\"e\":2}"),
                                                     2222,
                                                     {NULL, 0}}};

/* Every field differs from every other, and one of the texts is absent, one empty. */
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

struct bench {
    struct arena *arena;
    struct request_ctx ctx;
};

static void bench_begin(struct bench *b, size_t room)
{
    b->arena = arena_create(room);
    ctx_init(&b->ctx, b->arena, deadline_in_ms(60000), SV("default"), SV("t"));
}

/* Fails if a field is left out of either direction, or absent and empty become one: tried. */
TEST(round_trip)
{
    struct bench b;
    struct sv bytes = SV_NONE;
    struct session s = example(), back;
    bench_begin(&b, ROOM);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    CU_ASSERT_TRUE(codec_decode(&b.ctx, bytes, &back));
    same_session(&s, &back);
    s.sliding = false;
    s.user_id = SV("");
    s.n_messages = 0;
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    CU_ASSERT_TRUE(codec_decode(&b.ctx, bytes, &back));
    same_session(&s, &back);
    arena_destroy(b.arena);
}

/* A copy of exactly n bytes, so that AddressSanitizer sees the first byte behind it. */
static char *exact(struct sv bytes, size_t n)
{
    char *p = malloc(n ? n : 1);
    if (p && n > 0)
        memcpy(p, bytes.p, n);
    return p;
}

/* Fails if the length of the text is not compared: tried. */
TEST(truncation_is_refused)
{
    struct bench b;
    struct sv bytes = SV_NONE;
    struct session s = example(), back;
    bench_begin(&b, ROOM);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    for (size_t n = 0; n < bytes.n; n++) {
        struct arena_mark mark = arena_get_mark(b.arena);
        char *p = exact(bytes, n);
        CU_ASSERT_FALSE(p && codec_decode(&b.ctx, (struct sv){p, n}, &back));
        free(p);
        arena_rewind(b.arena, mark);
    }
    arena_destroy(b.arena);
}

TEST(more_bytes_are_refused)
{
    struct bench b;
    struct sv bytes = SV_NONE;
    struct session s = example(), back;
    bench_begin(&b, ROOM);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    char *p = malloc(bytes.n + 1);
    CU_ASSERT_PTR_NOT_NULL(p);
    if (p) {
        memcpy(p, bytes.p, bytes.n);
        p[bytes.n] = 0;
        CU_ASSERT_FALSE(codec_decode(&b.ctx, (struct sv){p, bytes.n + 1}, &back));
    }
    free(p);
    arena_destroy(b.arena);
}

static bool inside(struct sv s, const char *p, size_t n)
{
    return !s.p || (s.p >= p && s.p + s.n <= p + n);
}

/* A damaged value is refused or read as other values, all of them within its bytes. */
TEST(damage_stays_inside)
{
    struct bench b;
    struct sv bytes = SV_NONE;
    struct session s = example(), back;
    bench_begin(&b, ROOM);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    char *p = exact(bytes, bytes.n);
    for (size_t i = 0; p && i < bytes.n * 8; i++) {
        struct arena_mark mark = arena_get_mark(b.arena);
        p[i / 8] = (char)(p[i / 8] ^ (1 << i % 8));
        if (codec_decode(&b.ctx, (struct sv){p, bytes.n}, &back)) {
            CU_ASSERT_TRUE(inside(back.session_id, p, bytes.n) &&
                           inside(back.context, p, bytes.n) && inside(back.metadata, p, bytes.n));
            for (size_t k = 0; k < back.n_messages; k++)
                CU_ASSERT_TRUE(inside(back.messages[k].content, p, bytes.n) &&
                               inside(back.messages[k].metadata, p, bytes.n));
        }
        p[i / 8] = (char)(p[i / 8] ^ (1 << i % 8));
        arena_rewind(b.arena, mark);
    }
    for (size_t i = 0; p && i < bytes.n; i++) {
        struct arena_mark mark = arena_get_mark(b.arena);
        char kept = p[i];
        p[i] = (char)0xff;
        (void)codec_decode(&b.ctx, (struct sv){p, bytes.n}, &back);
        p[i] = kept;
        arena_rewind(b.arena, mark);
    }
    CU_ASSERT_TRUE(p && codec_decode(&b.ctx, (struct sv){p, bytes.n}, &back));
    free(p);
    arena_destroy(b.arena);
}

TEST(little_memory)
{
    struct bench b;
    struct sv bytes = SV_NONE;
    struct session s = example(), back;
    bench_begin(&b, 256);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NOMEM);
    arena_destroy(b.arena);
    bench_begin(&b, ROOM);
    CU_ASSERT_EQUAL(codec_encode(&b.ctx, &s, &bytes), ERR_NONE);
    struct bench small;
    bench_begin(&small, 64);
    CU_ASSERT_FALSE(codec_decode(&small.ctx, bytes, &back));
    arena_destroy(small.arena);
    arena_destroy(b.arena);
}

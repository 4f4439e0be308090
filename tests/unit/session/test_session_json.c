/* SPDX-License-Identifier: MIT */
/* The JSON form that a cache keeps equals, byte by byte, the one that is written from the fields.
 */
#include "../../../src/session/session_internal.h"

#include <string.h>

#include "parley/session/session_json.h"
#include "../suite.h"
#include "same.h"

static const struct session_message kinds[] = {
    {.message_id = SV_INIT("m-1"),
     .type = SV_INIT("message"),
     .role = SV_INIT("user"),
     .content = SV_INIT("\"plain\""),
     .metadata = SV_INIT("{}")},
    {.message_id = SV_INIT("m-2"),
     .type = SV_INIT("message"),
     .role = SV_INIT("a \"role\"\n\x01\\ of nobody"),
     .content = SV_INIT("[{\"type\":\"text\",\"text\":\"\\u00e9, \xc3\xa9 \\\\ \\\"\"}, 1.50]"),
     .metadata = SV_INIT("{\"k\": [1, null]}")},
    {.message_id = SV_INIT("m-3"),
     .type = SV_INIT("function_call"),
     .metadata = SV_INIT("{}"),
     .extra = SV_INIT("{\"call_id\":\"c\",\"arguments\":\"{}\"}")},
    {.message_id = SV_INIT("m-4"),
     .type = SV_INIT(""),
     .role = SV_INIT(""),
     .content = SV_INIT("\"\""),
     .metadata = SV_INIT("{\"metadata\":{}}"),
     .extra = SV_INIT("{\"role\":\"user\"}"),
     .created_at = -1}};

struct bench {
    struct request_ctx *ctx;
    struct session_message messages[SESSION_NEWEST];
    struct session s;
};

static void begin(struct bench *b, size_t n_messages)
{
    b->ctx = test_ctx();
    b->s = (struct session){.session_id = SV("telegram:12345"),
                            .user_id = SV("\"u\"\\\t1"),
                            .language = SV("en"),
                            .generation = 77,
                            .version = 41,
                            .state_version = 3,
                            .last_seq = 100,
                            .message_count = 99,
                            .ttl_seconds = 604800,
                            .created_at = 1764000000000000,
                            .updated_at = 1764000000000001,
                            .expires_at = 1764604800000001,
                            .context = SV("{\"a\": 1.0, \"b\":{}}"),
                            .metadata = SV("{}"),
                            .messages = b->messages,
                            .n_messages = n_messages};
    for (size_t i = 0; i < n_messages; i++) {
        b->messages[i] = kinds[i % ARRAY_LEN(kinds)];
        b->messages[i].seq = 100 - (int64_t)(n_messages - 1 - i);
    }
}

static struct sv written(struct bench *b, const struct session *s)
{
    struct buf out;
    buf_init(&out, b->ctx->arena, 0);
    struct json_writer j = {.b = &out};
    json_write_object_open(&j);
    session_json_members(&j, s, NULL);
    json_write_key(&j, "messages");
    session_json_messages(&j, s->messages, s->n_messages);
    json_write_object_close(&j);
    CU_ASSERT_FALSE(out.failed);
    return buf_get(&out);
}

static struct session through_cache(struct bench *b, const struct session *s)
{
    struct session back = {.n_messages = 0};
    struct sv bytes = SV_NONE;
    CU_ASSERT_EQUAL(session_codec_encode(b->ctx, s, &bytes), ERR_NONE);
    CU_ASSERT_TRUE(session_codec_decode(b->ctx, bytes, &back));
    return back;
}

/* Fails if a message's form is taken a byte too short, or without the comma: tried. */
TEST(the_newest)
{
    for (size_t n = 0; n <= SESSION_NEWEST; n++) {
        struct bench b;
        begin(&b, n);
        struct session kept = through_cache(&b, &b.s);
        CU_ASSERT_TRUE(kept.native.p != NULL);
        CU_ASSERT_TRUE(same_session(&b.s, &kept));
        for (size_t less = 0; less <= n; less++) {
            struct session all = b.s, some = kept;
            all.messages += less;
            some.messages += less;
            all.n_messages = some.n_messages = n - less;
            CU_ASSERT_TRUE(sv_eq(written(&b, &all), written(&b, &some)));
        }
    }
}

/* A page has the newest first. */
TEST(newest_first)
{
    struct bench b;
    struct session_message back[SESSION_NEWEST], forth[SESSION_NEWEST];
    begin(&b, SESSION_NEWEST);
    struct session kept = through_cache(&b, &b.s);
    for (size_t i = 0; i < SESSION_NEWEST; i++) {
        back[i] = b.s.messages[SESSION_NEWEST - 1 - i];
        forth[i] = kept.messages[SESSION_NEWEST - 1 - i];
    }
    b.s.messages = back;
    kept.messages = forth;
    CU_ASSERT_TRUE(sv_eq(written(&b, &b.s), written(&b, &kept)));
}

/* A value is updated again and again with a new message. Fails if the form of the members is kept
 * though they have changed: tried. */
TEST(updated_often)
{
    struct bench b;
    begin(&b, SESSION_NEWEST);
    struct session kept = through_cache(&b, &b.s);
    for (int round = 0; round < 50; round++) {
        struct session_message next[SESSION_NEWEST];
        for (size_t i = 0; i + 1 < SESSION_NEWEST; i++) {
            next[i] = kept.messages[i + 1];
            b.messages[i] = b.messages[i + 1];
        }
        b.messages[SESSION_NEWEST - 1] = kinds[round % (int)ARRAY_LEN(kinds)];
        b.messages[SESSION_NEWEST - 1].seq = b.s.last_seq + 1;
        next[SESSION_NEWEST - 1] = b.messages[SESSION_NEWEST - 1];
        kept.messages = next;
        kept.native = SV_NONE;
        kept.version = ++b.s.version;
        kept.last_seq = ++b.s.last_seq;
        kept = through_cache(&b, &kept);
        CU_ASSERT_TRUE(same_session(&b.s, &kept));
        CU_ASSERT_TRUE(sv_eq(written(&b, &b.s), written(&b, &kept)));
    }
}

/* The same with fresh_after_append. Fails if it keeps the old form of the members, or if
 * mark_before is not compared: tried. */
TEST(after_an_append)
{
    struct bench b;
    struct fresh_write w = {.key = {SV("default"), SV("telegram:12345")}};
    struct cache_shared *shared = cache_shared_map(1 << 20);
    const struct cache_settings memory = {
        .shared = shared, .redis_url = "", .value_seconds = 60, .value_max = 64 << 10};
    struct sessions s = {.cache = cache_open(&memory, NULL)};
    struct cache_value value = {.ttl_ms = 60000};
    const struct session_message draft = {
        .type = SV("message"), .role = SV("user"), .content = SV("\"new\""), .metadata = SV("{}")};
    const struct session_append append = {.messages = &draft, .n_messages = 1};
    struct session now, want;
    begin(&b, SESSION_NEWEST);
    w.snapshot = cache_snapshot(s.cache, w.key);
    value.stamp = (struct cache_stamp){b.s.generation, b.s.version, b.s.mark};
    CU_ASSERT_EQUAL(session_codec_encode(b.ctx, &b.s, &value.bytes), ERR_NONE);
    cache_put(s.cache, b.ctx, w.key, &w.snapshot, false, &value);
    struct session_receipt r = {.session_id = b.s.session_id,
                                .generation = b.s.generation,
                                .version = b.s.version + 1,
                                .mark = b.s.mark + 5,
                                .mark_before = b.s.mark,
                                .state_version = b.s.state_version,
                                .message_count = b.s.message_count + 1,
                                .first_seq = b.s.last_seq + 1,
                                .last_seq = b.s.last_seq + 1,
                                .at = b.s.updated_at + 1000,
                                .expires_at = b.s.expires_at + 1000};
    CU_ASSERT_TRUE(fresh_after_append(&s, b.ctx, &w, &append, &r, &now));
    /* Without the forms it is written from the fields. */
    struct session_message plain[SESSION_NEWEST];
    want = now;
    want.native = SV_NONE;
    want.messages = plain;
    for (size_t i = 0; i < SESSION_NEWEST; i++) {
        plain[i] = now.messages[i];
        plain[i].native = SV_NONE;
    }
    CU_ASSERT_TRUE(now.version == r.version && now.mark == r.mark);
    CU_ASSERT_EQUAL(plain[SESSION_NEWEST - 1].seq, r.last_seq);
    CU_ASSERT_TRUE(sv_eq(written(&b, &now), written(&b, &want)));
    struct session kept = through_cache(&b, &now);
    CU_ASSERT_TRUE(sv_eq(written(&b, &kept), written(&b, &want)));
    /* The same version of another timeline. */
    r.mark_before++;
    CU_ASSERT_FALSE(fresh_after_append(&s, b.ctx, &w, &append, &r, &now));
    cache_close(s.cache);
}

/* A session that has not changed keeps its form. */
TEST(unchanged)
{
    struct bench b;
    begin(&b, 7);
    struct session kept = through_cache(&b, &b.s), again = through_cache(&b, &kept);
    CU_ASSERT_TRUE(same_session(&b.s, &again));
    CU_ASSERT_TRUE(sv_eq(written(&b, &b.s), written(&b, &again)));
}

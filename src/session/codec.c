/* SPDX-License-Identifier: MIT */
/*
 * A session as bytes for the tiers: fixed-width integers in the host's order and strings behind
 * their length. The format byte changes with every change of this file; hosts of one cluster are
 * of one byte order (the format byte is part of a 32-bit magic, so others read a miss).
 */
#include "session_internal.h"

#include <string.h>

static const uint32_t codec_magic = 0x70736c02;
static const uint32_t absent = UINT32_MAX;

static void put_i64(struct buf *b, int64_t v)
{
    buf_put(b, &v, sizeof(v));
}

static void put_u32(struct buf *b, uint32_t v)
{
    buf_put(b, &v, sizeof(v));
}

static void put_sv(struct buf *b, struct sv s)
{
    put_u32(b, s.p ? (uint32_t)s.n : absent);
    if (s.p)
        buf_put(b, s.p, s.n);
}

enum err codec_encode(struct request_ctx *ctx, const struct session *session, struct sv *out)
{
    struct buf b;
    buf_init(&b, ctx->arena, 512 + session->context.n + session->metadata.n);
    put_u32(&b, codec_magic);
    put_sv(&b, session->session_id);
    put_sv(&b, session->user_id);
    put_sv(&b, session->language);
    const int64_t numbers[] = {session->generation, session->version,       session->state_version,
                               session->last_seq,   session->message_count, session->ttl_seconds,
                               session->sliding,    session->created_at,    session->updated_at,
                               session->expires_at};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        put_i64(&b, numbers[i]);
    put_sv(&b, session->context);
    put_sv(&b, session->metadata);
    put_u32(&b, (uint32_t)session->n_messages);
    for (size_t i = 0; i < session->n_messages; i++) {
        const struct session_message *m = &session->messages[i];
        put_i64(&b, m->seq);
        put_i64(&b, m->created_at);
        put_sv(&b, m->message_id);
        put_sv(&b, m->type);
        put_sv(&b, m->role);
        put_sv(&b, m->content);
        put_sv(&b, m->metadata);
        put_sv(&b, m->extra);
    }
    put_u32(&b, codec_magic);
    if (b.failed)
        return ctx_nomem(ctx);
    *out = buf_get(&b);
    return ERR_NONE;
}

/* What is left to read; bad once something did not fit, and from then on everything reads as 0. */
struct reader {
    struct sv left;
    bool bad;
};

static void take(struct reader *r, void *p, size_t n)
{
    if (r->bad || r->left.n < n) {
        r->bad = true;
        memset(p, 0, n);
        return;
    }
    memcpy(p, r->left.p, n);
    r->left.p += n;
    r->left.n -= n;
}

static uint32_t take_u32(struct reader *r)
{
    uint32_t v;
    take(r, &v, sizeof(v));
    return v;
}

static int64_t take_i64(struct reader *r)
{
    int64_t v;
    take(r, &v, sizeof(v));
    return v;
}

static struct sv take_sv(struct reader *r)
{
    uint32_t n = take_u32(r);
    if (n == absent || r->bad)
        return SV_NONE;
    if (n > r->left.n) {
        r->bad = true;
        return SV_NONE;
    }
    struct sv s = {r->left.p, n};
    r->left.p += n;
    r->left.n -= n;
    return s;
}

static void take_message(struct reader *r, struct session_message *m)
{
    m->seq = take_i64(r);
    m->created_at = take_i64(r);
    m->message_id = take_sv(r);
    m->type = take_sv(r);
    m->role = take_sv(r);
    m->content = take_sv(r);
    m->metadata = take_sv(r);
    m->extra = take_sv(r);
}

bool codec_decode(struct request_ctx *ctx, struct sv bytes, struct session *out)
{
    struct reader r = {bytes, false};
    *out = (struct session){0};
    if (take_u32(&r) != codec_magic)
        return false;
    out->session_id = take_sv(&r);
    out->user_id = take_sv(&r);
    out->language = take_sv(&r);
    out->generation = take_i64(&r);
    out->version = take_i64(&r);
    out->state_version = take_i64(&r);
    out->last_seq = take_i64(&r);
    out->message_count = take_i64(&r);
    out->ttl_seconds = take_i64(&r);
    out->sliding = take_i64(&r) != 0;
    out->created_at = take_i64(&r);
    out->updated_at = take_i64(&r);
    out->expires_at = take_i64(&r);
    out->context = take_sv(&r);
    out->metadata = take_sv(&r);
    out->n_messages = take_u32(&r);
    if (r.bad || out->n_messages > SESSION_MESSAGES_MAX)
        return false;
    out->messages = arena_array(ctx->arena, out->n_messages, sizeof(*out->messages));
    if (!out->messages)
        return false;
    for (size_t i = 0; i < out->n_messages; i++)
        take_message(&r, &out->messages[i]);
    return take_u32(&r) == codec_magic && !r.bad && r.left.n == 0;
}

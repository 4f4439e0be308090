/* SPDX-License-Identifier: MIT */
/*
 * A session as bytes for the caches:
 *
 * - struct header.
 * - struct entry of each message.
 * - text: the JSON form of the session's members, then those of its messages, oldest first with a
 *   comma between two, then the fields that are not in these forms as they are.
 *
 * A reader that answers with the JSON form copies a part of the text. Each field is a span of the
 * text, for other readers and for the next writer, which writes the form of one message and copies
 * the others.
 *
 * Numbers are in the host's byte order. A host of the other byte order reads a miss, because the
 * magic differs. Every change of this layout changes the magic and SESSION_LAYOUT.
 */
#include "session_internal.h"

#include <string.h>

#include "parley/session/session_json.h"

static const uint64_t codec_magic = UINT64_C(0x07706c7300736c07);
static const uint32_t absent = UINT32_MAX;

/* Bytes of the text; n == absent: an absent field. */
struct span {
    uint32_t at, n;
};
enum { SESSION_TEXTS = 8, MESSAGE_TEXTS = 8, SESSION_NUMBERS = 12, ROOM = 12 * 1024 };
struct header {
    uint64_t magic;
    int64_t numbers[SESSION_NUMBERS];
    struct span texts[SESSION_TEXTS];
    uint32_t n_messages, text_n;
};
struct entry {
    int64_t seq, created_at, edited_at;
    struct span texts[MESSAGE_TEXTS];
};
/* They are stored as they are. */
_Static_assert(sizeof(struct header) == 8 + 8 * SESSION_NUMBERS + 8 * SESSION_TEXTS + 8,
               "no padding");
_Static_assert(sizeof(struct entry) == 24 + 8 * MESSAGE_TEXTS, "no padding");

/* ---- to bytes ---- */

struct writer {
    struct buf all;  /* room for header and entries, then the text */
    size_t base;     /* where the text begins */
    struct buf rest; /* the fields that no JSON form contains */
    struct span *in_rest[SESSION_TEXTS + MESSAGE_TEXTS * SESSION_NEWEST];
    size_t n_in_rest;
};

static bool is_part(struct sv s, struct sv of)
{
    return of.p && (uintptr_t)s.p >= (uintptr_t)of.p &&
           (uintptr_t)s.p + s.n <= (uintptr_t)of.p + of.n;
}

static size_t text_n(const struct writer *w)
{
    return w->all.n - w->base;
}

/* Finds the span of field s in the JSON form that begins in the text at `from`. copied: the form
 * was copied from there, and s may be a part of it; absent: the form was written, and s begins at
 * `at` of w->all, unless its escapes were written differently. A field that is in neither goes to
 * the rest. */
static void write_span(struct writer *w, size_t from, struct sv copied, struct sv s, size_t at,
                       struct span *out)
{
    *out = (struct span){0, absent};
    if (!s.p)
        return;
    out->n = (uint32_t)s.n;
    if (is_part(s, copied)) {
        out->at = (uint32_t)(from + (size_t)(s.p - copied.p));
        return;
    }
    if (!copied.p && at <= w->all.n && s.n <= w->all.n - at &&
        memcmp(w->all.p + at, s.p, s.n) == 0) {
        out->at = (uint32_t)(at - w->base);
        return;
    }
    out->at = (uint32_t)w->rest.n;
    buf_sv(&w->rest, s);
    w->in_rest[w->n_in_rest++] = out;
}

static void write_message(struct writer *w, const struct session_message *m, struct entry *out)
{
    struct json_writer j = {.b = &w->all};
    size_t offsets[SESSION_JSON_TEXTS] = {0};
    const size_t from = text_n(w);
    session_json_message(&j, m, offsets);
    out->seq = m->seq;
    out->created_at = m->created_at;
    out->edited_at = m->edited_at;
    if (w->all.failed)
        return;
    out->texts[0] = (struct span){(uint32_t)from, (uint32_t)(text_n(w) - from)};
    const struct sv texts[] = {m->message_id, m->type,  m->role,  m->content,
                               m->metadata,   m->extra, m->tokens};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        write_span(w, from, m->native, texts[i], offsets[i], &out->texts[i + 1]);
}

static void write_session(struct writer *w, const struct session *s, struct header *out)
{
    struct json_writer j = {.b = &w->all};
    size_t offsets[SESSION_JSON_TEXTS] = {0};
    session_json_members(&j, s, offsets);
    *out = (struct header){.magic = codec_magic,
                           .numbers = {s->generation, s->version, s->state_version, s->last_seq,
                                       s->message_count, s->ttl_seconds, s->sliding, s->created_at,
                                       s->updated_at, s->expires_at, (int64_t)s->mark,
                                       (int64_t)s->state_mark}};
    if (w->all.failed)
        return;
    out->texts[0] = (struct span){0, (uint32_t)text_n(w)};
    const struct sv texts[] = {s->session_id, s->user_id, s->language,   s->context,
                               s->metadata,   s->summary, s->forked_from};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        write_span(w, 0, s->native, texts[i], offsets[i], &out->texts[i + 1]);
}

enum err session_codec_encode(struct request_ctx *ctx, const struct session *session,
                              struct sv *out)
{
    const size_t n = session->n_messages < SESSION_NEWEST ? session->n_messages : SESSION_NEWEST;
    const size_t skip = session->n_messages - n;
    struct writer w = {.base = sizeof(struct header) + n * sizeof(struct entry)};
    struct header header;
    struct entry *entries = arena_zalloc(ctx->arena, n * sizeof *entries);
    if (!entries)
        return ctx_nomem(ctx);
    buf_init(&w.rest, ctx->arena, 64);
    buf_init(&w.all, ctx->arena, ROOM + session->context.n + session->metadata.n);
    buf_put(&w.all, &(struct header){.magic = 0}, sizeof header);
    buf_put(&w.all, entries, n * sizeof *entries);
    write_session(&w, session, &header);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(&w.all, ',');
        write_message(&w, &session->messages[skip + i], &entries[i]);
    }
    for (size_t i = 0; i < w.n_in_rest; i++)
        w.in_rest[i]->at += (uint32_t)text_n(&w);
    buf_sv(&w.all, buf_get(&w.rest));
    if (w.all.failed || w.rest.failed || w.all.n > UINT32_MAX / 2)
        return ctx_nomem(ctx);
    header.n_messages = (uint32_t)n;
    header.text_n = (uint32_t)text_n(&w);
    memcpy(w.all.p, &header, sizeof header);
    if (n > 0)
        memcpy(w.all.p + sizeof header, entries, n * sizeof *entries);
    *out = buf_get(&w.all);
    return ERR_NONE;
}

/* ---- from bytes ---- */

/* False: a span is not within the text. */
static bool read_spans(struct sv text, const struct span *spans, size_t n, struct sv *const *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct span p = spans[i];
        *out[i] = SV_NONE;
        if (p.n == absent)
            continue;
        if (p.at > text.n || p.n > text.n - p.at)
            return false;
        *out[i] = (struct sv){text.p + p.at, p.n};
    }
    return true;
}

static bool read_message(struct sv text, const struct entry *e, struct session_message *m)
{
    struct sv *const texts[MESSAGE_TEXTS] = {&m->native,  &m->message_id, &m->type,  &m->role,
                                             &m->content, &m->metadata,   &m->extra, &m->tokens};
    m->seq = e->seq;
    m->created_at = e->created_at;
    m->edited_at = e->edited_at;
    return read_spans(text, e->texts, MESSAGE_TEXTS, texts);
}

static bool read_session(struct sv text, const struct header *h, struct session *out)
{
    struct sv *const texts[SESSION_TEXTS] = {&out->native,   &out->session_id, &out->user_id,
                                             &out->language, &out->context,    &out->metadata,
                                             &out->summary,  &out->forked_from};
    int64_t *const numbers[] = {&out->generation, &out->version,       &out->state_version,
                                &out->last_seq,   &out->message_count, &out->ttl_seconds};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = h->numbers[i];
    out->sliding = h->numbers[6] != 0;
    out->created_at = h->numbers[7];
    out->updated_at = h->numbers[8];
    out->expires_at = h->numbers[9];
    out->mark = (uint64_t)h->numbers[10];
    out->state_mark = (uint64_t)h->numbers[11];
    out->n_messages = h->n_messages;
    return read_spans(text, h->texts, SESSION_TEXTS, texts);
}

bool session_codec_decode(struct request_ctx *ctx, struct sv bytes, struct session *out)
{
    struct header h;
    *out = (struct session){0};
    if (bytes.n < sizeof h)
        return false;
    memcpy(&h, bytes.p, sizeof h);
    const size_t entries = h.n_messages * sizeof(struct entry);
    if (h.magic != codec_magic || h.n_messages > SESSION_NEWEST || bytes.n - sizeof h < entries ||
        bytes.n - sizeof h - entries != h.text_n)
        return false;
    const char *at = bytes.p + sizeof h;
    const struct sv text = {at + entries, h.text_n};
    out->messages = arena_array(ctx->arena, h.n_messages, sizeof(*out->messages));
    if (!out->messages || !read_session(text, &h, out))
        return false;
    for (size_t i = 0; i < h.n_messages; i++) {
        struct entry e;
        memcpy(&e, at + i * sizeof e, sizeof e);
        if (!read_message(text, &e, &out->messages[i]))
            return false;
    }
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * A session as bytes for the caches:
 *
 *   struct head
 *   struct entry of each message
 *   text: the session's members in their native form, those of its messages, oldest first with a
 *         comma between two, and what of the fields is in none of them
 *
 * Whoever answers in the native form copies a part of the text; the fields are places in it, for
 * those who answer in another form and for the next writer, who writes one message and takes over
 * the form of the others.
 *
 * Numbers are in the host's order: hosts of one Redis are of one byte order (others read a miss, by
 * the magic). The magic, and SESSION_LAYOUT, change with every change of this file.
 */
#include "session_internal.h"

#include <string.h>

#include "parley/session/session_json.h"

static const uint64_t codec_magic = UINT64_C(0x04706c7300736c04);
static const uint32_t absent = UINT32_MAX;

/* Bytes at places from the beginning of the text; n of an absent one is absent. */
struct place {
    uint32_t at, n;
};
enum { SESSION_TEXTS = 6, MESSAGE_TEXTS = 7, SESSION_NUMBERS = 12, ROOM = 12 * 1024 };
struct head {
    uint64_t magic;
    int64_t numbers[SESSION_NUMBERS];
    struct place texts[SESSION_TEXTS];
    uint32_t n_messages, text_n;
};
struct entry {
    int64_t seq, created_at;
    struct place texts[MESSAGE_TEXTS];
};
/* Nothing of what is written is a gap of the compiler's. */
_Static_assert(sizeof(struct head) == 8 + 8 * SESSION_NUMBERS + 8 * SESSION_TEXTS + 8, "no gaps");
_Static_assert(sizeof(struct entry) == 16 + 8 * MESSAGE_TEXTS, "no gaps");

/* ---- to bytes ---- */

struct writer {
    struct buf all;   /* head and entries, as yet without their values, and the text */
    size_t base;      /* where the text begins */
    struct buf spare; /* what goes behind all forms */
    struct place *late[SESSION_TEXTS + MESSAGE_TEXTS * SESSION_WINDOW]; /* places in spare */
    size_t n_late;
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

/* Where s is in the form that begins in the text at `from`. was: the form that was copied, which s
 * is a part of; absent: the form was written, and s begins at `at` of all that is written, unless
 * its escapes are written differently. What is in neither is spare. */
static void put_place(struct writer *w, size_t from, struct sv was, struct sv s, size_t at,
                      struct place *out)
{
    *out = (struct place){0, absent};
    if (!s.p)
        return;
    out->n = (uint32_t)s.n;
    if (is_part(s, was)) {
        out->at = (uint32_t)(from + (size_t)(s.p - was.p));
        return;
    }
    if (!was.p && at <= w->all.n && s.n <= w->all.n - at && memcmp(w->all.p + at, s.p, s.n) == 0) {
        out->at = (uint32_t)(at - w->base);
        return;
    }
    out->at = (uint32_t)w->spare.n;
    buf_sv(&w->spare, s);
    w->late[w->n_late++] = out;
}

static void put_message(struct writer *w, const struct session_message *m, struct entry *out)
{
    struct json_writer j;
    struct session_json_offsets places = {{0}};
    const size_t from = text_n(w);
    json_write_init(&j, &w->all);
    session_json_message(&j, m, &places);
    out->seq = m->seq;
    out->created_at = m->created_at;
    if (w->all.failed)
        return;
    out->texts[0] = (struct place){(uint32_t)from, (uint32_t)(text_n(w) - from)};
    const struct sv texts[] = {m->message_id, m->type, m->role, m->content, m->metadata, m->extra};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        put_place(w, from, m->native, texts[i], places.at[i], &out->texts[i + 1]);
}

static void put_session(struct writer *w, const struct session *s, struct head *out)
{
    struct json_writer j;
    struct session_json_offsets places = {{0}};
    json_write_init(&j, &w->all);
    session_json_members(&j, s, &places);
    *out = (struct head){.magic = codec_magic,
                         .numbers = {s->generation, s->version, s->state_version, s->last_seq,
                                     s->message_count, s->ttl_seconds, s->sliding, s->created_at,
                                     s->updated_at, s->expires_at, (int64_t)s->mark,
                                     (int64_t)s->state_mark},
                         .n_messages = (uint32_t)s->n_messages};
    if (w->all.failed)
        return;
    out->texts[0] = (struct place){0, (uint32_t)text_n(w)};
    const struct sv texts[] = {s->session_id, s->user_id, s->language, s->context, s->metadata};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        put_place(w, 0, s->native, texts[i], places.at[i], &out->texts[i + 1]);
}

enum err session_codec_encode(struct request_ctx *ctx, const struct session *session,
                              struct sv *out)
{
    const size_t n = session->n_messages;
    struct writer w = {.base = sizeof(struct head) + n * sizeof(struct entry)};
    struct head head;
    if (n > SESSION_WINDOW)
        return ctx_fault(ctx, ERR_INTERNAL, "a cache keeps no more than a window");
    struct entry *entries = arena_zalloc(ctx->arena, n * sizeof *entries);
    if (!entries)
        return ctx_nomem(ctx);
    buf_init(&w.spare, ctx->arena, 64);
    buf_init(&w.all, ctx->arena, ROOM + session->context.n + session->metadata.n);
    buf_put(&w.all, &(struct head){.magic = 0}, sizeof head);
    buf_put(&w.all, entries, n * sizeof *entries);
    put_session(&w, session, &head);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(&w.all, ',');
        put_message(&w, &session->messages[i], &entries[i]);
    }
    for (size_t i = 0; i < w.n_late; i++)
        w.late[i]->at += (uint32_t)text_n(&w);
    buf_sv(&w.all, buf_get(&w.spare));
    if (w.all.failed || w.spare.failed || w.all.n > UINT32_MAX / 2)
        return ctx_nomem(ctx);
    head.text_n = (uint32_t)text_n(&w);
    memcpy(w.all.p, &head, sizeof head);
    if (n > 0)
        memcpy(w.all.p + sizeof head, entries, n * sizeof *entries);
    *out = buf_get(&w.all);
    return ERR_NONE;
}

/* ---- from bytes ---- */

/* False: not all of them are within the text. */
static bool get_texts(struct sv text, const struct place *places, size_t n, struct sv *const *out)
{
    for (size_t i = 0; i < n; i++) {
        const struct place p = places[i];
        *out[i] = SV_NONE;
        if (p.n == absent)
            continue;
        if (p.at > text.n || p.n > text.n - p.at)
            return false;
        *out[i] = (struct sv){text.p + p.at, p.n};
    }
    return true;
}

static bool get_message(struct sv text, const struct entry *e, struct session_message *m)
{
    struct sv *const texts[MESSAGE_TEXTS] = {&m->native,  &m->message_id, &m->type, &m->role,
                                             &m->content, &m->metadata,   &m->extra};
    m->seq = e->seq;
    m->created_at = e->created_at;
    return get_texts(text, e->texts, MESSAGE_TEXTS, texts);
}

static bool get_session(struct sv text, const struct head *h, struct session *out)
{
    struct sv *const texts[SESSION_TEXTS] = {&out->native,   &out->session_id, &out->user_id,
                                             &out->language, &out->context,    &out->metadata};
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
    return get_texts(text, h->texts, SESSION_TEXTS, texts);
}

bool session_codec_decode(struct request_ctx *ctx, struct sv bytes, struct session *out)
{
    struct head h;
    *out = (struct session){0};
    if (bytes.n < sizeof h)
        return false;
    memcpy(&h, bytes.p, sizeof h);
    const size_t entries = h.n_messages * sizeof(struct entry);
    if (h.magic != codec_magic || h.n_messages > SESSION_WINDOW || bytes.n - sizeof h < entries ||
        bytes.n - sizeof h - entries != h.text_n)
        return false;
    const char *at = bytes.p + sizeof h;
    const struct sv text = {at + entries, h.text_n};
    out->messages = arena_array(ctx->arena, h.n_messages, sizeof(*out->messages));
    if (!out->messages || !get_session(text, &h, out))
        return false;
    for (size_t i = 0; i < h.n_messages; i++) {
        struct entry e;
        memcpy(&e, at + i * sizeof e, sizeof e);
        if (!get_message(text, &e, &out->messages[i]))
            return false;
    }
    return true;
}

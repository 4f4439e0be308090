/* SPDX-License-Identifier: MIT */
/*
 * The native form of a session and its messages: what the native interface answers with, and what
 * the tiers keep, so that a hit is copied and not written again. This is the only place that writes
 * it.
 */
#include "parley/session/session_json.h"

/* A string, of which p says where it begins. */
static void put_text(struct json_writer *j, const char *key, struct sv s, size_t *p)
{
    json_write_key(j, key);
    *p = j->b->n + 1;
    json_write_sv(j, s);
}

static void put_json(struct json_writer *j, const char *key, struct sv s, size_t *p)
{
    json_write_key(j, key);
    *p = j->b->n;
    json_write_raw(j, s);
}

void session_json_message(struct json_writer *j, const struct session_message *m,
                          struct session_json_offsets *places)
{
    struct session_json_offsets unasked;
    size_t *at = places ? places->at : unasked.at;
    if (m->native.p) {
        json_write_raw(j, m->native);
        return;
    }
    json_write_object_open(j);
    put_text(j, "message_id", m->message_id, &at[0]);
    json_put_i64(j, "seq", m->seq);
    put_text(j, "type", m->type, &at[1]);
    put_text(j, "role", m->role, &at[2]);
    put_json(j, "content", m->content, &at[3]);
    put_json(j, "metadata", m->metadata, &at[4]);
    if (m->extra.p)
        put_json(j, "extra", m->extra, &at[5]);
    json_put_time(j, "created_at", m->created_at);
    json_write_object_close(j);
}

/* How many of the messages lie behind each other in their native form, with commas between. */
static size_t run_of(const struct session_message *m, size_t n)
{
    size_t i = 1;
    while (i < n && m[i].native.p && m[i].native.p == m[i - 1].native.p + m[i - 1].native.n + 1 &&
           m[i].native.p[-1] == ',')
        i++;
    return i;
}

void session_json_messages(struct json_writer *j, const struct session_message *m, size_t n)
{
    json_write_array_open(j);
    for (size_t i = 0; i < n;) {
        const size_t run = m[i].native.p ? run_of(m + i, n - i) : 1;
        const struct sv first = m[i].native, last = m[i + run - 1].native;
        if (run > 1)
            json_write_raw(j, (struct sv){first.p, (size_t)(last.p + last.n - first.p)});
        else
            session_json_message(j, &m[i], NULL);
        i += run;
    }
    json_write_array_close(j);
}

void session_json_members(struct json_writer *j, const struct session *s,
                          struct session_json_offsets *places)
{
    struct session_json_offsets unasked;
    size_t *at = places ? places->at : unasked.at;
    if (s->native.p) {
        json_write_raw(j, s->native);
        return;
    }
    put_text(j, "session_id", s->session_id, &at[0]);
    put_text(j, "user_id", s->user_id, &at[1]);
    put_text(j, "language", s->language, &at[2]);
    json_put_i64(j, "version", s->version);
    json_put_i64(j, "state_version", s->state_version);
    json_put_time(j, "created_at", s->created_at);
    json_put_time(j, "updated_at", s->updated_at);
    json_put_time(j, "expires_at", s->expires_at);
    json_write_key(j, "is_expired");
    /* What is expired is not served; see db_now_us. */
    json_write_bool(j, false);
    json_put_i64(j, "ttl_seconds", s->ttl_seconds);
    json_put_sv(j, "expiry", s->sliding ? SV("sliding") : SV("absolute"));
    if (s->context.p)
        put_json(j, "context", s->context, &at[3]);
    put_json(j, "metadata", s->metadata, &at[4]);
    json_put_i64(j, "message_count", s->message_count);
}

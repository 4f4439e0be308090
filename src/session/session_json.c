/* SPDX-License-Identifier: MIT */
/* Only this file writes this form: answers copy it from caches, and must have the same bytes. */
#include "parley/session/session_json.h"

#include "parley/json/members.h"

/* A string; *offset: where its text begins. */
static void write_text(struct json_writer *j, const char *key, struct sv s, size_t *offset)
{
    json_write_key(j, key);
    *offset = j->b->n + 1;
    json_write_sv(j, s);
}

static void write_json(struct json_writer *j, const char *key, struct sv s, size_t *offset)
{
    json_write_key(j, key);
    *offset = j->b->n;
    json_write_raw(j, s);
}

const char *const session_chat_members[] = {
    "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations", NULL};

bool session_has_content_elsewhere(struct sv members)
{
    static const char *const instead[] = {"tool_calls", "function_call", "refusal", "audio"};
    bool has = false;
    for (size_t i = 0; !has && i < ARRAY_LEN(instead); i++) {
        const struct sv value = json_member_get(members, instead[i]);
        has = value.p && !sv_eq(value, SV("null"));
    }
    return has;
}

static void write_extra(struct json_writer *j, const struct session_message *m, size_t *at)
{
    const size_t at_first = j->b->n;
    for (const char *const *name = session_chat_members; *name; name++) {
        const struct sv value = json_member_get(m->extra, *name);
        if (value.p && sv_eq(m->type, SV("message")))
            json_put_raw(j, *name, value);
    }
    const size_t before = j->b->n;
    if (before == at_first) {
        write_json(j, "extra", m->extra, at);
        return;
    }
    json_put_object(j, "extra");
    const size_t empty = j->b->n;
    json_members_write(j, m->extra, session_chat_members);
    json_write_object_close(j);
    if (j->b->n == empty + 1) /* nothing is left */
        j->b->n = before;
}

void session_json_message(struct json_writer *j, const struct session_message *m, size_t *at)
{
    size_t unused[SESSION_JSON_TEXTS];
    at = at ? at : unused;
    if (m->native.p) {
        json_write_raw(j, m->native);
        return;
    }
    json_write_object_open(j);
    write_text(j, "message_id", m->message_id, &at[0]);
    json_put_i64(j, "seq", m->seq);
    write_text(j, "type", m->type, &at[1]);
    write_text(j, "role", m->role, &at[2]);
    write_json(j, "content", m->content, &at[3]);
    write_json(j, "metadata", m->metadata, &at[4]);
    if (m->extra.p)
        write_extra(j, m, &at[5]);
    if (m->tokens.p)
        write_json(j, "tokens", m->tokens, &at[6]);
    json_put_time(j, "created_at", m->created_at);
    if (m->edited_at > 0)
        json_put_time(j, "edited_at", m->edited_at);
    json_write_object_close(j);
}

/* How many of the messages follow each other in memory in their JSON form, with commas between. */
static size_t adjacent(const struct session_message *m, size_t n)
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
        const size_t run = m[i].native.p ? adjacent(m + i, n - i) : 1;
        const struct sv first = m[i].native, last = m[i + run - 1].native;
        if (run > 1)
            json_write_raw(j, (struct sv){first.p, (size_t)(last.p + last.n - first.p)});
        else
            session_json_message(j, &m[i], NULL);
        i += run;
    }
    json_write_array_close(j);
}

void session_json_members(struct json_writer *j, const struct session *s, size_t *at)
{
    size_t unused[SESSION_JSON_TEXTS];
    at = at ? at : unused;
    if (s->native.p) {
        json_write_raw(j, s->native);
        return;
    }
    write_text(j, "session_id", s->session_id, &at[0]);
    write_text(j, "user_id", s->user_id, &at[1]);
    write_text(j, "language", s->language, &at[2]);
    json_put_i64(j, "version", s->version);
    json_put_i64(j, "state_version", s->state_version);
    json_put_time(j, "created_at", s->created_at);
    json_put_time(j, "updated_at", s->updated_at);
    json_put_time(j, "expires_at", s->expires_at);
    json_write_key(j, "is_expired");
    /* An expired session is never read; see db_now_us. */
    json_write_bool(j, false);
    json_put_i64(j, "ttl_seconds", s->ttl_seconds);
    json_put_sv(j, "expiry", s->sliding ? SV("sliding") : SV("absolute"));
    if (s->context.p)
        write_json(j, "context", s->context, &at[3]);
    write_json(j, "metadata", s->metadata, &at[4]);
    if (s->context.p)
        write_json(j, "summary", s->summary, &at[5]);
    write_json(j, "forked_from", s->forked_from, &at[6]);
    json_put_i64(j, "message_count", s->message_count);
}

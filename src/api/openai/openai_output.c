/* SPDX-License-Identifier: MIT */
/*
 * Sessions and messages in OpenAI's form. An item that came through this interface gets back every
 * member that it had. One that came through another interface gets the members that clients need.
 */
#include "openai.h"

#include <string.h>

#include "parley/json/members.h"

void openai_put_id(struct json_writer *j, const char *key, struct sv prefix, struct sv id)
{
    char text[8 + UUID_HEX_LEN + 1];
    memcpy(text, prefix.p, prefix.n);
    if (uuid_convert(id, true, text + prefix.n))
        id = (struct sv){text, prefix.n + UUID_HEX_LEN};
    json_put_sv(j, key, id);
}

/* A plain text becomes a list of one part, as OpenAI shows it, and null an empty one. */
static void write_content(struct json_writer *j, const struct session_message *m)
{
    if (sv_eq(m->content, SV("null"))) {
        json_write_raw(j, SV("[]"));
        return;
    }
    if (m->content.n == 0 || m->content.p[0] != '"') {
        json_write_raw(j, m->content);
        return;
    }
    const bool answer = sv_eq(m->role, SV("assistant"));
    json_write_array_open(j);
    json_write_object_open(j);
    json_put_sv(j, "type", answer ? SV("output_text") : SV("input_text"));
    json_put_raw(j, "text", m->content);
    if (answer) {
        json_put_array(j, "annotations");
        json_write_array_close(j);
    }
    json_write_object_close(j);
    json_write_array_close(j);
}

/* Whether clients expect a status in every item of the type. */
static bool has_status(struct sv type)
{
    return sv_eq(type, SV("message")) || sv_eq(type, SV("function_call")) ||
           sv_eq(type, SV("function_call_output"));
}

void openai_write_item(struct json_writer *j, const struct session_message *m)
{
    static const char *const named[] = {"id", "type", "role", "content", NULL};
    static const char *const id_and_type[] = {"id", "type", NULL};
    /* In items other than messages, role and content can come from the native interface; if they
     * came from this one, they are in extra. */
    const bool own = m->role.p || m->content.p;
    json_write_object_open(j);
    openai_put_id(j, "id", MESSAGE_PREFIX, m->message_id);
    json_put_sv(j, "type", m->type);
    if (m->role.p)
        json_put_sv(j, "role", m->role);
    if (has_status(m->type) && !json_member_get(m->extra, "status").p)
        json_put_sv(j, "status", SV("completed"));
    if (m->content.p) {
        json_write_key(j, "content");
        write_content(j, m);
    }
    json_members_write(j, m->extra, own ? named : id_and_type);
    if (!sv_eq(m->metadata, SV("{}")) && !json_member_get(m->extra, "metadata").p)
        json_put_raw(j, "metadata", m->metadata);
    json_write_object_close(j);
}

void openai_write_list(struct json_writer *j, const struct session_message *m, size_t n,
                       bool has_more, int64_t generation)
{
    char place[UUID_LEN + 1];
    struct sv last = n > 0 ? m[n - 1].message_id : SV_NONE;
    if (has_more && n > 0) {
        uuid_v8_pack((uint64_t)generation, (uint64_t)m[n - 1].seq, place);
        last = sv_from(place);
    }
    json_write_object_open(j);
    json_put_sv(j, "object", SV("list"));
    json_put_array(j, "data");
    for (size_t i = 0; i < n; i++)
        openai_write_item(j, &m[i]);
    json_write_array_close(j);
    openai_put_id(j, "first_id", MESSAGE_PREFIX, n > 0 ? m[0].message_id : SV_NONE);
    openai_put_id(j, "last_id", MESSAGE_PREFIX, last);
    json_put_bool(j, "has_more", has_more);
    json_write_object_close(j);
}

enum err openai_answer_conversation(struct api_call *c)
{
    static const char *const own[] = {"id", "object", "created_at", "metadata", NULL};
    const int64_t second_us = 1000000;
    const struct session *s = &c->session;
    struct json_writer j = api_begin_object(c->res, 200);
    openai_put_id(&j, "id", SESSION_PREFIX, s->session_id);
    json_put_sv(&j, "object", SV("conversation"));
    json_put_i64(&j, "created_at", s->created_at / second_us);
    json_put_raw(&j, "metadata", s->metadata);
    struct sv kept = json_member_get(s->context, "openai");
    if (kept.n > 0 && kept.p[0] == '{')
        json_members_write(&j, kept, own);
    json_write_object_close(&j);
    return api_set_etag_session(c, 's');
}

/* SPDX-License-Identifier: MIT */
/* Threads and messages in LangGraph's form. */
#include "langgraph.h"

#include "parley/base/uuid.h"
#include "parley/json/members.h"

/* LangChain's name for a role. */
static struct sv type_of(struct sv role)
{
    if (sv_eq(role, SV("user")))
        return SV("human");
    return sv_eq(role, SV("assistant")) ? SV("ai") : role;
}

/* An item of another type than "message" has most of its members in extra. */
static void write_message(struct json_writer *j, const struct session_message *m)
{
    const bool proper = sv_eq(m->type, SV("message"));
    const char *own[5] = {"type", "id"};
    size_t n = 2;
    json_write_object_open(j);
    json_put_sv(j, "type", proper ? type_of(m->role) : m->type);
    json_put_sv(j, "id", m->message_id);
    if (!proper && m->role.p) {
        own[n++] = "role";
        json_put_sv(j, "role", m->role);
    }
    if (m->content.p) {
        own[n++] = "content";
        json_put_raw(j, "content", m->content);
    }
    json_members_write(j, m->extra, own);
    json_write_object_close(j);
}

static void put_values(struct json_writer *j, const struct session *s, bool messages)
{
    static const char *const own[] = {"messages", NULL};
    json_put_object(j, "values");
    json_members_write(j, s->context, own);
    if (messages) {
        json_put_array(j, "messages");
        for (size_t i = 0; i < s->n_messages; i++)
            write_message(j, &s->messages[i]);
        json_write_array_close(j);
    }
    json_write_object_close(j);
}

void langgraph_write_thread(struct json_writer *j, const struct session *s, unsigned fields)
{
    json_write_object_open(j);
    if (fields & LANGGRAPH_ID)
        json_put_sv(j, "thread_id", s->session_id);
    if (fields & LANGGRAPH_CREATED)
        json_put_time(j, "created_at", s->created_at);
    if (fields & LANGGRAPH_UPDATED)
        json_put_time(j, "updated_at", s->updated_at);
    if (fields & LANGGRAPH_STATE_UPDATED)
        json_put_time(j, "state_updated_at", s->updated_at);
    if (fields & LANGGRAPH_METADATA)
        json_put_raw(j, "metadata", s->metadata);
    if (fields & LANGGRAPH_STATUS)
        json_put_sv(j, "status", SV("idle"));
    if (fields & LANGGRAPH_CONFIG)
        json_put_raw(j, "config", SV("{}"));
    if (fields & LANGGRAPH_UNREAD)
        json_put_raw(j, "values", SV_NONE);
    else if (fields & LANGGRAPH_VALUES)
        put_values(j, s, fields & LANGGRAPH_MESSAGES);
    if (fields & LANGGRAPH_INTERRUPTS)
        json_put_raw(j, "interrupts", SV("{}"));
    if (fields & LANGGRAPH_ERROR)
        json_put_raw(j, "error", SV_NONE);
    api_write_degraded(j, s->degraded);
    json_write_object_close(j);
}

/* A UUID has room for the upper 58 bits of the mark; If-Match compares as many. */
void langgraph_checkpoint_id(int64_t generation, uint64_t mark, char out[UUID_LEN + 1])
{
    uuid_v8_pack((uint64_t)generation, mark >> 6, out);
}

/* map: with the checkpoints of its subgraphs, of which there are none. */
static void put_checkpoint(struct json_writer *j, const char *key, struct sv thread_id,
                           int64_t generation, uint64_t mark, bool map)
{
    char id[UUID_LEN + 1];
    langgraph_checkpoint_id(generation, mark, id);
    json_put_object(j, key);
    json_put_sv(j, "thread_id", thread_id);
    json_put_sv(j, "checkpoint_ns", SV(""));
    json_put_sv(j, "checkpoint_id", ((struct sv){id, UUID_LEN}));
    if (map)
        json_put_raw(j, "checkpoint_map", SV_NONE);
    json_write_object_close(j);
}

void langgraph_write_updated(struct json_writer *j, const struct session_receipt *r)
{
    json_write_object_open(j);
    put_checkpoint(j, "checkpoint", r->session_id, r->generation, r->mark, true);
    put_checkpoint(j, "configurable", r->session_id, r->generation, r->mark, false);
    json_write_object_close(j);
}

void langgraph_write_state(struct json_writer *j, const struct session *s)
{
    static const struct sv none = SV_INIT("[]");
    json_write_object_open(j);
    put_values(j, s, true);
    json_put_raw(j, "next", none);
    put_checkpoint(j, "checkpoint", s->session_id, s->generation, s->mark, true);
    json_put_raw(j, "metadata", s->metadata);
    json_put_time(j, "created_at", s->updated_at);
    json_put_raw(j, "parent_checkpoint", SV_NONE);
    json_put_raw(j, "tasks", none);
    json_put_raw(j, "interrupts", none);
    api_write_degraded(j, s->degraded);
    json_write_object_close(j);
}

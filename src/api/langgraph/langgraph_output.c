/* SPDX-License-Identifier: MIT */
/* Threads and messages in LangGraph's form. */
#include "langgraph.h"

#include "parley/json/members.h"
#include "parley/session/session_json.h"

/* LangChain's name for a role. */
static struct sv type_of(struct sv role)
{
    if (sv_eq(role, SV("user")))
        return SV("human");
    return sv_eq(role, SV("assistant")) ? SV("ai") : role;
}

/* ---- tool calls: of OpenAI's form in LangChain's ---- */

/* The arguments as a JSON object: they are one, or a string that holds one. Absent: neither. The
 * memory of the check is freed at once, because an answer may have any number of calls. */
static struct sv args_of(struct request_ctx *ctx, struct json_writer *j, struct sv arguments)
{
    const struct json_node node = {.type = JSON_IS_STRING, .raw = arguments};
    struct json_doc doc;
    struct sv object = SV_NONE;
    struct sv text;
    if (!arguments.p || sv_eq(arguments, SV("null")) || sv_eq(arguments, SV("\"\"")))
        return SV("{}");
    if (arguments.p[0] != '"')
        return arguments.p[0] == '{' ? arguments : SV_NONE;
    const enum err e = json_doc_string(ctx, &node, "", &text);
    ctx_clear_error(ctx);
    j->b->failed = j->b->failed || e == ERR_NOMEM;
    if (e != ERR_NONE)
        return SV_NONE;
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    if (json_doc_parse(ctx, text, json_nothing, &doc) == ERR_NONE &&
        doc.nodes[0].type == JSON_IS_OBJECT)
        object = doc.nodes[0].raw;
    arena_rewind(ctx->arena, mark);
    ctx_clear_error(ctx);
    return object;
}

/* The function of a call in OpenAI's form; absent: it has another form. */
static struct sv function_of(struct sv call)
{
    const struct sv function = call.p[0] == '{' ? json_member_get(call, "function") : SV_NONE;
    return function.p && function.p[0] == '{' ? function : SV_NONE;
}

/* valid: writes the calls of the list whose arguments are an object; else the others. */
static void write_calls(struct request_ctx *ctx, struct json_writer *j, struct sv calls, bool valid)
{
    struct sv call;
    json_put_array(j, valid ? "tool_calls" : "invalid_tool_calls");
    for (sv_skip(&calls, 1); json_element_next(&calls, &call);) {
        const struct arena_mark mark = arena_get_mark(ctx->arena);
        const struct sv function = function_of(call);
        const struct sv arguments = json_member_get(function, "arguments");
        const struct sv args = function.p ? args_of(ctx, j, arguments) : call;
        if ((args.p != NULL) != valid) {
            arena_rewind(ctx->arena, mark);
            continue;
        }
        if (!function.p) {
            json_write_raw(j, call);
            continue;
        }
        json_write_object_open(j);
        json_put_raw(j, "name", json_member_get(function, "name"));
        json_put_raw(j, "args", valid ? args : arguments);
        json_put_raw(j, "id", json_member_get(call, "id"));
        if (!valid)
            json_put_sv(j, "error", SV("The arguments are not the text of a JSON object."));
        json_put_sv(j, "type", valid ? SV("tool_call") : SV("invalid_tool_call"));
        json_write_object_close(j);
    }
    json_write_array_close(j);
}

/* Whether a list has calls in OpenAI's form. The first call decides. */
static bool is_openai_form(struct sv calls)
{
    struct sv call;
    if (!calls.p || calls.p[0] != '[')
        return false;
    sv_skip(&calls, 1);
    return json_element_next(&calls, &call) && function_of(call).p;
}

/* A member of an item; absent: null. */
static struct sv part_of(const struct session_message *m, const char *name)
{
    const struct sv part = session_item_member(m, name);
    return part.p ? part : SV("null");
}

/* LangChain's clients cannot read a thread that has an item. So OpenAI's items of a tool call and
 * of its output are written as LangChain's messages. */
static bool write_tool_item(struct request_ctx *ctx, struct json_writer *j,
                            const struct session_message *m)
{
    static const char *const own[] = {"type",         "id",      "content",    "name",
                                      "arguments",    "output",  "tool_calls", "invalid_tool_calls",
                                      "tool_call_id", "call_id", NULL};
    const struct sv call_id = part_of(m, "call_id"), output = part_of(m, "output");
    const bool is_call = sv_eq(m->type, SV("function_call"));
    struct sv content = m->content, calls = SV_NONE;
    if (!is_call && !sv_eq(m->type, SV("function_call_output")))
        return false;
    if (is_call)
        calls = arena_printf(
            ctx->arena, "[{\"id\":%.*s,\"function\":{\"name\":%.*s,\"arguments\":%.*s}}]",
            SV_ARG(call_id), SV_ARG(part_of(m, "name")), SV_ARG(part_of(m, "arguments")));
    else if (!sv_eq(output, SV("null")))
        content = output;
    json_put_sv(j, "type", is_call ? SV("ai") : SV("tool"));
    json_put_sv(j, "id", m->message_id);
    json_write_key(j, "content");
    if (content.p && (content.p[0] == '"' || content.p[0] == '['))
        json_write_raw(j, content);
    else
        json_write_sv(j, is_call || !content.p ? SV("") : content);
    j->b->failed = j->b->failed || (is_call && !calls.p);
    if (calls.p) {
        write_calls(ctx, j, calls, true);
        write_calls(ctx, j, calls, false);
    }
    if (!is_call)
        json_put_raw(j, "tool_call_id", call_id);
    json_members_write(j, m->extra, own);
    json_write_object_close(j);
    return true;
}

/* An item of another type than "message" has most of its members in extra. */
static void write_message(struct request_ctx *ctx, struct json_writer *j,
                          const struct session_message *m)
{
    const bool proper = sv_eq(m->type, SV("message"));
    const struct sv calls = proper ? json_member_get(m->extra, "tool_calls") : SV_NONE;
    const char *own[7] = {"type", "id"};
    size_t n = 2;
    json_write_object_open(j);
    if (write_tool_item(ctx, j, m))
        return;
    json_put_sv(j, "type", proper ? type_of(m->role) : m->type);
    json_put_sv(j, "id", m->message_id);
    if (!proper && m->role.p) {
        own[n++] = "role";
        json_put_sv(j, "role", m->role);
    }
    if (m->content.p) {
        own[n++] = "content";
        json_put_raw(j, "content", sv_eq(m->content, SV("null")) ? SV("\"\"") : m->content);
    }
    if (is_openai_form(calls)) {
        own[n++] = "tool_calls";
        own[n++] = "invalid_tool_calls";
        write_calls(ctx, j, calls, true);
        write_calls(ctx, j, calls, false);
    }
    json_members_write(j, m->extra, own);
    json_write_object_close(j);
}

static void write_values(struct request_ctx *ctx, struct json_writer *j, const struct session *s,
                         bool messages)
{
    static const char *const own[] = {"messages", NULL};
    json_put_object(j, "values");
    json_members_write(j, s->context, own);
    if (messages) {
        json_put_array(j, "messages");
        for (size_t i = 0; i < s->n_messages; i++)
            write_message(ctx, j, &s->messages[i]);
        json_write_array_close(j);
    }
    json_write_object_close(j);
}

void langgraph_write_thread(struct request_ctx *ctx, struct json_writer *j, const struct session *s,
                            unsigned fields)
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
        write_values(ctx, j, s, fields & LANGGRAPH_MESSAGES);
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
static void write_checkpoint(struct json_writer *j, const char *key, struct sv thread_id,
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
    write_checkpoint(j, "checkpoint", r->session_id, r->generation, r->mark, true);
    write_checkpoint(j, "configurable", r->session_id, r->generation, r->mark, false);
    json_write_object_close(j);
}

void langgraph_write_state(struct request_ctx *ctx, struct json_writer *j, const struct session *s)
{
    static const struct sv none = SV_INIT("[]");
    json_write_object_open(j);
    write_values(ctx, j, s, true);
    json_put_raw(j, "next", none);
    write_checkpoint(j, "checkpoint", s->session_id, s->generation, s->mark, true);
    json_put_raw(j, "metadata", s->metadata);
    json_put_time(j, "created_at", s->updated_at);
    json_put_raw(j, "parent_checkpoint", SV_NONE);
    json_put_raw(j, "tasks", none);
    json_put_raw(j, "interrupts", none);
    api_write_degraded(j, s->degraded);
    json_write_object_close(j);
}

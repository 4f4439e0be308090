/* SPDX-License-Identifier: MIT */
/*
 * Reads the values of a thread. A message comes in one of three forms: LangChain's ({"type":
 * "human", "content": …}), that of LangChain's JavaScript objects as JSON ({"lc": 1, "type":
 * "constructor", "id": […, "HumanMessage"], "kwargs": {…}}), or OpenAI's ({"role": "user", …}).
 * Role, content and id become those of the message; all other members go into its extra, as they
 * were written. An item of an unknown type is stored as that type, with all members in extra.
 */
#include "langgraph.h"

#include <stdio.h>

#include "parley/json/members.h"

/* The types of messages, and the roles that they are stored as. */
static const struct {
    const char *type, *role;
} roles[] = {{"human", "user"},          {"ai", "assistant"},      {"system", "system"},
             {"tool", "tool"},           {"function", "function"}, {"developer", "developer"},
             {"chat", "chat"},           {"generic", "generic"},   {"user", "user"},
             {"assistant", "assistant"}, {"remove", NULL}};

static struct sv role_of(struct sv type)
{
    const size_t i = type.p ? names_index(&NAMES(roles), type) : ARRAY_LEN(roles);
    return i < ARRAY_LEN(roles) ? sv_from(roles[i].role) : SV_NONE;
}

/* The parts of a message that was sent; body is the object that has its members. */
struct sent_message {
    const struct json_node *body;
    struct sv type, role, id, content;
};

static const struct json_field sent_fields[] = {
    {"type", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, type), 1, API_NAME_MAX},
    {"role", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, role), 1, API_NAME_MAX},
    {"id", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, id), 0, 0},
    {"content", JSON_ANY_TEXT, 0, offsetof(struct sent_message, content), 0, 0}};

/* The type of a class: "human" of "HumanMessage", "ai" of "AIMessageChunk". Other names stay. */
static struct sv type_of_class(struct sv name)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        const struct sv type = sv_from(roles[i].type);
        if (name.n <= type.n || !sv_eq_nocase((struct sv){name.p, type.n}, type))
            continue;
        const struct sv rest = {name.p + type.n, name.n - type.n};
        if (sv_eq(rest, SV("Message")) || sv_eq(rest, SV("MessageChunk")))
            return type;
    }
    return name;
}

/* An object of LangChain's JavaScript library, written as JSON. */
static enum err read_constructed(const struct json_input *in, struct sent_message *out)
{
    struct constructed {
        const struct json_node *id, *kwargs;
    } c = {NULL, NULL};
    static const struct json_field fields[] = {
        {"id", JSON_ARRAY, JSON_REQUIRED, offsetof(struct constructed, id), 1, 16},
        {"kwargs", JSON_OBJECT, JSON_REQUIRED, offsetof(struct constructed, kwargs), 0, 0}};
    char path[128];
    snprintf(path, sizeof(path), "%s.kwargs", in->path);
    TRY(json_read(in, fields, JSON_IGNORED, &c));
    const struct json_node *name = json_doc_first(in->doc, c.id);
    while (json_doc_next(in->doc, name))
        name = json_doc_next(in->doc, name);
    if (name->type != JSON_IS_STRING)
        return api_bad_field(in, "id", "must end in the name of a class.");
    const struct json_input kwargs = {in->ctx, in->doc, c.kwargs, path};
    TRY(json_read(&kwargs, sent_fields, JSON_IGNORED, out));
    out->body = c.kwargs;
    return json_doc_string(in->ctx, name, in->path, &out->type);
}

/* A text alone is a human's, and [type, content] is a message, as LangChain has them. */
static enum err read_short(const struct json_input *in, struct sent_message *out)
{
    const struct json_node *type = json_doc_first(in->doc, in->node);
    *out = (struct sent_message){.body = in->node, .type = SV("human"), .content = in->node->raw};
    if (in->node->type == JSON_IS_STRING)
        return ERR_NONE;
    const bool pair = in->node->children == 2 && type->type == JSON_IS_STRING;
    if (pair)
        TRY(json_doc_string(in->ctx, type, in->path, &out->type));
    if (!pair || !role_of(out->type).p)
        return ctx_fail(in->ctx, ERR_INVALID, "invalid_field", in->path,
                        "A message is an object, a text, or a list of a type, such as human or ai, "
                        "and a content.");
    out->content = json_doc_next(in->doc, type)->raw;
    return ERR_NONE;
}

static enum err read_parts(const struct json_input *in, struct sent_message *out)
{
    if (in->node->type == JSON_IS_STRING || in->node->type == JSON_IS_ARRAY)
        return read_short(in, out);
    *out = (struct sent_message){.body = in->node};
    TRY(json_doc_member(in->doc, in->node, SV("lc")) &&
                json_doc_member(in->doc, in->node, SV("kwargs"))
            ? read_constructed(in, out)
            : json_read(in, sent_fields, JSON_IGNORED, out));
    out->type = type_of_class(out->type);
    return api_message_id(in, "id", &out->id);
}

static enum err read_message(const struct json_input *in, const struct sent_message *f,
                             struct session_message *out)
{
    static const char *const by_type[] = {"type", "id", "content", NULL};
    static const char *const by_role[] = {"type", "id", "content", "role", NULL};
    const bool typed = f->type.p && role_of(f->type).p;
    const struct sv known = role_of(typed ? f->type : f->role);
    out->type = SV("message");
    out->role = known.p ? known : f->role;
    if (!out->role.p && !f->type.p)
        return api_missing_field(in, "type");
    TRY(api_check_role(in, out->role));
    /* A message that only calls tools: its content is null in OpenAI's form, "" in LangChain's. */
    out->content = f->content;
    if (!sv_eq(out->content, SV("null")))
        TRY(api_check_content(&(struct json_input){in->ctx, in->doc, f->body, in->path},
                              &out->content));
    if (sv_eq(out->content, SV("null")))
        out->content = SV("\"\"");
    return f->body->type == JSON_IS_OBJECT
               ? json_members_without(in->ctx, f->body->raw, typed ? by_type : by_role, &out->extra)
               : ERR_NONE;
}

static enum err read_item(const struct json_input *in, const struct sent_message *f,
                          struct session_message *out)
{
    static const char *const own[] = {"type", "id", NULL};
    *out = (struct session_message){.message_id = f->id, .metadata = SV("{}")};
    if (!f->type.p || sv_eq(f->type, SV("message")) || role_of(f->type).p)
        return read_message(in, f, out);
    TRY(api_check_name(in, "type", f->type));
    out->type = f->type;
    return json_members_without(in->ctx, f->body->raw, own, &out->extra);
}

enum err langgraph_read_message(const struct json_input *in, struct session_message *out)
{
    struct sent_message f;
    TRY(read_parts(in, &f));
    return read_item(in, &f, out);
}

/* ---- add_messages ---- */

static size_t index_of(const struct langgraph_values *v, struct sv id)
{
    size_t i = 0;
    while (i < v->n && !(v->messages[i].message_id.p && sv_eq(v->messages[i].message_id, id)))
        i++;
    return i;
}

/* A message that these updates added may also be in the thread, so it is removed there as well. */
static enum err remove_message(const struct json_input *in, struct sv id, size_t at,
                               struct langgraph_values *v)
{
    if (!id.p)
        return api_missing_field(in, "id");
    if (sv_eq(id, SV("__remove_all__"))) {
        v->clear = true;
        v->n = 0;
        return ERR_NONE;
    }
    const size_t i = index_of(v, id);
    const bool added = i < v->n && v->edits[i] == SESSION_PUT;
    if (!added && (v->fresh || v->clear))
        return api_bad_field(in, "id", "is not the id of a message in this request.");
    if (i == v->n)
        v->n++;
    v->messages[i] =
        (struct session_message){.message_id = id, .type = SV("message"), .metadata = SV("{}")};
    v->edits[i] = added ? SESSION_REMOVE_IF_THERE : SESSION_REMOVE;
    v->indexes[i] = at;
    return ERR_NONE;
}

/* at: the index in the list that was sent. */
static enum err add_message(const struct json_input *in, size_t at, struct langgraph_values *v)
{
    struct sent_message f;
    struct session_message draft;
    TRY(read_parts(in, &f));
    if (sv_eq(f.type, SV("remove")))
        return remove_message(in, f.id, at, v);
    TRY(read_item(in, &f, &draft));
    const size_t i = draft.message_id.p ? index_of(v, draft.message_id) : v->n;
    if (i == v->n)
        v->n++;
    v->messages[i] = draft;
    v->edits[i] = SESSION_PUT;
    v->indexes[i] = at;
    return ERR_NONE;
}

/* A document has no more messages than values. */
static enum err make_room(struct request_ctx *ctx, const struct json_doc *doc,
                          struct langgraph_values *v)
{
    const size_t most = doc->n < SESSION_MESSAGES_MAX ? doc->n : SESSION_MESSAGES_MAX;
    v->messages = arena_array(ctx->arena, most, sizeof(*v->messages));
    v->edits = arena_array(ctx->arena, most, sizeof(*v->edits));
    v->indexes = arena_array(ctx->arena, most, sizeof(*v->indexes));
    v->others = (struct json_writer){.b = &v->others_text};
    buf_init(v->others.b, ctx->arena, 0);
    json_write_object_open(&v->others);
    return v->messages && v->edits && v->indexes ? ERR_NONE : ctx_nomem(ctx);
}

static enum err add_messages(const struct json_input *values, const struct json_node *list,
                             struct langgraph_values *v)
{
    const bool many = list->type == JSON_IS_ARRAY;
    const size_t n = many ? list->children : 1;
    char path[128];
    struct json_input message = {values->ctx, values->doc, list, path};
    if (v->n + n > SESSION_MESSAGES_MAX)
        return api_bad_field(values, "messages", "may hold at most 1000, in all updates together.");
    if (many)
        message.node = json_doc_first(values->doc, list);
    for (size_t i = 0; i < n; i++, message.node = json_doc_next(values->doc, message.node)) {
        snprintf(path, sizeof(path), many ? "%s.messages[%zu]" : "%s.messages", values->path, i);
        TRY(add_message(&message, i, v));
    }
    return ERR_NONE;
}

enum err langgraph_add_values(const struct json_input *in, struct langgraph_values *into)
{
    static const char *const own[] = {"messages", NULL};
    if (!in->node || in->node->type == JSON_IS_NULL)
        return ERR_NONE;
    if (in->node->type != JSON_IS_OBJECT)
        return ctx_fail(in->ctx, ERR_INVALID, "wrong_type", in->path, "%s must be an object.",
                        in->path);
    if (!into->messages)
        TRY(make_room(in->ctx, in->doc, into));
    const struct json_node *messages = json_doc_member(in->doc, in->node, SV("messages"));
    if (messages && messages->type != JSON_IS_NULL)
        TRY(add_messages(in, messages, into));
    const size_t before = into->others_text.n;
    json_members_write(&into->others, in->node->raw, own);
    into->n_others += into->others_text.n > before;
    return ERR_NONE;
}

enum err langgraph_values_context(struct request_ctx *ctx, struct langgraph_values *v,
                                  struct sv *out)
{
    *out = SV_NONE;
    if (v->n_others == 0)
        return ERR_NONE;
    json_write_object_close(&v->others);
    if (v->others_text.failed)
        return ctx_nomem(ctx);
    *out = buf_get(v->others.b);
    return v->n_others == 1 ? ERR_NONE : json_merge(ctx, SV("{}"), *out, JSON_MERGE_OVERLAY, out);
}

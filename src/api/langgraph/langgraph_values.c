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
#include <string.h>

#include "parley/json/members.h"

/* The types of messages, and the roles that they are stored as. */
static const struct {
    const char *type, *role;
} roles[] = {{"human", "user"},         {"ai", "assistant"},      {"system", "system"},
             {"tool", "tool"},          {"function", "function"}, {"developer", "developer"},
             {"chat", "chat"},          {"generic", "generic"},   {"user", "user"},
             {"assistant", "assistant"}};

static struct sv role_of(struct sv type)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (sv_eq(type, sv_from(roles[i].type)))
            return sv_from(roles[i].role);
    return SV_NONE;
}

/* The parts of a message that was sent; body is the object that has its members. */
struct sent_message {
    const struct json_node *body, *content;
    struct sv type, role, id;
};

static const struct json_field sent_fields[] = {
    {"type", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, type), 1, API_NAME_MAX},
    {"role", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, role), 1, API_NAME_MAX},
    {"id", JSON_STRING, JSON_NULLABLE, offsetof(struct sent_message, id), 0, 0},
    {"content", JSON_ANY, 0, offsetof(struct sent_message, content), 0, 0}};

static bool cut_end(struct sv *s, struct sv end)
{
    if (s->n <= end.n || memcmp(s->p + s->n - end.n, end.p, end.n) != 0)
        return false;
    s->n -= end.n;
    return true;
}

/* Turns a class such as "HumanMessage" or "AIMessageChunk" into its type, "human" or "ai". */
static enum err type_of_class(struct request_ctx *ctx, struct sv *name)
{
    struct sv s = *name;
    (void)cut_end(&s, SV("Chunk"));
    if (!cut_end(&s, SV("Message")))
        return ERR_NONE;
    char *type = arena_alloc(ctx->arena, s.n);
    if (!type)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < s.n; i++)
        type[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 'a' - 'A' : s.p[i]);
    *name = (struct sv){type, s.n};
    return ERR_NONE;
}

/* An object of LangChain's JavaScript library, written as JSON. */
static enum err read_constructed(struct request_ctx *ctx, const struct json_doc *doc,
                                 const struct json_node *node, const char *path,
                                 struct sent_message *out)
{
    struct constructed {
        const struct json_node *id, *kwargs;
    } c;
    static const struct json_field fields[] = {
        {"id", JSON_ARRAY, JSON_REQUIRED, offsetof(struct constructed, id), 1, 16},
        {"kwargs", JSON_OBJECT, JSON_REQUIRED, offsetof(struct constructed, kwargs), 0, 0}};
    struct sv inner = arena_printf(ctx->arena, "%s.kwargs", path);
    if (!inner.p)
        return ctx_nomem(ctx);
    TRY(json_read_members(ctx, doc, node, path, fields, ARRAY_LEN(fields), &c));
    const struct json_node *name = json_doc_first(doc, c.id);
    while (json_doc_next(doc, name))
        name = json_doc_next(doc, name);
    if (name->type != JSON_IS_STRING)
        return api_bad_field(ctx, path, "id", "must end in the name of a class.");
    TRY(json_read_members(ctx, doc, c.kwargs, inner.p, sent_fields, ARRAY_LEN(sent_fields), out));
    out->body = c.kwargs;
    return json_doc_string(ctx, name, &out->type);
}

static enum err read_parts(struct request_ctx *ctx, const struct json_doc *doc,
                           const struct json_node *node, const char *path, struct sent_message *out)
{
    *out = (struct sent_message){.body = node};
    if (node->type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "wrong_type", path, "%s must be a message.", path);
    TRY(json_doc_member(doc, node, SV("lc")) && json_doc_member(doc, node, SV("kwargs"))
            ? read_constructed(ctx, doc, node, path, out)
            : json_read_members(ctx, doc, node, path, sent_fields, ARRAY_LEN(sent_fields), out));
    if (out->type.p)
        TRY(type_of_class(ctx, &out->type));
    return api_message_id(ctx, path, "id", &out->id);
}

static enum err read_message(struct request_ctx *ctx, const struct sent_message *f,
                             const char *path, struct session_message_draft *out)
{
    static const char *const by_type[] = {"type", "id", "content", NULL};
    static const char *const by_role[] = {"type", "id", "content", "role", NULL};
    const bool typed = f->type.p && role_of(f->type).p;
    const struct sv known = role_of(typed ? f->type : f->role);
    out->type = SV("message");
    out->role = known.p ? known : f->role;
    TRY(api_check_name(ctx, path, out->role.p || f->type.p ? "role" : "type", out->role));
    /* A message that only calls tools: its content is null in OpenAI's form, "" in LangChain's. */
    const bool empty = f->content && f->content->type == JSON_IS_NULL;
    if (!empty)
        TRY(api_check_content(ctx, path, f->content));
    out->content = empty ? SV("\"\"") : f->content->raw;
    return json_members_without(ctx, f->body->raw, typed ? by_type : by_role, &out->extra);
}

static enum err read_item(struct request_ctx *ctx, const struct sent_message *f, const char *path,
                          struct session_message_draft *out)
{
    static const char *const own[] = {"type", "id", NULL};
    *out = (struct session_message_draft){.message_id = f->id, .metadata = SV("{}")};
    if (!f->type.p || sv_eq(f->type, SV("message")) || role_of(f->type).p)
        return read_message(ctx, f, path, out);
    TRY(api_check_name(ctx, path, "type", f->type));
    out->type = f->type;
    return json_members_without(ctx, f->body->raw, own, &out->extra);
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
static enum err remove_message(struct request_ctx *ctx, const struct sent_message *f,
                               const char *path, struct langgraph_values *v, size_t at)
{
    if (!f->id.p)
        return api_bad_field(ctx, path, "id", "is missing.");
    if (sv_eq(f->id, SV("__remove_all__"))) {
        v->clear = true;
        v->n = 0;
        return ERR_NONE;
    }
    const size_t i = index_of(v, f->id);
    const bool added = i < v->n && v->edits[i] == SESSION_PUT;
    if (!added && (v->fresh || v->clear))
        return api_bad_field(ctx, path, "id", "is not the id of a message in this request.");
    if (i == v->n)
        v->n++;
    v->messages[i] = (struct session_message_draft){
        .message_id = f->id, .type = SV("message"), .metadata = SV("{}")};
    v->edits[i] = added ? SESSION_REMOVE_IF_THERE : SESSION_REMOVE;
    v->indexes[i] = at;
    return ERR_NONE;
}

static enum err add_message(struct request_ctx *ctx, const struct json_doc *doc,
                            const struct json_node *node, const char *path, size_t at,
                            struct langgraph_values *v)
{
    struct sent_message f;
    struct session_message_draft draft;
    TRY(read_parts(ctx, doc, node, path, &f));
    if (f.type.p && sv_eq(f.type, SV("remove")))
        return remove_message(ctx, &f, path, v, at);
    TRY(read_item(ctx, &f, path, &draft));
    const size_t i = draft.message_id.p ? index_of(v, draft.message_id) : v->n;
    if (i == v->n)
        v->n++;
    v->messages[i] = draft;
    v->edits[i] = SESSION_PUT;
    v->indexes[i] = at;
    return ERR_NONE;
}

/* Doubles at least, so that many updates take linear time. */
static size_t grown_room(size_t room, size_t need)
{
    return need > room * 2 ? need : room * 2;
}

static enum err make_room(struct request_ctx *ctx, size_t more, struct langgraph_values *v)
{
    const size_t old = v->room;
    if (v->n + more <= old)
        return ERR_NONE;
    v->room = grown_room(old, v->n + more);
    v->messages = arena_grow(ctx->arena, v->messages, old * sizeof(*v->messages),
                             v->room * sizeof(*v->messages));
    v->edits =
        arena_grow(ctx->arena, v->edits, old * sizeof(*v->edits), v->room * sizeof(*v->edits));
    v->indexes = arena_grow(ctx->arena, v->indexes, old * sizeof(*v->indexes),
                            v->room * sizeof(*v->indexes));
    return v->messages && v->edits && v->indexes ? ERR_NONE : ctx_nomem(ctx);
}

static enum err add_messages(struct request_ctx *ctx, const struct json_doc *doc,
                             const struct json_node *list, const char *path,
                             struct langgraph_values *v)
{
    const bool many = list->type == JSON_IS_ARRAY;
    const size_t n = many ? list->children : 1;
    char inner[128];
    if (v->n + n > SESSION_MESSAGES_MAX)
        return api_bad_field(ctx, path, "messages",
                             "may hold at most 1000, in all updates together.");
    enum err e = make_room(ctx, n, v);
    const struct json_node *node = many ? json_doc_first(doc, list) : list;
    for (size_t i = 0; e == ERR_NONE && i < n; i++) {
        snprintf(inner, sizeof(inner), many ? "%s.messages[%zu]" : "%s.messages", path, i);
        e = add_message(ctx, doc, node, inner, i, v);
        node = many ? json_doc_next(doc, node) : NULL;
    }
    return e;
}

static enum err add_others(struct request_ctx *ctx, const struct json_node *node,
                           struct langgraph_values *v)
{
    static const char *const own[] = {"messages", NULL};
    struct sv others;
    TRY(json_members_without(ctx, node->raw, own, &others));
    if (!others.p)
        return ERR_NONE;
    if (v->n_others == v->others_room) {
        const size_t old = v->others_room;
        v->others_room = grown_room(old, old + 1);
        v->others = arena_grow(ctx->arena, v->others, old * sizeof(*v->others),
                               v->others_room * sizeof(*v->others));
        if (!v->others)
            return ctx_nomem(ctx);
    }
    v->others[v->n_others++] = others;
    return ERR_NONE;
}

enum err langgraph_add_values(struct request_ctx *ctx, const struct json_doc *doc,
                              const struct json_node *node, const char *path,
                              struct langgraph_values *into)
{
    if (!node || node->type == JSON_IS_NULL)
        return ERR_NONE;
    if (node->type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "wrong_type", path, "%s must be an object.", path);
    const struct json_node *messages = json_doc_member(doc, node, SV("messages"));
    TRY(messages && messages->type != JSON_IS_NULL ? add_messages(ctx, doc, messages, path, into)
                                                   : ERR_NONE);
    return add_others(ctx, node, into);
}

enum err langgraph_values_context(struct request_ctx *ctx, const struct langgraph_values *v,
                                  struct sv *out)
{
    *out = SV_NONE;
    return v->n_others > 0 ? json_merge_overlay(ctx, SV("{}"), v->others, v->n_others, out)
                           : ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * Reads a conversation of ChatGPT's data export (conversations.json). Its messages are a tree,
 * since a message may have been edited or answered anew: "mapping" has a node for each, with its
 * parent, and "current_node" is the end of the branch that is shown. Only that branch is read.
 * OpenAI does not document the form, so unknown members stay as they are, in the message's extra.
 */
#include "transfer_internal.h"

#include <stdlib.h>

#include "parley/json/members.h"

struct tree_node {
    struct sv id, parent; /* parent absent: it has none */
    struct sv message;    /* JSON text */
};

static int compare_nodes(const void *a, const void *b)
{
    return sv_compare(((const struct tree_node *)a)->id, ((const struct tree_node *)b)->id);
}

/* The text of a JSON string without its quotes; absent for other values. */
static struct sv unquoted(struct sv raw)
{
    return raw.p && raw.p[0] == '"' ? (struct sv){raw.p + 1, raw.n - 2} : SV_NONE;
}

static bool is_object(struct sv raw)
{
    return raw.p && raw.p[0] == '{';
}

/* The messages of the branch, from the current one up to the root. */
static enum err read_branch(const struct json_input *in, const struct json_node *mapping,
                            struct sv current, struct sv **out, size_t *n)
{
    size_t n_nodes = mapping->children;
    struct tree_node *tree = arena_array(in->ctx->arena, n_nodes, sizeof(*tree)), *end = tree;
    struct sv *messages = *out = arena_array(in->ctx->arena, n_nodes, sizeof(*messages));
    if (!tree || !messages)
        return ctx_nomem(in->ctx);
    for (const struct json_node *node = json_doc_first(in->doc, mapping); node;
         node = json_doc_next(in->doc, node))
        if (is_object(node->raw))
            *end++ = (struct tree_node){node->key, unquoted(json_member_get(node->raw, "parent")),
                                        json_member_get(node->raw, "message")};
    n_nodes = (size_t)(end - tree);
    qsort(tree, n_nodes, sizeof(*tree), compare_nodes);
    for (*n = 0; current.p;) {
        const struct tree_node key = {.id = current};
        const struct tree_node *node = bsearch(&key, tree, n_nodes, sizeof(*tree), compare_nodes);
        if (!node || *n == n_nodes)
            return api_bad_field(in, "mapping",
                                 node ? "has a node that is its own ancestor."
                                      : "lacks a node that current_node or a parent names.");
        messages[(*n)++] = node->message;
        current = node->parent;
    }
    return ERR_NONE;
}

/* One text becomes a string, and several an array of parts. Absent: all are empty. */
static enum err read_parts(struct request_ctx *ctx, struct sv parts, struct sv *out)
{
    struct buf b;
    struct json_writer j = {.b = &b};
    struct sv rest = {parts.p + 1, parts.n - 1}, part, last = SV_NONE;
    size_t n = 0;
    buf_init(&b, ctx->arena, parts.n);
    json_write_array_open(&j);
    for (; json_element_next(&rest, &part); n++, last = part)
        if (sv_eq(part, SV("\"\"")) || sv_eq(part, SV("null"))) {
            n--;
            part = last;
        } else if (!unquoted(part).p) {
            json_write_raw(&j, part);
        } else {
            json_write_object_open(&j);
            json_put_str(&j, "type", "text");
            json_put_raw(&j, "text", part);
            json_write_object_close(&j);
        }
    json_write_array_close(&j);
    *out = n == 0 ? SV_NONE : n == 1 && unquoted(last).p ? last : buf_get(&b);
    return b.failed ? ctx_nomem(ctx) : ERR_NONE;
}

/* Absent: it is empty. Content of an unknown form becomes one part, as it is. */
static enum err read_content(struct request_ctx *ctx, struct sv content, struct sv *out)
{
    const struct sv parts = json_member_get(content, "parts"),
                    text = json_member_get(content, "text");
    if (parts.p && parts.p[0] == '[')
        return read_parts(ctx, parts, out);
    *out = !unquoted(text).p      ? arena_printf(ctx->arena, "[%.*s]", SV_ARG(content))
           : unquoted(text).n > 0 ? text
                                  : SV_NONE;
    return unquoted(text).p || out->p ? ERR_NONE : ctx_nomem(ctx);
}

/* *out has no content if the message is empty. */
static enum err read_message(const struct json_input *in, struct sv message,
                             struct session_message *out)
{
    static const char *const own[] = {"id", "create_time", NULL};
    static const char *const not_text[] = {"id", "create_time", "content", NULL};
    const struct sv author = json_member_get(message, "author"),
                    content = json_member_get(message, "content");
    if (!is_object(author) || !is_object(content))
        return api_bad_field(in, "mapping", "has a message without author or content.");
    const bool is_text = sv_eq(json_member_get(content, "content_type"), SV("\"text\""));
    *out = (struct session_message){.type = SV("message"),
                                    .role = unquoted(json_member_get(author, "role")),
                                    .message_id = unquoted(json_member_get(message, "id")),
                                    .metadata = SV("{}")};
    TRY(read_content(in->ctx, content, &out->content));
    TRY(api_check_role(in, out->role));
    TRY(api_message_id(in, "message_id", &out->message_id));
    TRY(native_stored_time(in, "create_time", json_member_get(message, "create_time"),
                           &out->created_at));
    return json_members_without(in->ctx, message, is_text ? not_text : own, &out->extra);
}

struct conversation {
    struct sv id, conversation_id, created_at, updated_at, current;
    const struct json_node *title, *mapping;
};
#define IN(member) offsetof(struct conversation, member), 0, 0
static const struct json_field conversation_fields[] = {
    {"id", JSON_STRING, JSON_NULLABLE, IN(id)},
    {"conversation_id", JSON_STRING, JSON_NULLABLE, IN(conversation_id)},
    {"title", JSON_ANY, 0, IN(title)},
    {"create_time", JSON_ANY_TEXT, 0, IN(created_at)},
    {"update_time", JSON_ANY_TEXT, 0, IN(updated_at)},
    {"current_node", JSON_STRING_TEXT, JSON_REQUIRED | JSON_NULLABLE, IN(current)},
    {"mapping", JSON_OBJECT, JSON_REQUIRED, IN(mapping)}};

enum err transfer_read_chatgpt(const struct json_input *in, struct transfer *out)
{
    struct session *x = &out->session;
    struct conversation c = {.title = NULL};
    struct sv title = SV("\"\"");
    struct request_ctx *ctx = in->ctx;
    struct sv *branch = NULL;
    size_t n = 0;
    TRY(json_read(in, conversation_fields, JSON_IGNORED, &c));
    const struct sv id = c.conversation_id.p ? c.conversation_id : c.id;
    if (!id.p)
        return api_missing_field(in, "conversation_id");
    /* A title that was cut within a character is left out, since metadata cannot hold it. */
    if (c.title && json_doc_check(ctx, in->doc, c.title, JSON_RULES_STORED, "title") == ERR_NONE)
        title = c.title->raw;
    ctx_clear_error(ctx);
    TRY(read_branch(in, c.mapping, unquoted(c.current), &branch, &n));
    x->session_id = arena_printf(ctx->arena, "chatgpt:%.*s", SV_ARG(id));
    x->metadata = arena_printf(ctx->arena, "{\"title\":%.*s}", SV_ARG(title));
    struct session_message *messages = arena_array(ctx->arena, n, sizeof(*messages));
    if (!x->session_id.p || !x->metadata.p || !messages)
        return ctx_nomem(ctx);
    TRY(api_session_id(ctx, "conversation_id", &x->session_id));
    TRY(native_stored_time(in, "create_time", c.created_at, &x->created_at));
    TRY(native_stored_time(in, "update_time", c.updated_at, &x->updated_at));
    out->messages = messages;
    while (n-- > 0)
        if (is_object(branch[n])) {
            TRY(read_message(in, branch[n], &messages[out->n_messages]));
            out->n_messages += messages[out->n_messages].content.p != NULL;
        }
    return ERR_NONE;
}

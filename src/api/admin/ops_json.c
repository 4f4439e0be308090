/* SPDX-License-Identifier: MIT */
/*
 * Trees of json-c for the operations routes. The text is written here and not by json-c, whose
 * serializer (0.16) goes on after a failed allocation and returns a text with a piece missing.
 */
#include "ops_json.h"

#include <json-c/json_object.h>
#include <json-c/json_object_iterator.h>

static void free_tree(void *root)
{
    json_object_put(root);
}

enum err ops_json_init(struct request_ctx *ctx, struct ops_json *t)
{
    *t = (struct ops_json){.root = json_object_new_object()};
    if (!t->root || arena_defer(ctx->arena, free_tree, t->root) != ERR_NONE)
        return ctx_nomem(ctx);
    return ERR_NONE;
}

/* Takes value. */
static struct json_object *add(struct ops_json *t, struct json_object *in, const char *name,
                               struct json_object *value)
{
    const bool added =
        value && in &&
        (name ? json_object_object_add(in, name, value) : json_object_array_add(in, value)) == 0;
    if (added)
        return value;
    t->failed = true;
    json_object_put(value);
    return NULL;
}

struct json_object *ops_json_add_object(struct ops_json *t, struct json_object *in,
                                        const char *name)
{
    return add(t, in, name, json_object_new_object());
}

struct json_object *ops_json_add_array(struct ops_json *t, struct json_object *in, const char *name)
{
    return add(t, in, name, json_object_new_array());
}

void ops_json_add_text(struct ops_json *t, struct json_object *in, const char *name,
                       const char *text)
{
    if (text)
        (void)add(t, in, name, json_object_new_string(text));
    else if (!in || json_object_object_add(in, name, NULL) != 0) /* NULL is json-c's null */
        t->failed = true;
}

void ops_json_add_number(struct ops_json *t, struct json_object *in, const char *name, int64_t v)
{
    (void)add(t, in, name, json_object_new_int64(v));
}

void ops_json_add_bool(struct ops_json *t, struct json_object *in, const char *name, bool v)
{
    (void)add(t, in, name, json_object_new_boolean(v));
}

/* ---- text ---- */

struct output {
    struct buf *text;
    int lines;
};

static void write_value(const struct output *o, struct json_object *v, int depth);

/* Before a member, and before the bracket that ends the container of members at depth. */
static void write_newline(const struct output *o, int depth, int indent)
{
    if (depth > o->lines)
        return;
    buf_putc(o->text, '\n');
    for (int i = 0; i < indent; i++)
        BUF_LIT(o->text, "  ");
}

static void write_string(const struct output *o, struct sv s)
{
    buf_putc(o->text, '"');
    json_write_escape(o->text, s);
    buf_putc(o->text, '"');
}

static void write_object(const struct output *o, struct json_object *v, int depth)
{
    const struct json_object_iterator end = json_object_iter_end(v);
    struct json_object_iterator at = json_object_iter_begin(v);
    for (bool first = true; !json_object_iter_equal(&at, &end); first = false) {
        if (!first)
            buf_putc(o->text, ',');
        write_newline(o, depth, depth);
        write_string(o, sv_from(json_object_iter_peek_name(&at)));
        buf_sv(o->text, o->lines > 0 ? SV(": ") : SV(":"));
        write_value(o, json_object_iter_peek_value(&at), depth);
        json_object_iter_next(&at);
    }
}

static void write_array(const struct output *o, struct json_object *v, int depth)
{
    for (size_t i = 0; i < json_object_array_length(v); i++) {
        if (i > 0)
            buf_putc(o->text, ',');
        write_newline(o, depth, depth);
        write_value(o, json_object_array_get_idx(v, i), depth);
    }
}

/* depth: of the container that holds v; 0: v is the whole. No call to json-c here allocates. */
static void write_value(const struct output *o, struct json_object *v, int depth)
{
    const bool object = json_object_is_type(v, json_type_object);
    if (object || json_object_is_type(v, json_type_array)) {
        buf_putc(o->text, object ? '{' : '[');
        (object ? write_object : write_array)(o, v, depth + 1);
        write_newline(o, depth + 1, depth);
        buf_putc(o->text, object ? '}' : ']');
    } else if (json_object_is_type(v, json_type_string))
        write_string(o,
                     (struct sv){json_object_get_string(v), (size_t)json_object_get_string_len(v)});
    else if (json_object_is_type(v, json_type_int))
        buf_i64(o->text, json_object_get_int64(v));
    else if (json_object_is_type(v, json_type_boolean))
        buf_sv(o->text, json_object_get_boolean(v) ? SV("true") : SV("false"));
    else
        BUF_LIT(o->text, "null");
}

enum err ops_json_answer(struct api_call *c, const struct ops_json *t, int status, int lines)
{
    const struct output o = {&c->res->body, lines};
    if (t->failed)
        return ctx_nomem(c->ctx);
    (void)api_begin(c->res, status);
    write_value(&o, t->root, 0);
    if (lines > 0)
        buf_putc(o.text, '\n');
    return ERR_NONE;
}

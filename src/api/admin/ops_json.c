/* SPDX-License-Identifier: MIT */
/*
 * Trees of json-c for the operations routes. The text is written here and not by json-c, whose
 * serializer (0.16) goes on after a failed allocation and returns a text with a piece missing.
 */
#include "ops_json.h"

#include <json-c/json_object.h>
#include <json-c/json_visit.h>

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

/* Owns value from now on. */
static struct json_object *add_value(struct ops_json *t, struct json_object *in, const char *name,
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

struct json_object *ops_put_object(struct ops_json *t, struct json_object *in, const char *name)
{
    return add_value(t, in, name, json_object_new_object());
}

struct json_object *ops_put_array(struct ops_json *t, struct json_object *in, const char *name)
{
    return add_value(t, in, name, json_object_new_array());
}

void ops_put_text(struct ops_json *t, struct json_object *in, const char *name, const char *text)
{
    if (text)
        (void)add_value(t, in, name, json_object_new_string(text));
    else if (!in || json_object_object_add(in, name, NULL) != 0) /* NULL is json-c's null */
        t->failed = true;
}

void ops_put_number(struct ops_json *t, struct json_object *in, const char *name, int64_t v)
{
    (void)add_value(t, in, name, json_object_new_int64(v));
}

void ops_put_bool(struct ops_json *t, struct json_object *in, const char *name, bool v)
{
    (void)add_value(t, in, name, json_object_new_boolean(v));
}

/* ---- text ---- */

struct output {
    struct buf *text;
    int lines, depth; /* depth: of the containers that are open */
    bool comma;       /* a value was written in the innermost */
};

static void write_newline(const struct output *o)
{
    buf_putc(o->text, '\n');
    for (int i = 0; i < o->depth; i++)
        BUF_LIT(o->text, "  ");
}

static void write_string(const struct output *o, struct sv s)
{
    buf_putc(o->text, '"');
    json_write_escape(o->text, s);
    buf_putc(o->text, '"');
}

static void write_scalar(const struct output *o, struct json_object *v)
{
    if (json_object_is_type(v, json_type_string))
        write_string(o,
                     (struct sv){json_object_get_string(v), (size_t)json_object_get_string_len(v)});
    else if (json_object_is_type(v, json_type_int))
        buf_i64(o->text, json_object_get_int64(v));
    else if (v)
        buf_sv(o->text, json_object_get_boolean(v) ? SV("true") : SV("false"));
    else
        BUF_LIT(o->text, "null");
}

/* Called once for a scalar, before and after the members for a container. Allocates nothing. */
static int write_node(struct json_object *v, int flags, struct json_object *parent, const char *key,
                      size_t *index, void *arg)
{
    (void)parent;
    (void)index;
    struct output *o = arg;
    const bool object = json_object_is_type(v, json_type_object);
    const bool container = object || json_object_is_type(v, json_type_array);
    if (flags & JSON_C_VISIT_SECOND) {
        if (o->depth-- <= o->lines && o->comma)
            write_newline(o);
        buf_putc(o->text, object ? '}' : ']');
        o->comma = true;
        return JSON_C_VISIT_RETURN_CONTINUE;
    }
    if (o->comma)
        buf_putc(o->text, ',');
    if (o->depth > 0 && o->depth <= o->lines)
        write_newline(o);
    if (key) {
        write_string(o, sv_from(key));
        buf_sv(o->text, o->lines > 0 ? SV(": ") : SV(":"));
    }
    o->comma = !container;
    o->depth += container;
    if (container)
        buf_putc(o->text, object ? '{' : '[');
    else
        write_scalar(o, v);
    return JSON_C_VISIT_RETURN_CONTINUE;
}

enum err ops_json_answer(struct api_call *c, const struct ops_json *t, int status, int lines)
{
    struct output o = {.text = &c->res->body, .lines = lines};
    if (t->failed)
        return ctx_nomem(c->ctx);
    (void)api_begin(c->res, status);
    if (json_c_visit(t->root, 0, write_node, &o) != 0)
        return ctx_fault(c->ctx, ERR_INTERNAL, "json_c_visit failed");
    if (lines > 0)
        buf_putc(o.text, '\n');
    return ERR_NONE;
}

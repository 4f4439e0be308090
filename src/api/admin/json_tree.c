/* SPDX-License-Identifier: MIT */
/*
 * Trees of json-c. The text is written here and not by json-c, whose serializer (0.16) goes on
 * after a failed allocation and returns a text with a piece missing.
 */
#include "parley/api/json_tree.h"

#include <json-c/json_object.h>
#include <json-c/json_visit.h>

#include "parley/json/json_writer.h"

void json_tree_init(struct json_tree *t)
{
    t->root = json_object_new_object();
    t->failed = !t->root;
}

void json_tree_fini(struct json_tree *t)
{
    json_object_put(t->root);
    t->root = NULL;
}

/* Owns value from now on. */
static struct json_object *add_value(struct json_tree *t, struct json_object *in, const char *name,
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

struct json_object *json_tree_object(struct json_tree *t, struct json_object *in, const char *name)
{
    return add_value(t, in, name, json_object_new_object());
}

struct json_object *json_tree_array(struct json_tree *t, struct json_object *in, const char *name)
{
    return add_value(t, in, name, json_object_new_array());
}

void json_tree_text(struct json_tree *t, struct json_object *in, const char *name, const char *text)
{
    if (text)
        (void)add_value(t, in, name, json_object_new_string(text));
    else if (!in || json_object_object_add(in, name, NULL) != 0) /* NULL is json-c's null */
        t->failed = true;
}

void json_tree_number(struct json_tree *t, struct json_object *in, const char *name, int64_t v)
{
    (void)add_value(t, in, name, json_object_new_int64(v));
}

void json_tree_bool(struct json_tree *t, struct json_object *in, const char *name, bool v)
{
    (void)add_value(t, in, name, json_object_new_boolean(v));
}

/* ---- text ---- */

struct output {
    struct json_writer json;
    int lines, depth; /* depth: of the containers that are open */
};

static void begin_line(struct output *o)
{
    if (o->json.comma)
        buf_putc(o->json.b, ',');
    o->json.comma = false;
    buf_printf(o->json.b, "\n%*s", 2 * o->depth, "");
}

static void write_scalar(struct json_writer *j, struct json_object *v)
{
    if (json_object_is_type(v, json_type_string))
        json_write_sv(j, sv_from(json_object_get_string(v)));
    else if (json_object_is_type(v, json_type_int))
        json_write_i64(j, json_object_get_int64(v));
    else if (v)
        json_write_bool(j, json_object_get_boolean(v));
    else
        json_write_null(j);
}

/* Called once for a scalar, before and after the members for a container. Allocates nothing. */
static int write_node(struct json_object *v, int flags, struct json_object *parent, const char *key,
                      size_t *index, void *arg)
{
    (void)parent;
    (void)index;
    struct output *o = arg;
    struct json_writer *j = &o->json;
    const bool object = json_object_is_type(v, json_type_object);
    const bool container = object || json_object_is_type(v, json_type_array);
    if (flags & JSON_C_VISIT_SECOND) {
        const bool empty = !j->comma;
        j->comma = false;
        if (o->depth-- <= o->lines && !empty)
            begin_line(o);
        buf_putc(j->b, object ? '}' : ']');
        j->comma = true;
        return JSON_C_VISIT_RETURN_CONTINUE;
    }
    if (o->depth > 0 && o->depth <= o->lines)
        begin_line(o);
    if (key)
        json_write_key(j, key);
    if (key && o->lines > 0)
        buf_putc(j->b, ' ');
    o->depth += container;
    if (object)
        json_write_object_open(j);
    else if (container)
        json_write_array_open(j);
    else
        write_scalar(j, v);
    return JSON_C_VISIT_RETURN_CONTINUE;
}

enum err json_tree_write(const struct json_tree *t, int lines, struct buf *out)
{
    struct output o = {.json = {.b = out}, .lines = lines};
    if (t->failed || json_c_visit(t->root, 0, write_node, &o) != 0)
        return ERR_NOMEM;
    if (lines > 0)
        buf_putc(out, '\n');
    return out->failed ? ERR_NOMEM : ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * Trees of json-c. The text is written here and not by json-c, whose serializer (0.16) goes on
 * after a failed allocation and returns a text with a piece missing.
 */
#include "parley/api/json_tree.h"

#include <json-c/json_object.h>
#include <json-c/linkhash.h>

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

/* ---- text: nothing below allocates but the buffer ---- */

static void begin_line(struct json_writer *j, int depth)
{
    if (j->comma)
        buf_putc(j->b, ',');
    j->comma = false;
    buf_printf(j->b, "\n%*s", 2 * depth, "");
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

/* depth: of the containers that are open. */
static void write_value(struct json_writer *j, struct json_object *v, int depth, int lines)
{
    const bool object = json_object_is_type(v, json_type_object), in_lines = depth < lines;
    if (!object && !json_object_is_type(v, json_type_array)) {
        write_scalar(j, v);
        return;
    }
    json_write_open(j, object ? '{' : '[');
    for (struct lh_entry *e = object ? json_object_get_object(v)->head : NULL; e; e = e->next) {
        if (in_lines)
            begin_line(j, depth + 1);
        json_write_key(j, lh_entry_k(e));
        if (lines > 0)
            buf_putc(j->b, ' ');
        write_value(j, lh_entry_v(e), depth + 1, lines);
    }
    for (size_t i = 0; !object && i < json_object_array_length(v); i++) {
        if (in_lines)
            begin_line(j, depth + 1);
        write_value(j, json_object_array_get_idx(v, i), depth + 1, lines);
    }
    const bool empty = !j->comma;
    j->comma = false;
    if (in_lines && !empty)
        begin_line(j, depth);
    json_write_close(j, object ? '}' : ']');
}

enum err json_tree_write(const struct json_tree *t, int lines, struct buf *out)
{
    struct json_writer j = {.b = out};
    if (t->failed)
        return ERR_NOMEM;
    write_value(&j, t->root, 0, lines);
    if (lines > 0)
        buf_putc(out, '\n');
    return out->failed ? ERR_NOMEM : ERR_NONE;
}

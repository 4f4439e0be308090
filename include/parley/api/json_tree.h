/* SPDX-License-Identifier: MIT */
/*
 * A JSON document of server-made data, as a tree of json-c: answers of the operations routes and
 * what commands print with --json. A call that finds no memory adds nothing and marks the tree as
 * failed, so callers check once, at the end. One thread.
 */
#pragma once

#include "parley/base/buf.h"
#include "parley/base/err.h"

struct json_object;
struct json_tree {
    struct json_object *root; /* an object */
    bool failed;
};

void json_tree_init(struct json_tree *t);
void json_tree_fini(struct json_tree *t);
/* Each adds a member to the object in, or an element to the array in where name is NULL. in may be
 * NULL if the call that returned it has failed. Names and texts are copied. Names are ASCII that
 * needs no escape. */
struct json_object *json_tree_object(struct json_tree *t, struct json_object *in, const char *name);
struct json_object *json_tree_array(struct json_tree *t, struct json_object *in, const char *name);
void json_tree_text(struct json_tree *t, struct json_object *in, const char *name,
                    const char *text); /* NULL: null */
void json_tree_number(struct json_tree *t, struct json_object *in, const char *name, int64_t v);
void json_tree_bool(struct json_tree *t, struct json_object *in, const char *name, bool v);
/* Members down to lines levels have a line each, for people; 0: all is one line. ERR_NOMEM: the
 * tree or the buffer has failed. */
MUSTCHECK enum err json_tree_write(const struct json_tree *t, int lines, struct buf *out);

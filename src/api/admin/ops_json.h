/* SPDX-License-Identifier: MIT */
/*
 * Answers of the operations routes: a tree of json-c, written into the response once it is whole.
 * The tree belongs to the request's arena. A call that finds no memory adds nothing and marks the
 * tree as failed, so callers check once, at the end.
 */
#ifndef PARLEY_API_OPS_JSON_H
#define PARLEY_API_OPS_JSON_H

#include "api/common/handler.h"

struct json_object;
struct ops_json {
    struct json_object *root; /* an object */
    bool failed;
};

MUSTCHECK enum err ops_json_init(struct request_ctx *ctx, struct ops_json *t);
/* Each adds a member to the object in, or an element to the array in where name is NULL. in may be
 * NULL: it is what a call returned that failed. Names and texts are copied. */
struct json_object *ops_put_object(struct ops_json *t, struct json_object *in, const char *name);
struct json_object *ops_put_array(struct ops_json *t, struct json_object *in, const char *name);
void ops_put_text(struct ops_json *t, struct json_object *in, const char *name,
                  const char *text); /* NULL: null */
void ops_put_number(struct ops_json *t, struct json_object *in, const char *name, int64_t v);
void ops_put_bool(struct ops_json *t, struct json_object *in, const char *name, bool v);
/* The answer. Members down to lines levels have a line each, for people; 0: all is one line. */
MUSTCHECK enum err ops_json_answer(struct api_call *c, const struct ops_json *t, int status,
                                   int lines);

#endif

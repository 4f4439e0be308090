/* SPDX-License-Identifier: MIT */
/* json-c as a second reader of text that the validator accepts. */
#ifndef PARLEY_TESTS_JSON_SAME_H
#define PARLEY_TESTS_JSON_SAME_H

#include "parley/json/doc.h"

struct json_object;

/* Indexes all of a text, and checks it for jsonb. */
enum err json_strict(struct request_ctx *ctx, struct sv text, struct json_doc *out);
/* The name of a member, unescaped. */
enum err json_name(struct request_ctx *ctx, const struct json_node *member, struct sv *out);
/* Whether a value of d and one of json-c are the same. */
bool json_c_same(struct request_ctx *ctx, const struct json_doc *d, const struct json_node *node,
                 struct json_object *o);
/* Whether json-c, in its strict mode, accepts the text of d and reads the same values. */
bool json_c_reads_the_same(struct request_ctx *ctx, const struct json_doc *d, struct sv text);

#endif

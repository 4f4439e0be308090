/* SPDX-License-Identifier: MIT */
/*
 * The JSON validator, and an index of what it read.
 *
 * json_doc_parse accepts RFC 8259 JSON and nothing else. It also refuses what later steps would
 * lose or misread: duplicate keys (compared unescaped), invalid UTF-8, unpaired surrogates, \u0000,
 * control characters, integers outside -2^63 .. 2^64-1, numbers that a double cannot hold (too
 * large, or so small that they become zero), numbers of more than 1000 characters, nesting over 32
 * levels, a byte order mark, and text after the value. json-c 0.16 lets most of these through even
 * when told to be strict (its issues 681, 892); the tests compare the two.
 *
 * The index has one node a value, in the order of the text, in the request's arena. Readers work on
 * the text itself, so that what is stored is exactly what was sent.
 */
#ifndef PARLEY_JSON_DOC_H
#define PARLEY_JSON_DOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"

enum { JSON_DOC_DEPTH_MAX = 32, JSON_DOC_NODES_MAX = 200000, JSON_DOC_NUMBER_MAX = 1000 };

enum json_value_type {
    JSON_IS_NULL,
    JSON_IS_FALSE,
    JSON_IS_TRUE,
    JSON_IS_NUMBER,
    JSON_IS_STRING,
    JSON_IS_ARRAY,
    JSON_IS_OBJECT
};

struct json_node {
    enum json_value_type type;
    bool key_escaped;  /* it has a backslash, so the name is not its text */
    struct sv raw;     /* the value's text as sent: strings with quotes, containers with brackets */
    struct sv key;     /* in an object: the member's name without quotes, still escaped */
    uint32_t children; /* members or elements */
    uint32_t next;     /* index of the next sibling; 0: none */
};

struct json_doc {
    const struct json_node *nodes; /* nodes[0] is the whole value; the first child of i is i + 1 */
    uint32_t n;
};

/* Validates and indexes text, which must outlive the doc. Bad input is ERR_INVALID, with slug
 * "invalid_json", "duplicate_key", "invalid_utf8", "number_out_of_range", "too_deep" or
 * "too_many_values", the path of the field where it is known, and the byte offset in detail. */
MUSTCHECK enum err json_doc_parse(struct request_ctx *ctx, struct sv text, struct json_doc *out);

/* The first child of a container, or the next sibling; NULL at the end. */
const struct json_node *json_doc_first(const struct json_doc *d, const struct json_node *parent);
const struct json_node *json_doc_next(const struct json_doc *d, const struct json_node *node);
/* A member of an object by its unescaped name; NULL if absent. */
const struct json_node *json_doc_member(const struct json_doc *d, const struct json_node *object,
                                        struct sv name);

/* The value of a string node; borrowed from the text when nothing is escaped, else in the arena. */
MUSTCHECK enum err json_doc_string(struct request_ctx *ctx, const struct json_node *node,
                                   struct sv *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The JSON validator, and an index of what it read.
 *
 * json_doc_parse accepts JSON as RFC 8259 defines it, with any escape and number of its grammar. It
 * refuses everything else, and also duplicate names (compared unescaped), invalid UTF-8, a byte
 * order mark, and nesting over 128 levels. json-c 0.16 lets most of these through even when told to
 * be strict (its issues 681, 892); the tests compare the two.
 *
 * The index has one node a value, in the order of the text, in the request's arena. It goes only
 * into the containers that a shape names. What is inside of other values is validated and not
 * indexed, so the index does not grow with their length. Readers work on the text itself, so that
 * what is stored is exactly what was sent.
 */
#pragma once

#include "parley/base/ctx.h"

/* At most: levels of a value, counted from itself; nodes of an index, and members that a patch
 * merges into one object; for jsonb, levels of a value and characters of a number; bytes stored as
 * jsonb. */
enum {
    JSON_DOC_DEPTH_MAX = 128,
    JSON_DOC_NODES_MAX = 200000,
    JSON_JSONB_DEPTH_MAX = 32,
    JSON_JSONB_NUMBER_MAX = 1000,
    JSON_STORED_BYTES_MAX = 1024 * 1024
};

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
    bool indexed;      /* a container whose children have nodes */
    uint32_t children; /* members or elements */
    uint32_t next;     /* index of the next sibling; 0: none */
};

/* A list of the members of an object that the index goes into; its last entry has no name. A member
 * may hold an object, or an array of objects; inside is the list for these objects. An array in
 * the place of such an object is indexed, but no container in it is. */
struct json_shape {
    const char *name;
    const struct json_shape *inside;
};
/* json_nothing: no container inside is indexed. json_everything: all of them are. */
extern const struct json_shape json_nothing[], json_everything[];

struct json_doc {
    const struct json_node *nodes; /* nodes[0] is the whole value; the first child of i is i + 1 */
    uint32_t n;
    const char *text;
};

/* Validates and indexes text, which must outlive the doc. shape: of the value itself. Bad input is
 * ERR_INVALID, with slug "invalid_json", "duplicate_key", "invalid_utf8", "too_deep" or
 * "too_many_values", the path of the field where it is known, and the byte offset in detail. */
MUSTCHECK enum err json_doc_parse(struct request_ctx *ctx, struct sv text,
                                  const struct json_shape *shape, struct json_doc *out);

/* What a value may hold; each rule is stricter than the one before it. */
enum json_rules {
    JSON_RULES_TEXT,  /* all that json_doc_parse accepts */
    JSON_RULES_JSONB, /* no \u0000, no unpaired surrogates, no integers outside -2^63 .. 2^64-1, no
                       * numbers that a double cannot hold (too large, or so small that they become
                       * zero), and nothing above JSON_JSONB_DEPTH_MAX and JSON_JSONB_NUMBER_MAX */
    JSON_RULES_STORED /* also no exponents above 20, since jsonb writes all digits of a number, and
                       * nothing above JSON_STORED_BYTES_MAX */
};
/* Checks a value of the doc by stricter rules. ERR_INVALID as above, also with the slugs
 * "number_out_of_range", "out_of_range" and "invalid_field". path: of the value. */
MUSTCHECK enum err json_doc_check(struct request_ctx *ctx, const struct json_doc *d,
                                  const struct json_node *node, enum json_rules rules,
                                  const char *path);

/* The first child of a container that is indexed, or the next sibling; NULL at the end. */
const struct json_node *json_doc_first(const struct json_doc *d, const struct json_node *parent);
const struct json_node *json_doc_next(const struct json_doc *d, const struct json_node *node);
/* A member of an indexed object by its unescaped name; NULL if absent. */
const struct json_node *json_doc_member(const struct json_doc *d, const struct json_node *object,
                                        struct sv name);

/* The value of a string node; borrowed from the text when nothing is escaped, else in the arena. It
 * is UTF-8 without a NUL: a string with \u0000 or an unpaired surrogate is ERR_INVALID, slug
 * "invalid_json", at path. */
MUSTCHECK enum err json_doc_string(struct request_ctx *ctx, const struct json_node *node,
                                   const char *path, struct sv *out);

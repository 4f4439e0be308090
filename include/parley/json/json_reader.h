/* SPDX-License-Identifier: MIT */
/*
 * Reads the members of an object into a C struct. A table says which members the object may have,
 * their types and bounds, and the offset of each in the struct. Unknown members, wrong types and
 * values out of bounds are ERR_INVALID and name the field by its path ("messages[3].role"). Slugs:
 * "unknown_field", "missing_field", "wrong_type", "out_of_range", "invalid_field".
 */
#pragma once

#include "parley/json/doc.h"

enum json_field_type {
    JSON_STRING,      /* struct sv: the unescaped value; min/max count code points */
    JSON_STRING_TEXT, /* struct sv: the text as sent, with its quotes */
    JSON_I64,         /* int64_t; min/max bound the value; 1.0 and 1e3 are not integers */
    JSON_I64_TEXT, /* struct sv: the text of an integer without a sign; min/max bound its value */
    JSON_OBJECT,   /* const struct json_node * */
    JSON_ARRAY,    /* const struct json_node *; min/max count elements */
    JSON_ANY,      /* const struct json_node * */
    JSON_OBJECT_TEXT, /* struct sv: the text as sent */
    JSON_ANY_TEXT     /* struct sv: the text as sent */
};

enum json_field_flags {
    JSON_REQUIRED = 1,
    JSON_NULLABLE = 2,     /* null is allowed, and leaves the target as it is */
    JSON_NOT_EMPTY = 4,    /* an object without members leaves the target as it is */
    JSON_CHECK_JSONB = 8,  /* JSON_RULES_JSONB */
    JSON_CHECK_STORED = 16 /* JSON_RULES_STORED */
};

struct json_field {
    const char *name;
    enum json_field_type type;
    unsigned flags;
    size_t offset;    /* of the target in the caller's struct */
    int64_t min, max; /* both 0: no bound */
};

/* An object of a document that is read, and where it stands there, for errors: "" at the top,
 * "messages[3]". All is borrowed. */
struct json_input {
    struct request_ctx *ctx;
    const struct json_doc *doc;
    const struct json_node *node;
    const char *path;
};

/* What becomes of members that are not in the table. */
enum json_unknown {
    JSON_REFUSED,
    JSON_REFUSED_IF_NEAR, /* refused as misspelt where an object of at most 1000 members lacks a
                           * field with a near name */
    JSON_IGNORED
};
/* Reads the object into the struct at into, which the caller has filled with defaults. JSON_ANY
 * and JSON_ANY_TEXT take a null as any other value. */
MUSTCHECK enum err json_read_fields(const struct json_input *in, const struct json_field *fields,
                                    size_t n_fields, enum json_unknown unknown, void *into);
/* The same with an array as the table. */
#define json_read(in, fields, unknown, into) \
    json_read_fields(in, fields, ARRAY_LEN(fields), unknown, into)

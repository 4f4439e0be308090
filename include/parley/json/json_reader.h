/* SPDX-License-Identifier: MIT */
/*
 * Typed field readers: one table of descriptors an object says which members it may have, of what
 * type and within which bounds, and where each goes. Unknown members, wrong types and values out of
 * bounds are ERR_INVALID and name the field by its path ("messages[3].role"). Slugs:
 * "unknown_field", "missing_field", "wrong_type", "out_of_range".
 */
#ifndef PARLEY_JSON_READ_H
#define PARLEY_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/json/doc.h"

enum json_field_type {
    JSON_STRING, /* struct sv: the unescaped value; min/max count code points */
    JSON_I64,    /* int64_t; min/max bound the value; 1.0 and 1e3 are not integers */
    JSON_OBJECT, /* const struct json_node * */
    JSON_ARRAY,  /* const struct json_node *; min/max count elements */
    JSON_ANY     /* const struct json_node * */
};

enum { JSON_FIELDS_MAX = 32 };

enum json_field_flags {
    JSON_REQUIRED = 1,
    JSON_NULLABLE = 2 /* null counts as given: see json_seen */
};

struct json_field {
    const char *name;
    enum json_field_type type;
    unsigned flags;
    size_t offset;    /* of the target in the caller's struct */
    int64_t min, max; /* both 0: no bound */
};

/* Which fields of the table were present, by position in the table, and which of them were null.
 * Tables have at most JSON_FIELDS_MAX fields. A null that is allowed leaves the target alone, but
 * for JSON_ANY, which takes it as any other value. */
struct json_seen {
    uint32_t given, null;
};

/* Reads object into the struct at into, which the caller has filled with defaults. path is the
 * object's own path for messages, "" at the top. seen may be NULL. */
MUSTCHECK enum err json_read_object(struct request_ctx *ctx, const struct json_doc *d,
                                    const struct json_node *object, const char *path,
                                    const struct json_field *fields, size_t n_fields, void *into,
                                    struct json_seen *seen);
/* The same for an object that may have other members, too: they are left alone. */
MUSTCHECK enum err json_read_members(struct request_ctx *ctx, const struct json_doc *d,
                                     const struct json_node *object, const char *path,
                                     const struct json_field *fields, size_t n_fields, void *into,
                                     struct json_seen *seen);

#endif

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

enum jin_type {
    JIN_STRING, /* struct sv: the unescaped value; min/max count code points */
    JIN_I64,    /* int64_t; min/max bound the value; 1.0 and 1e3 are not integers */
    JIN_OBJECT, /* const struct jnode * */
    JIN_ARRAY,  /* const struct jnode *; min/max count elements */
    JIN_ANY     /* const struct jnode * */
};

enum { JIN_FIELDS_MAX = 32 };

enum jin_flags { JIN_REQUIRED = 1, JIN_NULLABLE = 2 /* null counts as given: see jin_seen */ };

struct jin_field {
    const char *name;
    enum jin_type type;
    unsigned flags;
    size_t offset;    /* of the target in the caller's struct */
    int64_t min, max; /* both 0: no bound */
};

/* Which fields of the table were present, by position in the table, and which of them were null.
 * Tables have at most JIN_FIELDS_MAX fields. A null that is allowed leaves the target alone, but
 * for JIN_ANY, which takes it as any other value. */
struct jin_seen {
    uint32_t given, null;
};

/* Reads object into the struct at into, which the caller has filled with defaults. path is the
 * object's own path for messages, "" at the top. seen may be NULL. */
MUSTCHECK enum err jin_object(struct request_ctx *ctx, const struct jdoc *d,
                              const struct jnode *object, const char *path,
                              const struct jin_field *fields, size_t n_fields, void *into,
                              struct jin_seen *seen);
/* The same for an object that may have other members, too: they are left alone. */
MUSTCHECK enum err jin_members(struct request_ctx *ctx, const struct jdoc *d,
                               const struct jnode *object, const char *path,
                               const struct jin_field *fields, size_t n_fields, void *into,
                               struct jin_seen *seen);

#endif

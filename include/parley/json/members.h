/* SPDX-License-Identifier: MIT */
/*
 * The members of an object as text, and their merging. An interface stores the members that it does
 * not know with them, and returns them as they were written. The text, from a request or from the
 * database, is text that json_doc_parse once accepted; no index is needed. Names are compared
 * unescaped; lists of names end in NULL, and a NULL list is empty. The results are borrowed from
 * the text unless a function says otherwise.
 */
#pragma once

#include "parley/base/ctx.h"
#include "parley/json/json_writer.h"

struct json_member {
    struct sv key; /* without quotes, still escaped */
    struct sv raw; /* the value's text */
};

/* The next member of the object whose text is left in *rest; false at its end. */
bool json_member_next(struct sv *rest, struct json_member *out);
/* The next element of an array, of which *rest begins after the bracket; false at its end. */
bool json_element_next(struct sv *rest, struct sv *out);
/* The text of the member of that name; SV_NONE if there is none, or object is absent. */
struct sv json_member_get(struct sv object, const char *name);
/* Writes all members except those named into the object that is open in j. object may be absent. */
void json_members_write(struct json_writer *j, struct sv object, const char *const *without);
/* The object without the members named, in the arena; SV_NONE if none is left. */
MUSTCHECK enum err json_members_without(struct request_ctx *ctx, struct sv object,
                                        const char *const *without, struct sv *out);

enum json_merge_mode {
    JSON_MERGE_OVERLAY, /* a member replaces the one of its name; a null is a value as any other */
    JSON_MERGE_PATCH    /* RFC 7396, section 2: nulls delete, objects are merged */
};
/* Sets the members of the object patch in target; new ones follow the others. Of members of patch
 * with one name the first gives the position and the last the value. The result is in the arena;
 * the text of values is copied without change. The time is linear in the length of the texts,
 * except for a sort of the patch's members. */
MUSTCHECK enum err json_merge(struct request_ctx *ctx, struct sv target, struct sv patch,
                              enum json_merge_mode mode, struct sv *out);

/* SPDX-License-Identifier: MIT */
/*
 * The members of an object as text, and their merging. An interface stores the members that it does
 * not know with them, and returns them as they were written. The text, from a request or from the
 * database, is text that json_doc_parse once accepted; no index is needed. Names are compared
 * unescaped; lists of names end in NULL. The results are borrowed from the text unless a function
 * says otherwise.
 */
#ifndef PARLEY_JSON_MEMBERS_H
#define PARLEY_JSON_MEMBERS_H

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

/* Merging (merge.c). The result is in the arena; the text of values is copied without change. */

/* Applies patch to target. A null in the patch deletes a member. Members keep their order; new ones
 * follow. */
MUSTCHECK enum err json_merge_patch(struct request_ctx *ctx, struct sv target, struct sv patch,
                                    struct sv *out);
/* Sets the members of n objects in target, one object after the other. Each replaces the member of
 * its name as a whole, or follows the others; a null is a value like any other. With {} as target
 * and one object the result is that object's text. The time is linear in the length of the texts,
 * except for a sort of the patches' members. */
MUSTCHECK enum err json_merge_overlay(struct request_ctx *ctx, struct sv target,
                                      const struct sv *patches, size_t n, struct sv *out);

#endif

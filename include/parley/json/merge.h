/* SPDX-License-Identifier: MIT */
/* JSON merge patch (RFC 7396) and a plain overlay. Both take objects as text that json_doc_parse
 * has accepted, put the result in the arena, and copy the text of values without change. */
#ifndef PARLEY_JSON_MERGE_H
#define PARLEY_JSON_MERGE_H

#include "parley/base/ctx.h"

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

/* SPDX-License-Identifier: MIT */
/* JSON merge patch (RFC 7396) and a plain overlay, both of text. */
#ifndef PARLEY_JSON_MERGE_H
#define PARLEY_JSON_MERGE_H

#include "parley/base/ctx.h"

/* Applies patch to target, both JSON objects that json_doc_parse has accepted, and puts the text of
 * the result into *out (in the arena). A null in the patch deletes a member. Members keep their
 * places and values their text; what is new goes behind. */
MUSTCHECK enum err json_merge_patch(struct request_ctx *ctx, struct sv target, struct sv patch,
                                    struct sv *out);
/* Lays the members of n objects over target, one object after the other: each takes the place of
 * the one with its name as a whole, or goes behind all others; nothing is merged into it, and a
 * null is a value like any other. All values keep their text; one object over {} is that object as
 * it was written. The time is linear in the texts, but for a sort of the members laid over. */
MUSTCHECK enum err json_merge_overlay(struct request_ctx *ctx, struct sv target,
                                      const struct sv *patches, size_t n, struct sv *out);

#endif

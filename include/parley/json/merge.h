/* SPDX-License-Identifier: MIT */
/* JSON merge patch (RFC 7396) and a plain overlay, over json-c. */
#ifndef PARLEY_JSON_MERGE_H
#define PARLEY_JSON_MERGE_H

#include "parley/base/ctx.h"

/* Applies patch to target, both JSON objects that jdoc_parse has accepted, and puts the text of
 * the result into *out (in the arena). A null in the patch deletes a member. Numbers with a
 * fraction or an exponent keep their text; a negative zero written as -0 becomes 0. */
MUSTCHECK enum err jmerge_patch(struct request_ctx *ctx, struct sv target, struct sv patch,
                                struct sv *out);
/* As jmerge_patch, but each member of patch takes the place of target's as a whole: nothing is
 * merged into it, and a null is a value like any other. Over {} it is patch as it was written. */
MUSTCHECK enum err jmerge_overlay(struct request_ctx *ctx, struct sv target, struct sv patch,
                                  struct sv *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The members of an object as text, one after the other: how an interface keeps what it has no name
 * for, and gives it back as it was written. Works on text that jdoc_parse has accepted and takes no
 * memory of its own. Names are compared unescaped; lists of them end in NULL.
 */
#ifndef PARLEY_JSON_MEMBERS_H
#define PARLEY_JSON_MEMBERS_H

#include "parley/base/ctx.h"
#include "parley/json/write.h"

struct jmember {
    struct sv key; /* without quotes, still escaped */
    struct sv raw; /* the value's text */
};

/* The next member of the object whose text is left in *rest; false at its end. */
bool jmember_next(struct sv *rest, struct jmember *out);
/* The text of the member of that name; SV_NONE if there is none, or object is absent. */
struct sv jmember_get(struct sv object, const char *name);
/* Writes the members but those named into the object that is open in j. object may be absent. */
void jmembers_write(struct jout *j, struct sv object, const char *const *without);
/* The object of the members but those named, in the arena; SV_NONE if there are none. */
MUSTCHECK enum err jmembers_without(struct request_ctx *ctx, struct sv object,
                                    const char *const *without, struct sv *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The members of an object apart from some, as they were written: how an interface keeps what it
 * has no name for, and gives it back. names end in NULL and are compared unescaped. The object is
 * one that jdoc_parse has indexed.
 */
#ifndef PARLEY_JSON_MEMBERS_H
#define PARLEY_JSON_MEMBERS_H

#include "parley/json/doc.h"
#include "parley/json/write.h"

/* The object of the other members, in the arena; SV_NONE if there are none. */
MUSTCHECK enum err jmembers_without(struct request_ctx *ctx, const struct jdoc *d,
                                    const struct jnode *object, const char *const *names,
                                    struct sv *out);
/* Writes the other members into the object that is open in j. */
void jmembers_write(struct jout *j, const struct jdoc *d, const struct jnode *object,
                    const char *const *names);

#endif

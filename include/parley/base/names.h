/* SPDX-License-Identifier: MIT */
/*
 * Closed lists of names: fields, parameters, settings, values of an enumeration. An error about an
 * unknown name suggests the likely one. The lists are static; all functions are thread-safe.
 */
#ifndef PARLEY_BASE_NAMES_H
#define PARLEY_BASE_NAMES_H

#include "parley/base/arena.h"

/* Each row begins with a const char * that is its name. */
struct names {
    const void *rows;
    size_t n, stride; /* how many rows; the bytes of one */
};
#define NAMES(array) ((struct names){(array), ARRAY_LEN(array), sizeof((array)[0])})

/* The row of that name; names->n: none. */
size_t names_index(const struct names *names, struct sv name);
/* The name in the list with the fewest letters to change; NULL: none is near. */
const char *names_nearest(const struct names *names, struct sv name);
/* " Did you mean `role`? Allowed: role, content.", to append to a sentence. Without a near name
 * only the second part. In the arena; "" without memory. Never NULL. */
const char *names_hint(struct arena *a, const struct names *names, struct sv name);

#endif

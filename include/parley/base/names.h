/* SPDX-License-Identifier: MIT */
/*
 * Closed lists of names (fields, parameters, settings, the words of an enumeration), and the hint
 * for a name that is not in the list. Any thread may call these functions.
 */
#pragma once

#include "parley/base/arena.h"

/* Each row begins with a const char * that is its name. */
struct names {
    const void *rows;
    size_t n, stride; /* how many rows; the bytes of one */
};
#define NAMES(array) ((struct names){(array), ARRAY_LEN(array), sizeof((array)[0])})

/* The row of this very name; names->n: there is none. */
size_t names_index(const struct names *names, struct sv name);
/* The name that name most likely stands for, by the number of letters to change; NULL: none. */
const char *names_nearest(const struct names *names, struct sv name);
/* " Did you mean `role`? Allowed: role, content." to follow a sentence; the question only where a
 * name is near. In the arena; "" where it has no memory. Never NULL. */
const char *names_hint(struct arena *a, const struct names *names, struct sv name);

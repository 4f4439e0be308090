/* SPDX-License-Identifier: MIT */
/* "Did you mean …?": which of the known names an unknown one most likely stands for. */
#ifndef PARLEY_BASE_NEAREST_H
#define PARLEY_BASE_NEAREST_H

#include <stddef.h>

#include "parley/base/sv.h"

/* The name with the smallest edit distance to the unknown one; NULL if every one differs in more
 * than 3 characters, or in more than a third of them. names: the first of n C strings, each stride
 * bytes after the one before, so that the names may be members of a table's rows. Borrowed. */
const char *nearest_name(struct sv unknown, const char *const *names, size_t n, size_t stride);

#endif

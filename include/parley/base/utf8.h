/* SPDX-License-Identifier: MIT */
/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef PARLEY_BASE_UTF8_H
#define PARLEY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/sv.h"

/* False: *bad_at (may be NULL) is the offset of the first bad byte. */
bool utf8_valid(struct sv s, size_t *bad_at);
/* The number of code points of a valid string. */
size_t utf8_length(struct sv s);

#endif

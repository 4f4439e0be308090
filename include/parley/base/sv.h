/* SPDX-License-Identifier: MIT */
/*
 * String view: a borrowed pointer and a length. The text need not end in a NUL. A view with p ==
 * NULL is absent, which is different from an empty one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/err.h"

struct sv {
    const char *p;
    size_t n;
};

/* For a string literal only; SV_INIT in the initializer of a static table. */
#define SV(lit) ((struct sv){(lit), sizeof(lit) - 1})
#define SV_INIT(lit)           \
    {                          \
        (lit), sizeof(lit) - 1 \
    }
#define SV_NONE ((struct sv){NULL, 0})
/* For printf: "%.*s", SV_ARG(x). */
#define SV_ARG(x) (int)(x).n, (x).p

struct sv sv_from(const char *cstr); /* borrowed; NULL gives SV_NONE */
bool sv_eq(struct sv a, struct sv b);
int sv_compare(struct sv a, struct sv b);    /* as memcmp; a beginning of b is before it */
bool sv_eq_nocase(struct sv a, struct sv b); /* of ASCII letters; b has no NUL */
/* Whether s has only A-Z a-z 0-9 and the characters of more. */
bool sv_all_of(struct sv s, const char *more);
bool sv_starts_with(struct sv s, struct sv prefix);
void sv_skip(struct sv *s, size_t n); /* the first n bytes, of at least n */
struct sv sv_trim(struct sv s);       /* spaces and tabs on both sides */
/* Cuts *s at the first c: returns the text before it, and leaves the text after it in *s. Without a
 * c it returns all, and leaves SV_NONE. */
struct sv sv_cut(struct sv *s, char c);
/* Decimal, without sign, leading zeros or overflow. False: *out is unchanged. */
MUSTCHECK bool sv_to_u64(struct sv s, uint64_t *out);
/* The same with an optional '-'. */
MUSTCHECK bool sv_to_i64(struct sv s, int64_t *out);

/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. False: *bad_at (may
 * be NULL) is the offset of the first bad byte. */
bool utf8_valid(struct sv s, size_t *bad_at);
/* The number of code points of a valid string. */
size_t utf8_length(struct sv s);
/* From text[from] to text[n - 1], makes "?" of each byte that is not UTF-8, or belongs to a control
 * character (C0, DEL, C1). */
void utf8_make_printable(char *text, size_t from, size_t n);

enum { ID_MAX = 256 }; /* bytes */
#define ID_RULE \
    "1 to 256 bytes of UTF-8 without control characters, and without . or .. between slashes"
bool id_valid(struct sv id); /* of a user, a session or a message */

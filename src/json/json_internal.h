/* SPDX-License-Identifier: MIT */
/*
 * Shared inside json/: tokens (token.c) and the unescaped form of strings (unescape.c),
 * names given twice (keys.c).
 */
#ifndef PARLEY_JSON_INTERNAL_H
#define PARLEY_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/json/doc.h"

/* What is wrong with a text. slug and what are static; what is a sentence without its full stop. */
struct json_fault {
    const char *slug, *what;
    size_t at;
};

/* Checks the string whose opening quote is at text.p[at]; *end is then the byte behind its closing
 * quote. Bytes above 0x7f are not looked at: the whole text is checked for UTF-8 at once. */
MUSTCHECK bool json_token_string(struct sv text, size_t at, size_t *end, bool *escaped,
                                 struct json_fault *fault);
/* Checks the number that begins at text.p[at]: grammar, length and range. */
MUSTCHECK bool json_token_number(struct sv text, size_t at, size_t *end, struct json_fault *fault);
/* The value of four hexadecimal digits; -1 when they are not. */
int json_token_hex4(const char *p);

/* The next character of a checked string body (*s, not empty), in UTF-8: 1 to 4 bytes. */
size_t json_unescape_next(struct sv *s, char out[4]);
/* Whether a checked string body, unescaped, is name. */
bool json_unescape_eq(struct sv body, struct sv name);
/* A checked body, unescaped: itself where nothing is escaped, else in the arena. */
MUSTCHECK enum err json_unescape_dup(struct request_ctx *ctx, struct sv body, struct sv *out);

struct json_key {
    struct sv name; /* unescaped */
    size_t at;      /* where in the text, or the list, its member stands */
};
/* An order of names to sort and search by; 0: they are the same. */
int json_keys_order(struct sv a, struct sv b);
/* By name; keys of one name stay as they stood. */
void json_keys_sort(struct json_key *keys, size_t n);
/* Sets *twice to a member whose unescaped name another member has too, or to NULL. Leaves nothing
 * in the arena. */
MUSTCHECK enum err json_keys_find_duplicate(struct request_ctx *ctx, const struct json_doc *d,
                                            const struct json_node *object,
                                            const struct json_node **twice);

#endif

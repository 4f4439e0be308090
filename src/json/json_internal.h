/* SPDX-License-Identifier: MIT */
/*
 * Shared inside json/: tokens (token.c), the unescaped form of strings (doc.c), sets of names
 * (keys.c). A "body" is what stands between the quotes of a string, escapes included.
 */
#ifndef PARLEY_JSON_INTERNAL_H
#define PARLEY_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/json/doc.h"

/* A token. slug and why are static; why is a sentence without its full stop. */
struct json_token {
    size_t end;             /* the offset after it, or of what is wrong with it */
    const char *slug, *why; /* it is refused; NULL: it is valid */
};

/* Checks the string whose opening quote is at text.p[at]. Does not check UTF-8: the caller checks
 * the whole text at once. */
MUSTCHECK struct json_token json_token_string(struct sv text, size_t at);
/* Checks the number that begins at text.p[at]: grammar, length and range. */
MUSTCHECK struct json_token json_token_number(struct sv text, size_t at);
/* The value of four hexadecimal digits; -1 when they are not. */
int json_token_hex4(const char *p);

/* Takes the next character off a checked body that is not empty: 1 to 4 bytes of UTF-8. */
size_t json_unescape_next(struct sv *body, char out[4]);
/* Whether a checked body, unescaped, is name. */
bool json_unescape_eq(struct sv body, struct sv name);
/* A checked body, unescaped: itself where nothing is escaped, else in the arena. */
MUSTCHECK enum err json_unescape_dup(struct request_ctx *ctx, struct sv body, struct sv *out);

/* Whether the member's unescaped name is name. */
bool json_doc_is_named(const struct json_node *member, struct sv name);

struct json_key {
    struct sv name; /* unescaped */
    size_t at;      /* the member's index, for the caller */
};
/* Sorts by name, and keys of one name by index. */
void json_keys_sort(struct json_key *keys, size_t n);
/* The key of that name among sorted keys; NULL: none. */
const struct json_key *json_keys_find(const struct json_key *sorted, size_t n, struct sv name);
/* Sets *twice to the second member of a name, or to NULL. Frees its memory. */
MUSTCHECK enum err json_keys_find_duplicate(struct request_ctx *ctx, const struct json_doc *d,
                                            const struct json_node *object,
                                            const struct json_node **twice);

#endif

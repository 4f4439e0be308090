/* SPDX-License-Identifier: MIT */
/*
 * Shared inside json/: tokens (token.c), the unescaped form of strings (doc.c), names (keys.c). A
 * "body" is what stands between the quotes of a string, escapes included.
 */
#pragma once

#include "parley/json/doc.h"

/* A token. slug and why are static; why is a sentence without its full stop. */
struct json_token {
    size_t end;             /* the offset after it, or of what is wrong with it */
    const char *slug, *why; /* it is refused; NULL: it is valid */
};

/* Checks the string whose opening quote is at text.p[at]. Does not check UTF-8: the caller checks
 * the whole text at once. */
MUSTCHECK struct json_token json_token_string(struct sv text, size_t at, enum json_rules rules);
/* Checks the number that begins at text.p[at]. */
MUSTCHECK struct json_token json_token_number(struct sv text, size_t at, enum json_rules rules);
/* The value of four hexadecimal digits; -1 when they are not. */
int json_token_hex4(const char *p);

/* The offset after the checked string whose opening quote is at s.p[at]. */
size_t json_string_end(struct sv s, size_t at);

/* Takes the next character off a checked body that is not empty: 1 to 4 bytes of UTF-8. Two results
 * may not leave json/: \u0000 becomes a NUL, and an unpaired surrogate is encoded as if it were a
 * character. So different strings stay different. */
size_t json_unescape_next(struct sv *body, char out[4]);
/* Whether a checked body, unescaped, is name. */
bool json_unescape_eq(struct sv body, struct sv name);
/* The order of two checked bodies, unescaped, as sv_compare has it. */
int json_unescape_compare(struct sv a, struct sv b);
/* A checked body, unescaped: itself where nothing is escaped, else in the arena. ERR_INVALID, with
 * nothing in ctx: it is not UTF-8 without a NUL. json_not_decodable says that. */
MUSTCHECK enum err json_unescape_dup(struct request_ctx *ctx, struct sv body, struct sv *out);
extern const char json_not_decodable[];

/* Whether the member's unescaped name is name. */
bool json_doc_is_named(const struct json_node *member, struct sv name);

/* A name in an open object: the offset of its opening quote, and a hash of the unescaped name. */
struct json_name {
    uint32_t at, hash;
};
/* secret: one value for all names of a text, which clients do not know: they cannot make names of
 * one hash. */
struct json_name json_name_at(size_t at, struct sv body, uint64_t secret);
/* The offset of the second of two equal names; SIZE_MAX: all differ. Sorts the names. */
size_t json_names_find_duplicate(struct sv text, struct json_name *names, size_t n);

/* SPDX-License-Identifier: MIT */
/* Numbers and bytes as text, and hashes. Only base64url_write adds a NUL. */
#pragma once

#include "parley/base/sv.h"

enum { HEX_U64_LEN = 16, JSON_ESCAPE_MAX = 6, SHA256_LEN = 32, HASH_KEY_LEN = 16 };
/* Characters that n bytes take as base64url without padding (RFC 4648, section 5). */
#define BASE64URL_LEN(n) (((n)*4 + 2) / 3)

/* The value of a hexadecimal digit of either case; -1 if it is none. */
int hex_value(char c);
/* All 16 digits, in lower case. */
void hex_write(uint64_t v, char out[HEX_U64_LEN]);
/* False unless s is 1 to 16 digits in lower case. */
MUSTCHECK bool hex_read(struct sv s, uint64_t *out);
/* The byte of the percent escape at the beginning of s ("%2F"); -1 if there is none. */
int percent_read(struct sv s);

/* Writes the JSON escape of ", \ or a control character ("\n", "\u001f"); returns its length. */
size_t json_escape_write(unsigned char c, char out[JSON_ESCAPE_MAX]);

/* out has room for BASE64URL_LEN(n) characters and a NUL. */
void base64url_write(const void *bytes, size_t n, char *out);
/* False unless text stands for exactly n bytes. More than one text may stand for the same bytes. */
MUSTCHECK bool base64url_read(struct sv text, void *out, size_t n);

/* A short hash (SipHash-2-4). Without the key nobody can find texts with the same hash. NULL: a key
 * that everybody knows. */
uint64_t hash_bytes(const unsigned char key[HASH_KEY_LEN], struct sv bytes);
/* The SHA-256 of n texts, each after its length, so that no two lists give the same bytes. */
void sha256_parts(const struct sv *parts, size_t n, unsigned char out[SHA256_LEN]);

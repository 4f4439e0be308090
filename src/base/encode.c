/* SPDX-License-Identifier: MIT */
#include "parley/base/encode.h"

#include <string.h>

#include <sodium.h>

int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void hex_write(uint64_t v, char out[HEX_U64_LEN])
{
    for (int i = HEX_U64_LEN - 1; i >= 0; i--, v >>= 4)
        out[i] = "0123456789abcdef"[v & 15];
}

bool hex_read(struct sv s, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        const int digit = s.p[i] >= 'A' && s.p[i] <= 'F' ? -1 : hex_value(s.p[i]);
        if (digit < 0)
            return false;
        *out = *out << 4 | (uint64_t)digit;
    }
    return s.n >= 1 && s.n <= HEX_U64_LEN;
}

int percent_read(struct sv s)
{
    if (s.n < 3 || s.p[0] != '%' || hex_value(s.p[1]) < 0 || hex_value(s.p[2]) < 0)
        return -1;
    return hex_value(s.p[1]) * 16 + hex_value(s.p[2]);
}

size_t json_escape_write(unsigned char c, char out[JSON_ESCAPE_MAX])
{
    static const char letters['\\' + 1] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                           ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    char digits[HEX_U64_LEN];
    const char letter = c < sizeof letters ? letters[c] : '\0';
    out[0] = '\\';
    out[1] = letter ? letter : 'u';
    if (letter)
        return 2;
    hex_write(c, digits);
    memcpy(out + 2, digits + HEX_U64_LEN - 4, 4);
    return JSON_ESCAPE_MAX;
}

void base64url_write(const void *bytes, size_t n, char *out)
{
    sodium_bin2base64(out, BASE64URL_LEN(n) + 1, bytes, n,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool base64url_read(struct sv text, void *out, size_t n)
{
    size_t got = 0;
    return sodium_base642bin(out, n, text.p, text.n, NULL, &got, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           got == n;
}

uint64_t hash_bytes(const unsigned char key[HASH_KEY_LEN], struct sv bytes)
{
    static const unsigned char known[HASH_KEY_LEN];
    uint64_t hash;
    unsigned char out[sizeof(hash)];
    crypto_shorthash(out, (const unsigned char *)bytes.p, bytes.n, key ? key : known);
    memcpy(&hash, out, sizeof(hash));
    return hash;
}

void sha256_parts(const struct sv *parts, size_t n, unsigned char out[SHA256_LEN])
{
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    for (size_t i = 0; i < n; i++) {
        const uint64_t length = parts[i].n;
        crypto_hash_sha256_update(&h, (const unsigned char *)&length, sizeof(length));
        if (length > 0)
            crypto_hash_sha256_update(&h, (const unsigned char *)parts[i].p, length);
    }
    crypto_hash_sha256_final(&h, out);
}

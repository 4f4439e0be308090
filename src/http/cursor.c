/* SPDX-License-Identifier: MIT */
#include "parley/http/cursor.h"

#include <string.h>

#include <sodium.h>

/* Version, place, and as much of the checksum as fills the last character. */
enum {
    VERSION = 1,
    BODY = 1 + 2 * 8,
    CHECK = 7,
    BYTES = BODY + CHECK,
    VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING
};

static void put_number(unsigned char *p, int64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)((uint64_t)v >> (56 - 8 * i));
}

static int64_t get_number(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

/* Each part behind its length, so that no two lists give the same bytes. */
static void add(crypto_hash_sha256_state *h, const void *p, size_t n)
{
    unsigned char length[8];
    put_number(length, (int64_t)n);
    crypto_hash_sha256_update(h, length, sizeof(length));
    if (n > 0)
        crypto_hash_sha256_update(h, p, n);
}

static void check_of(const struct request_ctx *ctx, const char *list, struct sv owner,
                     const unsigned char body[BODY], unsigned char out[CHECK])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    add(&h, list, strlen(list));
    add(&h, ctx->tenant.p, ctx->tenant.n);
    add(&h, owner.p, owner.n);
    add(&h, body, BODY);
    crypto_hash_sha256_final(&h, digest);
    memcpy(out, digest, CHECK);
}

enum err http_cursor_make(struct request_ctx *ctx, const char *list, struct sv owner,
                          const int64_t place[2], struct sv *out)
{
    unsigned char bytes[BYTES] = {VERSION};
    const size_t size = sodium_base64_ENCODED_LEN(BYTES, VARIANT);
    char *text = arena_alloc(ctx->arena, size);
    if (!text)
        return ctx_nomem(ctx);
    put_number(bytes + 1, place[0]);
    put_number(bytes + 9, place[1]);
    check_of(ctx, list, owner, bytes, bytes + BODY);
    sodium_bin2base64(text, size, bytes, BYTES, VARIANT);
    *out = (struct sv){text, size - 1};
    return ERR_NONE;
}

/* One spelling alone is good: libsodium also takes 0xdf for '_'. */
enum err http_cursor_read(struct request_ctx *ctx, const char *list, struct sv owner,
                          struct sv text, int64_t place[2])
{
    unsigned char bytes[BYTES];
    struct sv made = SV_NONE;
    size_t n = 0;
    int64_t found[2];
    bool whole =
        sodium_base642bin(bytes, BYTES, text.p, text.n, NULL, &n, NULL, VARIANT) == 0 && n == BYTES;
    if (whole) {
        found[0] = get_number(bytes + 1);
        found[1] = get_number(bytes + 9);
        TRY(http_cursor_make(ctx, list, owner, found, &made));
    }
    if (!whole || !sv_eq(made, text))
        return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "cursor",
                        "cursor must be a next_cursor that this list gave.");
    memcpy(place, found, sizeof(found));
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
#include "parley/http/cursor.h"

#include <endian.h>
#include <string.h>

#include "parley/base/encode.h"

/* Version, position, and as much of the checksum as fills the last character. */
enum { VERSION = 1, BODY = 1 + 2 * sizeof(uint64_t), CHECK = 7, BYTES = BODY + CHECK };

static void checksum_of(const struct request_ctx *ctx, const char *list, struct sv owner,
                        const unsigned char body[BODY], unsigned char out[CHECK])
{
    const struct sv parts[] = {sv_from(list), ctx->tenant, {(const char *)body, BODY}, owner};
    unsigned char digest[SHA256_LEN];
    sha256_parts(parts, ARRAY_LEN(parts), digest);
    memcpy(out, digest, CHECK);
}

enum err http_cursor_make(struct request_ctx *ctx, const char *list, struct sv owner,
                          const int64_t position[2], struct sv *out)
{
    unsigned char bytes[BYTES] = {VERSION};
    char *text = arena_alloc(ctx->arena, BASE64URL_LEN(BYTES) + 1);
    if (!text)
        return ctx_nomem(ctx);
    const uint64_t be[] = {htobe64((uint64_t)position[0]), htobe64((uint64_t)position[1])};
    memcpy(bytes + 1, be, sizeof(be));
    checksum_of(ctx, list, owner, bytes, bytes + BODY);
    base64url_write(bytes, BYTES, text);
    *out = (struct sv){text, BASE64URL_LEN(BYTES)};
    return ERR_NONE;
}

/* Compares text, not bytes: libsodium reads more than one text as the same bytes (0xdf as '_'). */
enum err http_cursor_read(struct request_ctx *ctx, const char *list, struct sv owner,
                          struct sv text, int64_t position[2])
{
    unsigned char bytes[BYTES];
    struct sv made = SV_NONE;
    if (base64url_read(text, bytes, BYTES)) {
        uint64_t be[2];
        memcpy(be, bytes + 1, sizeof(be));
        const int64_t found[2] = {(int64_t)be64toh(be[0]), (int64_t)be64toh(be[1])};
        TRY(http_cursor_make(ctx, list, owner, found, &made));
        if (sv_eq(made, text)) {
            memcpy(position, found, sizeof(found));
            return ERR_NONE;
        }
    }
    return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "cursor",
                    "cursor must be a next_cursor that this list gave.");
}

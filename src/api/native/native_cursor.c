/* SPDX-License-Identifier: MIT */
/*
 * Opaque cursors of a list of sessions: the position after which the next page begins, and a
 * checksum over it, the tenant and what the list is of. A cursor is no secret and grants nothing;
 * the checksum detects a cursor of another list, and one that was invented or damaged.
 */
#include "native.h"

#include <endian.h>
#include <string.h>

#include "parley/base/encode.h"

/* Version, position, and as much of the checksum as fills the last character. */
enum { VERSION = 1, BODY = 1 + 2 * sizeof(uint64_t), CHECK = 7, BYTES = BODY + CHECK };

enum err native_cursor_make(struct request_ctx *ctx, const struct session_list_query *q,
                            struct session_position at, struct sv *out)
{
    unsigned char bytes[BYTES] = {VERSION}, digest[SHA256_LEN];
    const int64_t times[] = {q->created_after, q->created_before};
    const struct sv parts[] = {SV("sessions"),
                               ctx->tenant,
                               {(const char *)bytes, BODY},
                               {(const char *)times, sizeof(times)},
                               q->metadata,
                               q->user};
    char *text = arena_alloc(ctx->arena, BASE64URL_LEN(BYTES) + 1);
    if (!text)
        return ctx_nomem(ctx);
    const uint64_t be[] = {htobe64((uint64_t)at.created_at), htobe64((uint64_t)at.generation)};
    memcpy(bytes + 1, be, sizeof(be));
    sha256_parts(parts, ARRAY_LEN(parts), digest);
    memcpy(bytes + BODY, digest, CHECK);
    base64url_write(bytes, BYTES, text);
    *out = (struct sv){text, BASE64URL_LEN(BYTES)};
    return ERR_NONE;
}

/* Compares text, not bytes: libsodium reads more than one text as the same bytes (0xdf as '_'). */
enum err native_cursor_read(struct request_ctx *ctx, const struct session_list_query *q,
                            struct sv text, struct session_position *at)
{
    unsigned char bytes[BYTES];
    struct sv made = SV_NONE;
    if (base64url_read(text, bytes, BYTES)) {
        uint64_t be[2];
        memcpy(be, bytes + 1, sizeof(be));
        *at = (struct session_position){(int64_t)be64toh(be[0]), (int64_t)be64toh(be[1])};
        TRY(native_cursor_make(ctx, q, *at, &made));
        if (sv_eq(made, text))
            return ERR_NONE;
    }
    return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "cursor",
                    "cursor must be a next_cursor that this list gave.");
}

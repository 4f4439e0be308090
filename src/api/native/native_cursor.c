/* SPDX-License-Identifier: MIT */
/*
 * Opaque cursors of lists of sessions and of searches: the position after which the next page
 * begins, and a checksum over it, the tenant and what the list is of. A cursor is no secret and
 * grants nothing; the checksum detects a cursor of another list, and one that was invented or
 * damaged.
 */
#include "native.h"

#include <endian.h>
#include <string.h>

#include "parley/base/encode.h"

/* Version, position, and as much of the checksum as fills the last character of a list's cursor. */
enum { VERSION = 1, CHECK = 7 };
enum { BYTES_MAX = 1 + NATIVE_NUMBERS_MAX * sizeof(uint64_t) + CHECK };

enum err native_position_make(struct request_ctx *ctx, const struct native_list *list,
                              const int64_t *at, struct sv *out)
{
    const size_t body = 1 + list->n_numbers * sizeof(uint64_t), n = body + CHECK;
    unsigned char bytes[BYTES_MAX] = {VERSION}, digest[SHA256_LEN];
    struct sv parts[2 + NATIVE_PARTS_MAX] = {ctx->tenant, {(const char *)bytes, body}};
    char *text = arena_alloc(ctx->arena, BASE64URL_LEN(BYTES_MAX) + 1);
    if (!text)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < list->n_numbers; i++) {
        const uint64_t be = htobe64((uint64_t)at[i]);
        memcpy(bytes + 1 + i * sizeof(be), &be, sizeof(be));
    }
    memcpy(parts + 2, list->parts, list->n_parts * sizeof(*parts));
    sha256_parts(parts, 2 + list->n_parts, digest);
    memcpy(bytes + body, digest, CHECK);
    base64url_write(bytes, n, text);
    *out = (struct sv){text, BASE64URL_LEN(n)};
    return ERR_NONE;
}

/* Compares text, not bytes: libsodium reads more than one text as the same bytes (0xdf as '_'). */
enum err native_position_read(struct request_ctx *ctx, const struct native_list *list,
                              struct sv text, int64_t *at)
{
    unsigned char bytes[BYTES_MAX];
    struct sv made = SV_NONE;
    if (base64url_read(text, bytes, 1 + list->n_numbers * sizeof(uint64_t) + CHECK)) {
        for (size_t i = 0; i < list->n_numbers; i++) {
            uint64_t be;
            memcpy(&be, bytes + 1 + i * sizeof(be), sizeof(be));
            at[i] = (int64_t)be64toh(be);
        }
        TRY(native_position_make(ctx, list, at, &made));
        if (sv_eq(made, text))
            return ERR_NONE;
    }
    return ctx_fail(ctx, ERR_INVALID, "invalid_parameter", "cursor",
                    "cursor must be a next_cursor that this list gave.");
}

void native_list_of(const struct session_list_query *q, struct native_list *out)
{
    *out = (struct native_list){2, 4, {SV("sessions")}, {q->created_after, q->created_before}};
    out->parts[1] = (struct sv){(const char *)out->times, sizeof(out->times)};
    out->parts[2] = q->metadata;
    out->parts[3] = q->user;
}

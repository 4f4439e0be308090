/* SPDX-License-Identifier: MIT */
#include "parley/http/fingerprint.h"

#include <sodium.h>

/* Hashes a part after its length, so that no two requests give the same bytes. */
static void hash_part(crypto_hash_sha256_state *h, struct sv part)
{
    const uint64_t n = part.n;
    crypto_hash_sha256_update(h, (const unsigned char *)&n, sizeof(n));
    if (part.n > 0)
        crypto_hash_sha256_update(h, (const unsigned char *)part.p, part.n);
}

enum err http_fingerprint(struct request_ctx *ctx, const struct http_request *req, struct sv *out)
{
    unsigned char *digest = arena_alloc(ctx->arena, HTTP_FINGERPRINT_LEN);
    if (!digest)
        return ctx_nomem(ctx);
    crypto_hash_sha256_state h;
    crypto_hash_sha256_init(&h);
    hash_part(&h, req->method_text);
    hash_part(&h, req->target);
    hash_part(&h, http_header_get(req, "x-parley-user"));
    hash_part(&h, req->body);
    crypto_hash_sha256_final(&h, digest);
    *out = (struct sv){(const char *)digest, HTTP_FINGERPRINT_LEN};
    return ERR_NONE;
}

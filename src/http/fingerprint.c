/* SPDX-License-Identifier: MIT */
#include "parley/http/fingerprint.h"

#include <sodium.h>

/* Each part behind its length, so that no two requests give the same bytes. */
static void add(crypto_hash_sha256_state *h, struct sv part)
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
    add(&h, req->method_text);
    add(&h, req->target);
    add(&h, http_header_get(req, "x-parley-user"));
    add(&h, req->body);
    crypto_hash_sha256_final(&h, digest);
    *out = (struct sv){(const char *)digest, HTTP_FINGERPRINT_LEN};
    return ERR_NONE;
}

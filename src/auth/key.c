/* SPDX-License-Identifier: MIT */
/* The text of a key, and the headers that carry it. */
#include "auth_internal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parley/base/encode.h"
#include "parley/base/uuid.h"

static const struct sv prefix = SV_INIT("parley_");

bool auth_tenant_valid(struct sv tenant)
{
    return tenant.n >= 1 && tenant.n <= AUTH_TENANT_MAX && sv_all_of(tenant, "._-");
}

bool auth_name_valid(struct sv name)
{
    if (!utf8_valid(name, NULL) || utf8_length(name) > AUTH_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        const unsigned char c = (unsigned char)name.p[i];
        /* C2 80 to C2 9F are the control characters of Latin-1. */
        if (c < 0x20 || c == 0x7f ||
            (c == 0xc2 && i + 1 < name.n && (unsigned char)name.p[i + 1] < 0xa0))
            return false;
    }
    return true;
}

bool key_id_parse(struct sv hex, uint64_t *id)
{
    return hex.n == AUTH_ID_LEN && hex_read(hex, id);
}

bool key_parse(struct sv text, uint64_t *id, struct sv *secret)
{
    if (text.n != AUTH_KEY_LEN || !sv_starts_with(text, prefix) ||
        text.p[prefix.n + AUTH_ID_LEN] != '_')
        return false;
    *secret = (struct sv){text.p + AUTH_KEY_LEN - KEY_SECRET_LEN, KEY_SECRET_LEN};
    return key_id_parse((struct sv){text.p + prefix.n, AUTH_ID_LEN}, id) &&
           sv_all_of(*secret, "_-");
}

bool auth_key_id(struct sv text, struct sv *id)
{
    uint64_t number;
    struct sv secret;
    *id = text;
    if (key_id_parse(text, &number))
        return true;
    if (!key_parse(text, &number, &secret))
        return false;
    *id = (struct sv){text.p + prefix.n, AUTH_ID_LEN};
    return true;
}

/* Hashes the characters, not the bytes that they encode, so that each key has one spelling. */
void key_hash(struct sv secret, unsigned char out[KEY_HASH_LEN])
{
    crypto_hash_sha256(out, (const unsigned char *)secret.p, secret.n);
}

struct sv key_make(char out[AUTH_KEY_LEN + 1])
{
    unsigned char bytes[32];
    arc4random_buf(bytes, sizeof(bytes));
    memcpy(out, prefix.p, prefix.n);
    hex_write(random_u64(), out + prefix.n);
    out[prefix.n + AUTH_ID_LEN] = '_';
    base64url_write(bytes, sizeof(bytes), out + AUTH_KEY_LEN - KEY_SECRET_LEN);
    sodium_memzero(bytes, sizeof(bytes));
    return (struct sv){out + prefix.n, AUTH_ID_LEN};
}

enum err key_presented(struct request_ctx *ctx, const struct http_request *req, struct sv *key)
{
    struct sv bearer = sv_trim(http_header_get(req, "authorization"));
    struct sv other = sv_trim(http_header_get(req, "x-api-key"));
    const struct sv scheme = sv_cut(&bearer, ' ');
    bearer = sv_eq_nocase(scheme, SV("Bearer")) ? sv_trim(bearer) : SV_NONE;
    *key = bearer.n > 0 ? bearer : other;
    if (key->n == 0)
        return ctx_fail(
            ctx, ERR_UNAUTHENTICATED, "missing_api_key", NULL, "%s",
            sv_starts_with(scheme, prefix)
                ? "The word Bearer is missing before the key in Authorization."
                : "An API key is needed, as a Bearer token in Authorization or in X-Api-Key.");
    if (bearer.n > 0 && other.n > 0 && !sv_eq(bearer, other))
        return ctx_fail(ctx, ERR_UNAUTHENTICATED, "invalid_api_key", NULL,
                        "Authorization and X-Api-Key differ: send one of them.");
    return ERR_NONE;
}

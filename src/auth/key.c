/* SPDX-License-Identifier: MIT */
/* The text of a key, and the headers that carry it. */
#include "auth_internal.h"

#include <string.h>

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

bool auth_user_valid(struct sv user)
{
    return id_valid(user) && sv_trim(user).n == user.n;
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

/* Hashes the characters, not the bytes that they encode, so that each key has one spelling. The
 * hash of a restricted key covers its restrictions: nobody widens the key by a change of its row,
 * and a release that knows no restrictions does not find the key valid. */
void key_hash(struct sv secret, bool read_only, struct sv user, unsigned char out[KEY_HASH_LEN])
{
    const struct sv parts[] = {SV("restricted key"), secret, read_only ? SV("read") : SV("write"),
                               user};
    if (read_only || user.n > 0)
        sha256_parts(parts, ARRAY_LEN(parts), out);
    else
        crypto_hash_sha256(out, (const unsigned char *)secret.p, secret.n);
}

/* PKCS #8 in PEM (RFC 8410, section 7), and the public key. */
static void make_signing_key(const unsigned char seed[32], char out[AUTH_SECRET_MAX + 1],
                             unsigned char public_key[KEY_HASH_LEN])
{
    unsigned char der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                             0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    unsigned char secret_key[crypto_sign_SECRETKEYBYTES];
    memcpy(der + 16, seed, 32);
    (void)crypto_sign_seed_keypair(public_key, secret_key, seed);
    strcpy(out, "-----BEGIN PRIVATE KEY-----\n");
    sodium_bin2base64(out + strlen(out), 65, der, sizeof(der), sodium_base64_VARIANT_ORIGINAL);
    strcat(out, "\n-----END PRIVATE KEY-----");
    sodium_memzero(der, sizeof(der));
    sodium_memzero(secret_key, sizeof(secret_key));
}

void key_make(const struct auth_key *key, char id[AUTH_ID_LEN], char out[AUTH_SECRET_MAX + 1],
              unsigned char hash[KEY_HASH_LEN])
{
    unsigned char bytes[32];
    arc4random_buf(bytes, sizeof(bytes));
    hex_write(random_u64(), id);
    if (key->signing) {
        make_signing_key(bytes, out, hash);
    } else {
        memcpy(out, prefix.p, prefix.n);
        memcpy(out + prefix.n, id, AUTH_ID_LEN);
        out[prefix.n + AUTH_ID_LEN] = '_';
        base64url_write(bytes, sizeof(bytes), out + AUTH_KEY_LEN - KEY_SECRET_LEN);
        key_hash((struct sv){out + AUTH_KEY_LEN - KEY_SECRET_LEN, KEY_SECRET_LEN}, key->read_only,
                 key->user, hash);
    }
    sodium_memzero(bytes, sizeof(bytes));
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

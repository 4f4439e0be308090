/* SPDX-License-Identifier: MIT */
/* Signed tokens: their form, and what their claims allow. */
#include "../../../src/auth/auth_internal.h"

#include <string.h>

#include "../suite.h"
#include "parley/base/encode.h"

#define HEAD  "{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\"}"
#define BODY  "{\"sub\":\"u\",\"exp\":1000}"
#define NOW_S 100

/* header.payload.signature; the signature is zeros. */
static struct sv token_of(struct request_ctx *ctx, struct sv header, struct sv payload)
{
    static const unsigned char zeros[crypto_sign_BYTES];
    char h[4096], p[4096], s[128];
    base64url_write(header.p, header.n, h);
    base64url_write(payload.p, payload.n, p);
    base64url_write(zeros, sizeof(zeros), s);
    return arena_printf(ctx->arena, "%s.%s.%s", h, p, s);
}

static enum err parse(struct request_ctx *ctx, struct sv text, struct credential *out)
{
    *out = (struct credential){.id = 0};
    const enum err e = credential_parse(ctx, text, out);
    ctx_clear_error(ctx);
    return e;
}

/* Fails if alg, kid, crit or the type of a member is not looked at: tried. */
TEST(headers)
{
    static const struct {
        const char *header;
        bool good;
    } cases[] = {
        {HEAD, true},
        {"{\"kid\":\"0123456789abcdef\",\"typ\":\"JWT\",\"alg\":\"EdDSA\",\"x\":[{}]}", true},
        {"{\"alg\":\"Ed\\u0044SA\",\"kid\":\"0123456789abcdef\"}", true},
        {"{\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":\"EdDSA\"}", false},
        {"{\"alg\":\"none\",\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":\"HS256\",\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":\"eddsa\",\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":[\"EdDSA\"],\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":null,\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789ABCDEF\"}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcde\"}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":81985529216486895}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\",\"crit\":[\"exp\"]}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\",\"crit\":null}", false},
        {"{\"alg\":\"none\",\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\"}", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\"} x", false},
        {"{\"alg\":\"EdDSA\",\"kid\":\"0123456789abcdef\",\"x\":\"\xff\"}", false},
        {"[\"EdDSA\"]", false},
        {"\"EdDSA\"", false},
        {"", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct credential c;
        struct request_ctx *ctx = test_ctx();
        const struct sv text = token_of(ctx, sv_from(cases[i].header), SV(BODY));
        CU_ASSERT_EQUAL(parse(ctx, text, &c), cases[i].good ? ERR_NONE : ERR_INVALID);
        if (cases[i].good)
            CU_ASSERT_TRUE(c.id == UINT64_C(0x0123456789abcdef) && !c.secret.p);
    }
}

/* Each is one change away from a token. Fails if padding, other characters or bits that stand for
 * nothing are let through, or if the signature is not over the text as sent: tried. */
TEST(forms)
{
    struct request_ctx *ctx = test_ctx();
    struct credential c;
    const struct sv good = token_of(ctx, SV(HEAD), SV(BODY));
    char wide[4096], text[4096];
    CU_ASSERT_EQUAL(parse(ctx, good, &c), ERR_NONE);
    CU_ASSERT_TRUE(c.signed_text.p == good.p && c.signed_text.n == good.n - 87);
    CU_ASSERT_TRUE(c.claims.p[c.claims.n] == '.' && c.claims.p[-1] == '.');
    for (size_t cut = 1; cut < 90; cut++)
        CU_ASSERT_EQUAL(parse(ctx, (struct sv){good.p, good.n - cut}, &c), ERR_INVALID);
    static const char *const added[] = {"=", "==", "A", "AA", "AAAA", ".", ".A", " ", "\n"};
    for (size_t i = 0; i < ARRAY_LEN(added); i++) {
        const struct sv longer = arena_printf(ctx->arena, "%.*s%s", SV_ARG(good), added[i]);
        CU_ASSERT_EQUAL(parse(ctx, longer, &c), ERR_INVALID);
    }
    /* 64 bytes leave four bits of the last character, which must be 0. */
    memcpy(text, good.p, good.n);
    for (const char *last = "BCDEFGHIJKLMNOP+/_-"; *last; last++) {
        text[good.n - 1] = *last;
        CU_ASSERT_EQUAL(parse(ctx, (struct sv){text, good.n}, &c), ERR_INVALID);
    }
    /* The header has another length modulo 3, so that there are such bits. */
    const struct sv other = token_of(ctx, SV(HEAD " "), SV(BODY));
    CU_ASSERT_EQUAL(parse(ctx, other, &c), ERR_NONE);
    memcpy(text, other.p, other.n);
    char *const end = memchr(text, '.', other.n);
    end[-1]++;
    CU_ASSERT_EQUAL(parse(ctx, (struct sv){text, other.n}, &c), ERR_INVALID);
    memset(wide, ' ', sizeof(wide));
    for (size_t n = 1300; n < 1500; n++) {
        const struct sv huge = token_of(ctx, SV(HEAD), (struct sv){wide, n});
        CU_ASSERT_EQUAL(parse(ctx, huge, &c), huge.n <= 2048 ? ERR_NONE : ERR_INVALID);
    }
    CU_ASSERT_EQUAL(parse(ctx, SV(".."), &c), ERR_INVALID);
    CU_ASSERT_EQUAL(parse(ctx, SV(""), &c), ERR_INVALID);
    CU_ASSERT_EQUAL(parse(ctx, SV("parley_"), &c), ERR_INVALID);
}

/* now: 100 s. Fails if any of the checks is left out, or a bound is moved by 1 s: tried. */
TEST(claims)
{
    static const struct {
        const char *payload, *field; /* field NULL: it is good */
    } cases[] = {{BODY, NULL},
                 {"{\"sid\":\"s\",\"exp\":1000.5}", NULL},
                 {"{\"sub\":\"u\",\"sid\":\"s\",\"exp\":1e3,\"nbf\":100,\"scope\":\"read\"}", NULL},
                 {"{\"sub\":\"u\",\"exp\":100.5,\"iss\":{},\"jti\":[1],\"iat\":null}", NULL},
                 {"{\"sub\":\"u\",\"exp\":86560,\"nbf\":160}", NULL},
                 {"{\"sub\":\"u\"}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":100}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":86560.1}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":1e999}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":-1e999}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":\"1000\"}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":null}", "exp"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"nbf\":160.1}", "nbf"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"nbf\":null}", "nbf"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"nbf\":\"100\"}", "nbf"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"aud\":\"parley\"}", "aud"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"aud\":null}", "aud"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"scope\":\"admin\"}", "scope"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"scope\":\"\"}", "scope"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"scope\":\"read write\"}", "scope"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"scope\":[\"read\"]}", "scope"},
                 {"{\"sub\":\"u\",\"exp\":1000,\"scope\":null}", "scope"},
                 {"{\"exp\":1000}", "sub"},
                 {"{\"sub\":\"\",\"exp\":1000}", "sub"},
                 {"{\"sub\":\" u\",\"exp\":1000}", "sub"},
                 {"{\"sub\":\"a/../b\",\"exp\":1000}", "sub"},
                 {"{\"sub\":\"a\\u0000b\",\"exp\":1000}", "sub"},
                 {"{\"sub\":7,\"exp\":1000}", "sub"},
                 {"{\"sub\":null,\"sid\":\"s\",\"exp\":1000}", "sub"},
                 {"{\"sub\":\"u\",\"sid\":\"\",\"exp\":1000}", "sid"},
                 {"{\"sub\":\"u\",\"sid\":[\"s\"],\"exp\":1000}", "sid"},
                 {"{\"sub\":\"u\",\"sid\":null,\"exp\":1000}", "sid"},
                 {"{\"sub\":\"u\",\"sub\":\"v\",\"exp\":1000}", "sub"},
                 {"{\"sub\":\"u\",\"exp\":1000}{}", ""},
                 {"[]", ""},
                 {"", ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx *ctx = test_ctx();
        struct credential c;
        const struct sv text = token_of(ctx, SV(HEAD), sv_from(cases[i].payload));
        CU_ASSERT_EQUAL_FATAL(parse(ctx, text, &c), ERR_NONE);
        const enum err e = token_claims(ctx, c.claims, NOW_S * INT64_C(1000000));
        CU_ASSERT_EQUAL(e, cases[i].field ? ERR_UNAUTHENTICATED : ERR_NONE);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, cases[i].field ? cases[i].field : "");
        CU_ASSERT_STRING_EQUAL(e == ERR_NONE ? "invalid_token" : ctx->err.slug, "invalid_token");
        ctx_clear_error(ctx);
    }
}

/* What a token and its key allow together. Fails if either alone decides: tried. */
TEST(narrowed)
{
    static const struct {
        bool read_only;
        const char *user, *payload, *field;
        bool reads;
        const char *only_user, *only_session;
    } cases[] = {
        {false, NULL, "{\"sub\":\"u\",\"exp\":999}", NULL, false, "u", NULL},
        {false, NULL, "{\"sid\":\"s\",\"exp\":999,\"scope\":\"read\"}", NULL, true, NULL, "s"},
        {true, NULL, "{\"sub\":\"u\",\"sid\":\"s\",\"exp\":999}", NULL, true, "u", "s"},
        {true, NULL, "{\"sub\":\"u\",\"exp\":999,\"scope\":\"read\"}", NULL, true, "u", NULL},
        {true, NULL, "{\"sub\":\"u\",\"exp\":999,\"scope\":\"write\"}", "scope", false, NULL, NULL},
        {false, "u", "{\"exp\":999,\"scope\":\"write\"}", NULL, false, "u", NULL},
        {false, "u", "{\"sid\":\"s\",\"exp\":999}", NULL, false, "u", "s"},
        {false, "u", "{\"sub\":\"u\",\"exp\":999}", NULL, false, "u", NULL},
        {false, "u", "{\"sub\":\"v\",\"exp\":999}", "sub", false, NULL, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx *ctx = test_ctx();
        struct credential c;
        const struct sv text = token_of(ctx, SV(HEAD), sv_from(cases[i].payload));
        CU_ASSERT_EQUAL_FATAL(parse(ctx, text, &c), ERR_NONE);
        ctx->read_only = cases[i].read_only;
        ctx->only_user = sv_from(cases[i].user);
        ctx->only_session = SV_NONE;
        const enum err e = token_claims(ctx, c.claims, NOW_S * INT64_C(1000000));
        CU_ASSERT_EQUAL(e, cases[i].field ? ERR_UNAUTHENTICATED : ERR_NONE);
        CU_ASSERT_STRING_EQUAL(ctx->err.field, cases[i].field ? cases[i].field : "");
        ctx_clear_error(ctx);
        if (e != ERR_NONE)
            continue;
        CU_ASSERT_EQUAL(ctx->read_only, cases[i].reads);
        CU_ASSERT_TRUE(sv_eq(ctx->only_user, sv_from(cases[i].only_user)));
        CU_ASSERT_TRUE(sv_eq(ctx->only_session, sv_from(cases[i].only_session)));
    }
}

/* RFC 8410's form of a private key, and the public key that belongs to it. */
TEST(signing_key)
{
    const struct auth_key signing = {.signing = true};
    static const unsigned char prefix[16] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                             0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    char pem[AUTH_SECRET_MAX + 1], id[AUTH_ID_LEN], line[65] = "";
    unsigned char stored[KEY_HASH_LEN], der[48], public_key[32], secret_key[64];
    size_t n = 0;
    key_make(&signing, id, pem, stored);
    CU_ASSERT_EQUAL(
        sscanf(pem, "-----BEGIN PRIVATE KEY-----\n%64s\n-----END PRIVATE KEY-----", line), 1);
    CU_ASSERT_EQUAL(strlen(pem), AUTH_SECRET_MAX);
    CU_ASSERT_EQUAL(sodium_base642bin(der, sizeof(der), line, strlen(line), NULL, &n, NULL,
                                      sodium_base64_VARIANT_ORIGINAL),
                    0);
    CU_ASSERT_TRUE(n == sizeof(der) && memcmp(der, prefix, sizeof(prefix)) == 0);
    crypto_sign_seed_keypair(public_key, secret_key, der + 16);
    CU_ASSERT_EQUAL(memcmp(public_key, stored, sizeof(stored)), 0);
}

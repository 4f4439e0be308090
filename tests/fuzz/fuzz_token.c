/* SPDX-License-Identifier: MIT */
/*
 * Input: what the key of a token allows (bit 0 of the first byte: reading only; bit 1: one user), a
 * header, separator, claims. What is read as a token is read in one spelling only: no character of
 * it can be changed so that the bytes stay the same. Whatever the claims say, a token may do no
 * more than its key, and is for a user or a session. The input is also read as a token itself.
 */
#include "fuzz.h"

#include <string.h>

#include "../../src/auth/auth_internal.h"
#include "parley/base/encode.h"

#define NOW_US INT64_C(1800000000000000)

static enum err parse(struct fuzz *f, struct sv text, struct credential *out)
{
    *out = (struct credential){.id = 0};
    const enum err e = credential_parse(&f->ctx, text, out);
    DEMAND(e == ERR_NONE || e == ERR_INVALID);
    ctx_clear_error(&f->ctx);
    return e;
}

static struct sv encoded(struct fuzz *f, const void *bytes, size_t n)
{
    char *text = arena_alloc(f->arena, BASE64URL_LEN(n) + 1);
    DEMAND(text);
    base64url_write(bytes, n, text);
    return (struct sv){text, BASE64URL_LEN(n)};
}

static void has_one_spelling(struct fuzz *f, struct sv text, const struct credential *c)
{
    struct credential other;
    char *copy = arena_alloc(f->arena, text.n);
    DEMAND(copy);
    memcpy(copy, text.p, text.n);
    DEMAND(c->signed_text.p == text.p && c->signed_text.n + 1 + 86 == text.n);
    /* The last character of the signature has four bits that stand for nothing. */
    for (char last = '-'; last <= 'z'; last++) {
        copy[text.n - 1] = last;
        const bool reads = parse(f, (struct sv){copy, text.n}, &other) == ERR_NONE;
        DEMAND(!reads || last == text.p[text.n - 1] ||
               memcmp(other.signature, c->signature, sizeof(other.signature)) != 0);
    }
    DEMAND(parse(f, (struct sv){text.p, text.n - 1}, &other) == ERR_INVALID);
}

static void narrows(struct fuzz *f, const struct credential *c, unsigned key)
{
    struct request_ctx *ctx = &f->ctx;
    ctx->read_only = key & 1;
    ctx->only_user = key & 2 ? SV("u") : SV_NONE;
    const enum err e = token_claims(ctx, c->claims, NOW_US);
    DEMAND(e == ERR_NONE || (e == ERR_UNAUTHENTICATED && ctx->err.err == e));
    DEMAND(utf8_valid(sv_from(ctx->err.field), NULL) && utf8_valid(sv_from(ctx->err.detail), NULL));
    DEMAND(e == ERR_NONE || strcmp(ctx->err.slug, "invalid_token") == 0);
    ctx_clear_error(ctx);
    if (e != ERR_NONE)
        return;
    DEMAND(ctx->read_only || !(key & 1));
    DEMAND(!(key & 2) || sv_eq(ctx->only_user, SV("u")));
    DEMAND(ctx->only_user.p || ctx->only_session.p);
    DEMAND(!ctx->only_user.p || auth_user_valid(ctx->only_user));
    DEMAND(!ctx->only_session.p || id_valid(ctx->only_session));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const unsigned char zeros[crypto_sign_BYTES];
    struct fuzz f;
    struct credential c;
    struct sv claims = {(const char *)data + 1, n - 1};
    fuzz_open(&f);
    const enum err e = parse(&f, (struct sv){(const char *)data, n}, &c);
    DEMAND(e != ERR_NONE || c.secret.p || n <= 2048);
    if (n > 0) {
        const struct sv header = sv_cut(&claims, FUZZ_CUT);
        const struct sv h = encoded(&f, header.p, header.n);
        const struct sv p = encoded(&f, claims.p ? claims.p : "", claims.n);
        const struct sv s = encoded(&f, zeros, sizeof(zeros));
        const struct sv text =
            arena_printf(f.arena, "%.*s.%.*s.%.*s", SV_ARG(h), SV_ARG(p), SV_ARG(s));
        DEMAND(text.p);
        if (parse(&f, text, &c) == ERR_NONE) {
            has_one_spelling(&f, text, &c);
            narrows(&f, &c, data[0]);
        }
    }
    fuzz_close(&f);
    return 0;
}

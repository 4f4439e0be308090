/* SPDX-License-Identifier: MIT */
/* The text of a key, the headers that carry it, and who is let in without one. */
#include "../../../src/auth/auth_internal.h"

#include <string.h>

#include "../suite.h"

static const char good[] = "parley_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_";

TEST(made)
{
    const struct auth_key plain = {.signing = false};
    char a[AUTH_SECRET_MAX + 1], b[AUTH_SECRET_MAX + 1], made_a[AUTH_ID_LEN], made_b[AUTH_ID_LEN];
    unsigned char hash_a[KEY_HASH_LEN], hash_b[KEY_HASH_LEN], again[KEY_HASH_LEN];
    struct sv secret_a, secret_b, id;
    uint64_t id_a, id_b;
    key_make(&plain, made_a, a, hash_a);
    key_make(&plain, made_b, b, hash_b);
    CU_ASSERT_EQUAL(strlen(a), AUTH_KEY_LEN);
    CU_ASSERT_TRUE(key_parse(sv_from(a), &id_a, &secret_a));
    CU_ASSERT_TRUE(key_parse(sv_from(b), &id_b, &secret_b));
    CU_ASSERT_NOT_EQUAL(id_a, id_b);
    CU_ASSERT_FALSE(sv_eq(secret_a, secret_b));
    key_hash(secret_a, false, SV_NONE, again);
    CU_ASSERT_EQUAL(memcmp(hash_a, again, KEY_HASH_LEN), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(hash_a, hash_b, KEY_HASH_LEN), 0);
    CU_ASSERT_TRUE(auth_key_id(sv_from(a), &id));
    CU_ASSERT_TRUE(id.n == AUTH_ID_LEN && id.p == a + strlen("parley_"));
    CU_ASSERT_EQUAL(memcmp(made_a, id.p, AUTH_ID_LEN), 0);
}

/* A release that knows no restrictions compares the SHA-256 of the secret alone. Fails if the hash
 * leaves out the scope or the user, or where one ends and the other begins: tried. */
TEST(hash_of_a_restricted_key)
{
    static const struct {
        struct sv secret;
        bool read_only;
        struct sv user;
    } keys[] = {{SV_INIT("s"), false, SV_INIT("")},   {SV_INIT("s"), true, SV_INIT("")},
                {SV_INIT("s"), false, SV_INIT("u")},  {SV_INIT("s"), true, SV_INIT("u")},
                {SV_INIT("s"), false, SV_INIT("v")},  {SV_INIT("su"), false, SV_INIT("")},
                {SV_INIT("su"), false, SV_INIT("u")}, {SV_INIT("s"), false, SV_INIT("uu")}};
    unsigned char hash[ARRAY_LEN(keys)][KEY_HASH_LEN], alone[KEY_HASH_LEN];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        key_hash(keys[i].secret, keys[i].read_only, keys[i].user, hash[i]);
        crypto_hash_sha256(alone, (const unsigned char *)keys[i].secret.p, keys[i].secret.n);
        const bool restricted = keys[i].read_only || keys[i].user.n > 0;
        CU_ASSERT_EQUAL(memcmp(hash[i], alone, KEY_HASH_LEN) != 0, restricted);
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(memcmp(hash[i], hash[k], KEY_HASH_LEN), 0);
    }
}

/* Each is one change away from a key. */
TEST(malformed)
{
    static const struct {
        size_t at;
        char c;
    } changes[] = {{0, 'P'},  {6, '-'},  {7, 'g'},  {10, 'A'}, {22, ' '}, {23, '-'},
                   {24, '+'}, {24, '/'}, {24, '='}, {66, '.'}, {40, '\0'}};
    struct sv secret, id;
    uint64_t number;
    CU_ASSERT_TRUE(key_parse(sv_from(good), &number, &secret));
    CU_ASSERT_EQUAL(number, UINT64_C(0x0123456789abcdef));
    CU_ASSERT_EQUAL(secret.n, KEY_SECRET_LEN);
    CU_ASSERT_FALSE(key_parse((struct sv){good, AUTH_KEY_LEN - 1}, &number, &secret));
    CU_ASSERT_FALSE(key_parse((struct sv){good, AUTH_KEY_LEN + 1}, &number, &secret));
    CU_ASSERT_FALSE(key_parse(SV_NONE, &number, &secret));
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        char text[sizeof(good)];
        memcpy(text, good, sizeof(good));
        text[changes[i].at] = changes[i].c;
        CU_ASSERT_FALSE(key_parse((struct sv){text, AUTH_KEY_LEN}, &number, &secret));
        CU_ASSERT_FALSE(auth_key_id((struct sv){text, AUTH_KEY_LEN}, &id));
    }
    CU_ASSERT_TRUE(auth_key_id(SV("0123456789abcdef"), &id));
    CU_ASSERT_FALSE(auth_key_id(SV("0123456789abcde"), &id));
    CU_ASSERT_FALSE(auth_key_id(SV("0123456789ABCDEF"), &id));
    CU_ASSERT_FALSE(auth_key_id(SV(""), &id));
}

TEST(names)
{
    char longest[AUTH_TENANT_MAX + 1], wide[2 * AUTH_NAME_MAX + 2];
    memset(longest, 't', sizeof(longest));
    for (size_t i = 0; i < sizeof(wide); i += 2)
        memcpy(wide + i, "\xc3\xa9", 2);
    const struct {
        struct sv text;
        bool tenant, name;
    } cases[] = {{SV("acme"), true, true},
                 {SV("A-Z_0.9"), true, true},
                 {SV("."), true, true},
                 {{longest, AUTH_TENANT_MAX}, true, true},
                 {{longest, AUTH_TENANT_MAX + 1}, false, true},
                 {SV(""), false, true},
                 {SV("a b"), false, true},
                 {SV("a:b"), false, true},
                 {SV("a{b"), false, true},
                 {{"a\0b", 3}, false, false},
                 {SV("\xc3\xa9"), false, true},
                 {{wide, 2 * AUTH_NAME_MAX}, false, true},
                 {{wide, 2 * AUTH_NAME_MAX + 2}, false, false},
                 {SV("a\tb"), false, false},
                 {SV("a\x7f"), false, false},
                 {SV("\xc2\x85"), false, false},
                 {SV("\xc2\xa0"), false, true},
                 {SV("\xff"), false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CU_ASSERT_EQUAL(auth_tenant_valid(cases[i].text), cases[i].tenant);
        CU_ASSERT_EQUAL(auth_name_valid(cases[i].text), cases[i].name);
    }
}

/* Fails if the scheme is ignored, or if one of two different keys is taken: tried. */
TEST(headers)
{
    static const struct {
        const char *authorization, *x_api_key, *key, *slug;
    } cases[] = {{"Bearer k", NULL, "k", NULL},
                 {"bEARER   k ", NULL, "k", NULL},
                 {NULL, "k", "k", NULL},
                 {NULL, "  k", "k", NULL},
                 {"Bearer k", "k", "k", NULL},
                 {"Bearer k", "other", NULL, "invalid_api_key"},
                 {"Bearer eyJ.of.a.proxy", "k", NULL, "invalid_api_key"},
                 {"Basic dTpw", "k", "k", NULL},
                 {"Bearer", "k", "k", NULL},
                 {"Bearer k", "", "k", NULL},
                 {"Bearer a b", NULL, "a b", NULL},
                 {NULL, NULL, NULL, "missing_api_key"},
                 {"", "", NULL, "missing_api_key"},
                 {"Bearer ", NULL, NULL, "missing_api_key"},
                 {"Basic dTpw", NULL, NULL, "missing_api_key"},
                 {"k", NULL, NULL, "missing_api_key"},
                 {"Bearerk", NULL, NULL, "missing_api_key"},
                 {"parley_k", NULL, NULL, "missing_api_key"},
                 {"parley_k", "k", "k", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx ctx;
        struct sv key;
        const struct http_pair headers[] = {{SV("authorization"), sv_from(cases[i].authorization)},
                                            {SV("x-api-key"), sv_from(cases[i].x_api_key)}};
        const struct http_request req = {.headers = headers, .n_headers = ARRAY_LEN(headers)};
        ctx_init(&ctx, NULL, deadline_in_ms(1000), SV(""), SV("t"));
        enum err e = key_presented(&ctx, &req, &key);
        CU_ASSERT_EQUAL(e, cases[i].key ? ERR_NONE : ERR_UNAUTHENTICATED);
        if (cases[i].key) {
            CU_ASSERT_TRUE(sv_eq(key, sv_from(cases[i].key)));
        } else {
            CU_ASSERT_STRING_EQUAL(ctx.err.slug ? ctx.err.slug : "none", cases[i].slug);
            CU_ASSERT_EQUAL(strstr(ctx.err.detail, "The word Bearer is missing") != NULL,
                            sv_starts_with(headers[0].value, SV("parley_")));
        }
    }
}

/* Without keys. Fails if only the beginning of an address counts ("127.0.0.1.example", "::1:2"):
 * tried. */
TEST(addresses)
{
    static const struct {
        const char *address;
        bool here;
    } cases[] = {{"127.0.0.1", true},
                 {"127.255.0.9", true},
                 {"::1", true},
                 {"::ffff:127.0.0.1", true},
                 {"::ffff:7f00:1", true},
                 {"unix:", true},
                 {"128.0.0.1", false},
                 {"10.0.0.1", false},
                 {"192.0.2.1", false},
                 {"::ffff:10.0.0.1", false},
                 {"::", false},
                 {"::1:2", false},
                 {"2001:db8::127", false},
                 {"127.0.0.1.example", false},
                 {"127.0.0.1, 10.0.0.1", false},
                 {"unix:/tmp/x", false},
                 {"localhost", false},
                 {"", false},
                 {NULL, false}};
    static const struct auth_settings off = {.sessions = 7};
    struct auth *a = auth_open(&off, NULL);
    CU_ASSERT_TRUE(auth_is_ready(a));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx *ctx = test_ctx();
        const struct http_pair header = {SV("authorization"), SV("Bearer x")};
        const struct http_request req = {
            .headers = &header, .n_headers = 1, .remote_addr = sv_from(cases[i].address)};
        ctx->tenant = SV("");
        CU_ASSERT_EQUAL(auth_check(a, ctx, &req), cases[i].here ? ERR_NONE : ERR_FORBIDDEN);
        CU_ASSERT_TRUE(sv_eq(ctx->tenant, cases[i].here ? SV("default") : SV("")));
        CU_ASSERT_EQUAL(ctx->sessions_max, cases[i].here ? 7 : 0);
    }
    auth_close(a);
}

TEST(found)
{
    enum { MOST = 64 };
    struct snapshot *s = arena_alloc(test_ctx()->arena, sizeof(*s) + MOST * sizeof(s->keys[0]));
    for (size_t n = 0; n <= MOST; n++) {
        s->n = n;
        for (size_t i = 0; i < n; i++)
            s->keys[i].id = 10 + 2 * i;
        for (uint64_t id = 0; id < 2 * MOST + 20; id++) {
            const struct snapshot_key *k = snapshot_find(s, id);
            const bool there = id % 2 == 0 && id >= 10 && id < 10 + 2 * n;
            CU_ASSERT_TRUE(there ? k && k->id == id : !k);
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Input: tenant, cut, id, cut, two bytes that say what to change, a stored value without its
 * checksum, which is put behind it: no fuzzer finds it by itself. What is read is what is written
 * again for the key that was asked for, belongs to no other key, and is not read with anything
 * changed. The value's bytes, and the input's, are read as a session, too: one that is read is
 * written as the same again.
 */
#include "fuzz.h"

#include <string.h>

#include <sodium.h>

#include "../../src/cache/cache_internal.h"
#include "../../src/session/session_internal.h"

static void is_no_other_keys(struct fuzz *f, struct cache_key key, struct sv stored)
{
    struct cache_value v;
    struct sv whole = arena_printf(f->arena, "%.*s%.*s", SV_ARG(key.tenant), SV_ARG(key.id));
    struct sv longer = arena_printf(f->arena, "%.*s0", SV_ARG(key.id));
    DEMAND(whole.p && longer.p);
    DEMAND(!cache_codec_decode(stored, (struct cache_key){key.tenant, longer}, &v));
    if (key.id.n > 0)
        DEMAND(!cache_codec_decode(stored, (struct cache_key){key.tenant, {key.id.p, key.id.n - 1}},
                                   &v));
    for (size_t cut = 0; cut <= whole.n && cut < 16; cut++)
        if (cut != key.tenant.n)
            DEMAND(!cache_codec_decode(
                stored, (struct cache_key){{whole.p, cut}, {whole.p + cut, whole.n - cut}}, &v));
}

static void does_not_bear_change(struct fuzz *f, struct cache_key key, struct sv stored,
                                 const uint8_t how[2])
{
    struct cache_value v;
    size_t at = how[0] % stored.n;
    char *copy = arena_alloc(f->arena, stored.n);
    DEMAND(copy);
    memcpy(copy, stored.p, stored.n);
    if (how[1] == 0) {
        DEMAND(!cache_codec_decode((struct sv){copy, stored.n - 1 - at}, key, &v));
        return;
    }
    copy[at] = (char)(copy[at] ^ how[1]);
    DEMAND(!cache_codec_decode((struct sv){copy, stored.n}, key, &v));
}

static void read_value(struct fuzz *f, struct cache_key key, struct sv stored, const uint8_t how[2])
{
    struct cache_value v = {.ttl_ms = 77};
    struct sv again;
    if (!cache_codec_decode(stored, key, &v))
        return;
    DEMAND(v.ttl_ms == 77 && v.bytes.p >= stored.p &&
           v.bytes.n <= stored.n - (size_t)(v.bytes.p - stored.p));
    DEMAND(cache_codec_encode(f->arena, key, &v, &again) && sv_eq(again, stored));
    is_no_other_keys(f, key, stored);
    does_not_bear_change(f, key, stored, how);
}

static void read_session(struct fuzz *f, struct sv bytes)
{
    struct session s;
    struct sv once = SV_NONE, again = SV_NONE;
    if (!codec_decode(&f->ctx, bytes, &s))
        return;
    DEMAND(codec_encode(&f->ctx, &s, &once) == ERR_NONE && once.n == bytes.n);
    DEMAND(codec_decode(&f->ctx, once, &s));
    DEMAND(codec_encode(&f->ctx, &s, &again) == ERR_NONE && sv_eq(once, again));
    /* What a sliding expiry is written as is the one byte that has several spellings. */
    size_t different = 0;
    for (size_t i = 0; i < bytes.n; i++)
        different += bytes.p[i] != once.p[i];
    DEMAND(different <= sizeof(int64_t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const unsigned char zero[crypto_shorthash_KEYBYTES];
    struct fuzz f;
    struct sv rest = {(const char *)data, n};
    struct cache_key key = {.tenant = sv_cut(&rest, FUZZ_CUT)};
    key.id = sv_cut(&rest, FUZZ_CUT);
    fuzz_open(&f);
    read_session(&f, (struct sv){(const char *)data, n});
    if (rest.p && rest.n >= 2) {
        const struct sv body = {rest.p + 2, rest.n - 2};
        unsigned char *stored = arena_alloc(f.arena, body.n + crypto_shorthash_BYTES);
        struct sv made = SV_NONE;
        DEMAND(stored);
        if (body.n > 0)
            memcpy(stored, body.p, body.n);
        crypto_shorthash(stored + body.n, stored, body.n, zero);
        read_value(&f, key, (struct sv){(const char *)stored, body.n + crypto_shorthash_BYTES},
                   (const uint8_t *)rest.p);
        read_session(&f, body);
        if (key.tenant.n <= UINT16_MAX && key.id.n <= UINT16_MAX) {
            const struct cache_value v = {(int64_t)n, -(int64_t)n, 1, body};
            DEMAND(cache_codec_encode(f.arena, key, &v, &made));
            read_value(&f, key, made, (const uint8_t *)rest.p);
        }
    }
    fuzz_close(&f);
    return 0;
}

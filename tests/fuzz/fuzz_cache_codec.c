/* SPDX-License-Identifier: MIT */
/*
 * Input: tenant, separator, id, separator, two bytes that choose a change, a stored value without
 * its checksum. The value is decoded as it is, as in memory, and with a checksum added, as in
 * Redis, since no fuzzer finds a checksum by itself. A value that is decoded must be encoded the
 * same again for its key, must not be decoded for another key, and with its checksum must not be
 * decoded after a change. The value's bytes, and the input's, are decoded as a session too; a
 * session that is decoded must be encoded the same again.
 */
#include "fuzz.h"

#include <string.h>

#include <sodium.h>

#include "../../src/cache/cache_internal.h"
#include "../../src/session/session_internal.h"
#include "../unit/session/same.h"

/* A stored value and the form it has. */
struct form {
    struct cache_key key;
    struct sv stored;
    bool checksum;
};

static bool is_read(struct form form, struct cache_key key, struct sv stored)
{
    struct cache_value v;
    return cache_codec_decode(stored, key, form.checksum, &v);
}

static void belongs_to_no_other_key(struct fuzz *f, struct form form)
{
    const struct cache_key key = form.key;
    struct sv whole = arena_printf(f->arena, "%.*s%.*s", SV_ARG(key.tenant), SV_ARG(key.id));
    struct sv longer = arena_printf(f->arena, "%.*s0", SV_ARG(key.id));
    DEMAND(whole.p && longer.p);
    DEMAND(!is_read(form, (struct cache_key){key.tenant, longer}, form.stored));
    if (key.id.n > 0)
        DEMAND(
            !is_read(form, (struct cache_key){key.tenant, {key.id.p, key.id.n - 1}}, form.stored));
    for (size_t cut = 0; cut <= whole.n && cut < 16; cut++)
        if (cut != key.tenant.n)
            DEMAND(!is_read(form,
                            (struct cache_key){{whole.p, cut}, {whole.p + cut, whole.n - cut}},
                            form.stored));
    /* Names of the same lengths. */
    for (size_t i = 0; i < whole.n && i < 16 && whole.n == key.tenant.n + key.id.n; i++) {
        struct sv copy = arena_dup(f->arena, whole);
        DEMAND(copy.p);
        ((char *)(uintptr_t)copy.p)[i] ^= 1;
        DEMAND(!is_read(
            form, (struct cache_key){{copy.p, key.tenant.n}, {copy.p + key.tenant.n, key.id.n}},
            form.stored));
    }
}

static void refuses_changes(struct fuzz *f, struct form form, const uint8_t how[2])
{
    const struct sv stored = form.stored;
    size_t at = how[0] % stored.n;
    char *copy = arena_alloc(f->arena, stored.n);
    DEMAND(copy);
    memcpy(copy, stored.p, stored.n);
    if (how[1] == 0) {
        DEMAND(!is_read(form, form.key, (struct sv){copy, stored.n - 1 - at}));
        return;
    }
    copy[at] = (char)(copy[at] ^ how[1]);
    DEMAND(!form.checksum || !is_read(form, form.key, (struct sv){copy, stored.n}));
}

static void read_value(struct fuzz *f, struct form form, const uint8_t how[2])
{
    struct cache_value v = {.ttl_ms = 77};
    struct sv again;
    if (!cache_codec_decode(form.stored, form.key, form.checksum, &v))
        return;
    DEMAND(v.ttl_ms == 77 && v.bytes.p >= form.stored.p &&
           v.bytes.n <= form.stored.n - (size_t)(v.bytes.p - form.stored.p));
    DEMAND(cache_codec_encode(f->arena, form.key, &v, form.checksum, &again) &&
           sv_eq(again, form.stored));
    belongs_to_no_other_key(f, form);
    refuses_changes(f, form, how);
}

static void read_session(struct fuzz *f, struct sv bytes)
{
    struct session s, t;
    struct sv once = SV_NONE, again = SV_NONE;
    if (!session_codec_decode(&f->ctx, bytes, &s))
        return;
    /* Texts of a damaged session may overlap, and so be larger together than the value. */
    if (session_codec_encode(&f->ctx, &s, &once) != ERR_NONE)
        return;
    DEMAND(session_codec_decode(&f->ctx, once, &t));
    DEMAND(same_session(&s, &t));
    DEMAND(session_codec_encode(&f->ctx, &t, &again) == ERR_NONE && sv_eq(once, again));
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
        const uint8_t *how = (const uint8_t *)rest.p;
        const struct sv body = {rest.p + 2, rest.n - 2};
        unsigned char *stored = arena_alloc(f.arena, body.n + crypto_shorthash_BYTES);
        DEMAND(stored);
        if (body.n > 0)
            memcpy(stored, body.p, body.n);
        crypto_shorthash(stored + body.n, stored, body.n, zero);
        read_value(&f, (struct form){key, body, false}, how);
        read_value(
            &f, (struct form){key, {(const char *)stored, body.n + crypto_shorthash_BYTES}, true},
            how);
        read_session(&f, body);
        const struct cache_value v = {{(int64_t)n, -(int64_t)n, n * n}, 1, body};
        for (int checksum = 0; checksum < 2; checksum++) {
            struct form made = {.key = key, .checksum = checksum};
            if (key.tenant.n > UINT16_MAX || key.id.n > UINT16_MAX)
                break;
            DEMAND(cache_codec_encode(f.arena, key, &v, checksum, &made.stored));
            read_value(&f, made, how);
        }
    }
    fuzz_close(&f);
    return 0;
}

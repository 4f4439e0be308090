/* SPDX-License-Identifier: MIT */
/*
 * The stored form of a value, with the identity in front of the bytes:
 *
 *   20 digits generation, 20 digits version   what the scripts compare
 *   'P', format                               another program's bytes, another release's
 *   u16 tenant length, u16 id length, u32 length of the bytes (big-endian)
 *   tenant, id, the bytes
 *   u64 checksum of all that is in front of it
 *
 * Another format needs another name of the key as well: two releases side by side would take each
 * other's values for damaged ones.
 *
 * A value is taken only if all of it is as it was written. The checksum guards against damage, not
 * against somebody who may write to Redis: whoever may is trusted (SECURITY.md).
 */
#include "cache_internal.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "parley/obs/log.h"

enum { FIXED = CACHE_CODEC_ORDER + 2 + 2 + 2 + 4, CHECKSUM = crypto_shorthash_BYTES, FORMAT = 1 };

static void put_be(char *p, size_t n, uint64_t v)
{
    for (size_t i = n; i > 0; i--, v >>= 8)
        p[i - 1] = (char)(unsigned char)(v & 0xff);
}

static uint64_t get_be(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static void checksum(const char *p, size_t n, unsigned char out[CHECKSUM])
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    crypto_shorthash(out, (const unsigned char *)p, n, key);
}

bool cache_codec_encode(struct arena *a, struct cache_key key, const struct cache_value *value,
                        struct sv *out)
{
    if (key.tenant.n > UINT16_MAX || key.id.n > UINT16_MAX || value->bytes.n > UINT32_MAX)
        return false;
    size_t n = FIXED + key.tenant.n + key.id.n + value->bytes.n;
    char *p = arena_alloc(a, n + CHECKSUM);
    if (!p)
        return false;
    char order[CACHE_CODEC_ORDER + 1];
    /* As unsigned numbers: every 64-bit value has one form of 20 digits, and order is kept. */
    snprintf(order, sizeof order, "%020llu%020llu", (unsigned long long)value->generation,
             (unsigned long long)value->version);
    memcpy(p, order, CACHE_CODEC_ORDER);
    char *at = p + CACHE_CODEC_ORDER;
    *at++ = 'P';
    *at++ = FORMAT;
    put_be(at, 2, key.tenant.n);
    put_be(at + 2, 2, key.id.n);
    put_be(at + 4, 4, value->bytes.n);
    at += 8;
    const struct sv parts[] = {key.tenant, key.id, value->bytes};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].n)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    checksum(p, n, (unsigned char *)at);
    *out = (struct sv){p, n + CHECKSUM};
    return true;
}

/* sv_to_u64 refuses leading zeros, which these numbers always may have. */
static bool digits(const char *p, int64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < CACHE_CODEC_ORDER / 2; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        uint64_t d = (uint64_t)(p[i] - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = (int64_t)v;
    return true;
}

bool cache_codec_decode(struct sv stored, struct cache_key key, struct cache_value *out)
{
    int64_t generation, version;
    unsigned char sum[CHECKSUM];
    if (!stored.p || stored.n < FIXED + CHECKSUM)
        return false;
    size_t n = stored.n - CHECKSUM;
    const char *p = stored.p + CACHE_CODEC_ORDER;
    if (p[0] != 'P' || p[1] != FORMAT)
        return false;
    size_t tenant_n = get_be(p + 2, 2), id_n = get_be(p + 4, 2), bytes_n = get_be(p + 6, 4);
    if (n - FIXED != tenant_n + id_n + bytes_n)
        return false;
    p = stored.p + FIXED;
    if (!sv_eq((struct sv){p, tenant_n}, key.tenant) ||
        !sv_eq((struct sv){p + tenant_n, id_n}, key.id))
        return false;
    checksum(stored.p, n, sum);
    if (memcmp(sum, stored.p + n, CHECKSUM) != 0)
        return false;
    if (!digits(stored.p, &generation) || !digits(stored.p + CACHE_CODEC_ORDER / 2, &version))
        return false;
    out->generation = generation;
    out->version = version;
    out->bytes = (struct sv){p + tenant_n + id_n, bytes_n};
    return true;
}

/* Logged at the 1st, 2nd, 4th, 8th … time only: one bad key may be asked for very often. */
void cache_count_mismatch(_Atomic uint64_t *count, const char *tier, struct cache_key key)
{
    struct log_line line;
    uint64_t n = atomic_fetch_add(count, 1) + 1;
    if ((n & (n - 1)) != 0)
        return;
    log_begin(&line, LOG_ERROR, "cache_mismatch");
    log_str(&line, "tier", tier);
    log_sv(&line, "tenant", key.tenant);
    log_sv(&line, "session_id", key.id);
    log_int(&line, "mismatches", (int64_t)n);
    log_end(&line);
}

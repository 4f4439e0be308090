/* SPDX-License-Identifier: MIT */
/*
 * The stored form of a value: identity, tenant, id, bytes, and in Redis a checksum of all that
 * precedes it. A stored value that differs from this in any way is a miss.
 *
 * Numbers are in the host's byte order. A host of the other byte order reads a miss, because the
 * magic differs. The checksum detects damage, not forgery: every client of Redis is trusted
 * (SECURITY.md).
 */
#include "cache_internal.h"

#include <string.h>

#include "parley/base/buf.h"

static const uint64_t codec_magic = UINT64_C(0x0570617263686501);

struct identity {
    uint64_t magic;
    struct cache_stamp stamp;
    uint32_t tenant_n, id_n;
    uint64_t bytes_n;
};
_Static_assert(sizeof(struct identity) == 48, "an identity has no padding: it is stored as it is");

bool cache_stamp_eq(struct cache_stamp a, struct cache_stamp b)
{
    return a.generation == b.generation && a.version == b.version && a.mark == b.mark;
}

bool cache_codec_encode(struct arena *a, struct cache_key key, const struct cache_value *value,
                        bool checksum, struct sv *out)
{
    struct buf b;
    const struct identity who = {codec_magic, value->stamp, (uint32_t)key.tenant.n,
                                 (uint32_t)key.id.n, value->bytes.n};
    buf_init(&b, a, sizeof who + key.tenant.n + key.id.n + value->bytes.n + sizeof(uint64_t));
    buf_put(&b, &who, sizeof who);
    buf_sv(&b, key.tenant);
    buf_sv(&b, key.id);
    buf_sv(&b, value->bytes);
    if (checksum && !b.failed) {
        const uint64_t sum = hash_bytes(NULL, buf_get(&b));
        buf_put(&b, &sum, sizeof sum);
    }
    *out = buf_get(&b);
    return !b.failed;
}

bool cache_codec_decode(struct sv stored, struct cache_key key, bool checksum,
                        struct cache_value *out)
{
    struct identity who;
    uint64_t sum;
    const size_t sum_n = checksum ? sizeof sum : 0;
    if (!stored.p || stored.n < sizeof who + sum_n)
        return false;
    memcpy(&who, stored.p, sizeof who);
    const size_t n = stored.n - sum_n, names = key.tenant.n + key.id.n;
    const char *p = stored.p + sizeof who;
    if (who.magic != codec_magic || who.tenant_n != key.tenant.n || who.id_n != key.id.n ||
        n - sizeof who < names || n - sizeof who - names != who.bytes_n ||
        !sv_eq((struct sv){p, who.tenant_n}, key.tenant) ||
        !sv_eq((struct sv){p + who.tenant_n, who.id_n}, key.id))
        return false;
    if (checksum) {
        memcpy(&sum, stored.p + n, sizeof sum);
        if (sum != hash_bytes(NULL, (struct sv){stored.p, n}))
            return false;
    }
    out->stamp = who.stamp;
    out->bytes = (struct sv){p + names, who.bytes_n};
    return true;
}

/* SPDX-License-Identifier: MIT */
#include "../suite.h"

#include <string.h>

#include "../../../src/cache/cache_internal.h"

static const struct cache_key key = {{"acme", 4}, {"telegram:12345", 14}};

static struct sv encode(struct arena *a, struct cache_key k, int64_t generation, int64_t version)
{
    struct cache_value v = {generation, version, 1000, SV("{\"a\":1}")};
    struct sv out = SV_NONE;
    CU_ASSERT(cache_codec_encode(a, k, &v, &out));
    return out;
}

static void round_trip(void)
{
    struct arena *a = arena_create(1 << 20);
    const int64_t numbers[] = {0, 1, 42, INT64_MAX, INT64_MIN, -1};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        for (size_t j = 0; j < ARRAY_LEN(numbers); j++) {
            struct cache_value v = {.ttl_ms = 77};
            struct sv s = encode(a, key, numbers[i], numbers[j]);
            CU_ASSERT(cache_codec_decode(s, key, &v));
            CU_ASSERT_EQUAL(v.generation, numbers[i]);
            CU_ASSERT_EQUAL(v.version, numbers[j]);
            CU_ASSERT(sv_eq(v.bytes, SV("{\"a\":1}")));
            CU_ASSERT_EQUAL(v.ttl_ms, 77);
        }
    struct cache_value empty = {1, 1, 1, {"", 0}}, back;
    struct sv s;
    CU_ASSERT(cache_codec_encode(a, key, &empty, &s));
    CU_ASSERT(cache_codec_decode(s, key, &back));
    CU_ASSERT_EQUAL(back.bytes.n, 0);
    arena_destroy(a);
}

/* The scripts compare the first 40 bytes as text. */
static void order_is_in_front(void)
{
    struct arena *a = arena_create(1 << 20);
    struct sv older = encode(a, key, 9, 100), newer = encode(a, key, 10, 2);
    CU_ASSERT(memcmp(older.p, newer.p, CACHE_CODEC_ORDER) < 0);
    newer = encode(a, key, 9, 101);
    CU_ASSERT(memcmp(older.p, newer.p, CACHE_CODEC_ORDER) < 0);
    CU_ASSERT(memcmp("0000000000000000000900000000000000000100", older.p, CACHE_CODEC_ORDER) == 0);
    arena_destroy(a);
}

/* Fails if the comparison of tenant or id is left out of cache_codec_decode: tried. */
static void another_owner(void)
{
    struct arena *a = arena_create(1 << 20);
    const struct cache_key others[] = {
        {SV("acme"), SV("telegram:12346")}, {SV("acmf"), SV("telegram:12345")},
        {SV("acme"), SV("telegram:1234")},  {SV("acme"), SV("telegram:123450")},
        {SV("acmet"), SV("elegram:12345")}, {SV("acm"), SV("etelegram:12345")},
    };
    struct sv s = encode(a, key, 1, 1);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct cache_value v;
        CU_ASSERT_FALSE(cache_codec_decode(s, others[i], &v));
    }
    arena_destroy(a);
}

/* Fails if the checksum is not compared: tried. */
static void damage(void)
{
    struct arena *a = arena_create(1 << 20);
    struct sv s = encode(a, key, 5, 6);
    struct cache_value v;
    char copy[256];
    for (size_t i = 0; i < s.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(copy, s.p, s.n);
            copy[i] = (char)(copy[i] ^ (1 << bit));
            CU_ASSERT_FALSE(cache_codec_decode((struct sv){copy, s.n}, key, &v));
        }
    for (size_t n = 0; n < s.n; n++)
        CU_ASSERT_FALSE(cache_codec_decode((struct sv){s.p, n}, key, &v));
    memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    CU_ASSERT_FALSE(cache_codec_decode((struct sv){copy, s.n + 1}, key, &v));
    CU_ASSERT_FALSE(cache_codec_decode(SV_NONE, key, &v));
    arena_destroy(a);
}

static void too_large_or_no_memory(void)
{
    struct arena *a = arena_create(4096);
    struct cache_value v = {1, 1, 1, {"", 100000}};
    struct sv s;
    CU_ASSERT_FALSE(cache_codec_encode(a, key, &v, &s));
    struct cache_key wide = {{"", UINT16_MAX + 1}, SV("s")};
    v.bytes = SV("");
    CU_ASSERT_FALSE(cache_codec_encode(a, wide, &v, &s));
    arena_destroy(a);
}

SUITE(codec, "cache/cache_codec", {"round trip", round_trip},
      {"generation and version in front", order_is_in_front},
      {"another tenant or id is refused", another_owner}, {"any damage is refused", damage},
      {"too large, or no memory", too_large_or_no_memory})

/* SPDX-License-Identifier: MIT */
#include "../suite.h"

#include <string.h>

#include "../../../src/cache/cache_internal.h"

static const struct cache_key key = {{"acme", 4}, {"telegram:12345", 14}};

static struct sv encode(struct arena *a, struct cache_key k, struct cache_stamp stamp,
                        bool checksum)
{
    struct cache_value v = {stamp, 1000, SV("{\"a\":1}")};
    struct sv out = SV_NONE;
    CU_ASSERT(cache_codec_encode(a, k, &v, checksum, &out));
    return out;
}

TEST(round_trip)
{
    struct arena *a = test_ctx()->arena;
    const struct cache_stamp stamps[] = {{0, 0, 0},
                                         {1, 2, 3},
                                         {INT64_MAX, INT64_MIN, UINT64_MAX},
                                         {-1, INT64_MAX, UINT64_C(1) << 63}};
    for (size_t i = 0; i < 2 * ARRAY_LEN(stamps); i++) {
        struct cache_value v = {.ttl_ms = 77};
        const bool checksum = i % 2;
        struct sv s = encode(a, key, stamps[i / 2], checksum);
        CU_ASSERT(cache_codec_decode(s, key, checksum, &v));
        CU_ASSERT(cache_stamp_eq(v.stamp, stamps[i / 2]));
        CU_ASSERT(sv_eq(v.bytes, SV("{\"a\":1}")) && v.ttl_ms == 77);
        /* The one form is not taken for the other. */
        CU_ASSERT_FALSE(cache_codec_decode(s, key, !checksum, &v));
    }
    struct cache_value empty = {{1, 1, 1}, 1, {"", 0}}, back;
    struct sv s;
    CU_ASSERT(cache_codec_encode(a, key, &empty, true, &s));
    CU_ASSERT(cache_codec_decode(s, key, true, &back) && back.bytes.n == 0);
}

TEST(stamps_differ)
{
    const struct cache_stamp one = {1, 2, 3}, others[] = {{0, 2, 3}, {1, 0, 3}, {1, 2, 0}};
    CU_ASSERT(cache_stamp_eq(one, one));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        CU_ASSERT_FALSE(cache_stamp_eq(one, others[i]));
}

/* Fails if the identity is not compared: tests/mutants/cache-identity-not-compared. */
TEST(another_owner)
{
    struct arena *a = test_ctx()->arena;
    const struct cache_key others[] = {
        {SV("acme"), SV("telegram:12346")}, {SV("acmf"), SV("telegram:12345")},
        {SV("acme"), SV("telegram:1234")},  {SV("acme"), SV("telegram:123450")},
        {SV("acmet"), SV("elegram:12345")}, {SV("acm"), SV("etelegram:12345")},
    };
    for (int checksum = 0; checksum < 2; checksum++) {
        struct sv s = encode(a, key, (struct cache_stamp){1, 1, 1}, checksum);
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
            struct cache_value v;
            CU_ASSERT_FALSE(cache_codec_decode(s, others[i], checksum, &v));
        }
    }
}

/* Each bit of each byte, each shorter length and a longer one. Fails if the checksum is not
 * compared: tests/mutants/cache-checksum-not-compared. */
TEST(damage)
{
    struct arena *a = test_ctx()->arena;
    struct sv s = encode(a, key, (struct cache_stamp){5, 6, 7}, true);
    struct cache_value v;
    char copy[256];
    for (size_t i = 0; i < 8 * s.n; i++) {
        memcpy(copy, s.p, s.n);
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        CU_ASSERT_FALSE(cache_codec_decode((struct sv){copy, s.n}, key, true, &v));
    }
    memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    CU_ASSERT_FALSE(cache_codec_decode((struct sv){copy, s.n + 1}, key, true, &v));
    CU_ASSERT_FALSE(cache_codec_decode(SV_NONE, key, true, &v));
    for (int checksum = 0; checksum < 2; checksum++) {
        s = encode(a, key, (struct cache_stamp){5, 6, 7}, checksum);
        for (size_t n = 0; n < s.n; n++)
            CU_ASSERT_FALSE(cache_codec_decode((struct sv){s.p, n}, key, checksum, &v));
    }
}

TEST(no_memory)
{
    struct arena *a = arena_create(4096);
    struct cache_value v = {{1, 1, 1}, 1, {"", 100000}};
    struct sv s;
    CU_ASSERT_FALSE(cache_codec_encode(a, key, &v, true, &s));
    arena_destroy(a);
}

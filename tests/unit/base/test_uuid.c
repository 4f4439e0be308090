/* SPDX-License-Identifier: MIT */
#include "parley/base/uuid.h"

#include <string.h>

#include "parley/base/clock.h"

#include "../suite.h"

static const uint64_t seq_max = (UINT64_C(1) << 58) - 1;

TEST(v7_form_and_time)
{
    char a[UUID_LEN + 1], b[UUID_LEN + 1];
    unsigned long long ms = 0;
    int64_t before = clock_wall_us() / 1000;
    uuid_v7(a);
    uuid_v7(b);
    int64_t after = clock_wall_us() / 1000;

    CU_ASSERT_EQUAL(strlen(a), UUID_LEN);
    CU_ASSERT_EQUAL(strspn(a, "0123456789abcdef-"), UUID_LEN);
    CU_ASSERT_TRUE(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
    CU_ASSERT_EQUAL(a[14], '7');
    CU_ASSERT_PTR_NOT_NULL(strchr("89ab", a[19]));
    CU_ASSERT_STRING_NOT_EQUAL(a, b);
    for (int i = 0; i < 13; i++)
        if (i != 8)
            ms = ms * 16 +
                 (unsigned long long)(strchr("0123456789abcdef", a[i]) - "0123456789abcdef");
    CU_ASSERT_TRUE((int64_t)ms >= before && (int64_t)ms <= after);
}

/* Each bit of both numbers alone, so that a bit that is lost or moved is found. Fails if the lowest
 * four bits of generation are left out: tried. */
TEST(v8_keeps_every_bit)
{
    char text[UUID_LEN + 1];
    uint64_t g = 0, s = 0;
    for (int i = 0; i < 64; i++) {
        uuid_v8_pack(UINT64_C(1) << i, 1, text);
        CU_ASSERT_TRUE(uuid_v8_unpack(sv_from(text), &g, &s));
        CU_ASSERT_TRUE(g == UINT64_C(1) << i && s == 1);
    }
    for (int i = 0; i < 58; i++) {
        uuid_v8_pack(0, UINT64_C(1) << i, text);
        CU_ASSERT_TRUE(uuid_v8_unpack(sv_from(text), &g, &s));
        CU_ASSERT_TRUE(g == 0 && s == UINT64_C(1) << i);
    }
    uuid_v8_pack(UINT64_MAX, seq_max, text);
    CU_ASSERT_STRING_EQUAL(text, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    CU_ASSERT_TRUE(uuid_v8_unpack(sv_from(text), &g, &s));
    CU_ASSERT_TRUE(g == UINT64_MAX && s == seq_max);
    uuid_v8_pack(UINT64_C(0x0123456789abcdef), 5, text);
    CU_ASSERT_STRING_EQUAL(text, "01234567-89ab-8cde-bc00-000000000005");
}

TEST(v8_random_numbers_come_back)
{
    int wrong = 0;
    for (int i = 0; i < 10000; i++) {
        uint64_t generation = random_u64(), seq = (random_u64() & seq_max) | 1, g = 0, s = 0;
        char text[UUID_LEN + 1], again[UUID_LEN + 1];
        uuid_v8_pack(generation, seq, text);
        const bool read = uuid_v8_unpack(sv_from(text), &g, &s) && g == generation && s == seq;
        uuid_v8_pack(g, s, again);
        wrong += !read || strcmp(text, again) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

TEST(v8_refuses_other_text)
{
    static const char *const bad[] = {
        "",
        "01234567-89ab-8cde-bc00-00000000000",
        "01234567-89ab-8cde-bc00-0000000000055",
        "01234567-89AB-8cde-bc00-000000000005", /* upper case */
        "01234567-89ab-7cde-bc00-000000000005", /* version */
        "01234567-89ab-8cde-7c00-000000000005", /* variant */
        "01234567-89ab-8cde-cc00-000000000005",
        "01234567089ab-8cde-bc00-000000000005",
        "01234567-89ab-8cde-bc00-00000000000g",
        "01234567-89ab-8cde-bc00-000000000000", /* seq 0 is never used */
    };
    uint64_t g = 7, s = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(uuid_v8_unpack(sv_from(bad[i]), &g, &s));
    CU_ASSERT_TRUE(g == 7 && s == 7);
    CU_ASSERT_FALSE(uuid_v8_unpack(SV_NONE, &g, &s));
}

/* Fails if upper case, or a hyphen in another position, is accepted: tried. */
TEST(digits_alone)
{
    char hex[UUID_HEX_LEN + 1], text[UUID_LEN + 1];
    const struct sv uuid = SV("0193f3a0-7f5c-7c2d-8a1b-0123456789ab");
    CU_ASSERT_TRUE(uuid_convert(uuid, true, hex));
    CU_ASSERT_STRING_EQUAL(hex, "0193f3a07f5c7c2d8a1b0123456789ab");
    CU_ASSERT_TRUE(uuid_convert(sv_from(hex), false, text));
    CU_ASSERT_TRUE(sv_eq(sv_from(text), uuid));
    const char *const wrong[] = {
        "", "0193F3A0-7f5c-7c2d-8a1b-0123456789ab", "0193f3a07-f5c-7c2d-8a1b-0123456789ab",
        "0193f3a0-7f5c-7c2d-8a1b-0123456789a", "0193f3a07f5c7c2d8a1b0123456789ag"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        CU_ASSERT_FALSE(uuid_convert(sv_from(wrong[i]), true, hex));
        CU_ASSERT_FALSE(uuid_convert(sv_from(wrong[i]), false, text));
    }
    CU_ASSERT_FALSE(uuid_convert(SV_NONE, true, hex) || uuid_convert(SV_NONE, false, text));
}

TEST(random_fills_all_bits)
{
    uint64_t ored = 0;
    for (int i = 0; i < 100; i++) /* a bit that stays 0 a hundred times: 2^-100 */
        ored |= random_u64();
    CU_ASSERT_EQUAL(ored, UINT64_MAX);
    CU_ASSERT_NOT_EQUAL(random_u64(), random_u64());
}

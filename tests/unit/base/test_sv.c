/* SPDX-License-Identifier: MIT */
#include "parley/base/sv.h"

#include "../suite.h"

TEST(absent_and_empty_differ)
{
    CU_ASSERT_PTR_NULL(sv_from(NULL).p);
    CU_ASSERT_PTR_NOT_NULL(sv_from("").p);
    CU_ASSERT_EQUAL(sv_from("").n, 0);
    CU_ASSERT_EQUAL(sv_from("abc").n, 3);
}

TEST(equality)
{
    CU_ASSERT_TRUE(sv_eq(SV("ab\0c"), SV("ab\0c")));
    CU_ASSERT_FALSE(sv_eq(SV("ab\0c"), SV("ab\0d"))); /* a NUL is a byte like any other */
    CU_ASSERT_FALSE(sv_eq(SV("ab"), SV("abc")));
    CU_ASSERT_TRUE(sv_eq(SV_NONE, SV("")));
    CU_ASSERT_TRUE(sv_eq_nocase(SV("Content-TYPE"), SV("content-type")));
    CU_ASSERT_FALSE(sv_eq_nocase(SV("a["), SV("A{"))); /* '[' | 0x20 == '{', but no letters */
    CU_ASSERT_FALSE(sv_eq_nocase(SV("\xc3\x84"), SV("\xc3\xa4")));
    CU_ASSERT_FALSE(sv_eq_nocase(SV("a"), SV("ab")));
}

TEST(prefix_and_trim)
{
    CU_ASSERT_TRUE(sv_starts_with(SV("/v1/sessions"), SV("/v1/")));
    CU_ASSERT_TRUE(sv_starts_with(SV("x"), SV("")));
    CU_ASSERT_FALSE(sv_starts_with(SV("/v"), SV("/v1")));
    CU_ASSERT_TRUE(sv_eq(sv_trim(SV(" \t a b\t ")), SV("a b")));
    CU_ASSERT_EQUAL(sv_trim(SV(" \t ")).n, 0);
}

TEST(cut_walks_a_list)
{
    struct sv rest = SV("a,,b");
    CU_ASSERT_TRUE(sv_eq(sv_cut(&rest, ','), SV("a")));
    CU_ASSERT_TRUE(sv_eq(sv_cut(&rest, ','), SV("")));
    CU_ASSERT_TRUE(sv_eq(sv_cut(&rest, ','), SV("b")));
    CU_ASSERT_PTR_NULL(rest.p);

    /* A separator at the end leaves an empty rest, not an absent one. */
    rest = SV("a,");
    CU_ASSERT_TRUE(sv_eq(sv_cut(&rest, ','), SV("a")));
    CU_ASSERT_PTR_NOT_NULL(rest.p);
    CU_ASSERT_EQUAL(rest.n, 0);
}

TEST(unsigned_numbers)
{
    uint64_t v = 7;
    CU_ASSERT_TRUE(sv_to_u64(SV("18446744073709551615"), &v));
    CU_ASSERT_EQUAL(v, UINT64_MAX);
    CU_ASSERT_TRUE(sv_to_u64(SV("0"), &v));
    CU_ASSERT_EQUAL(v, 0);

    struct sv bad = SV("|00|01|-1|+1| 1|1 |1a|18446744073709551616|99999999999999999999|"
                       "184467440737095516150");
    v = 7;
    while (bad.p)
        CU_ASSERT_FALSE(sv_to_u64(sv_cut(&bad, '|'), &v));
    CU_ASSERT_EQUAL(v, 7);
}

TEST(signed_numbers)
{
    int64_t v = 7;
    CU_ASSERT_TRUE(sv_to_i64(SV("-9223372036854775808"), &v));
    CU_ASSERT_EQUAL(v, INT64_MIN);
    CU_ASSERT_TRUE(sv_to_i64(SV("9223372036854775807"), &v));
    CU_ASSERT_EQUAL(v, INT64_MAX);
    CU_ASSERT_TRUE(sv_to_i64(SV("-42"), &v));
    CU_ASSERT_EQUAL(v, -42);
    CU_ASSERT_TRUE(sv_to_i64(SV("-0"), &v));
    CU_ASSERT_EQUAL(v, 0);

    struct sv bad = SV("|-|--1|-01|+1|1-|9223372036854775808|-9223372036854775809|"
                       "18446744073709551615");
    v = 7;
    while (bad.p)
        CU_ASSERT_FALSE(sv_to_i64(sv_cut(&bad, '|'), &v));
    CU_ASSERT_EQUAL(v, 7);
}

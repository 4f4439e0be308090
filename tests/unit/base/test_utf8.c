/* SPDX-License-Identifier: MIT */
#include "parley/base/sv.h"

#include <stdint.h>
#include <string.h>

#include "../suite.h"

TEST(edges_of_each_length)
{
    struct sv good =
        SV("|\x01|\x7f|\xc2\x80|\xdf\xbf|\xe0\xa0\x80|\xed\x9f\xbf|\xee\x80\x80|"
           "\xef\xbf\xbf|\xf0\x90\x80\x80|\xf4\x8f\xbf\xbf|"
           "plain text that is longer than eight bytes \xe2\x82\xac and goes on after it");
    while (good.p)
        CU_ASSERT_TRUE(utf8_valid(sv_cut(&good, '|'), NULL));
    CU_ASSERT_TRUE(utf8_valid(SV("\0"), NULL)); /* the JSON validator refuses it */
    CU_ASSERT_TRUE(utf8_valid(SV_NONE, NULL));
}

/* Fails if the second byte's bounds for E0, ED, F0 or F4 are left out: tried, one by one. */
TEST(forbidden_by_rfc_3629)
{
    struct sv bad = SV("\x80|\xbf|"                                   /* no lead */
                       "\xc0\x80|\xc1\xbf|"                           /* overlong, two bytes */
                       "\xe0\x80\x80|\xe0\x9f\xbf|"                   /* three */
                       "\xf0\x80\x80\x80|\xf0\x8f\xbf\xbf|"           /* four */
                       "\xed\xa0\x80|\xed\xbf\xbf|"                   /* surrogates */
                       "\xf4\x90\x80\x80|\xf5\x80\x80\x80|\xfe|\xff|" /* above U+10FFFF */
                       "\xc3|\xe2\x82|\xf0\x9f\x98|"                  /* cut */
                       "\xc3(|\xe2(\x82|\xe2\x82(|\xf0\x9f\x98(|\xe2\x82\xe2\x82\xac"); /* broken */
    while (bad.p) {
        size_t at = 99;
        CU_ASSERT_FALSE(utf8_valid(sv_cut(&bad, '|'), &at));
        CU_ASSERT_EQUAL(at, 0);
    }
}

/* At each offset, since text is read eight bytes at once. */
TEST(bad_byte_is_found_everywhere)
{
    char text[40];
    for (size_t i = 0; i < sizeof(text); i++) {
        size_t at = 99;
        memset(text, 'a', sizeof(text));
        text[i] = '\xff';
        CU_ASSERT_FALSE(utf8_valid((struct sv){text, sizeof(text)}, &at));
        CU_ASSERT_EQUAL(at, i);
    }
}

/* Every code point from U+0800 on, encoded here, is valid except the surrogates. */
TEST(every_code_point)
{
    int wrong = 0;
    for (uint32_t c = 0x800; c < 0x110000 + 0x1000; c++) {
        char s[4];
        size_t n = c < 0x10000 ? 3 : 4;
        s[0] = (char)(n == 3 ? 0xe0 | c >> 12 : 0xf0 | c >> 18);
        s[1] = (char)(0x80 | (c >> (n == 3 ? 6 : 12) & 0x3f));
        s[2] = (char)(0x80 | (c >> (n == 3 ? 0 : 6) & 0x3f));
        s[3] = (char)(0x80 | (c & 0x3f));
        bool good = c < 0x110000 && !(c >= 0xd800 && c <= 0xdfff);
        wrong += utf8_valid((struct sv){s, n}, NULL) != good;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

TEST(length_counts_code_points)
{
    CU_ASSERT_EQUAL(utf8_length(SV("")), 0);
    CU_ASSERT_EQUAL(utf8_length(SV("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
}

/* Fails if one bad byte is taken for all of the text, or if the last character of C1 is kept, or
 * the first after it is not: tried. */
TEST(printable_keeps_all_but_bad_bytes_and_controls)
{
    static const struct {
        struct sv text;
        const char *printable;
    } cases[] = {
        {SV_INIT(""), ""},
        {SV_INIT("a \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80~"),
         "a \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80~"},
        {SV_INIT("\x1b[0m\n\t\r\0\x7f."), "?[0m?????."},
        {SV_INIT("\xc2\x80\xc2\x9f\xc2\xa0"), "????\xc2\xa0"},
        {SV_INIT("\xff\xc3\xa4\x9b\xed\xa0\x80z"), "?\xc3\xa4????z"},
        {SV_INIT("x\xe2\x82"), "x??"},
        {SV_INIT("x\xc2"), "x?"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[32];
        memcpy(text, cases[i].text.p, cases[i].text.n);
        utf8_make_printable(text, 0, cases[i].text.n);
        CU_ASSERT_TRUE(sv_eq((struct sv){text, cases[i].text.n}, sv_from(cases[i].printable)));
    }
}

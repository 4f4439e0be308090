/* SPDX-License-Identifier: MIT */
#include "parley/base/encode.h"

#include <string.h>

#include "../suite.h"

/* Fails if upper case is accepted, or a digit is missing at either end: tried. */
TEST(hexadecimal)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {{"0", 0}, {"a", 10}, {"00ff", 255}, {"0123456789abcdef", 0x0123456789abcdef}};
    static const char *const bad[] = {"", "A", "0x1", "g", "-1", " 1", "00123456789abcdef"};
    char text[HEX_U64_LEN + 1] = "";
    uint64_t v = 0;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CU_ASSERT_TRUE(hex_read(sv_from(good[i].text), &v) && v == good[i].value);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(hex_read(sv_from(bad[i]), &v));
    hex_write(UINT64_C(0xfedcba9876543210), text);
    CU_ASSERT_STRING_EQUAL(text, "fedcba9876543210");
    for (int c = 0; c < 256; c++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *at = c ? strchr(digits, c) : NULL;
        CU_ASSERT_EQUAL(hex_value((char)c), at ? (int)(at - digits) % 16 : -1);
    }
}

TEST(percent)
{
    CU_ASSERT_EQUAL(percent_read(SV("%2f.")), '/');
    CU_ASSERT_EQUAL(percent_read(SV("%C3")), 0xc3);
    CU_ASSERT_EQUAL(percent_read(SV("%00")), 0);
    struct sv bad = SV("|%|%2|%2g|%g2|2f5|%-1|% 1");
    while (bad.p)
        CU_ASSERT_EQUAL(percent_read(sv_cut(&bad, '|')), -1);
}

TEST(base64url)
{
    static const char *const texts[] = {"", "-w", "-_8", "-_-_"};
    for (size_t n = 0; n < ARRAY_LEN(texts); n++) {
        char text[8];
        unsigned char bytes[4] = "";
        base64url_write("\xfb\xff\xbf", n, text);
        CU_ASSERT_STRING_EQUAL(text, texts[n]);
        CU_ASSERT_EQUAL(BASE64URL_LEN(n), strlen(text));
        CU_ASSERT_TRUE(base64url_read(sv_from(text), bytes, n));
        CU_ASSERT_EQUAL(memcmp(bytes, "\xfb\xff\xbf", n), 0);
        CU_ASSERT_FALSE(base64url_read(sv_from(text), bytes, n + 1));
    }
    unsigned char byte;
    CU_ASSERT_FALSE(base64url_read(SV("+w"), &byte, 1) || base64url_read(SV("-w=="), &byte, 1));
}

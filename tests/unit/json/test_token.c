/* SPDX-License-Identifier: MIT */
/* Numbers at the bounds of their range, tested with json_doc_check: tokens are internal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/json/doc.h"

#include "../suite.h"
#include "same.h"

/* The slug with which a text is refused; "": accepted. */
static const char *slug_of(struct sv text)
{
    struct request_ctx *ctx = test_ctx();
    struct json_doc d;
    enum err e = json_strict(ctx, text, &d);
    const char *slug = e ? ctx->err.slug : "";
    return slug;
}

/* texts: separated by spaces. */
static void expect(const char *texts, const char *slug)
{
    struct sv rest = sv_from(texts);
    while (rest.p) {
        const struct sv text = sv_cut(&rest, ' ');
        const char *got = slug_of(text);
        if (strcmp(got, slug) != 0)
            printf("\n    %.*s: \"%s\"", SV_ARG(text), got);
        CU_ASSERT_STRING_EQUAL(got, slug);
    }
}

TEST(malformed_numbers)
{
    expect("- +1 .5 1. 1.e1 01 -01 00 1e 1e+ 1E- 0x10 1_0 --1 1.2.3 -.5 1e1.5 1e1e1 -a 0e",
           "invalid_json");
}

/* Fails if a bound is moved by one, or checked for one sign alone: tried. */
TEST(integers_at_their_bounds)
{
    expect("0 -0 18446744073709551615 -9223372036854775808 9223372036854775808", "");
    expect("18446744073709551616 -9223372036854775809 184467440737095516150 "
           "-99999999999999999999999 100000000000000000000000000000",
           "number_out_of_range");
}

/* Fails if the digits at 10^308 are not compared, or a zero may have any exponent: tried. */
TEST(doubles_at_their_bounds)
{
    expect("1.7976931348623157e308 -1.7976931348623157E+308 1.7976931348623158e308 "
           "0.00017976931348623157e312 17976931348623157.0e292 9.9e307 "
           "5e-324 2.5e-324 0e-324 0.0e-324 0.0e-300 "
           "0e400 0e100000 -0.000E+100000 0.000 -0.0 1.0 1e0 1e+00000000000000000001 "
           "0.00000000000000000000000000000000000000000000000001e350 "
           "100000000000000000000000000000.0",
           "");
    expect("1.797693134862315808e308 1.7976931348623159e308 2e308 1e309 -1e309 1e400 0.001e312 "
           "10e308 179769313486231580800e288 1e999999999999999999999999 "
           "2.4e-324 1e-324 1e-400 1e-325 0.1e-324 1e-99999999999999999999999 "
           "0e-325 0e-16000 0e100001 -0E+999999999 0e1073741823 0e2147483647 0.0e-2147483648 "
           "0.000e99999999999999999999999",
           "number_out_of_range");
}

/* All of these are JSON, and text in the grammar's form is all that content needs. */
TEST(text_may_have_any_number)
{
    char digits[5000];
    struct sv rest =
        SV("18446744073709551616 -99999999999999999999999 2e308 1e999999999999999999999999 1e-400 "
           "0e-16000 0e2147483647 -0.0e-2147483648");
    struct json_doc d;
    while (rest.p)
        CU_ASSERT_EQUAL(json_doc_parse(test_ctx(), sv_cut(&rest, ' '), json_everything, &d),
                        ERR_NONE);
    memset(digits, '7', sizeof(digits));
    CU_ASSERT_EQUAL(
        json_doc_parse(test_ctx(), (struct sv){digits, sizeof(digits)}, json_everything, &d),
        ERR_NONE);
}

TEST(length_is_bounded)
{
    char text[JSON_JSONB_NUMBER_MAX + 2];
    memset(text, '0', sizeof(text));
    memcpy(text, "0.", 2);
    CU_ASSERT_STRING_EQUAL(slug_of((struct sv){text, JSON_JSONB_NUMBER_MAX}), "");
    CU_ASSERT_STRING_EQUAL(slug_of((struct sv){text, JSON_JSONB_NUMBER_MAX + 1}),
                           "number_out_of_range");
}

/* Random numbers, none of them zero: those accepted are finite and not zero as a double. */
TEST(same_as_strtod)
{
    unsigned state = 1;
    int wrong = 0, taken = 0, refused = 0;
    for (int i = 0; i < 20000; i++) {
        char text[128];
        size_t n = 0;
        state = state * 1103515245 + 12345;
        unsigned r = state >> 8;
        for (unsigned k = 0; k < 1 + r % 25; k++) {
            state = state * 1103515245 + 12345;
            text[n++] = (char)((k == 0 ? '1' : '0') + (state >> 16) % 9);
        }
        text[n++] = '.';
        for (unsigned k = 0; k < 1 + (r >> 5) % 25; k++) {
            state = state * 1103515245 + 12345;
            text[n++] = (char)('0' + (state >> 16) % 10);
        }
        snprintf(text + n, sizeof(text) - n, "e%d", (int)(r >> 3) % 700 - 350);
        double v = strtod(text, NULL);
        bool took = slug_of(sv_from(text))[0] == '\0';
        taken += took;
        refused += !took;
        wrong += took != (isfinite(v) && v != 0);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_TRUE(taken > 1000 && refused > 1000);
}

/* SPDX-License-Identifier: MIT */
/* The two kinds of JSON tokens that need more than a comparison: strings and numbers. */
#include "json_internal.h"

#include <stdint.h>
#include <string.h>

#include "parley/base/encode.h"

static const char slug_invalid[] = "invalid_json";
static const char slug_range[] = "number_out_of_range";

static bool set_fault(struct json_fault *fault, const char *slug, size_t at, const char *what)
{
    *fault = (struct json_fault){slug, what, at};
    return false;
}

int json_token_hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4 && v >= 0; i++)
        v = hex_value(p[i]) < 0 ? -1 : v * 16 + hex_value(p[i]);
    return v;
}

/* Checks the escape at text.p[*at] and moves *at past it. */
static bool check_escape(struct sv text, size_t *at, struct json_fault *fault)
{
    const char *p = text.p + *at;
    size_t left = text.n - *at;
    if (left < 2)
        return set_fault(fault, slug_invalid, text.n, "The text ends inside a string");
    if (p[1] != 'u') {
        if (!memchr("\"\\/bfnrt", p[1], 8))
            return set_fault(fault, slug_invalid, *at, "There is no such escape in JSON");
        *at += 2;
        return true;
    }

    int c = left >= 6 ? json_token_hex4(p + 2) : -1;
    if (c < 0)
        return set_fault(fault, slug_invalid, *at, "\\u needs four hexadecimal digits");
    if (c == 0)
        return set_fault(fault, slug_invalid, *at, "\\u0000 is not allowed in a string");
    if (c < 0xd800 || c > 0xdfff) {
        *at += 6;
        return true;
    }
    int low = left >= 12 && p[6] == '\\' && p[7] == 'u' ? json_token_hex4(p + 8) : -1;
    if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return set_fault(fault, slug_invalid, *at, "A surrogate is not part of a pair");
    *at += 12;
    return true;
}

bool json_token_string(struct sv text, size_t at, size_t *end, bool *escaped,
                       struct json_fault *fault)
{
    size_t i = at + 1;
    *escaped = false;
    while (i < text.n) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"') {
            *end = i + 1;
            return true;
        }
        if (c < 0x20)
            return set_fault(fault, slug_invalid, i, "A string contains a control character");
        if (c == '\\') {
            *escaped = true;
            if (!check_escape(text, &i, fault))
                return false;
        } else {
            i++;
        }
    }
    return set_fault(fault, slug_invalid, text.n, "The text ends inside a string");
}

static bool is_digit_at(struct sv s, size_t at)
{
    return at < s.n && s.p[at] >= '0' && s.p[at] <= '9';
}

static size_t skip_digits(struct sv s, size_t at)
{
    while (is_digit_at(s, at))
        at++;
    return at;
}

/* Whether an int64_t or a uint64_t holds the exact value. */
static bool integer_fits(struct sv token)
{
    int64_t negative = 0;
    uint64_t positive = 0;
    if (token.p[0] == '-')
        return sv_to_i64(token, &negative);
    return sv_to_u64(token, &positive);
}

enum { LEADING = 20, EXPONENT_CAP = 100000 };

/* A number in the form d.ddd… × 10^exponent with d != 0. */
struct scientific {
    char digits[LEADING]; /* the leading ones, filled up with '0' */
    size_t n;             /* 0: the number is zero */
    long exponent;
};

static struct scientific to_scientific(struct sv token)
{
    struct scientific s = {.n = 0, .exponent = 0};
    long point = 0; /* after the decimal point, the last digit's weight is 10^point */
    bool fraction = false;
    size_t i = token.p[0] == '-';
    memset(s.digits, '0', sizeof(s.digits));
    for (; i < token.n && token.p[i] != 'e' && token.p[i] != 'E'; i++) {
        if (token.p[i] == '.') {
            fraction = true;
            continue;
        }
        if (fraction)
            point--;
        if (s.n == 0 && token.p[i] == '0')
            continue;
        if (s.n == 0)
            s.exponent = point;
        else if (!fraction)
            s.exponent++;
        if (s.n < LEADING)
            s.digits[s.n++] = token.p[i];
    }
    if (i == token.n)
        return s;

    bool negative = token.p[++i] == '-';
    if (negative || token.p[i] == '+')
        i++;
    long written = 0;
    for (; i < token.n; i++)
        if (written < EXPONENT_CAP)
            written = written * 10 + (token.p[i] - '0');
    s.exponent += negative ? -written : written;
    return s;
}

/*
 * Whether a double can hold a number with a fraction or an exponent. Not strtod(3): its decimal
 * point depends on the locale. The first value that rounds to infinity is 2^1024 - 2^970 =
 * 1.79769313486231580793…e308, so twenty digits decide. Below 10^-324 every number rounds to zero;
 * such numbers are refused because PostgreSQL writes them out in full: nine bytes would become
 * 16,000. Zeros with a huge exponent are refused too: jsonb overflows from 2^30 - 1 on.
 */
static bool double_holds(struct sv token)
{
    struct scientific s = to_scientific(token);
    if (s.exponent < -324)
        return false;
    if (s.n == 0)
        return s.exponent <= EXPONENT_CAP;
    if (s.exponent < 308)
        return true;
    return s.exponent == 308 && memcmp(s.digits, "17976931348623158079", LEADING) < 0;
}

bool json_token_number(struct sv text, size_t at, size_t *end, struct json_fault *fault)
{
    size_t i = at + (text.p[at] == '-');
    bool integer = true;
    if (!is_digit_at(text, i))
        return set_fault(fault, slug_invalid, i, "A digit is missing in a number");
    i = text.p[i] == '0' ? i + 1 : skip_digits(text, i);
    if (i < text.n && text.p[i] == '.') {
        integer = false;
        if (!is_digit_at(text, ++i))
            return set_fault(fault, slug_invalid, i, "A digit is missing after a decimal point");
        i = skip_digits(text, i);
    }
    if (i < text.n && (text.p[i] == 'e' || text.p[i] == 'E')) {
        integer = false;
        i++;
        if (i < text.n && (text.p[i] == '+' || text.p[i] == '-'))
            i++;
        if (!is_digit_at(text, i))
            return set_fault(fault, slug_invalid, i, "A digit is missing in an exponent");
        i = skip_digits(text, i);
    }

    struct sv token = {text.p + at, i - at};
    if (token.n > JSON_DOC_NUMBER_MAX)
        return set_fault(fault, slug_range, at, "A number has more than 1000 characters");
    if (integer && !integer_fits(token))
        return set_fault(fault, slug_range, at, "An integer is outside -2^63 to 2^64-1");
    if (!integer && !double_holds(token))
        return set_fault(fault, slug_range, at, "A number is outside the range of a double");
    *end = i;
    return true;
}

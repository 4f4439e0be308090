/* SPDX-License-Identifier: MIT */
/* The two kinds of JSON tokens that need more than a comparison: strings and numbers. */
#include "json_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/encode.h"

static const char slug_invalid[] = "invalid_json";
static const char slug_range[] = "number_out_of_range";

static struct json_token refuse(const char *slug, size_t at, const char *why)
{
    return (struct json_token){at, slug, why};
}

int json_token_hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4 && v >= 0; i++)
        v = hex_value(p[i]) < 0 ? -1 : v * 16 + hex_value(p[i]);
    return v;
}

/* Moves *at past the escape at text.p[*at]. NULL, or why it is refused. */
static const char *skip_escape(struct sv text, size_t *at, enum json_rules rules)
{
    const char *p = text.p + *at;
    const size_t left = text.n - *at;
    if (left < 2) {
        *at = text.n; /* the caller refuses a string without an end */
        return NULL;
    }
    if (p[1] != 'u') {
        if (!memchr("\"\\/bfnrt", p[1], 8))
            return "There is no such escape in JSON";
        *at += 2;
        return NULL;
    }

    const int c = left >= 6 ? json_token_hex4(p + 2) : -1;
    if (c < 0)
        return "\\u needs four hexadecimal digits";
    if (c == 0 && rules > JSON_RULES_TEXT)
        return "\\u0000 is not allowed here";
    if (c < 0xd800 || c > 0xdfff || rules == JSON_RULES_TEXT) {
        *at += 6;
        return NULL;
    }
    const int low = left >= 12 && p[6] == '\\' && p[7] == 'u' ? json_token_hex4(p + 8) : -1;
    if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return "A surrogate is not part of a pair";
    *at += 12;
    return NULL;
}

struct json_token json_token_string(struct sv text, size_t at, enum json_rules rules)
{
    const char *why = NULL;
    size_t i = at + 1;
    while (!why && i < text.n && text.p[i] != '"') {
        if ((unsigned char)text.p[i] < 0x20)
            why = "A string contains a control character";
        else if (text.p[i] == '\\')
            why = skip_escape(text, &i, rules);
        else
            i++;
    }
    if (!why && i == text.n)
        why = "The text ends inside a string";
    return why ? refuse(slug_invalid, i, why) : (struct json_token){.end = i + 1};
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

/* The largest exponent of a zero: jsonb overflows from 2^30 - 1 on. */
enum { ZERO_EXPONENT_MIN = -324, ZERO_EXPONENT_MAX = 100000 };

/*
 * Whether a double can hold a number with a fraction or an exponent: neither infinite, nor zero
 * although it has another digit. PostgreSQL writes numbers out in full: the nine bytes of 1e-16000
 * would become 16,000. So would a zero's, which is why its exponent is bounded too. strtod(3) reads
 * JSON's numbers, since parley sets no locale.
 */
static bool double_holds(const char *text, long exponent)
{
    const double v = strtod(text, NULL);
    if (v != 0)
        return isfinite(v);
    return strcspn(text, "123456789") >= strcspn(text, "eE") && exponent >= ZERO_EXPONENT_MIN &&
           exponent <= ZERO_EXPONENT_MAX;
}

enum { EXPONENT_MAX = 20 }; /* 1e308, five bytes, would come back from jsonb as 309 bytes */

static struct json_token check_range(struct sv token, bool integer, enum json_rules rules)
{
    char text[JSON_JSONB_NUMBER_MAX + 1];
    const char *refused = NULL;
    int64_t small;
    uint64_t large;
    if (token.n > JSON_JSONB_NUMBER_MAX)
        return refuse(slug_range, 0, "A number has more than 1000 characters");
    memcpy(text, token.p, token.n);
    text[token.n] = '\0';
    const char *e = strpbrk(text, "eE");
    const long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (integer && !sv_to_i64(token, &small) && !sv_to_u64(token, &large))
        refused = "An integer is outside -2^63 to 2^64-1";
    else if (!integer && !double_holds(text, exponent))
        refused = "A number is outside the range of a double";
    if (refused)
        return refuse(slug_range, 0, refused);
    if (rules == JSON_RULES_STORED && (exponent < -EXPONENT_MAX || exponent > EXPONENT_MAX))
        return refuse("invalid_field", 0, "No exponent may be above 20");
    return (struct json_token){.end = token.n};
}

struct json_token json_token_number(struct sv text, size_t at, enum json_rules rules)
{
    size_t i = at + (text.p[at] == '-');
    bool integer = true;
    if (!is_digit_at(text, i))
        return refuse(slug_invalid, i, "A digit is missing in a number");
    i = text.p[i] == '0' ? i + 1 : skip_digits(text, i);
    if (i < text.n && text.p[i] == '.') {
        integer = false;
        if (!is_digit_at(text, ++i))
            return refuse(slug_invalid, i, "A digit is missing after a decimal point");
        i = skip_digits(text, i);
    }
    if (i < text.n && (text.p[i] == 'e' || text.p[i] == 'E')) {
        integer = false;
        i++;
        if (i < text.n && (text.p[i] == '+' || text.p[i] == '-'))
            i++;
        if (!is_digit_at(text, i))
            return refuse(slug_invalid, i, "A digit is missing in an exponent");
        i = skip_digits(text, i);
    }
    if (rules == JSON_RULES_TEXT)
        return (struct json_token){.end = i};
    struct json_token checked = check_range((struct sv){text.p + at, i - at}, integer, rules);
    checked.end += at;
    return checked;
}

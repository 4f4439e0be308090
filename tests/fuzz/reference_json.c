/* SPDX-License-Identifier: MIT */
#include "reference_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parley/json/doc.h"

/* Checks everything but duplicate names. */
struct reader {
    struct sv s;
    size_t members;
    bool unsure;
};

static int peek(const struct reader *r)
{
    return r->s.n > 0 ? (unsigned char)*r->s.p : -1;
}

static bool take(struct reader *r, int c)
{
    if (peek(r) != c)
        return false;
    r->s.p++;
    r->s.n--;
    return true;
}

static void take_space(struct reader *r)
{
    while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r'))
        ;
}

static bool take_word(struct reader *r, const char *word)
{
    while (*word)
        if (!take(r, *word++))
            return false;
    return true;
}

static size_t take_digits(struct reader *r)
{
    size_t n = 0;
    for (; peek(r) >= '0' && peek(r) <= '9'; n++)
        (void)take(r, peek(r));
    return n;
}

/* A code point above ASCII, in its shortest form. */
static bool take_wide(struct reader *r)
{
    int lead = peek(r), more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    static const long least[] = {0, 0x80, 0x800, 0x10000};
    if (lead < 0xc0 || lead > 0xf7)
        return false;
    long point = lead & (0x3f >> more);
    (void)take(r, lead);
    for (int i = 0; i < more; i++) {
        int c = peek(r);
        if (c < 0x80 || c > 0xbf)
            return false;
        point = point << 6 | (c & 0x3f);
        (void)take(r, c);
    }
    return point >= least[more] && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
}

static long take_hex4(struct reader *r)
{
    long v = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = peek(r) > 0 ? strchr(digits, peek(r)) : NULL;
        if (!d)
            return -1;
        v = v * 16 + (d - digits) % 16;
        (void)take(r, *d);
    }
    return v;
}

static bool take_escape(struct reader *r)
{
    if (!take(r, 'u')) {
        int c = peek(r);
        return c > 0 && strchr("\"\\/bfnrt", c) && take(r, c);
    }
    long high = take_hex4(r);
    if (high < 0xd800 || high > 0xdfff)
        return high > 0;
    if (high >= 0xdc00 || !take(r, '\\') || !take(r, 'u'))
        return false;
    long low = take_hex4(r);
    return low >= 0xdc00 && low <= 0xdfff;
}

static bool take_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (!take(r, '"')) {
        int c = peek(r);
        if (c < 0x20)
            return false;
        if (c >= 0x80 ? !take_wide(r) : !take(r, c) || (c == '\\' && !take_escape(r)))
            return false;
    }
    return true;
}

/* No locale is set here, so that strtod reads JSON's numbers. */
static bool take_number(struct reader *r)
{
    const char *from = r->s.p;
    char text[JSON_DOC_NUMBER_MAX + 1], *end;
    bool whole = true;
    bool minus = take(r, '-');
    if (!take(r, '0') && take_digits(r) == 0)
        return false;
    if (take(r, '.')) {
        whole = false;
        if (take_digits(r) == 0)
            return false;
    }
    if (take(r, 'e') || take(r, 'E')) {
        whole = false;
        (void)(take(r, '+') || take(r, '-'));
        if (take_digits(r) == 0)
            return false;
    }
    size_t n = (size_t)(r->s.p - from);
    if (n > JSON_DOC_NUMBER_MAX)
        return false;
    memcpy(text, from, n);
    text[n] = '\0';
    errno = 0;
    if (whole) {
        if (minus)
            (void)strtoll(text, &end, 10);
        else
            (void)strtoull(text, &end, 10);
        return errno == 0;
    }
    double v = strtod(text, &end);
    r->unsure = r->unsure || v == 0;
    return isfinite(v);
}

static bool take_value(struct reader *r, int depth);

static bool take_container(struct reader *r, int depth, bool object)
{
    (void)take(r, peek(r));
    if (depth == JSON_DOC_DEPTH_MAX)
        return false;
    take_space(r);
    if (take(r, object ? '}' : ']'))
        return true;
    do {
        take_space(r);
        if (object) {
            r->members++;
            if (!take_string(r))
                return false;
            take_space(r);
            if (!take(r, ':'))
                return false;
        }
        if (!take_value(r, depth + 1))
            return false;
    } while (take(r, ','));
    return take(r, object ? '}' : ']');
}

static bool take_value(struct reader *r, int depth)
{
    bool ok;
    take_space(r);
    switch (peek(r)) {
    case '{':
    case '[':
        ok = take_container(r, depth, peek(r) == '{');
        break;
    case '"':
        ok = take_string(r);
        break;
    case 't':
        ok = take_word(r, "true");
        break;
    case 'f':
        ok = take_word(r, "false");
        break;
    case 'n':
        ok = take_word(r, "null");
        break;
    default:
        ok = take_number(r);
    }
    take_space(r);
    return ok;
}

enum reference_verdict reference_json(struct sv text, size_t *members)
{
    struct reader r = {.s = text};
    bool ok = take_value(&r, 0) && r.s.n == 0;
    *members = r.members;
    if (!ok)
        return REFERENCE_REFUSE;
    return r.unsure ? REFERENCE_UNSURE : REFERENCE_ACCEPT;
}

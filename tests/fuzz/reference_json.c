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
    bool text_alone, unsure;
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
    if (high > 0xdbff || high < 0xd800) {
        r->text_alone = r->text_alone || high == 0 || (high >= 0xdc00 && high <= 0xdfff);
        return high >= 0;
    }
    /* Whatever follows it is read again, but for the second half. */
    struct reader after = *r;
    long low = take(&after, '\\') && take(&after, 'u') ? take_hex4(&after) : -1;
    if (low >= 0xdc00 && low <= 0xdfff)
        r->s = after.s;
    else
        r->text_alone = true;
    return true;
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
    char text[JSON_JSONB_NUMBER_MAX + 1], *end;
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
    r->text_alone = r->text_alone || n > JSON_JSONB_NUMBER_MAX;
    if (n > JSON_JSONB_NUMBER_MAX)
        return true;
    memcpy(text, from, n);
    text[n] = '\0';
    errno = 0;
    if (whole) {
        if (minus)
            (void)strtoll(text, &end, 10);
        else
            (void)strtoull(text, &end, 10);
        r->text_alone = r->text_alone || errno != 0;
        return true;
    }
    double v = strtod(text, &end);
    r->unsure = r->unsure || v == 0;
    r->text_alone = r->text_alone || !isfinite(v);
    return true;
}

static bool take_value(struct reader *r, int depth);

static bool take_container(struct reader *r, int depth, bool object)
{
    (void)take(r, peek(r));
    if (depth == JSON_DOC_DEPTH_MAX)
        return false;
    r->text_alone = r->text_alone || depth >= JSON_JSONB_DEPTH_MAX;
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

/* Takes one code unit off a string; *low: the second half of a character, which is taken next; 0:
 * none. -1 at the end. */
static long take_unit(struct reader *r, long *low)
{
    const long half = *low;
    *low = 0;
    if (half || r->s.n == 0)
        return half ? half : -1;
    if (take(r, '\\')) {
        static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
        const int c = peek(r);
        const char *letter = strchr(letters, c);
        (void)take(r, c);
        return c == 'u' ? take_hex4(r) : letter ? meant[letter - letters] : c;
    }
    const char *from = r->s.p;
    if (peek(r) < 0x80)
        (void)take(r, peek(r));
    else if (!take_wide(r))
        abort();
    long point = (unsigned char)*from;
    const long n = r->s.p - from;
    if (n > 1)
        point &= 0x7f >> n;
    while (++from < r->s.p)
        point = point << 6 | (*from & 0x3f);
    if (point < 0x10000)
        return point;
    *low = 0xdc00 + ((point - 0x10000) & 0x3ff);
    return 0xd800 + ((point - 0x10000) >> 10);
}

bool reference_same_string(struct sv a, struct sv b)
{
    struct reader x = {.s = a}, y = {.s = b};
    long low_x = 0, low_y = 0, p, q;
    do {
        p = take_unit(&x, &low_x);
        q = take_unit(&y, &low_y);
    } while (p == q && p >= 0);
    return p == q;
}

enum reference_verdict reference_json(struct sv text, size_t *members)
{
    struct reader r = {.s = text};
    bool ok = take_value(&r, 0) && r.s.n == 0;
    *members = r.members;
    if (!ok)
        return REFERENCE_REFUSE;
    if (r.text_alone)
        return REFERENCE_TEXT;
    return r.unsure ? REFERENCE_UNSURE : REFERENCE_ACCEPT;
}

/* SPDX-License-Identifier: MIT */
#include "opinion.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parley/json/doc.h"

/* Everything but names given twice, which need all names of an object. */
struct look {
    struct sv s;
    size_t members;
    bool unsure;
};

static int peek(const struct look *l)
{
    return l->s.n > 0 ? (unsigned char)*l->s.p : -1;
}

static bool eat(struct look *l, int c)
{
    if (peek(l) != c)
        return false;
    l->s.p++;
    l->s.n--;
    return true;
}

static void eat_space(struct look *l)
{
    while (eat(l, ' ') || eat(l, '\t') || eat(l, '\n') || eat(l, '\r'))
        ;
}

static bool eat_word(struct look *l, const char *word)
{
    while (*word)
        if (!eat(l, *word++))
            return false;
    return true;
}

static size_t eat_digits(struct look *l)
{
    size_t n = 0;
    for (; peek(l) >= '0' && peek(l) <= '9'; n++)
        (void)eat(l, peek(l));
    return n;
}

/* A code point above ASCII: its bytes are those that it would be written with. */
static bool eat_wide(struct look *l)
{
    int lead = peek(l), more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    static const long least[] = {0, 0x80, 0x800, 0x10000};
    if (lead < 0xc0 || lead > 0xf7)
        return false;
    long point = lead & (0x3f >> more);
    (void)eat(l, lead);
    for (int i = 0; i < more; i++) {
        int c = peek(l);
        if (c < 0x80 || c > 0xbf)
            return false;
        point = point << 6 | (c & 0x3f);
        (void)eat(l, c);
    }
    return point >= least[more] && point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
}

static long eat_hex4(struct look *l)
{
    long v = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = peek(l) > 0 ? strchr(digits, peek(l)) : NULL;
        if (!d)
            return -1;
        v = v * 16 + (d - digits) % 16;
        (void)eat(l, *d);
    }
    return v;
}

static bool eat_escape(struct look *l)
{
    if (!eat(l, 'u')) {
        int c = peek(l);
        return c > 0 && strchr("\"\\/bfnrt", c) && eat(l, c);
    }
    long high = eat_hex4(l);
    if (high < 0xd800 || high > 0xdfff)
        return high > 0;
    if (high >= 0xdc00 || !eat(l, '\\') || !eat(l, 'u'))
        return false;
    long low = eat_hex4(l);
    return low >= 0xdc00 && low <= 0xdfff;
}

static bool eat_string(struct look *l)
{
    if (!eat(l, '"'))
        return false;
    while (!eat(l, '"')) {
        int c = peek(l);
        if (c < 0x20)
            return false;
        if (c >= 0x80 ? !eat_wide(l) : !eat(l, c) || (c == '\\' && !eat_escape(l)))
            return false;
    }
    return true;
}

/* No locale is set here, so that strtod reads JSON's numbers. */
static bool eat_number(struct look *l)
{
    const char *from = l->s.p;
    char text[JSON_DOC_NUMBER_MAX + 1], *end;
    bool whole = true;
    bool minus = eat(l, '-');
    if (!eat(l, '0') && eat_digits(l) == 0)
        return false;
    if (eat(l, '.')) {
        whole = false;
        if (eat_digits(l) == 0)
            return false;
    }
    if (eat(l, 'e') || eat(l, 'E')) {
        whole = false;
        (void)(eat(l, '+') || eat(l, '-'));
        if (eat_digits(l) == 0)
            return false;
    }
    size_t n = (size_t)(l->s.p - from);
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
    l->unsure = l->unsure || v == 0;
    return isfinite(v);
}

static bool eat_value(struct look *l, int depth);

static bool eat_container(struct look *l, int depth, bool object)
{
    (void)eat(l, peek(l));
    if (depth == JSON_DOC_DEPTH_MAX)
        return false;
    eat_space(l);
    if (eat(l, object ? '}' : ']'))
        return true;
    do {
        eat_space(l);
        if (object) {
            l->members++;
            if (!eat_string(l))
                return false;
            eat_space(l);
            if (!eat(l, ':'))
                return false;
        }
        if (!eat_value(l, depth + 1))
            return false;
    } while (eat(l, ','));
    return eat(l, object ? '}' : ']');
}

static bool eat_value(struct look *l, int depth)
{
    bool ok;
    eat_space(l);
    switch (peek(l)) {
    case '{':
    case '[':
        ok = eat_container(l, depth, peek(l) == '{');
        break;
    case '"':
        ok = eat_string(l);
        break;
    case 't':
        ok = eat_word(l, "true");
        break;
    case 'f':
        ok = eat_word(l, "false");
        break;
    case 'n':
        ok = eat_word(l, "null");
        break;
    default:
        ok = eat_number(l);
    }
    eat_space(l);
    return ok;
}

enum opinion opinion_of_json(struct sv text, size_t *members)
{
    struct look l = {.s = text};
    bool ok = eat_value(&l, 0) && l.s.n == 0;
    *members = l.members;
    if (!ok)
        return OPINION_REFUSE;
    return l.unsure ? OPINION_NONE : OPINION_ACCEPT;
}

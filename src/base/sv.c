/* SPDX-License-Identifier: MIT */
#include "parley/base/sv.h"

#include <string.h>
#include <strings.h>

struct sv sv_from(const char *cstr)
{
    if (!cstr)
        return SV_NONE;
    return (struct sv){cstr, strlen(cstr)};
}

bool sv_eq(struct sv a, struct sv b)
{
    /* memcmp must not be given a null pointer, even with length 0. */
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* No locale is set, so that only ASCII letters have two cases. */
bool sv_eq_nocase(struct sv a, struct sv b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool sv_starts_with(struct sv s, struct sv prefix)
{
    return s.n >= prefix.n && sv_eq((struct sv){s.p, prefix.n}, prefix);
}

bool sv_all_of(struct sv s, const char *more)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr(more, c)))
            return false;
    }
    return true;
}

void sv_skip(struct sv *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

struct sv sv_trim(struct sv s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        sv_skip(&s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

struct sv sv_cut(struct sv *s, char c)
{
    struct sv all = *s;
    const char *at = all.n > 0 ? memchr(all.p, c, all.n) : NULL;
    if (!at) {
        *s = SV_NONE;
        return all;
    }
    size_t before = (size_t)(at - all.p);
    *s = (struct sv){at + 1, all.n - before - 1};
    return (struct sv){all.p, before};
}

bool sv_to_u64(struct sv s, uint64_t *out)
{
    if (s.n == 0 || (s.n > 1 && s.p[0] == '0'))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool sv_to_i64(struct sv s, int64_t *out)
{
    const bool negative = s.n > 0 && s.p[0] == '-';
    const uint64_t most = (uint64_t)INT64_MAX + negative;
    const struct sv digits = negative ? (struct sv){s.p + 1, s.n - 1} : s;
    uint64_t v = 0;
    if (!sv_to_u64(digits, &v) || v > most)
        return false;
    /* -(v - 1) - 1: 2^63 itself does not fit int64_t. */
    *out = !negative || v == 0 ? (int64_t)v : -(int64_t)(v - 1) - 1;
    return true;
}

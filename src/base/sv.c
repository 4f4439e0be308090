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

int sv_compare(struct sv a, struct sv b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
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

/* ---- UTF-8 ---- */

/* The length of the sequence at p (n > 0 bytes); 0 when it is not valid. Only the second byte's
 * range depends on the first (RFC 3629, section 4). That range excludes overlong forms (E0, F0),
 * surrogates (ED) and code points above U+10FFFF (F4). */
static size_t sequence_length(const unsigned char *p, size_t n)
{
    const unsigned char lead = p[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    const size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return len;
}

bool utf8_valid(struct sv s, size_t *bad_at)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;
    while (i < s.n) {
        /* Most text is ASCII: eight bytes at once as long as no top bit is set. */
        uint64_t eight = 0;
        if (s.n - i >= sizeof(eight)) {
            memcpy(&eight, p + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        size_t len = sequence_length(p + i, s.n - i);
        if (len == 0) {
            if (bad_at)
                *bad_at = i;
            return false;
        }
        i += len;
    }
    return true;
}

size_t utf8_length(struct sv s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++)
        count += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return count;
}

void utf8_make_printable(char *text, size_t from, size_t n)
{
    size_t len;
    for (size_t i = from; i < n; i += len) {
        const unsigned char *p = (const unsigned char *)text + i;
        len = sequence_length(p, n - i);
        if (len == 0 || p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0)) {
            len = len > 0 ? len : 1;
            memset(text + i, '?', len);
        }
    }
}

/* Web servers resolve "." and ".." between slashes before they pass a path on, even if encoded, so
 * such an id could not be named in a path. */
static bool has_dot_segment(struct sv id)
{
    while (id.p) {
        struct sv segment = sv_cut(&id, '/');
        if (sv_eq(segment, SV(".")) || sv_eq(segment, SV("..")))
            return true;
    }
    return false;
}

bool id_valid(struct sv id)
{
    for (size_t i = 0; i < id.n; i++)
        if ((unsigned char)id.p[i] < 0x20 || id.p[i] == 0x7f)
            return false;
    /* Unlike a body, a header was not checked for UTF-8 before. */
    return id.n >= 1 && id.n <= ID_MAX && utf8_valid(id, NULL) && !has_dot_segment(id);
}

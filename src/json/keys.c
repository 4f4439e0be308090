/* SPDX-License-Identifier: MIT */
/* Finds a name that an object has twice. glibc's qsort takes n log n steps, whatever names a client
 * sends. */
#include "json_internal.h"

#include <stdlib.h>

/* Up to here each name is compared with each other one. Above, they are sorted, so that an object
 * of a hundred thousand members does not take 10^10 comparisons. */
enum { FEW_MEMBERS = 8 };

struct json_name json_name_at(size_t at, struct sv body, uint64_t secret)
{
    const uint64_t multiplier = secret | 1;
    uint64_t hash = secret, word = 0;
    for (unsigned shift = 0; body.n > 0;) {
        char c[4] = {body.p[0]};
        const bool plain = c[0] != '\\';
        const size_t n = plain ? 1 : json_unescape_next(&body, c);
        body = (struct sv){body.p + plain, body.n - plain};
        for (size_t i = 0; i < n; i++, shift += 8) {
            word |= (uint64_t)(unsigned char)c[i] << (shift & 63);
            if ((shift & 63) == 56) {
                hash = (hash ^ word) * multiplier;
                word = 0;
            }
        }
    }
    return (struct json_name){(uint32_t)at, (uint32_t)(((hash ^ word) * multiplier) >> 32)};
}

static struct sv body_at(struct sv text, size_t at)
{
    return (struct sv){text.p + at + 1, json_string_end(text, at) - at - 2};
}

static int compare_hashed(const void *a, const void *b, void *text)
{
    const struct json_name *x = a, *y = b;
    const struct sv *in = text;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return json_unescape_compare(body_at(*in, x->at), body_at(*in, y->at));
}

size_t json_names_find_duplicate(struct sv text, struct json_name *names, size_t n)
{
    const bool few = n <= FEW_MEMBERS;
    if (!few)
        qsort_r(names, n, sizeof(*names), compare_hashed, &text);
    for (size_t i = 1; i < n; i++)
        for (size_t k = few ? 0 : i - 1; k < i; k++)
            if (compare_hashed(&names[k], &names[i], &text) == 0)
                return names[k].at > names[i].at ? names[k].at : names[i].at;
    return SIZE_MAX;
}

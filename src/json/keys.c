/* SPDX-License-Identifier: MIT */
/* Sets of member names: duplicates in an object (validator.c), and look-up by name (merge.c).
 * glibc sorts in n log n whatever the names are. */
#include "json_internal.h"

#include <stdlib.h>
#include <string.h>

/* Up to here each name is compared with each other one. Above, they are sorted, so that an object
 * of a hundred thousand members does not take 10^10 comparisons. */
enum { FEW_MEMBERS = 8 };

/* Any total order will do. */
static int compare_names(struct sv a, struct sv b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n > 0 ? memcmp(a.p, b.p, a.n) : 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct json_key *x = a, *y = b;
    const int c = compare_names(x->name, y->name);
    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

void json_keys_sort(struct json_key *keys, size_t n)
{
    qsort(keys, n, sizeof(*keys), compare_keys);
}

static int compare_to_key(const void *name, const void *key)
{
    return compare_names(*(const struct sv *)name, ((const struct json_key *)key)->name);
}

const struct json_key *json_keys_find(const struct json_key *sorted, size_t n, struct sv name)
{
    return bsearch(&name, sorted, n, sizeof(*sorted), compare_to_key);
}

/* ---- names of an object that is being read ---- */

struct json_name json_name_at(size_t at, struct sv body)
{
    uint32_t hash = 2166136261; /* FNV-1a */
    while (body.n > 0) {
        char c[4] = {body.p[0]};
        size_t n = 1;
        if (c[0] == '\\')
            n = json_unescape_next(&body, c);
        else
            sv_skip(&body, 1);
        for (size_t i = 0; i < n; i++)
            hash = (hash ^ (unsigned char)c[i]) * 16777619;
    }
    return (struct json_name){(uint32_t)at, hash};
}

static struct sv body_at(struct sv text, size_t at)
{
    return (struct sv){text.p + at + 1, json_string_end(text, at) - at - 2};
}

struct unescaped {
    struct sv body, next; /* next: the rest of the character in c */
    char c[4];
};

/* -1 at the end. */
static int next_byte(struct unescaped *u)
{
    if (u->next.n == 0 && u->body.n == 0)
        return -1;
    if (u->next.n == 0)
        u->next = (struct sv){u->c, json_unescape_next(&u->body, u->c)};
    const unsigned char byte = (unsigned char)u->next.p[0];
    sv_skip(&u->next, 1);
    return byte;
}

static int compare_bodies(struct sv a, struct sv b)
{
    struct unescaped x = {.body = a}, y = {.body = b};
    int p, q;
    do {
        p = next_byte(&x);
        q = next_byte(&y);
    } while (p == q && p >= 0);
    return p - q;
}

static int compare_hashed(const void *a, const void *b, void *text)
{
    const struct json_name *x = a, *y = b;
    const struct sv *in = text;
    int c = (x->hash > y->hash) - (x->hash < y->hash);
    if (c == 0 && x->at != y->at)
        c = compare_bodies(body_at(*in, x->at), body_at(*in, y->at));
    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

static bool is_same(struct sv text, const struct json_name *a, const struct json_name *b)
{
    return a->hash == b->hash && compare_bodies(body_at(text, a->at), body_at(text, b->at)) == 0;
}

size_t json_names_find_twice(struct sv text, struct json_name *names, size_t n)
{
    const bool few = n <= FEW_MEMBERS;
    if (!few)
        qsort_r(names, n, sizeof(*names), compare_hashed, &text);
    for (size_t i = 1; i < n; i++)
        for (size_t k = few ? 0 : i - 1; k < i; k++)
            if (is_same(text, &names[k], &names[i]))
                return names[i].at;
    return SIZE_MAX;
}

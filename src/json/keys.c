/* SPDX-License-Identifier: MIT */
/* Sets of member names: duplicates in an object (validator.c), and look-up by name (merge.c). */
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

static enum err find_by_sorting(struct request_ctx *ctx, const struct json_doc *d,
                                const struct json_node *object, const struct json_node **twice)
{
    const size_t n = object->children;
    struct json_key *keys = arena_array(ctx->arena, n, sizeof(*keys));
    if (!keys)
        return ctx_nomem(ctx);
    size_t i = 0;
    for (const struct json_node *m = json_doc_first(d, object); m; m = json_doc_next(d, m), i++) {
        keys[i].at = (size_t)(m - d->nodes);
        TRY(json_unescape_dup(ctx, m->key, &keys[i].name));
    }
    json_keys_sort(keys, n);
    for (i = 1; i < n && !*twice; i++)
        if (sv_eq(keys[i - 1].name, keys[i].name))
            *twice = &d->nodes[keys[i].at];
    return ERR_NONE;
}

static enum err find_by_comparing(struct request_ctx *ctx, const struct json_doc *d,
                                  const struct json_node *object, const struct json_node **twice)
{
    const struct json_node *m = json_doc_first(d, object);
    while ((m = json_doc_next(d, m)) && !*twice) {
        struct sv name;
        TRY(json_unescape_dup(ctx, m->key, &name));
        if (json_doc_member(d, object, name) != m)
            *twice = m;
    }
    return ERR_NONE;
}

enum err json_keys_find_duplicate(struct request_ctx *ctx, const struct json_doc *d,
                                  const struct json_node *object, const struct json_node **twice)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    *twice = NULL;
    const enum err e = object->children <= FEW_MEMBERS ? find_by_comparing(ctx, d, object, twice)
                                                       : find_by_sorting(ctx, d, object, twice);
    arena_rewind(ctx->arena, mark);
    return e;
}

/* SPDX-License-Identifier: MIT */
#include "json_internal.h"

#include <stdlib.h>
#include <string.h>

/* Up to here each name is compared with each other one; above, they are sorted, so that an object
 * of a hundred thousand members does not take 10^10 comparisons. */
enum { FEW_MEMBERS = 8 };

/* Any total order does. */
int jkeys_order(struct sv a, struct sv b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n > 0 ? memcmp(a.p, b.p, a.n) : 0;
}

static int compare(const void *a, const void *b)
{
    const struct jkey *x = a, *y = b;
    const int c = jkeys_order(x->name, y->name);
    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

void jkeys_sort(struct jkey *keys, size_t n)
{
    qsort(keys, n, sizeof(*keys), compare);
}

static enum err twice_sorted(struct request_ctx *ctx, const struct jdoc *d,
                             const struct jnode *object, const struct jnode **twice)
{
    const size_t n = object->children;
    struct jkey *keys = arena_array(ctx->arena, n, sizeof(*keys));
    if (!keys)
        return ctx_nomem(ctx);
    size_t i = 0;
    for (const struct jnode *m = jdoc_first(d, object); m; m = jdoc_next(d, m), i++) {
        keys[i].at = (size_t)(m - d->nodes);
        TRY(junescape_dup(ctx, m->key, &keys[i].name));
    }
    jkeys_sort(keys, n);
    for (i = 1; i < n && !*twice; i++)
        if (sv_eq(keys[i - 1].name, keys[i].name))
            *twice = &d->nodes[keys[i].at];
    return ERR_NONE;
}

static const struct jnode *twice_paired(const struct jdoc *d, const struct jnode *object)
{
    const struct jnode *first = jdoc_first(d, object);
    for (const struct jnode *b = jdoc_next(d, first); b; b = jdoc_next(d, b))
        for (const struct jnode *a = first; a != b; a = jdoc_next(d, a))
            if (sv_eq(a->key, b->key))
                return b;
    return NULL;
}

enum err jkeys_twice(struct request_ctx *ctx, const struct jdoc *d, const struct jnode *object,
                     const struct jnode **twice)
{
    bool escaped = false;
    *twice = NULL;
    for (const struct jnode *m = jdoc_first(d, object); m && !escaped; m = jdoc_next(d, m))
        escaped = m->key_escaped;
    if (object->children <= FEW_MEMBERS && !escaped) {
        *twice = twice_paired(d, object);
        return ERR_NONE;
    }
    struct arena_mark mark = arena_get_mark(ctx->arena);
    enum err e = twice_sorted(ctx, d, object, twice);
    arena_rewind(ctx->arena, mark);
    return e;
}

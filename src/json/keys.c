/* SPDX-License-Identifier: MIT */
#include "json_internal.h"

#include <stdlib.h>
#include <string.h>

/* Up to here each name is compared with each other one; above, they are sorted, so that an object
 * of a hundred thousand members does not take 10^10 comparisons. */
enum { FEW_MEMBERS = 8 };

struct key {
    struct sv name; /* unescaped */
    const struct jnode *member;
};

static const struct jnode *next_of(const struct jnode *nodes, const struct jnode *member)
{
    return member->next > 0 ? &nodes[member->next] : NULL;
}

/* Any total order does. */
int jkeys_order(struct sv a, struct sv b)
{
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return a.n > 0 ? memcmp(a.p, b.p, a.n) : 0;
}

/* Names that are equal are ordered as in the text. */
static int compare(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    const int c = jkeys_order(x->name, y->name);

    if (c != 0)
        return c;
    return x->member < y->member ? -1 : x->member > y->member;
}

static enum err twice_sorted(struct request_ctx *ctx, const struct jnode *nodes, uint32_t object,
                             const struct jnode **twice)
{
    uint32_t n = nodes[object].children, i = 0;
    struct key *keys = arena_array(ctx->arena, n, sizeof(*keys));

    if (!keys)
        return ctx_nomem(ctx);
    for (const struct jnode *m = &nodes[object + 1]; m; m = next_of(nodes, m)) {
        keys[i] = (struct key){m->key, m};
        if (m->key_escaped) {
            TRY(junescape_dup(ctx, m->key, &keys[i].name));
        }
        i++;
    }
    qsort(keys, n, sizeof(*keys), compare);
    for (i = 1; i < n && !*twice; i++)
        if (sv_eq(keys[i - 1].name, keys[i].name))
            *twice = keys[i].member;
    return ERR_NONE;
}

static const struct jnode *twice_paired(const struct jnode *nodes, uint32_t object)
{
    const struct jnode *first = &nodes[object + 1];

    for (const struct jnode *b = next_of(nodes, first); b; b = next_of(nodes, b))
        for (const struct jnode *a = first; a != b; a = next_of(nodes, a))
            if (sv_eq(a->key, b->key))
                return b;
    return NULL;
}

enum err jkeys_twice(struct request_ctx *ctx, const struct jnode *nodes, uint32_t object,
                     const struct jnode **twice)
{
    bool escaped = false;

    *twice = NULL;
    for (const struct jnode *m = &nodes[object + 1]; m && !escaped; m = next_of(nodes, m))
        escaped = m->key_escaped;
    if (nodes[object].children <= FEW_MEMBERS && !escaped) {
        *twice = twice_paired(nodes, object);
        return ERR_NONE;
    }
    struct arena_mark mark = arena_get_mark(ctx->arena);
    enum err e = twice_sorted(ctx, nodes, object, twice);
    arena_rewind(ctx->arena, mark);
    return e;
}

/* SPDX-License-Identifier: MIT */
/*
 * Input: target, cut, patch. What comes of jmerge_patch is what RFC 7396 says, member by member, is
 * accepted by the guard, and stays the same when the patch is applied again, or an empty one. What
 * comes of jmerge_overlay has each member of the patch and each other one of the target as it was
 * written.
 */
#include "fuzz.h"

#include "parley/json/doc.h"
#include "parley/json/merge.h"
#include "../unit/json/same.h"

static const struct jnode *find(struct fuzz *f, const struct jdoc *d, const struct jnode *object,
                                const struct jnode *like)
{
    struct sv name = SV_NONE;
    DEMAND(json_name(&f->ctx, like, &name) == ERR_NONE);
    return object ? jdoc_member(d, object, name) : NULL;
}

/* The same value; numbers as they were written. */
static bool same(struct fuzz *f, const struct jdoc *x, const struct jnode *a, const struct jdoc *y,
                 const struct jnode *b)
{
    struct sv s, t;
    if (a->type != b->type || a->children != b->children)
        return false;
    if (a->type == JT_NUMBER)
        return sv_eq(a->raw, b->raw);
    if (a->type == JT_STRING)
        return jdoc_string(&f->ctx, a, &s) == ERR_NONE && jdoc_string(&f->ctx, b, &t) == ERR_NONE &&
               sv_eq(s, t);
    const struct jnode *other = jdoc_first(y, b);
    for (const struct jnode *c = jdoc_first(x, a); c; c = jdoc_next(x, c)) {
        const struct jnode *twin = a->type == JT_OBJECT ? find(f, y, b, c) : other;
        if (!twin || !same(f, x, c, y, twin))
            return false;
        other = other ? jdoc_next(y, other) : NULL;
    }
    return true;
}

struct merged {
    struct jdoc target, patch, result;
};

/* RFC 7396, section 2; target is NULL where it is no object. */
static void is_merged(struct fuzz *f, const struct merged *m, const struct jnode *target,
                      const struct jnode *patch, const struct jnode *result)
{
    uint32_t left = result->children;
    DEMAND(result->type == JT_OBJECT);
    for (const struct jnode *p = jdoc_first(&m->patch, patch); p; p = jdoc_next(&m->patch, p)) {
        const struct jnode *r = find(f, &m->result, result, p);
        if (p->type == JT_NULL) {
            DEMAND(!r);
            continue;
        }
        DEMAND(r);
        left--;
        if (p->type == JT_OBJECT) {
            const struct jnode *t = find(f, &m->target, target, p);
            is_merged(f, m, t && t->type == JT_OBJECT ? t : NULL, p, r);
        } else {
            DEMAND(same(f, &m->patch, p, &m->result, r));
        }
    }
    const struct jnode *t = target ? jdoc_first(&m->target, target) : NULL;
    for (; t; t = jdoc_next(&m->target, t)) {
        if (find(f, &m->patch, patch, t))
            continue;
        const struct jnode *r = find(f, &m->result, result, t);
        DEMAND(r && same(f, &m->target, t, &m->result, r));
        left--;
    }
    DEMAND(left == 0);
}

static void is_overlaid(struct fuzz *f, const struct merged *m)
{
    uint32_t left = m->result.nodes->children;
    for (const struct jnode *p = jdoc_first(&m->patch, m->patch.nodes); p;
         p = jdoc_next(&m->patch, p)) {
        const struct jnode *r = find(f, &m->result, m->result.nodes, p);
        DEMAND(r && sv_eq(r->raw, p->raw));
        left--;
    }
    for (const struct jnode *t = jdoc_first(&m->target, m->target.nodes); t;
         t = jdoc_next(&m->target, t)) {
        if (find(f, &m->patch, m->patch.nodes, t))
            continue;
        const struct jnode *r = find(f, &m->result, m->result.nodes, t);
        DEMAND(r && sv_eq(r->raw, t->raw));
        left--;
    }
    DEMAND(left == 0);
}

static void try_both(struct fuzz *f, struct merged *m, struct sv target, struct sv patch)
{
    struct sv once = SV_NONE, again = SV_NONE;
    DEMAND(jmerge_patch(&f->ctx, target, patch, &once) == ERR_NONE);
    DEMAND(jdoc_parse(&f->ctx, once, &m->result) == ERR_NONE);
    is_merged(f, m, m->target.nodes, m->patch.nodes, m->result.nodes);
    DEMAND(jmerge_patch(&f->ctx, once, patch, &again) == ERR_NONE && sv_eq(once, again));
    DEMAND(jmerge_patch(&f->ctx, once, SV("{}"), &again) == ERR_NONE && sv_eq(once, again));

    DEMAND(jmerge_overlay(&f->ctx, target, &patch, 1, &once) == ERR_NONE);
    DEMAND(jdoc_parse(&f->ctx, once, &m->result) == ERR_NONE);
    is_overlaid(f, m);
    const struct sv twice[] = {patch, patch};
    DEMAND(jmerge_overlay(&f->ctx, target, twice, 2, &again) == ERR_NONE);
    DEMAND(jdoc_parse(&f->ctx, again, &m->result) == ERR_NONE);
    is_overlaid(f, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct merged m;
    struct sv patch = {(const char *)data, n};
    struct sv target = sv_cut(&patch, FUZZ_CUT);
    fuzz_open(&f);
    if (jdoc_parse(&f.ctx, target, &m.target) == ERR_NONE &&
        jdoc_parse(&f.ctx, patch, &m.patch) == ERR_NONE && m.target.nodes->type == JT_OBJECT &&
        m.patch.nodes->type == JT_OBJECT)
        try_both(&f, &m, target, patch);
    fuzz_close(&f);
    return 0;
}

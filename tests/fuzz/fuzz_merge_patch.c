/* SPDX-License-Identifier: MIT */
/*
 * Input: target, separator, patch, with any text that context may hold; names and strings are
 * compared by their code units. The result of a merge patch must be what RFC 7396 says, member by
 * member, must be accepted by the validator, and must not change when the patch, or an empty one,
 * is applied again. The result of an overlay must have the members of the patch, and the other
 * members of the target, with their text.
 */
#include "fuzz.h"

#include "parley/json/doc.h"
#include "parley/json/members.h"
#include "reference_json.h"

static const struct json_node *
member_named(const struct json_doc *d, const struct json_node *object, const struct json_node *like)
{
    const struct json_node *m = object ? json_doc_first(d, object) : NULL;
    while (m && !reference_same_string(m->key, like->key))
        m = json_doc_next(d, m);
    return m;
}

/* The same value; numbers as they were written. */
static bool same(const struct json_doc *x, const struct json_node *a, const struct json_doc *y,
                 const struct json_node *b)
{
    if (a->type != b->type || a->children != b->children)
        return false;
    if (a->type == JSON_IS_NUMBER)
        return sv_eq(a->raw, b->raw);
    if (a->type == JSON_IS_STRING)
        return reference_same_string((struct sv){a->raw.p + 1, a->raw.n - 2},
                                     (struct sv){b->raw.p + 1, b->raw.n - 2});
    const struct json_node *other = json_doc_first(y, b);
    for (const struct json_node *c = json_doc_first(x, a); c; c = json_doc_next(x, c)) {
        const struct json_node *twin = a->type == JSON_IS_OBJECT ? member_named(y, b, c) : other;
        if (!twin || !same(x, c, y, twin))
            return false;
        other = other ? json_doc_next(y, other) : NULL;
    }
    return true;
}

struct merged {
    struct json_doc target, patch, result;
};

/* RFC 7396, section 2; target is NULL where it is no object. */
static void is_merged(const struct merged *m, const struct json_node *target,
                      const struct json_node *patch, const struct json_node *result)
{
    uint32_t left = result->children;
    DEMAND(result->type == JSON_IS_OBJECT);
    for (const struct json_node *p = json_doc_first(&m->patch, patch); p;
         p = json_doc_next(&m->patch, p)) {
        const struct json_node *r = member_named(&m->result, result, p);
        if (p->type == JSON_IS_NULL) {
            DEMAND(!r);
            continue;
        }
        DEMAND(r);
        left--;
        if (p->type == JSON_IS_OBJECT) {
            const struct json_node *t = member_named(&m->target, target, p);
            is_merged(m, t && t->type == JSON_IS_OBJECT ? t : NULL, p, r);
        } else {
            DEMAND(same(&m->patch, p, &m->result, r));
        }
    }
    const struct json_node *t = target ? json_doc_first(&m->target, target) : NULL;
    for (; t; t = json_doc_next(&m->target, t)) {
        if (member_named(&m->patch, patch, t))
            continue;
        const struct json_node *r = member_named(&m->result, result, t);
        DEMAND(r && same(&m->target, t, &m->result, r));
        left--;
    }
    DEMAND(left == 0);
}

static void is_overlaid(const struct merged *m)
{
    uint32_t left = m->result.nodes->children;
    for (const struct json_node *p = json_doc_first(&m->patch, m->patch.nodes); p;
         p = json_doc_next(&m->patch, p)) {
        const struct json_node *r = member_named(&m->result, m->result.nodes, p);
        DEMAND(r && sv_eq(r->raw, p->raw));
        left--;
    }
    for (const struct json_node *t = json_doc_first(&m->target, m->target.nodes); t;
         t = json_doc_next(&m->target, t)) {
        if (member_named(&m->patch, m->patch.nodes, t))
            continue;
        const struct json_node *r = member_named(&m->result, m->result.nodes, t);
        DEMAND(r && sv_eq(r->raw, t->raw));
        left--;
    }
    DEMAND(left == 0);
}

/* The members of an object, and all of them once more. */
static void write_twice(struct fuzz *f, struct sv object, struct sv *out)
{
    static const char *const none[] = {NULL};
    struct buf b;
    struct json_writer j = {.b = &b};
    buf_init(&b, f->arena, 0);
    json_write_object_open(&j);
    json_members_write(&j, object, none);
    json_members_write(&j, object, none);
    json_write_object_close(&j);
    DEMAND(!b.failed);
    *out = buf_get(&b);
}

static void try_both(struct fuzz *f, struct merged *m, struct sv target, struct sv patch)
{
    struct sv once = SV_NONE, again = SV_NONE;
    DEMAND(json_merge(&f->ctx, target, patch, JSON_MERGE_PATCH, &once) == ERR_NONE);
    DEMAND(json_doc_parse(&f->ctx, once, json_everything, &m->result) == ERR_NONE);
    is_merged(m, m->target.nodes, m->patch.nodes, m->result.nodes);
    DEMAND(json_merge(&f->ctx, once, patch, JSON_MERGE_PATCH, &again) == ERR_NONE &&
           sv_eq(once, again));
    DEMAND(json_merge(&f->ctx, once, SV("{}"), JSON_MERGE_PATCH, &again) == ERR_NONE &&
           sv_eq(once, again));

    DEMAND(json_merge(&f->ctx, target, patch, JSON_MERGE_OVERLAY, &once) == ERR_NONE);
    DEMAND(json_doc_parse(&f->ctx, once, json_everything, &m->result) == ERR_NONE);
    is_overlaid(m);
    write_twice(f, patch, &again);
    DEMAND(json_merge(&f->ctx, target, again, JSON_MERGE_OVERLAY, &again) == ERR_NONE);
    DEMAND(json_doc_parse(&f->ctx, again, json_everything, &m->result) == ERR_NONE);
    is_overlaid(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct merged m;
    struct sv patch = {(const char *)data, n};
    struct sv target = sv_cut(&patch, FUZZ_CUT);
    fuzz_open(&f);
    if (json_doc_parse(&f.ctx, target, json_everything, &m.target) == ERR_NONE &&
        json_doc_parse(&f.ctx, patch, json_everything, &m.patch) == ERR_NONE &&
        m.target.nodes->type == JSON_IS_OBJECT && m.patch.nodes->type == JSON_IS_OBJECT)
        try_both(&f, &m, target, patch);
    fuzz_close(&f);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Merging as text: what is not replaced is copied. The patch's members are sorted by name, and each
 * member of the target is looked up among them, so that time stays n log n and memory is taken for
 * the patch alone.
 */
#include "parley/json/members.h"

#include <stdlib.h>

#include "json_internal.h"

struct patch_members {
    struct json_member *members; /* in order; raw is absent once it is written or replaced */
    struct json_member **sorted; /* by name, each once */
    size_t n_members, n_sorted;
};

static int compare_names(const void *a, const void *b)
{
    const struct json_member *const *x = a, *const *y = b;
    return json_unescape_compare((*x)->key, (*y)->key);
}

/* Members with the same name keep the order of the patch. */
static int compare_members(const void *a, const void *b)
{
    const struct json_member *const *x = a, *const *y = b;
    const int c = compare_names(a, b);
    return c != 0 ? c : (*x > *y) - (*x < *y);
}

static enum err collect(struct request_ctx *ctx, struct sv patch, struct patch_members *out)
{
    struct json_member m;
    size_t count = 0;
    for (struct sv rest = patch; json_member_next(&rest, &m);)
        count++;
    if (count > JSON_DOC_NODES_MAX)
        return ctx_fail(ctx, ERR_INVALID, "too_many_values", NULL,
                        "An object of the patch has more than %d members.", JSON_DOC_NODES_MAX);
    *out =
        (struct patch_members){arena_array(ctx->arena, count, sizeof(*out->members)),
                               arena_array(ctx->arena, count, sizeof(*out->sorted)), count, count};
    if (!out->members || !out->sorted)
        return ctx_nomem(ctx);
    for (size_t i = 0; json_member_next(&patch, &out->members[i]); i++)
        out->sorted[i] = &out->members[i];
    return ERR_NONE;
}

/* Of the members with one name the first gives the position and the last the value. */
static void make_unique(struct patch_members *l)
{
    size_t n = 0;
    qsort(l->sorted, l->n_sorted, sizeof(*l->sorted), compare_members);
    for (size_t i = 0; i < l->n_sorted; i++) {
        struct json_member *m = l->sorted[i];
        if (n > 0 && compare_names(&l->sorted[n - 1], &m) == 0) {
            l->sorted[n - 1]->raw = m->raw;
            m->raw = SV_NONE;
        } else {
            l->sorted[n++] = m;
        }
    }
    l->n_sorted = n;
}

static bool is_object(struct sv raw)
{
    return raw.n > 0 && raw.p[0] == '{';
}

static enum err write_merged(struct request_ctx *ctx, struct sv target, struct sv patch,
                             enum json_merge_mode mode, struct json_writer *j);

/* Writes the member with its old value (absent: none) replaced by, or merged with, the new one. An
 * object of a patch is merged even where the old value is none: its nulls must go. */
static enum err write_value(struct request_ctx *ctx, struct sv key, struct sv old, struct sv new,
                            enum json_merge_mode mode, struct json_writer *j)
{
    if (mode == JSON_MERGE_PATCH && new.p[0] == 'n') /* null */
        return ERR_NONE;
    json_write_key_raw(j, key);
    if (mode == JSON_MERGE_PATCH && is_object(new))
        return write_merged(ctx, is_object(old) ? old : SV("{}"), new, mode, j);
    json_write_raw(j, new);
    return ERR_NONE;
}

/* All texts are objects. The validator bounds the depth of the recursion. */
static enum err write_merged(struct request_ctx *ctx, struct sv target, struct sv patch,
                             enum json_merge_mode mode, struct json_writer *j)
{
    struct patch_members l = {.n_members = 0};
    struct json_member m;
    const struct json_member *const wanted = &m;
    /* Each level reads the rest of the texts again. */
    if (deadline_passed(ctx->deadline))
        return ctx_fault(ctx, ERR_TIMEOUT, "no time is left for the merge");
    TRY(collect(ctx, patch, &l));
    make_unique(&l);
    json_write_object_open(j);
    while (json_member_next(&target, &m)) {
        struct json_member *const *found =
            bsearch(&wanted, l.sorted, l.n_sorted, sizeof(wanted), compare_names);
        if (!found) {
            json_write_key_raw(j, m.key);
            json_write_raw(j, m.raw);
            continue;
        }
        TRY(write_value(ctx, m.key, m.raw, (*found)->raw, mode, j));
        (*found)->raw = SV_NONE;
    }
    for (size_t i = 0; i < l.n_members; i++)
        if (l.members[i].raw.p)
            TRY(write_value(ctx, l.members[i].key, SV_NONE, l.members[i].raw, mode, j));
    json_write_object_close(j);
    return ERR_NONE;
}

enum err json_merge(struct request_ctx *ctx, struct sv target, struct sv patch,
                    enum json_merge_mode mode, struct sv *out)
{
    struct buf b;
    buf_init(&b, ctx->arena, target.n + patch.n);
    struct json_writer j = {.b = &b};
    TRY(write_merged(ctx, target, patch, mode, &j));
    if (b.failed)
        return ctx_nomem(ctx);
    *out = buf_get(&b);
    return ERR_NONE;
}

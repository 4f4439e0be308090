/* SPDX-License-Identifier: MIT */
/*
 * Merging as text: what is not replaced is copied. The patches' members are sorted by name, and
 * each member of the target is looked up among them, so that time stays n log n and memory is taken
 * for the patches alone.
 */
#include "parley/json/members.h"

#include "json_internal.h"

/* The members of all patches. */
struct patch_members {
    struct json_member *members; /* in order; raw is absent once it is written or replaced */
    struct json_key *names;      /* sorted, each once */
    size_t n_members, n_names;
};

static enum err collect(struct request_ctx *ctx, const struct sv *patches, size_t n,
                        struct patch_members *out)
{
    struct json_member m;
    size_t count = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        for (struct sv rest = patches[i]; json_member_next(&rest, &m);)
            count++;
    *out =
        (struct patch_members){arena_array(ctx->arena, count, sizeof(*out->members)),
                               arena_array(ctx->arena, count, sizeof(*out->names)), count, count};
    if (!out->members || !out->names)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        for (struct sv rest = patches[i]; json_member_next(&rest, &out->members[at]); at++) {
            out->names[at].at = at;
            TRY(json_unescape_dup(ctx, out->members[at].key, &out->names[at].name));
        }
    return ERR_NONE;
}

/* Of the members with one name the first gives the position and the last the value. */
static void make_unique(struct patch_members *l)
{
    size_t n = 0;
    json_keys_sort(l->names, l->n_names);
    for (size_t i = 0; i < l->n_names; i++) {
        struct json_member *m = &l->members[l->names[i].at];
        if (n > 0 && sv_eq(l->names[n - 1].name, l->names[i].name)) {
            l->members[l->names[n - 1].at].raw = m->raw;
            m->raw = SV_NONE;
        } else {
            l->names[n++] = l->names[i];
        }
    }
    l->n_names = n;
}

static bool is_object(struct sv raw)
{
    return raw.n > 0 && raw.p[0] == '{';
}

static bool is_null(struct sv raw)
{
    return raw.p[0] == 'n';
}

enum merge_mode {
    MERGE_OVERLAY, /* a member replaces the one of its name */
    MERGE_PATCH    /* RFC 7396, section 2: nulls delete, objects are merged */
};

static enum err write_merged(struct request_ctx *ctx, struct sv target, const struct sv *patches,
                             size_t n, enum merge_mode mode, struct json_writer *j);

/* Writes the member with its old value (absent: none) replaced by, or merged with, the new one. An
 * object of a patch is merged even where the old value is none: its nulls must go. */
static enum err write_value(struct request_ctx *ctx, struct sv key, struct sv old, struct sv new,
                            enum merge_mode mode, struct json_writer *j)
{
    if (mode == MERGE_PATCH && is_null(new))
        return ERR_NONE;
    json_write_key_raw(j, key);
    if (mode == MERGE_PATCH && is_object(new))
        return write_merged(ctx, is_object(old) ? old : SV("{}"), &new, 1, mode, j);
    json_write_raw(j, new);
    return ERR_NONE;
}

/* All texts are objects. The validator bounds the depth of the recursion. */
static enum err write_merged(struct request_ctx *ctx, struct sv target, const struct sv *patches,
                             size_t n, enum merge_mode mode, struct json_writer *j)
{
    struct patch_members l;
    struct json_member m;
    TRY(collect(ctx, patches, n, &l));
    make_unique(&l);
    json_write_object_open(j);
    while (json_member_next(&target, &m)) {
        struct sv name;
        TRY(json_unescape_dup(ctx, m.key, &name));
        const struct json_key *found = json_keys_find(l.names, l.n_names, name);
        if (!found) {
            json_write_key_raw(j, m.key);
            json_write_raw(j, m.raw);
            continue;
        }
        TRY(write_value(ctx, m.key, m.raw, l.members[found->at].raw, mode, j));
        l.members[found->at].raw = SV_NONE;
    }
    for (size_t i = 0; i < l.n_members; i++)
        if (l.members[i].raw.p)
            TRY(write_value(ctx, l.members[i].key, SV_NONE, l.members[i].raw, mode, j));
    json_write_object_close(j);
    return ERR_NONE;
}

static enum err merge(struct request_ctx *ctx, struct sv target, const struct sv *patches, size_t n,
                      enum merge_mode mode, struct sv *out)
{
    struct buf b;
    size_t room = target.n;
    for (size_t i = 0; i < n; i++)
        room += patches[i].n;
    buf_init(&b, ctx->arena, room);
    struct json_writer j = {.b = &b};
    TRY(write_merged(ctx, target, patches, n, mode, &j));
    if (b.failed)
        return ctx_nomem(ctx);
    *out = buf_get(&b);
    return ERR_NONE;
}

enum err json_merge_overlay(struct request_ctx *ctx, struct sv target, const struct sv *patches,
                            size_t n, struct sv *out)
{
    if (n == 1 && sv_eq(target, SV("{}"))) {
        *out = patches[0];
        return ERR_NONE;
    }
    return merge(ctx, target, patches, n, MERGE_OVERLAY, out);
}

enum err json_merge_patch(struct request_ctx *ctx, struct sv target, struct sv patch,
                          struct sv *out)
{
    return merge(ctx, target, &patch, 1, MERGE_PATCH, out);
}

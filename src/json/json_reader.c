/* SPDX-License-Identifier: MIT */
#include "parley/json/json_reader.h"

#include <string.h>

#include "json_internal.h"
#include "parley/base/names.h"

/* The time for misspelt members grows with the square of the members. */
enum { NEAR_MEMBERS_MAX = 1000 };

/* The parameters of one call. */
struct field_reader {
    const struct json_input *in;
    const struct json_field *fields;
    size_t n_fields;
    char *into;
};

static struct sv path_of(const struct field_reader *r, struct sv name)
{
    return arena_printf(r->in->ctx->arena, "%s%s%.*s", r->in->path, r->in->path[0] ? "." : "",
                        SV_ARG(name));
}

static enum err fail_at(const struct field_reader *r, const char *slug, struct sv name,
                        const char *detail)
{
    struct sv path = path_of(r, name);
    if (!path.p)
        return ctx_nomem(r->in->ctx);
    return ctx_fail(r->in->ctx, ERR_INVALID, slug, path.p, "%s", detail);
}

static enum err wrong_type(const struct field_reader *r, const struct json_field *f)
{
    static const char *const expected[] = {
        [JSON_STRING] = "A string is expected.",       [JSON_I64] = "An integer is expected.",
        [JSON_OBJECT] = "An object is expected.",      [JSON_ARRAY] = "An array is expected.",
        [JSON_OBJECT_TEXT] = "An object is expected.", [JSON_STRING_TEXT] = "A string is expected.",
        [JSON_I64_TEXT] = "An integer is expected.",
    };
    return fail_at(r, "wrong_type", sv_from(f->name), expected[f->type]);
}

static bool in_bounds(const struct json_field *f, int64_t v)
{
    return (f->min == 0 && f->max == 0) || (v >= f->min && v <= f->max);
}

static enum err out_of_bounds(const struct field_reader *r, const struct json_field *f)
{
    const char *what = f->type == JSON_STRING  ? " characters"
                       : f->type == JSON_ARRAY ? " elements"
                                               : "";
    struct sv detail = arena_printf(r->in->ctx->arena, "Expected are %lld to %lld%s.",
                                    (long long)f->min, (long long)f->max, what);
    if (!detail.p)
        return ctx_nomem(r->in->ctx);
    return fail_at(r, "out_of_range", sv_from(f->name), detail.p);
}

/* memcpy: only the table knows the target's type, and the compiler must not assume another. */
static void store(const struct field_reader *r, const struct json_field *f, const void *v, size_t n)
{
    memcpy(r->into + f->offset, v, n);
}

static enum err read_string(const struct field_reader *r, const struct json_field *f,
                            const struct json_node *node)
{
    struct sv v = SV_NONE;
    if (node->type != JSON_IS_STRING)
        return wrong_type(r, f);
    const struct sv body = {node->raw.p + 1, node->raw.n - 2};
    if (!json_is_decodable(body))
        return fail_at(r, "invalid_json", sv_from(f->name), json_not_decodable);
    TRY(json_unescape_dup(r->in->ctx, body, &v));
    if (!in_bounds(f, (int64_t)utf8_length(v)))
        return out_of_bounds(r, f);
    store(r, f, &v, sizeof(v));
    return ERR_NONE;
}

static enum err read_i64(const struct field_reader *r, const struct json_field *f,
                         const struct json_node *node)
{
    int64_t v = 0;
    uint64_t large; /* 2^63 to 2^64-1 */
    if (node->type != JSON_IS_NUMBER)
        return wrong_type(r, f);
    if (json_token_number(node->raw, 0, JSON_RULES_JSONB).why)
        return fail_at(r, "number_out_of_range", sv_from(f->name), "The number is out of range.");
    if (!sv_to_i64(node->raw, &v))
        return sv_to_u64(node->raw, &large)
                   ? fail_at(r, "out_of_range", sv_from(f->name), "The integer is too large.")
                   : wrong_type(r, f);
    const bool text = f->type == JSON_I64_TEXT;
    if (!in_bounds(f, v) || (text && node->raw.p[0] == '-'))
        return out_of_bounds(r, f);
    if (text)
        store(r, f, &node->raw, sizeof(node->raw));
    else
        store(r, f, &v, sizeof(v));
    return ERR_NONE;
}

static enum err read_node(const struct field_reader *r, const struct json_field *f,
                          const struct json_node *node)
{
    const bool object = f->type == JSON_OBJECT || f->type == JSON_OBJECT_TEXT;
    if ((object && node->type != JSON_IS_OBJECT) ||
        (f->type == JSON_ARRAY && node->type != JSON_IS_ARRAY) ||
        (f->type == JSON_STRING_TEXT && node->type != JSON_IS_STRING))
        return wrong_type(r, f);
    if (f->type == JSON_ARRAY && !in_bounds(f, node->children))
        return out_of_bounds(r, f);
    if (f->flags & (JSON_CHECK_JSONB | JSON_CHECK_STORED)) {
        const struct sv path = path_of(r, sv_from(f->name));
        const bool stored = f->flags & JSON_CHECK_STORED;
        if (!path.p)
            return ctx_nomem(r->in->ctx);
        TRY(json_doc_check(r->in->ctx, r->in->doc, node,
                           stored ? JSON_RULES_STORED : JSON_RULES_JSONB, path.p));
    }
    if ((f->flags & JSON_NOT_EMPTY) && node->children == 0)
        return ERR_NONE;
    if (f->type == JSON_OBJECT_TEXT || f->type == JSON_ANY_TEXT || f->type == JSON_STRING_TEXT)
        store(r, f, &node->raw, sizeof(node->raw));
    else
        store(r, f, &node, sizeof(node));
    return ERR_NONE;
}

static enum err read_member(const struct field_reader *r, const struct json_field *f,
                            const struct json_node *node)
{
    if (node->type == JSON_IS_NULL && (f->flags & JSON_NULLABLE))
        return ERR_NONE;
    switch (f->type) {
    case JSON_STRING:
        return read_string(r, f, node);
    case JSON_I64:
    case JSON_I64_TEXT:
        return read_i64(r, f, node);
    default:
        return read_node(r, f, node);
    }
}

static const struct json_field *field_named(const struct field_reader *r,
                                            const struct json_node *member)
{
    for (size_t i = 0; i < r->n_fields; i++)
        if (json_doc_is_named(member, sv_from(r->fields[i].name)))
            return &r->fields[i];
    return NULL;
}

static enum err unknown_field(const struct field_reader *r, const struct json_node *member)
{
    const struct names known = {r->fields, r->n_fields, sizeof(*r->fields)};
    struct sv name;
    if (!json_is_decodable(member->key))
        return ctx_fail(r->in->ctx, ERR_INVALID, "invalid_json", r->in->path,
                        "The name of a member: %s", json_not_decodable);
    TRY(json_unescape_dup(r->in->ctx, member->key, &name));
    struct sv detail = arena_printf(r->in->ctx->arena, "There is no such field.%s",
                                    names_hint(r->in->ctx->arena, &known, name));
    r->in->ctx->err.field_is_sent = true;
    return detail.p ? fail_at(r, "unknown_field", name, detail.p) : ctx_nomem(r->in->ctx);
}

/* Whether a member is likely one of the fields, misspelt. */
static bool is_misspelt(const struct field_reader *r, const struct json_node *member)
{
    const struct names known = {r->fields, r->n_fields, sizeof(*r->fields)};
    const struct sv near = sv_from(names_nearest(&known, member->key));
    return near.p && !json_doc_member(r->in->doc, r->in->node, near);
}

enum err json_read_fields(const struct json_input *in, const struct json_field *fields,
                          size_t n_fields, enum json_unknown unknown, void *into)
{
    const struct field_reader r = {in, fields, n_fields, into};
    const struct json_node *object = in->node;
    const bool looks_for_near =
        unknown == JSON_REFUSED_IF_NEAR && object->children <= NEAR_MEMBERS_MAX;
    if (object->type != JSON_IS_OBJECT)
        return ctx_fail(in->ctx, ERR_INVALID, "wrong_type", in->path, "A JSON object is expected.");
    for (const struct json_node *m = json_doc_first(in->doc, object); m;
         m = json_doc_next(in->doc, m)) {
        const struct json_field *f = field_named(&r, m);
        if (f)
            TRY(read_member(&r, f, m));
        else if (unknown == JSON_REFUSED || (looks_for_near && is_misspelt(&r, m)))
            return unknown_field(&r, m);
    }
    for (size_t i = 0; i < n_fields; i++) {
        const struct sv name = sv_from(fields[i].name);
        if ((fields[i].flags & JSON_REQUIRED) && !json_doc_member(in->doc, object, name))
            return fail_at(&r, "missing_field", name, "The field is required.");
    }
    return ERR_NONE;
}

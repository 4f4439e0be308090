/* SPDX-License-Identifier: MIT */
#include "parley/json/json_reader.h"

#include <string.h>

#include "json_internal.h"
#include "parley/base/names.h"

/* The time for misspelt members grows with the square of the members. */
enum { NEAR_MEMBERS_MAX = 1000 };

/* The parameters of one call, and the field that is being read. */
struct field_reader {
    const struct json_input *in;
    const struct json_field *fields;
    size_t n_fields;
    char *into;
    const struct json_field *f;
};

/* "" where it has no memory. */
static const char *path_of(const struct field_reader *r, struct sv name)
{
    const struct sv path = arena_printf(r->in->ctx->arena, "%s%s%.*s", r->in->path,
                                        r->in->path[0] ? "." : "", SV_ARG(name));
    return path.p ? path.p : "";
}

static enum err fail(const struct field_reader *r, const char *slug, const char *detail)
{
    return ctx_fail(r->in->ctx, ERR_INVALID, slug, path_of(r, sv_from(r->f->name)), "%s", detail);
}

static enum err wrong_type(const struct field_reader *r)
{
    static const char *const expected[] = {
        [JSON_STRING] = "A string is expected.",       [JSON_I64] = "An integer is expected.",
        [JSON_OBJECT] = "An object is expected.",      [JSON_ARRAY] = "An array is expected.",
        [JSON_OBJECT_TEXT] = "An object is expected.", [JSON_STRING_TEXT] = "A string is expected.",
        [JSON_I64_TEXT] = "An integer is expected.",
    };
    return fail(r, "wrong_type", expected[r->f->type]);
}

static bool in_bounds(const struct json_field *f, int64_t v)
{
    return (f->min == 0 && f->max == 0) || (v >= f->min && v <= f->max);
}

static enum err out_of_bounds(const struct field_reader *r)
{
    const char *what = r->f->type == JSON_STRING  ? " characters"
                       : r->f->type == JSON_ARRAY ? " elements"
                                                  : "";
    return ctx_fail(r->in->ctx, ERR_INVALID, "out_of_range", path_of(r, sv_from(r->f->name)),
                    "Expected are %lld to %lld%s.", (long long)r->f->min, (long long)r->f->max,
                    what);
}

/* memcpy: only the table knows the target's type, and the compiler must not assume another. */
static enum err store(const struct field_reader *r, const void *v, size_t n)
{
    memcpy(r->into + r->f->offset, v, n);
    return ERR_NONE;
}

static enum err read_string(const struct field_reader *r, const struct json_node *node)
{
    struct sv v = SV_NONE;
    if (node->type != JSON_IS_STRING)
        return wrong_type(r);
    const struct sv body = {node->raw.p + 1, node->raw.n - 2};
    const enum err e = json_unescape_dup(r->in->ctx, body, &v);
    if (e != ERR_NONE)
        return e == ERR_INVALID ? fail(r, "invalid_json", json_not_decodable) : e;
    return in_bounds(r->f, (int64_t)utf8_length(v)) ? store(r, &v, sizeof(v)) : out_of_bounds(r);
}

static enum err read_i64(const struct field_reader *r, const struct json_node *node)
{
    int64_t v = 0;
    uint64_t large; /* 2^63 to 2^64-1 */
    if (node->type != JSON_IS_NUMBER)
        return wrong_type(r);
    if (json_token_number(node->raw, 0, JSON_RULES_JSONB).why)
        return fail(r, "number_out_of_range", "The number is out of range.");
    if (!sv_to_i64(node->raw, &v))
        return sv_to_u64(node->raw, &large) ? fail(r, "out_of_range", "The integer is too large.")
                                            : wrong_type(r);
    const bool text = r->f->type == JSON_I64_TEXT;
    if (!in_bounds(r->f, v) || (text && node->raw.p[0] == '-'))
        return out_of_bounds(r);
    return text ? store(r, &node->raw, sizeof(node->raw)) : store(r, &v, sizeof(v));
}

static enum err read_node(const struct field_reader *r, const struct json_node *node)
{
    const struct json_field *f = r->f;
    const bool object = f->type == JSON_OBJECT || f->type == JSON_OBJECT_TEXT;
    if ((object && node->type != JSON_IS_OBJECT) ||
        (f->type == JSON_ARRAY && node->type != JSON_IS_ARRAY) ||
        (f->type == JSON_STRING_TEXT && node->type != JSON_IS_STRING))
        return wrong_type(r);
    if (f->type == JSON_ARRAY && !in_bounds(f, node->children))
        return out_of_bounds(r);
    if (f->flags & (JSON_CHECK_JSONB | JSON_CHECK_STORED))
        TRY(json_doc_check(r->in->ctx, r->in->doc, node,
                           f->flags & JSON_CHECK_STORED ? JSON_RULES_STORED : JSON_RULES_JSONB,
                           path_of(r, sv_from(f->name))));
    if ((f->flags & JSON_NOT_EMPTY) && node->children == 0)
        return ERR_NONE;
    if (f->type == JSON_OBJECT_TEXT || f->type == JSON_ANY_TEXT || f->type == JSON_STRING_TEXT)
        return store(r, &node->raw, sizeof(node->raw));
    return store(r, &node, sizeof(node));
}

static enum err read_member(const struct field_reader *r, const struct json_node *node)
{
    if (node->type == JSON_IS_NULL && (r->f->flags & JSON_NULLABLE))
        return ERR_NONE;
    switch (r->f->type) {
    case JSON_STRING:
        return read_string(r, node);
    case JSON_I64:
    case JSON_I64_TEXT:
        return read_i64(r, node);
    default:
        return read_node(r, node);
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
    const enum err e = json_unescape_dup(r->in->ctx, member->key, &name);
    if (e == ERR_INVALID)
        return ctx_fail(r->in->ctx, e, "invalid_json", r->in->path, "The name of a member: %s",
                        json_not_decodable);
    TRY(e);
    r->in->ctx->err.field_is_sent = true;
    return ctx_fail(r->in->ctx, ERR_INVALID, "unknown_field", path_of(r, name),
                    "There is no such field.%s", names_hint(r->in->ctx->arena, &known, name));
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
    struct field_reader r = {in, fields, n_fields, into, NULL};
    const struct json_node *object = in->node;
    const bool looks_for_near =
        unknown == JSON_REFUSED_IF_NEAR && object->children <= NEAR_MEMBERS_MAX;
    if (object->type != JSON_IS_OBJECT)
        return ctx_fail(in->ctx, ERR_INVALID, "wrong_type", in->path, "A JSON object is expected.");
    for (const struct json_node *m = json_doc_first(in->doc, object); m;
         m = json_doc_next(in->doc, m)) {
        r.f = field_named(&r, m);
        if (r.f)
            TRY(read_member(&r, m));
        else if (unknown == JSON_REFUSED || (looks_for_near && is_misspelt(&r, m)))
            return unknown_field(&r, m);
    }
    for (size_t i = 0; i < n_fields; i++) {
        const struct sv name = sv_from(fields[i].name);
        if ((fields[i].flags & JSON_REQUIRED) && !json_doc_member(in->doc, object, name))
            return ctx_fail(in->ctx, ERR_INVALID, "missing_field", path_of(&r, name),
                            "The field is required.");
    }
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * Input: a text. The validator must accept it if and only if reference_json.c does, and so must the
 * check for jsonb. json-c must read a text for jsonb as the same value; the index and
 * json_member_next must give the same members; and the value, written again, must be accepted, have
 * the same value, and be written the same. An index of the top alone must have the same text.
 * Without jsonb's limits strings must be refused as text, or be UTF-8 without a NUL, and each name
 * must find its member.
 */
#include "fuzz.h"

#include <string.h>

#include <json-c/json.h>

#include "reference_json.h"
#include "parley/json/members.h"
#include "../unit/json/same.h"

/* Counts members as json-c has them: of duplicate names it keeps the last. */
static size_t members_in(struct json_object *o)
{
    size_t n = 0;
    if (json_object_is_type(o, json_type_object)) {
        json_object_object_foreach(o, key, value)
        {
            (void)key;
            n += 1 + members_in(value);
        }
    } else if (json_object_is_type(o, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(o); i++)
            n += members_in(json_object_array_get_idx(o, i));
    }
    return n;
}

static bool has_name_twice(struct fuzz *f, struct sv text, size_t members)
{
    struct sv copy = arena_dup(f->arena, text);
    struct json_tokener *t = json_tokener_new_ex(JSON_DOC_DEPTH_MAX + 2);
    DEMAND(copy.p && t);
    struct json_object *o = json_tokener_parse_ex(t, copy.p, (int)copy.n + 1);
    bool twice = members_in(o) < members;
    json_object_put(o);
    json_tokener_free(t);
    return twice;
}

static void write_value(struct json_writer *j, const struct json_doc *d,
                        const struct json_node *node)
{
    if (node->type != JSON_IS_ARRAY && node->type != JSON_IS_OBJECT) {
        json_write_raw(j, node->raw);
        return;
    }
    if (node->type == JSON_IS_OBJECT)
        json_write_object_open(j);
    else
        json_write_array_open(j);
    for (const struct json_node *c = json_doc_first(d, node); c; c = json_doc_next(d, c)) {
        if (node->type == JSON_IS_OBJECT)
            json_write_key_raw(j, c->key);
        write_value(j, d, c);
    }
    if (node->type == JSON_IS_OBJECT)
        json_write_object_close(j);
    else
        json_write_array_close(j);
}

static struct sv written(struct fuzz *f, const struct json_doc *d)
{
    struct buf b;
    buf_init(&b, f->arena, 0);
    struct json_writer j = {.b = &b};
    write_value(&j, d, d->nodes);
    DEMAND(!b.failed);
    return buf_get(&b);
}

static void members_are_the_same(struct fuzz *f, const struct json_doc *d,
                                 const struct json_node *object)
{
    struct sv rest = object->raw;
    struct json_member m;
    const bool small =
        object->children <= 64; /* what is quadratic is done with small objects alone */
    for (const struct json_node *c = json_doc_first(d, object); c; c = json_doc_next(d, c)) {
        struct sv text = SV_NONE;
        DEMAND(json_member_next(&rest, &m));
        DEMAND(m.key.p == c->key.p && m.key.n == c->key.n);
        DEMAND(m.raw.p == c->raw.p && m.raw.n == c->raw.n);
        const enum err e = json_name(&f->ctx, c, &text);
        if (e != ERR_NONE)
            fuzz_refused(&f->ctx, e);
        ctx_clear_error(&f->ctx);
        DEMAND(e != ERR_NONE || (utf8_valid(text, NULL) && !memchr(text.p, 0, text.n)));
        DEMAND(e != ERR_NONE || !small || json_doc_member(d, object, text) == c);
        for (const struct json_node *other = c; small && (other = json_doc_next(d, other));)
            DEMAND(!reference_same_string(c->key, other->key));
    }
    DEMAND(!json_member_next(&rest, &m));
}

static void accepted(struct fuzz *f, const struct json_doc *d, struct sv text, bool for_jsonb)
{
    struct json_doc again, top;
    DEMAND(!for_jsonb || json_c_reads_the_same(&f->ctx, d, text));
    DEMAND(json_doc_parse(&f->ctx, text, json_nothing, &top) == ERR_NONE);
    DEMAND(top.nodes->raw.p == d->nodes->raw.p && top.nodes->raw.n == d->nodes->raw.n);
    DEMAND(top.nodes->children == d->nodes->children && top.n == 1 + top.nodes->children);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct sv raw = d->nodes[i].raw;
        DEMAND(raw.p >= text.p && raw.n > 0 && raw.n <= text.n - (size_t)(raw.p - text.p));
        if (d->nodes[i].type == JSON_IS_OBJECT)
            members_are_the_same(f, d, &d->nodes[i]);
    }
    struct sv once = written(f, d);
    DEMAND(json_doc_parse(&f->ctx, once, json_everything, &again) == ERR_NONE);
    DEMAND(again.n == d->n);
    DEMAND(sv_eq(written(f, &again), once));
    DEMAND(!for_jsonb || json_c_reads_the_same(&f->ctx, d, once));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct json_doc d;
    struct sv text = {(const char *)data, n};
    size_t members;
    fuzz_open(&f);
    enum reference_verdict verdict = reference_json(text, &members);
    enum err e = json_doc_parse(&f.ctx, text, json_everything, &d);
    if (e == ERR_NONE) {
        DEMAND(verdict != REFERENCE_REFUSE);
        const enum err checked = json_doc_check(&f.ctx, &d, d.nodes, JSON_RULES_JSONB, "");
        DEMAND(checked == ERR_NONE ? verdict != REFERENCE_TEXT : verdict != REFERENCE_ACCEPT);
        if (checked != ERR_NONE)
            fuzz_refused(&f.ctx, checked);
        ctx_clear_error(&f.ctx);
        accepted(&f, &d, text, checked == ERR_NONE);
    } else {
        fuzz_refused(&f.ctx, e);
        DEMAND(f.ctx.err.slug);
        if (strcmp(f.ctx.err.slug, "duplicate_key") == 0 && verdict != REFERENCE_REFUSE)
            DEMAND(has_name_twice(&f, text, members));
        else if (strcmp(f.ctx.err.slug, "too_many_values") != 0)
            DEMAND(verdict == REFERENCE_REFUSE);
    }
    fuzz_close(&f);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * json-c reads every document that the validator accepts as the same value, and merges to the same
 * value. (The validator need not accept what json-c does.) The documents are random, and half of
 * them are damaged; the seed is constant, so that each run has the same documents.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "parley/base/buf.h"
#include "parley/json/doc.h"
#include "parley/json/members.h"

#include "../suite.h"
#include "same.h"

struct random {
    uint64_t state;
};

static unsigned pick(struct random *r, unsigned n)
{
    r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(r->state >> 33) % n;
}

/* One of the texts of list, which '|' separates. */
static void put_one(struct random *r, struct buf *b, const char *list)
{
    unsigned n = 1;
    for (const char *p = list; *p; p++)
        n += *p == '|';
    struct sv rest = sv_from(list), text = SV_NONE;
    for (unsigned i = pick(r, n) + 1; i > 0; i--)
        text = sv_cut(&rest, '|');
    buf_sv(b, text);
}

static void put_space(struct random *r, struct buf *b)
{
    put_one(r, b, "||| |\n|\t |\r\n");
}

/* Hazards are rare, or nothing would be accepted. */
static void put_string(struct random *r, struct buf *b)
{
    static const char parts[] =
        "a|b|key|| |\\\"|\\\\|\\/|/|\\n|\\u0041|\\u00e9|\xc3\xa9|\\ud83d\\ude00|"
        "\xf0\x9f\x98\x80|\\u001f|\x7f|\xe2\x80\xa8|'|\xef\xbf\xbf|\\uFFFF";
    static const char hazards[] = "\\ud800|\\u0000|\xed\xa0\x80";
    buf_putc(b, '"');
    for (unsigned n = pick(r, 4); n > 0; n--)
        put_one(r, b, pick(r, 160) == 0 ? hazards : parts);
    buf_putc(b, '"');
}

static void put_scalar(struct random *r, struct buf *b)
{
    static const char scalars[] =
        "0|-0|1|-1|42|9223372036854775807|-9223372036854775808|9223372036854775808|"
        "18446744073709551615|1.5|-0.0|1e3|1E-7|0.1|1.7976931348623157e308|5e-324|"
        "123456789.123456789|null|true|false|2.50|1e+2";
    static const char hazards[] = "18446744073709551616|1.|01|NaN";
    if (pick(r, 2))
        put_string(r, b);
    else
        put_one(r, b, pick(r, 130) == 0 ? hazards : scalars);
}

static void put_value(struct random *r, struct buf *b, int depth)
{
    unsigned kind = pick(r, 4);
    unsigned n = pick(r, 5);
    put_space(r, b);
    if (depth == 0 || kind < 2) {
        put_scalar(r, b);
    } else {
        buf_putc(b, kind == 2 ? '{' : '[');
        for (unsigned i = 0; i < n; i++) {
            if (i > 0)
                buf_putc(b, ',');
            put_space(r, b);
            if (kind == 2) {
                put_string(r, b);
                put_space(r, b);
                buf_putc(b, ':');
            }
            put_value(r, b, depth - 1);
        }
        buf_putc(b, kind == 2 ? '}' : ']');
    }
    put_space(r, b);
}

static void damage(struct random *r, struct buf *b)
{
    static const char bytes[] = "{}[]:,\"\\'0123456789.eE+-truefalsn /u\n\x80\xc3";
    for (unsigned n = 1 + pick(r, 2); n > 0 && b->n > 0; n--)
        b->p[pick(r, (unsigned)b->n)] = bytes[pick(r, sizeof(bytes))]; /* the NUL too */
}

/* Fails if the validator accepts NaN or \u0000, or an escape is not unescaped: tried. */
TEST(json_c_reads_accepted_text)
{
    struct random r = {42};
    int different = 0, accepted = 0, refused = 0;
    for (int i = 0; i < 40000; i++) {
        struct request_ctx *ctx = test_ctx();
        struct json_doc d;
        struct buf b;
        buf_init(&b, ctx->arena, 256);
        put_value(&r, &b, (int)pick(&r, 6));
        if (i % 2)
            damage(&r, &b);
        if (json_strict(ctx, buf_get(&b), &d) != ERR_NONE) {
            refused++;
        } else {
            accepted++;
            if (!json_c_reads_the_same(ctx, &d, buf_get(&b))) {
                if (different++ < 10)
                    printf("\n    different: %.*s", SV_ARG(buf_get(&b)));
            }
        }
    }
    CU_ASSERT_EQUAL(different, 0);
    CU_ASSERT_TRUE(accepted > 10000);
    CU_ASSERT_TRUE(refused > 5000);
}

/* RFC 7396's algorithm, on json-c's trees. */
static void merge_trees(struct json_object *target, struct json_object *patch)
{
    json_object_object_foreach(patch, name, value)
    {
        struct json_object *child = NULL;
        if (!value) {
            json_object_object_del(target, name);
        } else if (!json_object_is_type(value, json_type_object)) {
            json_object_object_add(target, name, json_object_get(value));
        } else {
            if (!json_object_object_get_ex(target, name, &child) ||
                !json_object_is_type(child, json_type_object))
                json_object_object_add(target, name, child = json_object_new_object());
            merge_trees(child, value);
        }
    }
}

/* A random object that the validator accepts. */
static bool make_object(struct request_ctx *ctx, struct random *r, struct sv *out)
{
    struct buf b;
    struct json_doc d;
    buf_init(&b, ctx->arena, 256);
    put_value(r, &b, 4);
    *out = buf_get(&b);
    const bool good = json_strict(ctx, *out, &d) == ERR_NONE && d.nodes[0].type == JSON_IS_OBJECT;
    ctx_clear_error(ctx);
    return good;
}

/* Fails if a null is kept, or an object replaces another as a whole: tried. */
TEST(json_c_merges_to_the_same)
{
    struct random r = {43};
    int different = 0, merged = 0;
    while (merged < 5000) {
        struct request_ctx *ctx = test_ctx();
        struct sv target, patch, out = SV_NONE;
        struct json_doc d;
        if (!make_object(ctx, &r, &target) || !make_object(ctx, &r, &patch))
            continue;
        merged++;
        struct sv t = arena_dup(ctx->arena, target), p = arena_dup(ctx->arena, patch);
        struct json_object *into = json_tokener_parse(t.p), *from = json_tokener_parse(p.p);
        merge_trees(into, from);
        bool ok = json_merge(ctx, target, patch, JSON_MERGE_PATCH, &out) == ERR_NONE &&
                  json_strict(ctx, out, &d) == ERR_NONE && json_c_same(ctx, &d, d.nodes, into);
        if (!ok && different++ < 10)
            printf("\n    %.*s + %.*s: %.*s", SV_ARG(target), SV_ARG(patch), SV_ARG(out));
        json_object_put(from);
        json_object_put(into);
    }
    CU_ASSERT_EQUAL(different, 0);
}

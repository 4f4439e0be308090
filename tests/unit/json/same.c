/* SPDX-License-Identifier: MIT */
#include "same.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

static bool same_number(struct sv raw, struct json_object *o)
{
    char text[JSON_JSONB_NUMBER_MAX + 1];
    snprintf(text, sizeof(text), "%.*s", SV_ARG(raw));
    if (strpbrk(text, ".eE")) {
        double v = strtod(text, NULL), theirs = json_object_get_double(o);
        /* json-c keeps the text of a double. */
        return json_object_is_type(o, json_type_double) && memcmp(&v, &theirs, sizeof(v)) == 0 &&
               strcmp(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), text) == 0;
    }
    if (!json_object_is_type(o, json_type_int))
        return false;
    if (text[0] == '-')
        return strtoll(text, NULL, 10) == json_object_get_int64(o);
    return strtoull(text, NULL, 10) == json_object_get_uint64(o);
}

static bool same_string(struct request_ctx *ctx, const struct json_node *node,
                        struct json_object *o)
{
    struct sv s = SV_NONE;
    if (json_doc_string(ctx, node, "", &s) != ERR_NONE || !json_object_is_type(o, json_type_string))
        return false;
    return sv_eq(s, (struct sv){json_object_get_string(o), (size_t)json_object_get_string_len(o)});
}

enum err json_strict(struct request_ctx *ctx, struct sv text, struct json_doc *out)
{
    const enum err e = json_doc_parse(ctx, text, json_everything, out);
    return e ? e : json_doc_check(ctx, out, out->nodes, JSON_RULES_JSONB, "");
}

enum err json_name(struct request_ctx *ctx, const struct json_node *member, struct sv *out)
{
    const struct json_node name = {.type = JSON_IS_STRING,
                                   .raw = {member->key.p - 1, member->key.n + 2}};
    return json_doc_string(ctx, &name, "", out);
}

/* The member of o that a node stands for. */
static bool member_of(struct request_ctx *ctx, const struct json_node *node, struct json_object *o,
                      struct json_object **out)
{
    struct sv s = SV_NONE;
    if (json_name(ctx, node, &s) != ERR_NONE)
        return false;
    s = arena_dup(ctx->arena, s);
    return s.p && json_object_object_get_ex(o, s.p, out);
}

bool json_c_same(struct request_ctx *ctx, const struct json_doc *d, const struct json_node *node,
                 struct json_object *o)
{
    size_t i = 0;
    switch (node->type) {
    case JSON_IS_NULL:
        return o == NULL;
    case JSON_IS_FALSE:
    case JSON_IS_TRUE:
        return json_object_is_type(o, json_type_boolean) &&
               json_object_get_boolean(o) == (node->type == JSON_IS_TRUE);
    case JSON_IS_NUMBER:
        return same_number(node->raw, o);
    case JSON_IS_STRING:
        return same_string(ctx, node, o);
    case JSON_IS_ARRAY:
        if (!json_object_is_type(o, json_type_array) ||
            json_object_array_length(o) != node->children)
            return false;
        for (const struct json_node *c = json_doc_first(d, node); c; c = json_doc_next(d, c))
            if (!json_c_same(ctx, d, c, json_object_array_get_idx(o, i++)))
                return false;
        return true;
    case JSON_IS_OBJECT:
        if (!json_object_is_type(o, json_type_object) ||
            (uint32_t)json_object_object_length(o) != node->children)
            return false;
        for (const struct json_node *c = json_doc_first(d, node); c; c = json_doc_next(d, c)) {
            struct json_object *member = NULL;
            if (!member_of(ctx, c, o, &member) || !json_c_same(ctx, d, c, member))
                return false;
        }
        return true;
    }
    return false;
}

/* Whether the text has an escape that json-c 0.16 misreads: of the code point of a surrogate pair
 * it checks the last 16 bits only, and takes some for half a pair. */
static bool is_misread(struct sv text)
{
    for (size_t i = 0; i + 12 <= text.n; i++) {
        unsigned high, low;
        if (text.p[i] != '\\')
            continue;
        if (text.p[i + 1] == 'u' && sscanf(text.p + i, "\\u%4x\\u%4x", &high, &low) == 2 &&
            (high & 0xfc3e) == 0xd836)
            return true;
        i++;
    }
    return false;
}

bool json_c_reads_the_same(struct request_ctx *ctx, const struct json_doc *d, struct sv text)
{
    struct sv copy = arena_dup(ctx->arena, text);
    if (is_misread(copy))
        return true;
    struct json_tokener *t = json_tokener_new_ex(JSON_DOC_DEPTH_MAX + 2);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With the NUL: without it a number at the end gives "continue" (json-c 681). */
    struct json_object *o = json_tokener_parse_ex(t, copy.p, (int)copy.n + 1);
    bool ok = json_tokener_get_error(t) == json_tokener_success && json_c_same(ctx, d, d->nodes, o);
    json_object_put(o);
    json_tokener_free(t);
    return ok;
}

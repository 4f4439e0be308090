/* SPDX-License-Identifier: MIT */
/*
 * json_doc_parse: validates JSON text and indexes it in one pass. Tokens are checked in token.c,
 * names in keys.c. The stack of open containers is an array, so that no input decides how deep the
 * C stack gets.
 *
 * Memory: one node for each value that is indexed, and 8 bytes for each name of each open object.
 */
#include "parley/json/doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_internal.h"

enum { SHAPE_DEPTH_MAX = 16, STACK_MAX = SHAPE_DEPTH_MAX + JSON_DOC_DEPTH_MAX, FEW_NAMES = 64 };

const struct json_shape json_nothing[] = {{NULL, NULL}};
const struct json_shape json_everything[] = {{NULL, NULL}};

struct open_container {
    const struct json_shape *shape; /* NULL: it is not indexed */
    struct sv key;                  /* of the member being read; absent while the key is read */
    bool is_array;
    uint32_t levels; /* its level in the value that it is part of; 0: a shape names it */
    uint32_t children;
    uint32_t node, last_child; /* node: if its parent is indexed. last_child: 0: none */
    uint32_t first_name;       /* its names are those from this index on */
};

struct scan {
    struct request_ctx *ctx;
    struct sv text;
    size_t at;
    size_t bad_utf8;                /* offset of the first bad byte; SIZE_MAX: none */
    const struct json_shape *shape; /* of the whole value; NULL: it gets no node */
    enum json_rules rules;
    uint32_t levels_max;
    const char *path; /* of the whole value */
    struct json_node *nodes, unindexed;
    uint32_t n, cap;
    struct open_container *stack;
    uint32_t depth;
    struct json_name *names, *few; /* names: few, or on the heap */
    uint32_t n_names, names_cap;
    uint64_t secret;
};

enum state { WANT_VALUE, JUST_OPENED, AFTER_VALUE };

static struct open_container *innermost(struct scan *s)
{
    return &s->stack[s->depth - 1];
}

/* A character that cannot be shown becomes U+FFFD. */
static size_t write_shown(struct sv *key, char out[4])
{
    const size_t n = json_unescape_next(key, out);
    const bool half = n == 3 && (unsigned char)out[0] == 0xed && (unsigned char)out[1] >= 0xa0;
    if (out[0] && !half)
        return n;
    memcpy(out, "\xef\xbf\xbd", 3);
    return 3;
}

/* The path to the scanner's position, such as "messages[3].metadata"; cut to fit size. */
static void write_path(const struct scan *s, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", s->path);
    for (uint32_t i = 0; i < s->depth && n < size - 1; i++) {
        const struct open_container *c = &s->stack[i];
        struct sv key = c->key;
        if (c->is_array) {
            const uint32_t index = c->children > 0 ? c->children - 1 : 0;
            const int len = snprintf(out + n, size - n, "[%u]", index);
            n = (size_t)len < size - n ? n + (size_t)len : size - 1;
            continue;
        }
        if (key.p && n > 0)
            out[n++] = '.';
        while (key.n > 0 && n + 4 < size)
            n += write_shown(&key, out + n);
        out[n] = '\0';
    }
}

static enum err fail_parse(struct scan *s, const char *slug, const char *what, size_t at)
{
    char path[256];
    /* Text that is not UTF-8 is reported as such, whatever the grammar says from there on. */
    if (at >= s->bad_utf8) {
        slug = "invalid_utf8";
        what = "The text is not valid UTF-8";
        at = s->bad_utf8;
    }
    write_path(s, path, sizeof(path));
    s->ctx->err.field_is_sent = true;
    return ctx_fail(s->ctx, ERR_INVALID, slug, path, "%s (at byte %zu).%s", what, at,
                    s->rules != JSON_RULES_STORED ? ""
                                                  : " Metadata is jsonb: put such a value into "
                                                    "content, context or extra.");
}

static enum err fail_syntax(struct scan *s, const char *what)
{
    return fail_parse(s, "invalid_json", s->at < s->text.n ? what : "The JSON text ends too early",
                      s->at);
}

static void skip_space(struct scan *s)
{
    while (s->at < s->text.n && s->text.p[s->at] <= ' ' && memchr(" \t\n\r", s->text.p[s->at], 4))
        s->at++;
}

static bool is_at(const struct scan *s, char c)
{
    return s->at < s->text.n && s->text.p[s->at] == c;
}

/* Takes the text up to end as a token. */
static struct sv take_until(struct scan *s, size_t end)
{
    const struct sv token = {s->text.p + s->at, end - s->at};
    s->at = end;
    return token;
}

static enum err read_token(struct scan *s, struct json_token token, struct sv *raw)
{
    if (token.why)
        return fail_parse(s, token.slug, token.why, token.end);
    if (s->bad_utf8 < token.end)
        return fail_parse(s, "invalid_utf8", "", s->bad_utf8);
    *raw = take_until(s, token.end);
    return ERR_NONE;
}

static enum err read_literal(struct scan *s, struct json_node *node, enum json_value_type type,
                             struct sv word)
{
    const struct sv rest = {s->text.p + s->at, s->text.n - s->at};
    if (!sv_starts_with(rest, word))
        return fail_syntax(s, "A value is expected");
    node->type = type;
    node->raw = take_until(s, s->at + word.n);
    return ERR_NONE;
}

/* Counts the value that begins here as a child of its parent. If the parent is indexed, adds the
 * value's node, and links it to its parent and previous sibling. */
static enum err add_node(struct scan *s, struct json_node **out)
{
    struct open_container *parent = s->depth > 0 ? innermost(s) : NULL;
    *out = &s->unindexed;
    if (parent)
        parent->children++;
    if (!(parent ? parent->shape : s->shape))
        return ERR_NONE;
    if (s->n >= JSON_DOC_NODES_MAX)
        return fail_parse(s, "too_many_values", "The JSON text has too many values", s->at);
    if (s->n == s->cap) {
        const size_t size = s->cap * sizeof(*s->nodes);
        struct json_node *grown = arena_grow(s->ctx->arena, s->nodes, size, size * 2);
        if (!grown)
            return ctx_nomem(s->ctx);
        s->nodes = grown;
        s->cap *= 2;
    }
    const uint32_t index = s->n++;
    *out = &s->nodes[index];
    **out = (struct json_node){.type = JSON_IS_NULL};
    if (parent) {
        if (parent->last_child > 0)
            s->nodes[parent->last_child].next = index;
        parent->last_child = index;
        (*out)->key = parent->key;
        (*out)->key_escaped = parent->key.p && memchr(parent->key.p, '\\', parent->key.n);
    }
    return ERR_NONE;
}

/* The shape of the container that begins here. NULL: it is not indexed. */
static const struct json_shape *shape_inside(const struct open_container *parent, bool is_array)
{
    const struct json_shape *shape = parent->shape;
    if (!shape || shape == json_everything)
        return shape;
    if (parent->is_array)
        return shape == json_nothing ? NULL : is_array ? json_nothing : shape;
    const char first = parent->key.p[0];
    while (shape->name && ((first != shape->name[0] && first != '\\') ||
                           !json_unescape_eq(parent->key, sv_from(shape->name))))
        shape++;
    return shape->inside;
}

/* Its raw text is known once it is closed. */
static enum err open_container(struct scan *s, struct json_node *node, enum json_value_type type)
{
    const struct open_container *parent = s->depth > 0 ? innermost(s) : NULL;
    const bool is_array = type == JSON_IS_ARRAY;
    const struct json_shape *shape = parent ? shape_inside(parent, is_array) : s->shape;
    const bool named = shape && shape != json_everything;
    const uint32_t levels = named ? 0 : (parent ? parent->levels : 0) + 1;
    if (levels > s->levels_max || s->depth == STACK_MAX)
        return fail_parse(s, "too_deep", "The JSON text is nested too deeply", s->at);
    node->type = type;
    node->raw = take_until(s, s->at + 1);
    s->stack[s->depth++] =
        (struct open_container){.shape = shape,
                                .is_array = is_array,
                                .levels = levels,
                                .node = node == &s->unindexed ? 0 : (uint32_t)(node - s->nodes),
                                .first_name = s->n_names};
    return ERR_NONE;
}

static enum err close_container(struct scan *s)
{
    struct open_container *c = innermost(s);
    const struct open_container *parent = s->depth > 1 ? c - 1 : NULL;
    s->at++;
    if (parent ? parent->shape : s->shape) {
        struct json_node *node = &s->nodes[c->node];
        node->raw.n = (size_t)(s->text.p + s->at - node->raw.p);
        node->children = c->children;
        node->indexed = c->shape;
    }
    if (!c->is_array && c->children > 1) {
        const size_t twice =
            json_names_find_duplicate(s->text, s->names + c->first_name, c->children);
        if (twice != SIZE_MAX) {
            c->key =
                (struct sv){s->text.p + twice + 1, json_string_end(s->text, twice) - twice - 2};
            return fail_parse(s, "duplicate_key", "A member is given twice", twice + 1);
        }
    }
    s->n_names = c->first_name;
    s->depth--;
    return ERR_NONE;
}

static enum err begin_value(struct scan *s, enum state *state)
{
    struct json_node *node = NULL;
    const char c = s->at < s->text.n ? s->text.p[s->at] : '\0';
    TRY(add_node(s, &node));
    *state = c == '{' || c == '[' ? JUST_OPENED : AFTER_VALUE;
    switch (c) {
    case '{':
        return open_container(s, node, JSON_IS_OBJECT);
    case '[':
        return open_container(s, node, JSON_IS_ARRAY);
    case '"':
        node->type = JSON_IS_STRING;
        return read_token(s, json_token_string(s->text, s->at, s->rules), &node->raw);
    case 't':
        return read_literal(s, node, JSON_IS_TRUE, SV("true"));
    case 'f':
        return read_literal(s, node, JSON_IS_FALSE, SV("false"));
    case 'n':
        return read_literal(s, node, JSON_IS_NULL, SV("null"));
    default:
        if (c != '-' && (c < '0' || c > '9'))
            return fail_syntax(s, "A value is expected");
        node->type = JSON_IS_NUMBER;
        return read_token(s, json_token_number(s->text, s->at, s->rules), &node->raw);
    }
}

static enum err add_name(struct scan *s, size_t at, struct sv body)
{
    if (s->n_names == s->names_cap) {
        const size_t size = s->names_cap * sizeof(*s->names);
        struct json_name *grown = realloc(s->names == s->few ? NULL : s->names, size * 2);
        if (!grown)
            return ctx_nomem(s->ctx);
        if (s->names == s->few)
            memcpy(grown, s->few, size);
        s->names = grown;
        s->names_cap *= 2;
    }
    s->names[s->n_names++] = json_name_at(at, body, s->secret);
    return ERR_NONE;
}

/* Reads a member's name and the colon after it. */
static enum err begin_member(struct scan *s)
{
    struct sv raw = SV_NONE;
    innermost(s)->key = SV_NONE;
    skip_space(s);
    if (!is_at(s, '"'))
        return fail_syntax(s, "A member's name in double quotes is expected");
    TRY(read_token(s, json_token_string(s->text, s->at, s->rules), &raw));
    innermost(s)->key = (struct sv){raw.p + 1, raw.n - 2};
    TRY(add_name(s, (size_t)(raw.p - s->text.p), innermost(s)->key));
    skip_space(s);
    if (!is_at(s, ':'))
        return fail_syntax(s, "A colon is expected");
    s->at++;
    return ERR_NONE;
}

/* After an opening bracket or a child: reads the closing bracket, or up to the next child. */
static enum err next_child(struct scan *s, enum state *state)
{
    const bool object = !innermost(s)->is_array;
    const bool first = *state == JUST_OPENED;
    *state = AFTER_VALUE;
    if (is_at(s, object ? '}' : ']'))
        return close_container(s);
    if (!first && !is_at(s, ','))
        return fail_syntax(s, object ? "A comma or } is expected" : "A comma or ] is expected");
    s->at += !first;
    *state = WANT_VALUE;
    return object ? begin_member(s) : ERR_NONE;
}

static enum err scan_text(struct scan *s)
{
    enum state state = WANT_VALUE;
    for (;;) {
        skip_space(s);
        if (state == AFTER_VALUE && s->depth == 0)
            break;
        TRY(state == WANT_VALUE ? begin_value(s, &state) : next_child(s, &state));
    }
    return s->at < s->text.n ? fail_syntax(s, "More text follows the JSON value") : ERR_NONE;
}

/* The arrays are no members of struct scan, so that they are not cleared for each text. */
static enum err scan_with_stack(struct scan *s)
{
    struct open_container stack[STACK_MAX];
    struct json_name few[FEW_NAMES];
    s->stack = stack;
    s->names = s->few = few;
    s->names_cap = FEW_NAMES;
    /* An address is random in each process (ASLR), and costs no system call. */
    s->secret = (uint64_t)(uintptr_t)stack * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)s->ctx;
    const enum err e = scan_text(s);
    if (s->names != few)
        free(s->names);
    return e;
}

enum err json_doc_parse(struct request_ctx *ctx, struct sv text, const struct json_shape *shape,
                        struct json_doc *out)
{
    /* The array of nodes doubles when it is too small. */
    struct scan s = {.ctx = ctx,
                     .text = text,
                     .bad_utf8 = SIZE_MAX,
                     .shape = shape,
                     .levels_max = JSON_DOC_DEPTH_MAX,
                     .path = "",
                     .cap = 16};
    s.nodes = arena_array(ctx->arena, s.cap, sizeof(*s.nodes));
    if (!s.nodes || text.n > UINT32_MAX)
        return ctx_nomem(ctx);
    (void)utf8_valid(text, &s.bad_utf8); /* reported where the scanner meets it: see fail_parse */
    if (sv_starts_with(text, SV("\xef\xbb\xbf")))
        return fail_syntax(&s, "A byte order mark is not allowed");
    TRY(scan_with_stack(&s));
    *out = (struct json_doc){s.nodes, s.n, text.p};
    return ERR_NONE;
}

enum err json_doc_check(struct request_ctx *ctx, const struct json_doc *d,
                        const struct json_node *node, enum json_rules rules, const char *path)
{
    const size_t at = (size_t)(node->raw.p - d->text);
    if (rules == JSON_RULES_STORED && node->raw.n > JSON_STORED_BYTES_MAX)
        return ctx_fail(ctx, ERR_INVALID, "out_of_range", path,
                        "Metadata has at most %d bytes: put more into content, context or extra.",
                        JSON_STORED_BYTES_MAX);
    struct scan s = {.ctx = ctx,
                     .text = {d->text, at + node->raw.n},
                     .at = at,
                     .bad_utf8 = SIZE_MAX,
                     .rules = rules,
                     .levels_max = rules > JSON_RULES_TEXT ? JSON_JSONB_DEPTH_MAX : STACK_MAX,
                     .path = path};
    return scan_with_stack(&s);
}

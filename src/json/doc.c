/* SPDX-License-Identifier: MIT */
#include "parley/json/doc.h"

#include <stdio.h>
#include <string.h>

#include "json_internal.h"
#include "parley/base/utf8.h"

/* A container that is open. */
struct frame {
    uint32_t node, last_child; /* last_child: 0 while there is none */
    struct sv key;             /* the member being read; absent while its key is read */
};

/* The scanner is a loop over a stack of its own, so that no input decides how deep the C stack
 * gets. */
struct scan {
    struct request_ctx *ctx;
    struct sv text;
    size_t at;
    size_t bad_utf8; /* offset of the first bad byte; SIZE_MAX: none */
    struct json_node *nodes;
    uint32_t n, cap;
    struct frame frames[JSON_DOC_DEPTH_MAX];
    uint32_t depth;
};

enum state { WANT_VALUE, JUST_OPENED, AFTER_VALUE };

static struct frame *top(struct scan *s)
{
    return &s->frames[s->depth - 1];
}

/* Where the scanner is, such as "messages[3].metadata"; cut where size ends. */
static void write_path(const struct scan *s, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < s->depth && n < size - 1; i++) {
        const struct frame *f = &s->frames[i];
        const struct json_node *node = &s->nodes[f->node];
        if (node->type == JSON_IS_ARRAY) {
            uint32_t index = node->children > 0 ? node->children - 1 : 0;
            int len = snprintf(out + n, size - n, "[%u]", index);
            n = (size_t)len < size - n ? n + (size_t)len : size - 1;
            continue;
        }
        struct sv key = f->key;
        if (key.p && n > 0)
            out[n++] = '.';
        while (key.n > 0 && n + 4 < size)
            n += json_unescape_next(&key, out + n);
        out[n] = '\0';
    }
}

static enum err fail(struct scan *s, struct json_fault fault)
{
    char path[256];

    /* A byte that is not UTF-8 is what is wrong, whatever the grammar says from there on. */
    if (fault.at >= s->bad_utf8)
        fault = (struct json_fault){"invalid_utf8", "The text is not valid UTF-8", s->bad_utf8};
    write_path(s, path, sizeof(path));
    return ctx_fail(s->ctx, ERR_INVALID, fault.slug, path, "%s (at byte %zu).", fault.what,
                    fault.at);
}

static enum err syntax(struct scan *s, const char *what)
{
    if (s->at >= s->text.n)
        what = "The JSON text ends too early";
    return fail(s, (struct json_fault){"invalid_json", what, s->at});
}

static void skip_space(struct scan *s)
{
    while (s->at < s->text.n && memchr(" \t\n\r", s->text.p[s->at], 4))
        s->at++;
}

static bool is_at(const struct scan *s, char c)
{
    return s->at < s->text.n && s->text.p[s->at] == c;
}

static enum err string_token(struct scan *s, struct sv *raw, bool *escaped)
{
    struct json_fault fault;
    size_t end = 0;

    if (!json_token_string(s->text, s->at, &end, escaped, &fault))
        return fail(s, fault);
    if (s->bad_utf8 < end)
        return fail(s, (struct json_fault){"invalid_utf8", "", s->bad_utf8});
    *raw = (struct sv){s->text.p + s->at, end - s->at};
    s->at = end;
    return ERR_NONE;
}

/* Adds the node of the value that begins here and links it to what is before it. */
static enum err add_node(struct scan *s, struct json_node **out)
{
    if (s->n >= JSON_DOC_NODES_MAX)
        return fail(
            s, (struct json_fault){"too_many_values", "The JSON text has too many values", s->at});
    if (s->n == s->cap) {
        uint32_t cap = s->cap * 2;
        struct json_node *grown = arena_grow(s->ctx->arena, s->nodes, s->cap * sizeof(*s->nodes),
                                             cap * sizeof(*s->nodes));
        if (!grown)
            return ctx_nomem(s->ctx);
        s->nodes = grown;
        s->cap = cap;
    }

    uint32_t index = s->n++;
    s->nodes[index] = (struct json_node){.type = JSON_IS_NULL};
    if (s->depth > 0) {
        struct frame *f = top(s);
        if (f->last_child > 0)
            s->nodes[f->last_child].next = index;
        f->last_child = index;
        s->nodes[f->node].children++;
    }
    *out = &s->nodes[index];
    return ERR_NONE;
}

/* Opens a container; its raw text is known when it is closed. */
static enum err open_container(struct scan *s, struct json_node *node, enum json_value_type type)
{
    if (s->depth == JSON_DOC_DEPTH_MAX)
        return fail(s, (struct json_fault){"too_deep", "The JSON text is nested too deep", s->at});
    node->type = type;
    node->raw = (struct sv){s->text.p + s->at, 0};
    s->frames[s->depth++] = (struct frame){(uint32_t)(node - s->nodes), 0, SV_NONE};
    s->at++;
    return ERR_NONE;
}

static enum err literal(struct scan *s, struct json_node *node, enum json_value_type type,
                        struct sv word)
{
    struct sv rest = {s->text.p + s->at, s->text.n - s->at};

    if (!sv_starts_with(rest, word))
        return syntax(s, "A value is expected");
    node->type = type;
    node->raw = (struct sv){rest.p, word.n};
    s->at += word.n;
    return ERR_NONE;
}

static enum err number(struct scan *s, struct json_node *node)
{
    struct json_fault fault;
    size_t end = 0;

    if (!json_token_number(s->text, s->at, &end, &fault))
        return fail(s, fault);
    node->type = JSON_IS_NUMBER;
    node->raw = (struct sv){s->text.p + s->at, end - s->at};
    s->at = end;
    return ERR_NONE;
}

static enum err begin_value(struct scan *s, enum state *state)
{
    struct json_node *node = NULL;
    char c = s->at < s->text.n ? s->text.p[s->at] : '\0';

    TRY(add_node(s, &node));
    if (s->depth > 0 && top(s)->key.p) {
        node->key = top(s)->key;
        node->key_escaped = memchr(node->key.p, '\\', node->key.n) != NULL;
    }
    *state = c == '{' || c == '[' ? JUST_OPENED : AFTER_VALUE;
    switch (c) {
    case '{':
        return open_container(s, node, JSON_IS_OBJECT);
    case '[':
        return open_container(s, node, JSON_IS_ARRAY);
    case '"':
        node->type = JSON_IS_STRING;
        return string_token(s, &node->raw, &node->escaped);
    case 't':
        return literal(s, node, JSON_IS_TRUE, SV("true"));
    case 'f':
        return literal(s, node, JSON_IS_FALSE, SV("false"));
    case 'n':
        return literal(s, node, JSON_IS_NULL, SV("null"));
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return number(s, node);
        return syntax(s, "A value is expected");
    }
}

/* Reads a member's key and the colon behind it. */
static enum err begin_member(struct scan *s)
{
    struct sv raw = SV_NONE;
    bool escaped = false;

    top(s)->key = SV_NONE;
    skip_space(s);
    if (!is_at(s, '"'))
        return syntax(s, "A member's name in double quotes is expected");
    TRY(string_token(s, &raw, &escaped));
    top(s)->key = (struct sv){raw.p + 1, raw.n - 2};
    skip_space(s);
    if (!is_at(s, ':'))
        return syntax(s, "A colon is expected");
    s->at++;
    return ERR_NONE;
}

static enum err close_container(struct scan *s)
{
    struct frame *f = top(s);
    struct json_node *node = &s->nodes[f->node];

    s->at++;
    node->raw.n = (size_t)(s->text.p + s->at - node->raw.p);
    if (node->type == JSON_IS_OBJECT && node->children > 1) {
        const struct json_node *twice = NULL;
        TRY(json_keys_find_duplicate(s->ctx, &(struct json_doc){s->nodes, s->n}, node, &twice));
        if (twice) {
            f->key = twice->key;
            return fail(s, (struct json_fault){"duplicate_key", "A member is given twice",
                                               (size_t)(twice->key.p - s->text.p)});
        }
    }
    s->depth--;
    return ERR_NONE;
}

/* After an opening bracket or a child: reads the closing bracket, or what precedes the next child.
 */
static enum err next_child(struct scan *s, enum state *state)
{
    const bool object = s->nodes[top(s)->node].type == JSON_IS_OBJECT,
               first = *state == JUST_OPENED;

    *state = AFTER_VALUE;
    if (is_at(s, object ? '}' : ']'))
        return close_container(s);
    if (!first && !is_at(s, ','))
        return syntax(s, object ? "A comma or } is expected" : "A comma or ] is expected");
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
    if (s->at < s->text.n)
        return syntax(s, "Something stands behind the JSON value");
    return ERR_NONE;
}

enum err json_doc_parse(struct request_ctx *ctx, struct sv text, struct json_doc *out)
{
    /* A guess at the number of values; the array doubles when it is too small. */
    struct scan s = {.ctx = ctx, .text = text, .bad_utf8 = SIZE_MAX, .cap = 16};
    while (s.cap < text.n / 32 && s.cap < 4096)
        s.cap *= 2;
    s.nodes = arena_array(ctx->arena, s.cap, sizeof(*s.nodes));
    if (!s.nodes)
        return ctx_nomem(ctx);

    (void)utf8_valid(text, &s.bad_utf8); /* remembered; reported where the scanner meets it */
    if (sv_starts_with(text, SV("\xef\xbb\xbf")))
        return syntax(&s, "A byte order mark is not allowed");
    TRY(scan_text(&s));
    *out = (struct json_doc){s.nodes, s.n};
    return ERR_NONE;
}

const struct json_node *json_doc_first(const struct json_doc *d, const struct json_node *parent)
{
    (void)d; /* in the order of the text, a container's first child is the next node */
    return parent->children > 0 ? parent + 1 : NULL;
}

const struct json_node *json_doc_next(const struct json_doc *d, const struct json_node *node)
{
    return node->next > 0 ? &d->nodes[node->next] : NULL;
}

const struct json_node *json_doc_member(const struct json_doc *d, const struct json_node *object,
                                        struct sv name)
{
    if (object->type != JSON_IS_OBJECT)
        return NULL;
    for (const struct json_node *m = json_doc_first(d, object); m; m = json_doc_next(d, m))
        if (m->key_escaped ? json_unescape_eq(m->key, name) : sv_eq(m->key, name))
            return m;
    return NULL;
}

enum err json_doc_string(struct request_ctx *ctx, const struct json_node *node, struct sv *out)
{
    if (node->type != JSON_IS_STRING)
        return ctx_fault(ctx, ERR_INTERNAL, "json_doc_string: not a string");
    struct sv body = {node->raw.p + 1, node->raw.n - 2};
    if (node->escaped)
        return json_unescape_dup(ctx, body, out);
    *out = body;
    return ERR_NONE;
}

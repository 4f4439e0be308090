/* SPDX-License-Identifier: MIT */
/*
 * json_doc_parse: validates JSON text and indexes it in one pass. Tokens are checked in token.c,
 * names in keys.c. The stack of open containers is an array, so that no input decides how deep the
 * C stack gets.
 */
#include "parley/json/doc.h"

#include <stdio.h>
#include <string.h>

#include "json_internal.h"

struct open_container {
    uint32_t node, last_child; /* last_child: 0 while there is none */
    struct sv key;             /* of the member being read; absent while the key itself is read */
};

struct scan {
    struct request_ctx *ctx;
    struct sv text;
    size_t at;
    size_t bad_utf8; /* offset of the first bad byte; SIZE_MAX: none */
    struct json_node *nodes;
    uint32_t n, cap;
    struct open_container stack[JSON_DOC_DEPTH_MAX];
    uint32_t depth;
};

enum state { WANT_VALUE, JUST_OPENED, AFTER_VALUE };

static struct open_container *innermost(struct scan *s)
{
    return &s->stack[s->depth - 1];
}

/* The path to the scanner's position, such as "messages[3].metadata"; cut to fit size. */
static void write_path(const struct scan *s, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < s->depth && n < size - 1; i++) {
        const struct json_node *node = &s->nodes[s->stack[i].node];
        struct sv key = s->stack[i].key;
        if (node->type == JSON_IS_ARRAY) {
            const uint32_t index = node->children > 0 ? node->children - 1 : 0;
            const int len = snprintf(out + n, size - n, "[%u]", index);
            n = (size_t)len < size - n ? n + (size_t)len : size - 1;
            continue;
        }
        if (key.p && n > 0)
            out[n++] = '.';
        while (key.n > 0 && n + 4 < size)
            n += json_unescape_next(&key, out + n);
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
    return ctx_fail(s->ctx, ERR_INVALID, slug, path, "%s (at byte %zu).", what, at);
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

/* Adds the node of the value that begins here, and links it to its parent and previous sibling. */
static enum err add_node(struct scan *s, struct json_node **out)
{
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
    if (s->depth > 0) {
        struct open_container *parent = innermost(s);
        if (parent->last_child > 0)
            s->nodes[parent->last_child].next = index;
        parent->last_child = index;
        s->nodes[parent->node].children++;
        (*out)->key = parent->key;
        (*out)->key_escaped = parent->key.p && memchr(parent->key.p, '\\', parent->key.n);
    }
    return ERR_NONE;
}

/* Its raw text is known once it is closed. */
static enum err open_container(struct scan *s, struct json_node *node, enum json_value_type type)
{
    if (s->depth == JSON_DOC_DEPTH_MAX)
        return fail_parse(s, "too_deep", "The JSON text is nested too deeply", s->at);
    node->type = type;
    node->raw = take_until(s, s->at + 1);
    s->stack[s->depth++] = (struct open_container){(uint32_t)(node - s->nodes), 0, SV_NONE};
    return ERR_NONE;
}

static enum err close_container(struct scan *s)
{
    struct json_node *node = &s->nodes[innermost(s)->node];
    s->at++;
    node->raw.n = (size_t)(s->text.p + s->at - node->raw.p);
    if (node->type == JSON_IS_OBJECT && node->children > 1) {
        const struct json_node *twice = NULL;
        TRY(json_keys_find_duplicate(s->ctx, &(struct json_doc){s->nodes, s->n}, node, &twice));
        if (twice) {
            innermost(s)->key = twice->key;
            return fail_parse(s, "duplicate_key", "A member is given twice",
                              (size_t)(twice->key.p - s->text.p));
        }
    }
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
        return read_token(s, json_token_string(s->text, s->at), &node->raw);
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
        return read_token(s, json_token_number(s->text, s->at), &node->raw);
    }
}

/* Reads a member's name and the colon after it. */
static enum err begin_member(struct scan *s)
{
    struct sv raw = SV_NONE;
    innermost(s)->key = SV_NONE;
    skip_space(s);
    if (!is_at(s, '"'))
        return fail_syntax(s, "A member's name in double quotes is expected");
    TRY(read_token(s, json_token_string(s->text, s->at), &raw));
    innermost(s)->key = (struct sv){raw.p + 1, raw.n - 2};
    skip_space(s);
    if (!is_at(s, ':'))
        return fail_syntax(s, "A colon is expected");
    s->at++;
    return ERR_NONE;
}

/* After an opening bracket or a child: reads the closing bracket, or up to the next child. */
static enum err next_child(struct scan *s, enum state *state)
{
    const bool object = s->nodes[innermost(s)->node].type == JSON_IS_OBJECT;
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

enum err json_doc_parse(struct request_ctx *ctx, struct sv text, struct json_doc *out)
{
    /* A guess at the number of values; the array doubles when it is too small. */
    struct scan s = {.ctx = ctx, .text = text, .bad_utf8 = SIZE_MAX, .cap = 16};
    while (s.cap < text.n / 32 && s.cap < 4096)
        s.cap *= 2;
    s.nodes = arena_array(ctx->arena, s.cap, sizeof(*s.nodes));
    if (!s.nodes)
        return ctx_nomem(ctx);
    (void)utf8_valid(text, &s.bad_utf8); /* reported where the scanner meets it: see fail_parse */
    if (sv_starts_with(text, SV("\xef\xbb\xbf")))
        return fail_syntax(&s, "A byte order mark is not allowed");
    TRY(scan_text(&s));
    *out = (struct json_doc){s.nodes, s.n};
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
/* Reading the index that validator.c makes, and strings that token.c has checked: their escapes are
 * replaced by UTF-8. */
#include "parley/json/doc.h"

#include <string.h>

#include "json_internal.h"

static size_t write_utf8(uint32_t c, char out[4])
{
    static const unsigned char first[] = {[1] = 0, [2] = 0xc0, [3] = 0xe0, [4] = 0xf0};
    const size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(first[n] | c);
    return n;
}

static size_t take_unicode(struct sv *s, char out[4])
{
    uint32_t c = (uint32_t)json_token_hex4(s->p + 2);
    sv_skip(s, 6);
    if (c >= 0xd800 && c <= 0xdbff && s->n >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        const uint32_t low = (uint32_t)json_token_hex4(s->p + 2);
        if (low >= 0xdc00 && low <= 0xdfff) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            sv_skip(s, 6);
        }
    }
    return write_utf8(c, out);
}

size_t json_unescape_next(struct sv *s, char out[4])
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const bool escape = s->p[0] == '\\';
    size_t n = 1;
    if (escape && s->p[1] == 'u')
        return take_unicode(s, out);
    const char *letter = escape ? memchr(letters, s->p[1], sizeof(letters) - 1) : NULL;
    out[0] = letter ? meant[letter - letters] : s->p[escape];
    for (; !escape && n < 4 && n < s->n && ((unsigned char)s->p[n] & 0xc0) == 0x80; n++)
        out[n] = s->p[n];
    sv_skip(s, escape ? 2 : n);
    return n;
}

bool json_unescape_eq(struct sv body, struct sv name)
{
    while (body.n > 0) {
        char c[4];
        const struct sv next = {c, json_unescape_next(&body, c)};
        if (!sv_starts_with(name, next))
            return false;
        sv_skip(&name, next.n);
    }
    return name.n == 0;
}

int json_unescape_compare(struct sv a, struct sv b)
{
    char x[4] = "", y[4] = "";
    int order = 0;
    if (!memchr(a.p, '\\', a.n) && !memchr(b.p, '\\', b.n))
        return sv_compare(a, b);
    while (order == 0 && a.n > 0 && b.n > 0) {
        const struct sv of_a = {x, json_unescape_next(&a, x)},
                        of_b = {y, json_unescape_next(&b, y)};
        order = sv_compare(of_a, of_b);
    }
    return order != 0 ? order : (a.n > 0) - (b.n > 0);
}

enum err json_unescape_dup(struct request_ctx *ctx, struct sv body, struct sv *out)
{
    const struct sv text = {body.p - 1, body.n + 2};
    const bool escaped = memchr(body.p, '\\', body.n);
    if (escaped && json_token_string(text, 0, JSON_RULES_JSONB).why)
        return ERR_INVALID;
    *out = body;
    if (!escaped)
        return ERR_NONE;
    char *p = arena_alloc(ctx->arena, body.n);
    if (!p)
        return ctx_nomem(ctx);
    /* The result is never longer than body: no escape is shorter than its character in UTF-8. */
    *out = (struct sv){p, 0};
    while (body.n > 0)
        out->n += json_unescape_next(&body, p + out->n);
    return ERR_NONE;
}

const char json_not_decodable[] =
    "\\u0000 and unpaired surrogates are allowed in content, context and extra alone.";

const struct json_node *json_doc_first(const struct json_doc *d, const struct json_node *parent)
{
    (void)d; /* in the order of the text, a container's first child is the next node */
    return parent->indexed && parent->children > 0 ? parent + 1 : NULL;
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
        if (json_doc_is_named(m, name))
            return m;
    return NULL;
}

bool json_doc_is_named(const struct json_node *member, struct sv name)
{
    return member->key_escaped ? json_unescape_eq(member->key, name) : sv_eq(member->key, name);
}

enum err json_doc_string(struct request_ctx *ctx, const struct json_node *node, const char *path,
                         struct sv *out)
{
    if (node->type != JSON_IS_STRING)
        return ctx_fault(ctx, ERR_INTERNAL, "json_doc_string: not a string");
    const struct sv body = {node->raw.p + 1, node->raw.n - 2};
    const enum err e = json_unescape_dup(ctx, body, out);
    return e == ERR_INVALID ? ctx_fail(ctx, e, "invalid_json", path, "%s", json_not_decodable) : e;
}

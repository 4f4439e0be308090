/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include <string.h>

#include "json_internal.h"

/* Text that json_doc_parse accepted is walked without checks: the brackets and quotes match. */
size_t json_string_end(struct sv s, size_t at)
{
    for (at++;; at++) {
        const char *quote = memchr(s.p + at, '"', s.n - at), *p = quote;
        while (p[-1] == '\\')
            p--;
        at = (size_t)(quote - s.p);
        if ((quote - p) % 2 == 0)
            return at + 1;
    }
}

static size_t value_end(struct sv s, size_t at)
{
    size_t depth = 0;
    do {
        switch (s.p[at]) {
        case '"':
            at = json_string_end(s, at);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        }
        at++;
    } while (depth > 0 || (at < s.n && !strchr(",}] \t\r\n", s.p[at])));
    return at;
}

bool json_member_next(struct sv *rest, struct json_member *out)
{
    struct sv s = *rest;
    size_t key = 0, end, value;
    while (key < s.n && s.p[key] != '"')
        key++;
    if (key >= s.n)
        return false;
    end = value = json_string_end(s, key);
    while (strchr(": \t\r\n", s.p[value]))
        value++;
    out->key = (struct sv){s.p + key + 1, end - key - 2};
    end = value_end(s, value);
    out->raw = (struct sv){s.p + value, end - value};
    *rest = (struct sv){s.p + end, s.n - end};
    return true;
}

bool json_element_next(struct sv *rest, struct sv *out)
{
    size_t at = 0;
    while (at < rest->n && strchr(", \t\r\n", rest->p[at]))
        at++;
    if (at == rest->n || rest->p[at] == ']')
        return false;
    const size_t end = value_end(*rest, at);
    *out = (struct sv){rest->p + at, end - at};
    *rest = (struct sv){rest->p + end, rest->n - end};
    return true;
}

struct sv json_member_get(struct sv object, const char *name)
{
    struct json_member m;
    while (json_member_next(&object, &m))
        if (json_unescape_eq(m.key, sv_from(name)))
            return m.raw;
    return SV_NONE;
}

static bool is_named(struct sv key, const char *const *names)
{
    for (; names && *names; names++)
        if (json_unescape_eq(key, sv_from(*names)))
            return true;
    return false;
}

void json_members_write(struct json_writer *j, struct sv object, const char *const *without)
{
    struct json_member m;
    while (json_member_next(&object, &m)) {
        if (is_named(m.key, without))
            continue;
        json_write_key_raw(j, m.key);
        json_write_raw(j, m.raw);
    }
}

enum err json_members_without(struct request_ctx *ctx, struct sv object, const char *const *without,
                              struct sv *out)
{
    struct buf b;
    buf_init(&b, ctx->arena, 0);
    struct json_writer j = {.b = &b};
    json_write_object_open(&j);
    json_members_write(&j, object, without);
    const bool none = !j.comma;
    json_write_object_close(&j);
    if (b.failed)
        return ctx_nomem(ctx);
    *out = none ? SV_NONE : buf_get(&b);
    return ERR_NONE;
}

/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include <string.h>

#include "json_internal.h"

static size_t string_end(struct sv s, size_t at)
{
    for (at++; s.p[at] != '"'; at++)
        at += s.p[at] == '\\';
    return at + 1;
}

static size_t value_end(struct sv s, size_t at)
{
    size_t depth = 0;
    do {
        switch (s.p[at]) {
        case '"':
            at = string_end(s, at);
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

bool jmember_next(struct sv *rest, struct jmember *out)
{
    struct sv s = *rest;
    size_t key = 0, end, value;
    while (key < s.n && s.p[key] != '"')
        key++;
    if (key >= s.n)
        return false;
    end = value = string_end(s, key);
    while (strchr(": \t\r\n", s.p[value]))
        value++;
    out->key = (struct sv){s.p + key + 1, end - key - 2};
    end = value_end(s, value);
    out->raw = (struct sv){s.p + value, end - value};
    *rest = (struct sv){s.p + end, s.n - end};
    return true;
}

struct sv jmember_get(struct sv object, const char *name)
{
    struct jmember m;
    while (jmember_next(&object, &m))
        if (junescape_eq(m.key, sv_from(name)))
            return m.raw;
    return SV_NONE;
}

static bool is_named(struct sv key, const char *const *names)
{
    for (; *names; names++)
        if (junescape_eq(key, sv_from(*names)))
            return true;
    return false;
}

void jmembers_write(struct jout *j, struct sv object, const char *const *without)
{
    struct jmember m;
    while (jmember_next(&object, &m)) {
        if (is_named(m.key, without))
            continue;
        jout_key_raw(j, m.key);
        jout_raw(j, m.raw);
    }
}

enum err jmembers_without(struct request_ctx *ctx, struct sv object, const char *const *without,
                          struct sv *out)
{
    struct buf b;
    struct jout j;
    buf_init(&b, ctx->arena, 0);
    jout_init(&j, &b);
    jout_object_open(&j);
    const size_t empty = b.n;
    jmembers_write(&j, object, without);
    const bool none = b.n == empty;
    jout_object_close(&j);
    if (b.failed)
        return ctx_nomem(ctx);
    *out = none ? SV_NONE : buf_get(&b);
    return ERR_NONE;
}

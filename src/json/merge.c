/* SPDX-License-Identifier: MIT */
#include "parley/json/merge.h"

#include <limits.h>
#include <string.h>

#include <json-c/json_object.h>
#include <json-c/json_object_iterator.h>
#include <json-c/json_tokener.h>

#include "json_internal.h"
#include "parley/json/doc.h"

/* The text with its surrogate pairs in UTF-8. json-c 0.16 takes those of U+1D800 to U+1DFFF, and
 * the like of the planes above, for half a pair, and would put U+FFFD in their place. */
static enum err without_pairs(struct request_ctx *ctx, struct sv *text)
{
    enum { PAIR = 12 }; /* \ud83d\ude00 */
    struct sv rest = *text;
    if (!memchr(rest.p, '\\', rest.n))
        return ERR_NONE;
    char *p = arena_alloc(ctx->arena, text->n);
    size_t n = 0;
    if (!p)
        return ctx_nomem(ctx);
    while (rest.n > 0) {
        const int high =
            rest.n >= PAIR && rest.p[0] == '\\' && rest.p[1] == 'u' ? jtoken_hex4(rest.p + 2) : -1;
        if (high >= 0xd800 && high <= 0xdbff) {
            n += junescape_next(&rest, p + n);
            continue;
        }
        /* With what is escaped, so that a backslash does not begin with the second of two. */
        const size_t step = rest.p[0] == '\\' && rest.n > 1 ? 2 : 1;
        memcpy(p + n, rest.p, step);
        n += step;
        rest = (struct sv){rest.p + step, rest.n - step};
    }
    *text = (struct sv){p, n};
    return ERR_NONE;
}

/* *out is the caller's to put, also after a failure: what json-c takes is outside the arena's
 * limit, and so must not wait for its reset. What the guard accepted and json-c does not is a fault
 * of ours, not the client's. */
static enum err parse(struct request_ctx *ctx, struct sv text, struct json_object **out)
{
    const struct arena_mark mark = arena_get_mark(ctx->arena);
    enum err e = without_pairs(ctx, &text);
    if (e != ERR_NONE)
        return e;
    /* json-c counts a scalar as a level of its own. */
    struct json_tokener *tokener = json_tokener_new_ex(JDOC_DEPTH_MAX + 2);
    if (!tokener)
        return ctx_nomem(ctx);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    if (text.n <= INT_MAX)
        *out = json_tokener_parse_ex(tokener, text.p, (int)text.n);
    enum json_tokener_error why = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    arena_rewind(ctx->arena, mark);

    if (!json_object_is_type(*out, json_type_object))
        return ctx_fault(ctx, ERR_INTERNAL, "json-c reads no object where one was accepted: %s",
                         json_tokener_error_desc(why));
    return ERR_NONE;
}

/* RFC 7396, section 2, in place; both are objects. False: no memory. The guard bounds the depth of
 * the recursion. */
static bool merge(struct json_object *target, struct json_object *patch)
{
    struct json_object_iterator end = json_object_iter_end(patch);

    for (struct json_object_iterator it = json_object_iter_begin(patch);
         !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        const char *name = json_object_iter_peek_name(&it);
        struct json_object *value = json_object_iter_peek_value(&it);
        if (!value) {
            json_object_object_del(target, name);
            continue;
        }
        if (!json_object_is_type(value, json_type_object)) {
            /* Shared by target and patch from here on. */
            if (json_object_object_add(target, name, json_object_get(value)) != 0) {
                json_object_put(value);
                return false;
            }
            continue;
        }
        /* An object in the patch is merged even into what is not there: its nulls must go. */
        struct json_object *child = json_object_object_get(target, name);
        if (!json_object_is_type(child, json_type_object)) {
            child = json_object_new_object();
            if (!child)
                return false;
            if (json_object_object_add(target, name, child) != 0) {
                json_object_put(child);
                return false;
            }
        }
        if (!merge(child, value))
            return false;
    }
    return true;
}

static enum err print(struct request_ctx *ctx, struct json_object *object, struct sv *out)
{
    struct sv text = SV_NONE;
    text.p = json_object_to_json_string_length(
        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &text.n);
    if (!text.p)
        return ctx_nomem(ctx);
    *out = arena_dup(ctx->arena, text);
    return out->p ? ERR_NONE : ctx_nomem(ctx);
}

enum err jmerge_patch(struct request_ctx *ctx, struct sv target, struct sv patch, struct sv *out)
{
    struct json_object *into = NULL, *from = NULL;
    enum err e = parse(ctx, target, &into);
    if (e == ERR_NONE)
        e = parse(ctx, patch, &from);
    if (e == ERR_NONE)
        e = merge(into, from) ? print(ctx, into, out) : ctx_nomem(ctx);
    json_object_put(from);
    json_object_put(into);
    return e;
}

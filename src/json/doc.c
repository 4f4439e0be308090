/* SPDX-License-Identifier: MIT */
/* Reading the index that validator.c makes. */
#include "parley/json/doc.h"

#include "json_internal.h"

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
        if (json_doc_is_named(m, name))
            return m;
    return NULL;
}

bool json_doc_is_named(const struct json_node *member, struct sv name)
{
    return member->key_escaped ? json_unescape_eq(member->key, name) : sv_eq(member->key, name);
}

enum err json_doc_string(struct request_ctx *ctx, const struct json_node *node, struct sv *out)
{
    if (node->type != JSON_IS_STRING)
        return ctx_fault(ctx, ERR_INTERNAL, "json_doc_string: not a string");
    return json_unescape_dup(ctx, (struct sv){node->raw.p + 1, node->raw.n - 2}, out);
}

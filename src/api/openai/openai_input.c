/* SPDX-License-Identifier: MIT */
/*
 * Reads bodies of OpenAI's clients into the structs of the session module. An item's type, role,
 * content and id become those of a message. All other members go into its extra, as they were
 * written, because some types of items are known to their clients only.
 */
#include "openai.h"

#include "parley/json/members.h"

/* {"openai": {…}} with the members that a conversation has no field for. */
static enum err write_context(struct request_ctx *ctx, struct sv body, struct sv *out)
{
    static const char *const own[] = {"items", "metadata", "id", "object", "created_at", NULL};
    struct sv others;
    TRY(json_members_without(ctx, body, own, &others));
    *out = others.p ? arena_printf(ctx->arena, "{\"openai\":%.*s}", SV_ARG(others)) : SV_NONE;
    return out->p || !others.p ? ERR_NONE : ctx_nomem(ctx);
}

enum err openai_read_body(struct request_ctx *ctx, const struct json_doc *doc,
                          struct openai_body *out)
{
    *out = (struct openai_body){.items = json_doc_member(doc, doc->nodes, SV("items")),
                                .metadata = json_doc_member(doc, doc->nodes, SV("metadata"))};
    out->metadata_given = out->metadata != NULL;
    if (out->items && out->items->type == JSON_IS_NULL)
        out->items = NULL;
    if (out->metadata && out->metadata->type == JSON_IS_NULL)
        out->metadata = NULL;
    if (out->items && out->items->type != JSON_IS_ARRAY)
        return api_bad_field(ctx, "", "items", "must be an array.");
    if (out->metadata && out->metadata->type != JSON_IS_OBJECT)
        return api_bad_field(ctx, "", "metadata", "must be an object.");
    TRY(api_check_metadata(ctx, doc, out->metadata, ""));
    return write_context(ctx, doc->nodes->raw, &out->context);
}

/* A member that must be a string; absent if it is missing or null. */
static enum err read_text_member(struct request_ctx *ctx, const struct json_doc *doc,
                                 const struct json_node *item, const char *path, const char *name,
                                 struct sv *out)
{
    const struct json_node *node = json_doc_member(doc, item, sv_from(name));
    *out = SV_NONE;
    if (!node || node->type == JSON_IS_NULL)
        return ERR_NONE;
    if (node->type != JSON_IS_STRING)
        return api_bad_field(ctx, path, name, "must be a string.");
    return json_doc_string(ctx, node, out);
}

static enum err read_message(struct request_ctx *ctx, const struct json_doc *doc,
                             const struct json_node *item, const char *path,
                             struct session_message_draft *out)
{
    static const char *const own[] = {"id", "type", "role", "content", NULL};
    const struct json_node *content = json_doc_member(doc, item, SV("content"));
    TRY(read_text_member(ctx, doc, item, path, "role", &out->role));
    TRY(api_check_name(ctx, path, "role", out->role));
    TRY(api_check_content(ctx, path, content));
    out->content = content->raw;
    return json_members_without(ctx, item->raw, own, &out->extra);
}

static enum err read_other(struct request_ctx *ctx, const struct json_node *item, const char *path,
                           struct session_message_draft *out)
{
    static const char *const own[] = {"id", "type", NULL};
    TRY(api_check_name(ctx, path, "type", out->type));
    if (sv_eq(out->type, SV("item_reference")))
        return api_bad_field(
            ctx, path, "type",
            "may not be item_reference: parley adds items, not references to them.");
    return json_members_without(ctx, item->raw, own, &out->extra);
}

static enum err read_item(struct request_ctx *ctx, const struct json_doc *doc,
                          const struct json_node *item, const char *path,
                          struct session_message_draft *out)
{
    *out = (struct session_message_draft){.metadata = SV("{}")};
    if (item->type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "invalid_field", path, "%s must be an object.", path);
    TRY(read_text_member(ctx, doc, item, path, "type", &out->type));
    TRY(read_text_member(ctx, doc, item, path, "id", &out->message_id));
    TRY(api_message_id(ctx, path, "id", &out->message_id));
    if (!out->type.p)
        out->type = SV("message");
    return sv_eq(out->type, SV("message")) ? read_message(ctx, doc, item, path, out)
                                           : read_other(ctx, item, path, out);
}

enum err openai_read_items(struct request_ctx *ctx, const struct json_doc *doc,
                           const struct json_node *items, int64_t max,
                           const struct session_message_draft **out, size_t *n)
{
    if (items->children > max)
        return ctx_fail(ctx, ERR_INVALID, "too_many_items", "items",
                        "items may hold at most %lld (PARLEY_ITEMS).", (long long)max);
    return api_read_drafts(ctx, doc, items, "items", read_item, out, n);
}

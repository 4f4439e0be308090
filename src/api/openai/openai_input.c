/* SPDX-License-Identifier: MIT */
/*
 * Reads bodies of OpenAI's clients into the structs of the session module. An item's type, role,
 * content and id become those of a message. All other members go into its extra, as they were
 * written, because some types of items are known to their clients only.
 */
#include "openai.h"

#include "parley/json/members.h"

enum err openai_read_body(const struct json_input *in, struct openai_body *out)
{
    static const char *const own[] = {"items", "metadata", "id", "object", "created_at", NULL};
    static const struct json_field fields[] = {
        {"items", JSON_ARRAY, JSON_NULLABLE, offsetof(struct openai_body, items), 0, 0},
        {"metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_CHECK_STORED,
         offsetof(struct openai_body, metadata), 0, 0}};
    struct sv others;
    *out = (struct openai_body){.metadata = SV("{}")};
    TRY(json_read(in, fields, JSON_REFUSED_IF_NEAR, out));
    if (!out->items && json_doc_member(in->doc, in->node, SV("messages")))
        return api_fail_field(in, "unknown_field", "messages",
                              "is no field. Did you mean `items`?");
    TRY(json_members_without(in->ctx, in->node->raw, own, &others));
    if (others.p)
        out->context = arena_printf(in->ctx->arena, "{\"openai\":%.*s}", SV_ARG(others));
    return out->context.p || !others.p ? ERR_NONE : ctx_nomem(in->ctx);
}

#define IN_MESSAGE(field) offsetof(struct session_message, field)
static const struct json_field item_fields[] = {
    {"type", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(type), 0, 0},
    {"id", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(message_id), 0, 0}};
/* Only of a message: */
static const struct json_field message_fields[] = {
    {"role", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(role), 0, 0},
    {"content", JSON_ANY_TEXT, 0, IN_MESSAGE(content), 0, 0}};

static enum err read_item(const struct json_input *in, struct session_message *out)
{
    static const char *const own[] = {"id", "type", "role", "content", NULL};
    static const char *const own_of_others[] = {"id", "type", NULL};
    *out = (struct session_message){.type = SV("message"), .metadata = SV("{}")};
    TRY(json_read(in, item_fields, JSON_IGNORED, out));
    TRY(api_message_id(in, "id", &out->message_id));
    TRY(api_check_name(in, "type", out->type));
    if (sv_eq(out->type, SV("item_reference")))
        return api_bad_field(
            in, "type", "may not be item_reference: parley adds items, not references to them.");
    if (!sv_eq(out->type, SV("message")))
        return json_members_without(in->ctx, in->node->raw, own_of_others, &out->extra);
    TRY(json_read(in, message_fields, JSON_IGNORED, out));
    TRY(api_check_role(in, out->role));
    TRY(api_check_content(in, &out->content));
    return json_members_without(in->ctx, in->node->raw, own, &out->extra);
}

enum err openai_read_items(const struct json_input *in, const struct json_node *items, int64_t max,
                           const struct session_message **out, size_t *n)
{
    if (items->children > max)
        return ctx_fail(in->ctx, ERR_INVALID, "too_many_items", "items",
                        "items may hold at most %lld (PARLEY_ITEMS).", (long long)max);
    return api_read_drafts(in, items, "items", read_item, out, n);
}

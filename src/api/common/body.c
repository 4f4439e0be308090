/* SPDX-License-Identifier: MIT */
/* Reads bodies: media type, JSON, and the checks that all interfaces have in common. */
#include "handler.h"

#include <stdio.h>

#include "parley/session/session_json.h"

enum err api_fail_field(const struct json_input *in, const char *slug, const char *field,
                        const char *why)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s%s", in->path, *in->path ? "." : "", field);
    return ctx_fail(in->ctx, ERR_INVALID, slug, name, "%s %s", name, why);
}

enum err api_choice(struct request_ctx *ctx, const char *slug, const char *field,
                    const struct names *choices, struct sv word, size_t *index)
{
    *index = names_index(choices, word);
    if (*index < choices->n)
        return ERR_NONE;
    return ctx_fail(ctx, ERR_INVALID, slug, field, "%s has no such value.%s", field,
                    names_hint(ctx->arena, choices, word));
}

enum err api_read_drafts(const struct json_input *body, const struct json_node *node,
                         const char *path, api_draft_reader *read,
                         const struct session_message **out, size_t *n)
{
    const bool many = node->type == JSON_IS_ARRAY;
    struct json_input message = {body->ctx, body->doc, node, path};
    *n = many ? node->children : 1;
    struct session_message *drafts = arena_array(body->ctx->arena, *n, sizeof(*drafts));
    if (!drafts)
        return ctx_nomem(body->ctx);
    *out = drafts;
    if (!many)
        return read(&message, drafts);
    message.node = json_doc_first(body->doc, node);
    for (size_t i = 0; i < *n; i++, message.node = json_doc_next(body->doc, message.node)) {
        char name[32];
        snprintf(name, sizeof(name), "%s[%zu]", path, i);
        message.path = name;
        TRY(read(&message, &drafts[i]));
    }
    return ERR_NONE;
}

enum err api_check_name(const struct json_input *in, const char *field, struct sv name)
{
    if (!name.p)
        return api_missing_field(in, field);
    if (name.n == 0 || name.n > API_NAME_MAX || !sv_all_of(name, "-_.:"))
        return api_bad_field(in, field, "must be 1 to 64 of A-Z a-z 0-9 - _ . :");
    return ERR_NONE;
}

enum err api_check_role(const struct json_input *in, struct sv role)
{
    static const char *const known[] = {
        "user", "assistant", "system",  "developer", "tool",   "function",     "human",
        "ai",   "chat",      "generic", "unknown",   "critic", "discriminator"};
    TRY(api_check_name(in, "role", role));
    if (!in->ctx->known_roles || names_index(&NAMES(known), role) < ARRAY_LEN(known))
        return ERR_NONE;
    const struct sv why = arena_printf(in->ctx->arena, "has no such value.%s",
                                       names_hint(in->ctx->arena, &NAMES(known), role));
    return why.p ? api_bad_field(in, "role", why.p) : ctx_nomem(in->ctx);
}

enum err api_check_content(const struct json_input *in, struct sv *content)
{
    if ((!content->p || sv_eq(*content, SV("null"))) &&
        session_has_content_elsewhere(in->node->raw)) {
        *content = SV("null");
        return ERR_NONE;
    }
    if (!content->p)
        return api_missing_field(in, "content");
    if (content->p[0] != '"' && content->p[0] != '[')
        return api_bad_field(in, "content", "must be a string or an array of parts.");
    return ERR_NONE;
}

enum err api_message_id(const struct json_input *in, const char *field, struct sv *id)
{
    if (id->p && !id_valid(*id))
        return api_bad_field(in, field, "must be " ID_RULE ".");
    return session_id_canonical(in->ctx, MESSAGE_PREFIX, id);
}

/* No charset but UTF-8 is named. Other parameters have no meaning for JSON. */
static bool is_utf8(struct sv params)
{
    bool ok = true;
    while (params.p) {
        struct sv value = sv_trim(sv_cut(&params, ';'));
        if (sv_eq_nocase(sv_cut(&value, '='), SV("charset")))
            ok =
                ok && (sv_eq_nocase(value, SV("utf-8")) || sv_eq_nocase(value, SV("utf8")) ||
                       sv_eq_nocase(value, SV("\"utf-8\"")) || sv_eq_nocase(value, SV("us-ascii")));
    }
    return ok;
}

/* See api_body_shape. */
static const struct json_shape items[] = {{NULL, NULL}};
static const struct json_shape messages[] = {
    {"id", json_nothing}, {"kwargs", json_nothing}, {NULL, NULL}};
static const struct json_shape thread_values[] = {{"messages", messages}, {NULL, NULL}};
static const struct json_shape update[] = {{"values", thread_values}, {NULL, NULL}};
static const struct json_shape superstep[] = {{"updates", update}, {NULL, NULL}};
const struct json_shape api_body_shape[] = {{"message", items},        {"messages", messages},
                                            {"items", items},          {"supersteps", superstep},
                                            {"values", thread_values}, {"checkpoint", json_nothing},
                                            {"ttl", json_nothing},     {"ids", json_nothing},
                                            {"select", json_nothing},  {NULL, NULL}};

enum err api_body(struct request_ctx *ctx, const struct http_request *req, enum api_body_kind kind,
                  struct json_doc *out)
{
    struct sv body = req->body, params = http_header_get(req, "content-type");
    const struct sv media = sv_trim(sv_cut(&params, ';'));
    if (body.n == 0 && kind == API_BODY_OPTIONAL)
        body = SV("{}");
    else if (body.n == 0)
        return ctx_fail(ctx, ERR_INVALID, "missing_body", "body", "A JSON object is needed.");
    else if (!sv_eq_nocase(media, SV("application/json")) &&
             !(kind == API_BODY_PATCH && sv_eq_nocase(media, SV("application/merge-patch+json"))))
        return ctx_fail(ctx, ERR_MEDIA_TYPE, NULL, "Content-Type",
                        kind == API_BODY_PATCH
                            ? "It must be application/merge-patch+json or application/json."
                            : "It must be application/json.");
    else if (!is_utf8(params))
        return ctx_fail(ctx, ERR_MEDIA_TYPE, NULL, "Content-Type", "The charset must be utf-8.");
    TRY(json_doc_parse(ctx, body, api_body_shape, out));
    if (out->nodes[0].type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "invalid_field", "body", "It must be a JSON object.");
    return ERR_NONE;
}

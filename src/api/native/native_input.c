/* SPDX-License-Identifier: MIT */
/* Reads bodies of the native interface into the structs of the session module. */
#include "native.h"

enum { LANGUAGE_MAX = 35 };

/* ---- messages ---- */

struct message_body {
    struct sv message_id, type, role;
    const struct json_node *content, *metadata, *extra;
};

static const struct json_field message_fields[] = {
    {"message_id", JSON_STRING, 0, offsetof(struct message_body, message_id), 1, SESSION_ID_MAX},
    {"type", JSON_STRING, 0, offsetof(struct message_body, type), 1, API_NAME_MAX},
    {"role", JSON_STRING, 0, offsetof(struct message_body, role), 1, API_NAME_MAX},
    {"content", JSON_ANY, 0, offsetof(struct message_body, content), 0, 0},
    {"metadata", JSON_OBJECT, 0, offsetof(struct message_body, metadata), 0, 0},
    {"extra", JSON_OBJECT, 0, offsetof(struct message_body, extra), 0, 0}};

/* An item of type "message" needs a role and a content of text or parts. Other types may have
 * neither, and their content may also be an object. */
static enum err check_message(const struct json_input *in, const struct message_body *m)
{
    const bool is_message = sv_eq(m->type, SV("message"));
    const bool is_object = m->content && m->content->type == JSON_IS_OBJECT;
    TRY(api_check_name(in, "type", m->type));
    if (m->role.p || is_message)
        TRY(api_check_name(in, "role", m->role));
    if (is_message || (m->content && !is_object))
        TRY(api_check_content(in, m->content));
    return ERR_NONE;
}

static enum err read_message(const struct json_input *in, struct session_message_draft *out)
{
    struct message_body m = {.type = SV("message")};
    TRY(json_read_object(in, message_fields, ARRAY_LEN(message_fields), &m));
    TRY(api_message_id(in, "message_id", &m.message_id));
    TRY(check_message(in, &m));
    TRY(api_check_metadata(in, m.metadata));
    *out = (struct session_message_draft){m.message_id,
                                          m.type,
                                          m.role,
                                          m.content ? m.content->raw : SV_NONE,
                                          m.metadata ? m.metadata->raw : SV("{}"),
                                          m.extra && m.extra->children ? m.extra->raw : SV_NONE};
    return ERR_NONE;
}

enum err native_read_messages(const struct json_input *body, struct session_append *out,
                              bool *single)
{
    static const struct json_field fields[] = {
        {"messages", JSON_ARRAY, JSON_REQUIRED, 0, 1, SESSION_MESSAGES_MAX}};
    const struct json_node *list = body->node;
    *single = json_doc_member(body->doc, body->node, SV("messages")) == NULL;
    if (!*single)
        TRY(json_read_object(body, fields, ARRAY_LEN(fields), &list));
    return api_read_drafts(body, list, *single ? "" : "messages", read_message, &out->messages,
                           &out->n_messages);
}

/* ---- sessions ---- */

struct members {
    struct sv session_id, user_id, language, expiry;
    int64_t ttl_seconds;
    size_t absolute; /* of expiry, once it is checked */
    const struct json_node *context, *metadata, *message, *messages;
};

static const struct json_field session_fields[] = {
    {"session_id", JSON_STRING, 0, offsetof(struct members, session_id), 1, SESSION_ID_MAX},
    {"user_id", JSON_STRING, JSON_NULLABLE, offsetof(struct members, user_id), 1, API_USER_MAX},
    {"language", JSON_STRING, 0, offsetof(struct members, language), 1, LANGUAGE_MAX},
    {"expiry", JSON_STRING, 0, offsetof(struct members, expiry), 0, 0},
    {"ttl_seconds", JSON_I64, 0, offsetof(struct members, ttl_seconds), 1, API_TTL_MAX},
    {"context", JSON_OBJECT, 0, offsetof(struct members, context), 0, 0},
    {"metadata", JSON_OBJECT, 0, offsetof(struct members, metadata), 0, 0},
    {"message", JSON_OBJECT, 0, offsetof(struct members, message), 0, 0},
    {"messages", JSON_ARRAY, 0, offsetof(struct members, messages), 0, SESSION_MESSAGES_MAX}};

static enum err check_session(const struct json_input *body, struct members *b, struct sv id)
{
    static const char *const expiries[] = {"sliding", "absolute"};
    TRY(b->session_id.p ? api_session_id(body->ctx, "session_id", &b->session_id) : ERR_NONE);
    if (b->session_id.p && id.p && !sv_eq(b->session_id, id))
        return api_bad_field(body, "session_id", "is not the one in the path.");
    if (b->user_id.p && !api_user_valid(b->user_id))
        return api_bad_field(body, "user_id", "must be " API_USER_RULE ".");
    if (!sv_all_of(b->language, "-_"))
        return api_bad_field(body, "language", "must be a language tag such as en or pt-BR.");
    TRY(api_choice(body->ctx, "invalid_field", "expiry", &NAMES(expiries), b->expiry,
                   &b->absolute));
    if (b->message && b->messages)
        return api_bad_field(body, "message", "and messages cannot both be given.");
    return ERR_NONE;
}

enum err native_read_draft(const struct json_input *body, struct sv id, struct session_draft *out)
{
    struct members b = {.language = SV("en"), .expiry = SV("sliding")};
    TRY(json_read_object(body, session_fields, ARRAY_LEN(session_fields), &b));
    TRY(check_session(body, &b, id));
    TRY(api_check_metadata(body, b.metadata));
    *out = (struct session_draft){.session_id = id.p ? id : b.session_id,
                                  .user_id = b.user_id,
                                  .language = b.language,
                                  .context = b.context ? b.context->raw : SV("{}"),
                                  .metadata = b.metadata ? b.metadata->raw : SV("{}"),
                                  .ttl_seconds = b.ttl_seconds,
                                  .sliding = !b.absolute};
    const struct json_node *first = b.message ? b.message : b.messages;
    return first ? api_read_drafts(body, first, b.message ? "message" : "messages", read_message,
                                   &out->messages, &out->n_messages)
                 : ERR_NONE;
}

static const struct json_field patch_fields[] = {
    {"user_id", JSON_STRING, JSON_NULLABLE, offsetof(struct members, user_id), 1, API_USER_MAX},
    {"language", JSON_STRING, JSON_NULLABLE, offsetof(struct members, language), 1, LANGUAGE_MAX},
    {"ttl_seconds", JSON_I64, JSON_NULLABLE, offsetof(struct members, ttl_seconds), 1, API_TTL_MAX},
    {"context", JSON_OBJECT, JSON_NULLABLE, offsetof(struct members, context), 0, 0},
    {"metadata", JSON_OBJECT, JSON_NULLABLE, offsetof(struct members, metadata), 0, 0}};

static struct sv member_of(const struct json_input *body, const char *name)
{
    const struct json_node *member = json_doc_member(body->doc, body->node, sv_from(name));
    return member ? member->raw : SV_NONE;
}

/* In a merge patch null removes a member; for these fields that brings the default back. */
enum err native_read_patch(const struct json_input *body, struct session_patch *out)
{
    struct members b = {.language = SV("en"), .expiry = SV("sliding")};
    TRY(json_read_object(body, patch_fields, ARRAY_LEN(patch_fields), &b));
    TRY(check_session(body, &b, SV_NONE));
    TRY(api_check_metadata(body, b.metadata));
    *out = (struct session_patch){.has_user_id = member_of(body, "user_id").p,
                                  .has_language = member_of(body, "language").p,
                                  .has_ttl = member_of(body, "ttl_seconds").p,
                                  .user_id = b.user_id,
                                  .language = b.language,
                                  .ttl_seconds = b.ttl_seconds,
                                  .context = member_of(body, "context"),
                                  .metadata = member_of(body, "metadata")};
    return ERR_NONE;
}

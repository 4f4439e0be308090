/* SPDX-License-Identifier: MIT */
/* Reads bodies of the native interface into the structs of the session module. */
#include "native.h"

#include <stdio.h>
#include <stdlib.h>

#include "parley/json/members.h"
#include "parley/session/session_json.h"

enum { LANGUAGE_MAX = 35 };
#define SEQ_MAX ((INT64_C(1) << 53) - 1) /* of a message that was stored elsewhere */

static struct sv member_of(const struct json_input *body, const char *name)
{
    const struct json_node *member = json_doc_member(body->doc, body->node, sv_from(name));
    return member ? member->raw : SV_NONE;
}

enum err native_stored_time(const struct json_input *in, const char *field, struct sv text,
                            int64_t *out)
{
    enum { SECONDS_MAX = 32, DATE_LEN = 10 };
    char z[CLOCK_RFC3339_MAX + 2] = "";
    if (!text.p || sv_eq(text, SV("null")))
        return ERR_NONE;
    if (text.p[0] != '"') {
        /* strtod ends at the comma or bracket that follows. */
        const double seconds = strtod(text.p, NULL);
        if (text.n > SECONDS_MAX || !(seconds > 0 && seconds < SESSION_ANY_TIME / 1e6))
            return api_bad_field(in, field, "must be a time of RFC 3339, or seconds since 1970.");
        *out = (int64_t)(seconds * 1e6);
        return ERR_NONE;
    }
    const struct sv time = {text.p + 1, text.n - 2};
    if (time.n <= CLOCK_RFC3339_MAX)
        snprintf(z, sizeof(z), "%.*sZ", SV_ARG(time));
    if (z[DATE_LEN] == ' ') /* as Python's str() writes it */
        z[DATE_LEN] = 'T';
    if (!clock_read_rfc3339((struct sv){z, time.n}, out) && !clock_read_rfc3339(sv_from(z), out))
        return api_bad_field(in, field, "must be a time of RFC 3339.");
    return ERR_NONE;
}

/* ---- messages ---- */

struct sent_message {
    struct session_message draft;
    struct sv created_at, edited_at; /* JSON text */
    struct sv unused; /* of the chat members only the types are checked; read_chat takes them */
};
#define IN_MESSAGE(field) offsetof(struct sent_message, draft.field)
#define UNUSED            offsetof(struct sent_message, unused), 0, 0
static const struct json_field message_fields[] = {
    {"message_id", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(message_id), 1, ID_MAX},
    {"type", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(type), 1, API_NAME_MAX},
    {"role", JSON_STRING, JSON_NULLABLE, IN_MESSAGE(role), 1, API_NAME_MAX},
    {"content", JSON_ANY_TEXT, 0, IN_MESSAGE(content), 0, 0},
    {"metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_CHECK_STORED, IN_MESSAGE(metadata), 0, 0},
    {"extra", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_NOT_EMPTY, IN_MESSAGE(extra), 0, 0},
    {"tokens", JSON_I64_TEXT, JSON_NULLABLE, IN_MESSAGE(tokens), 0, INT32_MAX},
    {"name", JSON_STRING_TEXT, JSON_NULLABLE, UNUSED},
    {"tool_calls", JSON_ARRAY, JSON_NULLABLE, UNUSED},
    {"tool_call_id", JSON_STRING_TEXT, JSON_NULLABLE, UNUSED},
    {"function_call", JSON_OBJECT, JSON_NULLABLE, UNUSED},
    {"refusal", JSON_STRING_TEXT, JSON_NULLABLE, UNUSED},
    {"audio", JSON_OBJECT, JSON_NULLABLE, UNUSED},
    {"annotations", JSON_ARRAY, JSON_NULLABLE, UNUSED},
    /* Only of a stored message: */
    {"seq", JSON_I64, JSON_NULLABLE, IN_MESSAGE(seq), 1, SEQ_MAX},
    {"created_at", JSON_ANY_TEXT, 0, offsetof(struct sent_message, created_at), 0, 0},
    {"edited_at", JSON_ANY_TEXT, 0, offsetof(struct sent_message, edited_at), 0, 0}};
enum { SENT_FIELDS = ARRAY_LEN(message_fields) - 3 };

/* The members of OpenAI's chat format go into extra. */
static enum err read_chat(const struct json_input *in, struct session_message *out)
{
    struct buf b;
    struct json_writer j = {.b = &b};
    buf_init(&b, in->ctx->arena, 0);
    for (const char *const *name = session_chat_members; *name; name++) {
        const struct json_node *m = json_doc_member(in->doc, in->node, sv_from(*name));
        if (!m)
            continue;
        if (!sv_eq(out->type, SV("message")))
            return api_bad_field(in, *name, "is only for type message: put it into extra.");
        if (json_member_get(out->extra, *name).p)
            return api_bad_field(in, *name, "is in extra as well: send it once.");
        if (b.n == 0)
            json_write_object_open(&j);
        json_put_raw(&j, *name, m->raw);
    }
    if (b.n == 0 && !b.failed)
        return ERR_NONE;
    json_members_write(&j, out->extra, NULL);
    json_write_object_close(&j);
    out->extra = buf_get(&b);
    return b.failed ? ctx_nomem(in->ctx) : ERR_NONE;
}

/* An item of type "message" needs a role and a content of text or parts. Other types may have
 * neither, and their content may also be an object. */
static enum err read_fields(const struct json_input *in, size_t n_fields, enum json_unknown unknown,
                            struct session_message *out)
{
    struct sent_message sent = {.draft = {.type = SV("message"), .metadata = SV("{}")}};
    struct session_message *m = &sent.draft;
    TRY(json_read_fields(in, message_fields, n_fields, unknown, &sent));
    const bool is_message = sv_eq(m->type, SV("message"));
    if (!is_message && sv_eq(m->content, SV("null")))
        m->content = SV_NONE;
    TRY(api_message_id(in, "message_id", &m->message_id));
    TRY(api_check_name(in, "type", m->type));
    if (m->role.p || is_message)
        TRY(api_check_role(in, m->role));
    if (is_message || (m->content.p && m->content.p[0] != '{'))
        TRY(api_check_content(in, &m->content));
    TRY(native_stored_time(in, "created_at", sent.created_at, &m->created_at));
    TRY(native_stored_time(in, "edited_at", sent.edited_at, &m->edited_at));
    *out = *m;
    return read_chat(in, out);
}

static enum err read_message(const struct json_input *in, struct session_message *out)
{
    return read_fields(in, SENT_FIELDS, JSON_REFUSED, out);
}

enum err native_read_stored_message(const struct json_input *in, struct session_message *out)
{
    return read_fields(in, ARRAY_LEN(message_fields), JSON_REFUSED, out);
}

enum err native_read_foreign_message(const struct json_input *in, struct session_message *out)
{
    const char *known[ARRAY_LEN(message_fields) + 1] = {NULL};
    struct sv more;
    TRY(read_fields(in, ARRAY_LEN(message_fields), JSON_IGNORED, out));
    for (size_t i = 0; i < ARRAY_LEN(message_fields); i++)
        known[i] = message_fields[i].name;
    TRY(json_members_without(in->ctx, in->node->raw, known, &more));
    return more.p ? json_merge(in->ctx, more, out->extra, JSON_MERGE_OVERLAY, &out->extra)
                  : ERR_NONE;
}

/* The members stay JSON text: what null does depends on the stored message. */
enum err native_read_message_patch(const struct json_input *body, struct session_message *out)
{
    static const size_t first = 3; /* of the fields that a patch may have, in message_fields */
    struct sent_message sent = {.unused = SV_NONE};
    TRY(json_read_fields(body, message_fields + first, 4, JSON_REFUSED, &sent));
    *out = (struct session_message){.content = member_of(body, "content"),
                                    .metadata = member_of(body, "metadata"),
                                    .extra = member_of(body, "extra"),
                                    .tokens = member_of(body, "tokens")};
    return ERR_NONE;
}

enum err native_read_messages(const struct json_input *body, struct session_append *out,
                              bool *single)
{
    struct lists {
        const struct json_node *message, *messages;
    } b = {NULL, NULL};
    static const struct json_field fields[] = {
        {"message", JSON_OBJECT, JSON_NULLABLE, offsetof(struct lists, message), 0, 0},
        {"messages", JSON_ARRAY, JSON_NULLABLE, offsetof(struct lists, messages), 1,
         SESSION_MESSAGES_MAX}};
    if (json_doc_member(body->doc, body->node, SV("messages")) ||
        json_doc_member(body->doc, body->node, SV("message"))) {
        TRY(json_read(body, fields, JSON_REFUSED, &b));
        if (!b.message == !b.messages)
            return api_bad_field(body, "message", "or messages must be given, and not both.");
    }
    const struct json_node *one = b.message ? b.message : body->node;
    const char *path = b.message ? "message" : b.messages ? "messages" : "";
    *single = b.messages == NULL;
    return api_read_drafts(body, *single ? one : b.messages, path, read_message, &out->messages,
                           &out->n_messages);
}

/* ---- sessions ---- */

struct members {
    struct session_draft draft;
    struct sv expiry;
    const struct json_node *message, *messages;
};

#define IN_DRAFT(field) offsetof(struct members, draft.field)
#define SESSION_FIELDS(type, field)                                                            \
    {"session_id", JSON_STRING, JSON_NULLABLE, field(session_id), 1, SESSION_ID_MAX},          \
        {"user_id", JSON_STRING, JSON_NULLABLE, field(user_id), 1, ID_MAX},                    \
        {"language", JSON_STRING, JSON_NULLABLE, field(language), 1, LANGUAGE_MAX},            \
        {"expiry", JSON_STRING, JSON_NULLABLE, offsetof(type, expiry), 0, 0},                  \
        {"ttl_seconds", JSON_I64, JSON_NULLABLE, field(ttl_seconds), 1, API_TTL_MAX},          \
        {"context", JSON_OBJECT_TEXT, JSON_NULLABLE, field(context), 0, 0},                    \
    {                                                                                          \
        "metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_CHECK_STORED, field(metadata), 0, 0 \
    }
static const struct json_field session_fields[] = {
    SESSION_FIELDS(struct members, IN_DRAFT),
    {"message", JSON_OBJECT, JSON_NULLABLE, offsetof(struct members, message), 0, 0},
    {"messages", JSON_ARRAY, JSON_NULLABLE, offsetof(struct members, messages), 0,
     SESSION_MESSAGES_MAX}};

static enum err check_owner_and_language(const struct json_input *body, struct sv user,
                                         struct sv language)
{
    if (user.p && !auth_user_valid(user))
        return api_bad_field(body, "user_id", "must be " AUTH_USER_RULE ".");
    if (!sv_all_of(language, "-_"))
        return api_bad_field(body, "language", "must be a language tag such as en or pt-BR.");
    return ERR_NONE;
}

/* user: from X-Parley-User or the key. given: from the body. */
static enum err check_user(const struct json_input *body, struct sv user, struct sv given)
{
    const bool bound = user.p || body->ctx->only_session.p;
    if (!bound || (given.p && sv_eq(given, user)))
        return ERR_NONE;
    return ctx_fail(body->ctx, ERR_INVALID, "user_mismatch", "user_id",
                    "user_id is not the user of X-Parley-User, the key or the token.");
}

static enum err read_expiry(const struct json_input *body, struct sv word, bool *sliding)
{
    static const char *const expiries[] = {"sliding", "absolute"};
    size_t absolute;
    TRY(api_choice(body->ctx, "invalid_field", "expiry", &NAMES(expiries), word, &absolute));
    *sliding = !absolute;
    return ERR_NONE;
}

enum err native_read_draft(const struct json_input *body, struct sv id, struct sv user,
                           struct session_draft *out)
{
    struct members b = {.draft = {.language = SV("en"), .context = SV("{}"), .metadata = SV("{}")},
                        .expiry = SV("sliding")};
    TRY(json_read(body, session_fields, JSON_REFUSED, &b));
    TRY(api_session_id(body->ctx, "session_id", &b.draft.session_id));
    if (b.draft.session_id.p && id.p && !sv_eq(b.draft.session_id, id))
        return api_bad_field(body, "session_id", "is not the one in the path.");
    TRY(check_owner_and_language(body, b.draft.user_id, b.draft.language));
    TRY(read_expiry(body, b.expiry, &b.draft.sliding));
    if (b.message && b.messages)
        return api_bad_field(body, "message", "and messages cannot both be given.");
    *out = b.draft;
    if (id.p)
        out->session_id = id;
    if (out->user_id.p)
        TRY(check_user(body, user, out->user_id));
    if (user.p)
        out->user_id = user;
    if (!b.message && !b.messages)
        return ERR_NONE;
    return api_read_drafts(body, b.message ? b.message : b.messages,
                           b.message ? "message" : "messages", read_message, &out->messages,
                           &out->n_messages);
}

struct stored_session {
    struct session session;
    struct sv expiry, id, created_at, updated_at, expires_at;
    const struct json_node *messages, *summary, *forked_from;
};
#define IN_STORED(field)  offsetof(struct stored_session, session.field)
#define OF_STORED(member) offsetof(struct stored_session, member), 0, 0
/* Also of the state of a user, which is read into context. Other members, such as version, are not
 * kept. */
static const struct json_field stored_fields[] = {
    SESSION_FIELDS(struct stored_session, IN_STORED),
    {"id", JSON_STRING, JSON_NULLABLE, offsetof(struct stored_session, id), 1, SESSION_ID_MAX},
    {"created_at", JSON_ANY_TEXT, 0, OF_STORED(created_at)},
    {"updated_at", JSON_ANY_TEXT, 0, OF_STORED(updated_at)},
    {"expires_at", JSON_ANY_TEXT, 0, OF_STORED(expires_at)},
    {"state", JSON_OBJECT_TEXT, JSON_NULLABLE, IN_STORED(context), 0, 0},
    {"summary", JSON_OBJECT, JSON_NULLABLE, OF_STORED(summary)},
    {"forked_from", JSON_OBJECT, JSON_NULLABLE, OF_STORED(forked_from)},
    {"messages", JSON_ARRAY, JSON_NULLABLE, OF_STORED(messages)}};

/* As parley writes them. summary and forked_from may be NULL. */
static enum err check_objects(const struct json_input *in, const struct json_node *summary,
                              const struct json_node *forked_from)
{
    struct members {
        struct session_message m;
        struct sv id, stale, created_at;
    } b = {.id = SV_NONE};
    static const struct json_field origin_fields[] = {
        {"session_id", JSON_STRING, JSON_REQUIRED, offsetof(struct members, id), 1, SESSION_ID_MAX},
        {"last_seq", JSON_I64, JSON_REQUIRED, offsetof(struct members, m.seq), 0, SEQ_MAX}};
    static const struct json_field summary_fields[] = {
        {"last_seq", JSON_I64, JSON_REQUIRED, offsetof(struct members, m.seq), 1, SEQ_MAX},
        {"content", JSON_ANY_TEXT, JSON_REQUIRED, offsetof(struct members, m.content), 0, 0},
        {"tokens", JSON_I64_TEXT, JSON_NULLABLE, offsetof(struct members, m.tokens), 0, INT32_MAX},
        {"stale", JSON_ANY_TEXT, JSON_REQUIRED, offsetof(struct members, stale), 0, 0},
        {"created_at", JSON_ANY_TEXT, JSON_REQUIRED, offsetof(struct members, created_at), 0, 0}};
    const struct json_input origin = {in->ctx, in->doc, forked_from, "forked_from"};
    const struct json_input of_summary = {in->ctx, in->doc, summary, "summary"};
    if (forked_from)
        TRY(json_read(&origin, origin_fields, JSON_REFUSED, &b));
    if (!summary)
        return ERR_NONE;
    TRY(json_read(&of_summary, summary_fields, JSON_REFUSED, &b));
    if (!sv_eq(b.stale, SV("true")) && !sv_eq(b.stale, SV("false")))
        return api_bad_field(&of_summary, "stale", "must be true or false.");
    if (b.created_at.p[0] != '"')
        return api_bad_field(&of_summary, "created_at", "must be a time of RFC 3339.");
    TRY(native_stored_time(&of_summary, "created_at", b.created_at, &b.m.created_at));
    return api_check_content(&of_summary, &b.m.content);
}

enum err native_read_stored_session(const struct json_input *in, struct session *out,
                                    const struct json_node **messages)
{
    struct stored_session b = {.session = *out, .expiry = SV("sliding")};
    TRY(json_read(in, stored_fields, JSON_REFUSED_IF_NEAR, &b));
    *out = b.session;
    *messages = b.messages;
    if (!out->session_id.p)
        out->session_id = b.id;
    TRY(api_session_id(in->ctx, "session_id", &out->session_id));
    TRY(check_owner_and_language(in, out->user_id, out->language));
    TRY(read_expiry(in, b.expiry, &out->sliding));
    TRY(check_objects(in, b.summary, b.forked_from));
    out->summary = b.summary ? b.summary->raw : SV_NONE;
    out->forked_from = b.forked_from ? b.forked_from->raw : SV_NONE;
    TRY(native_stored_time(in, "created_at", b.created_at, &out->created_at));
    TRY(native_stored_time(in, "updated_at", b.updated_at, &out->updated_at));
    return native_stored_time(in, "expires_at", b.expires_at, &out->expires_at);
}

#define IN_PATCH(field) offsetof(struct session_patch, field)
static const struct json_field patch_fields[] = {
    {"user_id", JSON_STRING, JSON_NULLABLE, IN_PATCH(user_id), 1, ID_MAX},
    {"language", JSON_STRING, JSON_NULLABLE, IN_PATCH(language), 1, LANGUAGE_MAX},
    {"ttl_seconds", JSON_I64, JSON_NULLABLE, IN_PATCH(ttl_seconds), 1, API_TTL_MAX},
    {"context", JSON_OBJECT_TEXT, JSON_NULLABLE, IN_PATCH(context), 0, 0},
    {"metadata", JSON_OBJECT_TEXT, JSON_NULLABLE | JSON_CHECK_STORED, IN_PATCH(metadata), 0, 0}};

/* In a merge patch null removes a member; for these fields that brings the default back. */
enum err native_read_patch(const struct json_input *body, struct session_patch *out)
{
    *out = (struct session_patch){.language = SV("en")};
    TRY(json_read(body, patch_fields, JSON_REFUSED, out));
    TRY(check_owner_and_language(body, out->user_id, out->language));
    out->has_user_id = member_of(body, "user_id").p;
    /* With X-Parley-User a client may give a session to another user; with a restricted key not. */
    if (out->has_user_id)
        TRY(check_user(body, body->ctx->only_user, out->user_id));
    out->has_language = member_of(body, "language").p;
    out->has_ttl = member_of(body, "ttl_seconds").p;
    out->context = member_of(body, "context"); /* also null */
    out->metadata = member_of(body, "metadata");
    return ERR_NONE;
}

#define IN_FORK(field) offsetof(struct session_fork, field)
static const struct json_field fork_fields[] = {
    {"session_id", JSON_STRING, JSON_NULLABLE, IN_FORK(session_id), 1, SESSION_ID_MAX},
    {"last_seq", JSON_I64, JSON_NULLABLE, IN_FORK(last_seq), 0, INT64_MAX},
    {"user_id", JSON_STRING, JSON_NULLABLE, IN_FORK(user_id), 1, ID_MAX},
    {"context", JSON_OBJECT_TEXT, JSON_NULLABLE, IN_FORK(context), 0, 0}};

enum err native_read_fork(const struct json_input *body, struct sv user, struct session_fork *out)
{
    *out = (struct session_fork){.last_seq = -1};
    TRY(json_read(body, fork_fields, JSON_REFUSED, out));
    TRY(api_session_id(body->ctx, "session_id", &out->session_id));
    TRY(check_owner_and_language(body, out->user_id, SV("en")));
    out->has_user_id = member_of(body, "user_id").p;
    return out->has_user_id ? check_user(body, user, out->user_id) : ERR_NONE;
}

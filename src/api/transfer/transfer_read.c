/* SPDX-License-Identifier: MIT */
/* Reads the lines of parley import. The readers of the interfaces read the messages, so that an
 * import accepts what they accept, and stores it as they do. */
#include "transfer_internal.h"

#include "api/langgraph/langgraph.h"
#include "parley/base/encode.h"
#include "parley/json/members.h"

const char *const transfer_names[TRANSFER_FORMATS] = {"parley", "chat", "langchain", "chatgpt"};

/* ---- lines of parley and of LangChain ---- */

struct line {
    struct transfer t;
    struct sv session_id, position;
    const struct json_node *session, *message, *state, *complete;
};
#define IN(member) JSON_NULLABLE, offsetof(struct line, member)
static const struct json_field line_fields[] = {
    {"tenant", JSON_STRING, IN(t.tenant), 0, 0},
    {"position", JSON_STRING, IN(position), 0, 0},
    {"session", JSON_OBJECT, IN(session), 0, 0},
    {"session_id", JSON_STRING, IN(session_id), 0, 0},
    {"message", JSON_OBJECT, IN(message), 0, 0},
    {"user_state", JSON_OBJECT, IN(state), 0, 0},
    {"complete", JSON_ANY, IN(complete), 0, 0},
    {"sessions", JSON_I64, IN(t.end_sessions), 0, INT64_MAX},
    {"messages", JSON_I64, IN(t.end_messages), 0, INT64_MAX}};

static enum err read_line(const struct json_input *in, enum transfer_format format,
                          struct transfer *out)
{
    struct line b = {.t = *out};
    const struct json_node *nested;
    TRY(json_read(in, line_fields, JSON_REFUSED, &b));
    *out = b.t;
    if ((b.state != NULL) + (b.session != NULL) + (b.complete != NULL) + (b.message != NULL) > 1)
        return ctx_fail(in->ctx, ERR_INVALID, "invalid_field", NULL,
                        "A line has one of session, message, user_state and complete.");
    if (b.t.tenant.p && !auth_tenant_valid(b.t.tenant))
        return api_bad_field(in, "tenant", "must be 1 to 64 of A-Z a-z 0-9 . _ -");
    if (b.state) {
        const struct json_input state = {in->ctx, in->doc, b.state, "user_state"};
        out->kind = TRANSFER_STATE;
        out->is_exported = b.t.tenant.p && json_member_get(b.state->raw, "version").p;
        TRY(native_read_stored_session(&state, &out->session, &nested));
        return out->session.user_id.p ? ERR_NONE : api_missing_field(&state, "user_id");
    }
    if (b.session) {
        const struct json_input session = {in->ctx, in->doc, b.session, "session"};
        out->is_exported = b.t.tenant.p && b.position.p;
        TRY(native_read_stored_session(&session, &out->session, &nested));
        if (!out->session.session_id.p)
            return api_missing_field(&session, "session_id");
        if (nested)
            return api_bad_field(&session, "messages", "have lines of their own.");
        return ERR_NONE;
    }
    if (b.complete) {
        out->kind = TRANSFER_END;
        return ERR_NONE;
    }
    if (!b.message)
        return api_missing_field(in, "message");
    if (!b.session_id.p)
        return api_missing_field(in, "session_id");
    out->kind = TRANSFER_MESSAGES;
    out->session.session_id = b.session_id;
    TRY(api_session_id(in->ctx, "session_id", &out->session.session_id));
    return api_read_drafts(in, b.message, "message",
                           format == TRANSFER_LANGCHAIN ? langgraph_read_message
                                                        : native_read_stored_message,
                           &out->messages, &out->n_messages);
}

/* ---- lines with a whole session ---- */

/* The same line has the same id, so that the import can be repeated. */
static enum err make_id(struct request_ctx *ctx, struct sv line, struct sv *out)
{
    enum { BYTES = 15 };
    unsigned char hash[SHA256_LEN];
    char id[BASE64URL_LEN(BYTES) + 1];
    sha256_parts(&line, 1, hash);
    base64url_write(hash, BYTES, id);
    *out = arena_printf(ctx->arena, "import-%s", id);
    return out->p ? ERR_NONE : ctx_nomem(ctx);
}

static enum err read_chat(const struct json_input *in, struct transfer *out)
{
    const struct json_node *messages;
    TRY(native_read_stored_session(in, &out->session, &messages));
    if (!messages)
        return api_missing_field(in, "messages");
    if (!out->session.session_id.p)
        TRY(make_id(in->ctx, in->node->raw, &out->session.session_id));
    return api_read_drafts(in, messages, "messages", native_read_foreign_message, &out->messages,
                           &out->n_messages);
}

enum err transfer_read(struct request_ctx *ctx, enum transfer_format format, struct sv record,
                       struct transfer *out)
{
    static const struct json_shape message[] = {
        {"id", json_nothing}, {"kwargs", json_nothing}, {NULL, NULL}};
    static const struct json_shape flat[] = {{NULL, NULL}};
    static const struct json_shape session[] = {
        {"summary", flat}, {"forked_from", flat}, {NULL, NULL}};
    static const struct json_shape line[] = {
        {"session", session}, {"message", message}, {"messages", flat},    {"mapping", flat},
        {"user_state", flat}, {"summary", flat},    {"forked_from", flat}, {NULL, NULL}};
    struct json_doc doc;
    *out = (struct transfer){.kind = TRANSFER_BEGINS,
                             .session = {.language = SV("en"),
                                         .context = SV("{}"),
                                         .metadata = SV("{}"),
                                         .expires_at = SESSION_ANY_TIME,
                                         .sliding = true}};
    TRY(json_doc_parse(ctx, record, line, &doc));
    if (doc.nodes[0].type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "invalid_field", NULL, "It must be a JSON object.");
    const struct json_input in = {ctx, &doc, doc.nodes, ""};
    return format == TRANSFER_CHATGPT ? transfer_read_chatgpt(&in, out)
           : format == TRANSFER_CHAT  ? read_chat(&in, out)
                                      : read_line(&in, format, out);
}

/* SPDX-License-Identifier: MIT */
/* Reads the lines of parley import. The readers of the interfaces read the messages, so that an
 * import accepts what they accept, and stores it as they do. */
#include "transfer_internal.h"

#include <string.h>

#include "api/langgraph/langgraph.h"
#include "parley/base/encode.h"
#include "parley/json/members.h"

const char *const transfer_names[TRANSFER_FORMATS] = {"parley", "chat", "langchain", "chatgpt"};

/* ---- lines of parley and of LangChain ---- */

struct line {
    struct sv tenant, session_id, position;
    const struct json_node *session, *message, *state, *complete, *sessions, *messages;
};
#define NODE(member) JSON_NULLABLE, offsetof(struct line, member), 0, 0
static const struct json_field line_fields[] = {
    {"tenant", JSON_STRING, NODE(tenant)},   {"position", JSON_STRING, NODE(position)},
    {"session", JSON_OBJECT, NODE(session)}, {"session_id", JSON_STRING, NODE(session_id)},
    {"message", JSON_OBJECT, NODE(message)}, {"user_state", JSON_OBJECT, NODE(state)},
    {"complete", JSON_ANY, NODE(complete)},  {"sessions", JSON_ANY, NODE(sessions)},
    {"messages", JSON_ANY, NODE(messages)}};

/* One message, in the arena. */
static enum err read_one(const struct json_input *in, enum transfer_format format,
                         struct session *out)
{
    struct session_message *m = arena_alloc(in->ctx->arena, sizeof(*m));
    if (!m)
        return ctx_nomem(in->ctx);
    out->messages = m;
    out->n_messages = 1;
    return format == TRANSFER_LANGCHAIN ? langgraph_read_message(in, m)
                                        : native_read_stored_message(in, false, m);
}

static enum err read_line(const struct json_input *in, enum transfer_format format,
                          struct transfer *out)
{
    struct line b = {.tenant = SV_NONE};
    const struct json_node *nested;
    TRY(json_read(in, line_fields, JSON_REFUSED, &b));
    out->tenant = b.tenant;
    if (b.tenant.p && !auth_tenant_valid(b.tenant))
        return api_bad_field(in, "tenant", "must be 1 to 64 of A-Z a-z 0-9 . _ -");
    if (b.state) {
        const struct json_input state = {in->ctx, in->doc, b.state, "user_state"};
        out->kind = TRANSFER_STATE;
        TRY(native_read_stored_session(&state, &out->session, &nested));
        return out->session.user_id.p ? ERR_NONE : api_missing_field(&state, "user_id");
    }
    if (b.session) {
        const struct json_input session = {in->ctx, in->doc, b.session, "session"};
        TRY(native_read_stored_session(&session, &out->session, &nested));
        if (!out->session.session_id.p)
            return api_missing_field(&session, "session_id");
        if (nested)
            return api_bad_field(&session, "messages", "have lines of their own.");
        return ERR_NONE;
    }
    if (b.complete) {
        out->kind = TRANSFER_NOTHING;
        return ERR_NONE;
    }
    if (!b.message)
        return api_missing_field(in, "message");
    if (!b.session_id.p)
        return api_missing_field(in, "session_id");
    out->kind = TRANSFER_MESSAGES;
    out->session = (struct session){.session_id = b.session_id};
    TRY(api_session_id(in->ctx, "session_id", &out->session.session_id));
    return read_one(&(struct json_input){in->ctx, in->doc, b.message, "message"}, format,
                    &out->session);
}

/* ---- lines with a whole session ---- */

static enum err read_chat_message(const struct json_input *in, struct session_message *out)
{
    return native_read_stored_message(in, true, out);
}

/* The same text has the same id, so that the import can be repeated. */
static enum err make_id(struct request_ctx *ctx, struct sv text, struct sv *out)
{
    enum { BYTES = 15 };
    unsigned char hash[SHA256_LEN];
    char id[BASE64URL_LEN(BYTES) + 1];
    sha256_parts(&text, 1, hash);
    base64url_write(hash, BYTES, id);
    *out = arena_printf(ctx->arena, "import-%s", id);
    return out->p ? ERR_NONE : ctx_nomem(ctx);
}

static enum err read_chat(const struct json_input *in, struct session *x)
{
    const struct json_node *messages;
    const struct session_message *read;
    TRY(native_read_stored_session(in, x, &messages));
    if (!messages)
        return api_missing_field(in, "messages");
    if (!x->session_id.p)
        TRY(make_id(in->ctx, in->node->raw, &x->session_id));
    TRY(api_read_drafts(in, messages, "messages", read_chat_message, &read, &x->n_messages));
    x->messages = arena_array(in->ctx->arena, x->n_messages, sizeof(*x->messages));
    if (!x->messages)
        return ctx_nomem(in->ctx);
    memcpy(x->messages, read, x->n_messages * sizeof(*read));
    return ERR_NONE;
}

enum err transfer_read(struct request_ctx *ctx, enum transfer_format format, struct sv text,
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
    *out = (struct transfer){.kind = TRANSFER_BEGINS};
    TRY(json_doc_parse(ctx, text, line, &doc));
    if (doc.nodes[0].type != JSON_IS_OBJECT)
        return ctx_fail(ctx, ERR_INVALID, "invalid_field", NULL, "It must be a JSON object.");
    const struct json_input in = {ctx, &doc, doc.nodes, ""};
    return format == TRANSFER_CHATGPT ? transfer_read_chatgpt(&in, &out->session)
           : format == TRANSFER_CHAT  ? read_chat(&in, &out->session)
                                      : read_line(&in, format, out);
}

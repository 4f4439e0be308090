/* SPDX-License-Identifier: MIT */
/* Handlers of /v1/sessions and /v1/sessions/{id}. */
#include "native.h"

#include <inttypes.h>

#include "parley/session/session_json.h"

static void open_session(struct json_writer *j, const struct session *s)
{
    json_write_object_open(j);
    session_json_members(j, s, NULL);
    api_write_degraded(j, s->degraded);
}

void native_write_session(struct json_writer *j, const struct session *s)
{
    open_session(j, s);
    json_write_object_close(j);
}

bool native_write_truncated(struct json_writer *j, size_t n, size_t asked, int64_t message_count)
{
    const bool cut = n < asked && (int64_t)n < message_count;
    if (cut)
        json_put_bool(j, "truncated", true);
    return cut;
}

/* A header holds ASCII alone. So each byte of the id is percent-encoded, unless it needs that in no
 * part of a URI. */
enum err native_location(struct api_call *c, struct sv id, int64_t seq)
{
    struct buf where;
    buf_init(&where, c->ctx->arena, 64 + 3 * id.n);
    BUF_LIT(&where, "/v1/sessions/");
    for (size_t i = 0; i < id.n; i++)
        if (sv_all_of((struct sv){id.p + i, 1}, "._:-~"))
            buf_putc(&where, id.p[i]);
        else
            buf_printf(&where, "%%%02X", (unsigned char)id.p[i]);
    if (seq > 0)
        buf_printf(&where, "/messages/%" PRId64, seq);
    if (where.failed)
        return ctx_nomem(c->ctx);
    http_response_header(c->res, "Location", buf_get(&where));
    return ERR_NONE;
}

enum err native_answer_session(struct api_call *c, int status, size_t n)
{
    const struct session *s = &c->session;
    TRY(api_set_etag_session(c, n == 0 ? 's' : 'v'));
    if (c->res->status == 304)
        return ERR_NONE;
    struct json_writer j = api_begin(c->res, status);
    const size_t shown = s->n_messages < n ? s->n_messages : n;
    const struct session_message *first = shown > 0 ? &s->messages[s->n_messages - shown] : NULL;
    open_session(&j, s);
    if (native_write_truncated(&j, shown, n, s->message_count))
        json_put_i64(&j, "first_seq", first ? first->seq : s->last_seq + 1);
    json_write_key(&j, "messages");
    session_json_messages(&j, first, shown);
    native_write_with(&j, c);
    json_write_object_close(&j);
    return ERR_NONE;
}

/* A POST creates; a PUT, whose path has the id, gets or creates. */
enum err native_session_create(struct api_call *c)
{
    struct session_draft draft;
    TRY(native_read_draft(&c->body, c->id, c->precondition.user, &draft));
    TRY((c->id.p ? session_get_or_create : session_create)(
        c->sessions, c->ctx, &draft, &c->precondition, &c->session, &c->receipt));
    if (c->receipt.created)
        TRY(native_location(c, c->session.session_id, 0));
    return native_answer_session(c, c->receipt.status, SESSION_NEWEST);
}

const struct api_param native_session_params[] = {
    {"messages", 0, SESSION_MESSAGES_MAX, SESSION_NEWEST, {NULL}},
    {.name = "with", .choices = {"", "user_state"}},
    {.name = NULL}};

enum err native_session_get(struct api_call *c)
{
    const size_t n = (size_t)c->params[0];
    struct session *s = &c->session;
    TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, n, s));
    if (c->params[1]) {
        TRY(native_read_with(c, s->user_id, s->generation, s->degraded));
        s->mark ^= c->user_state.mark;
        s->state_mark ^= c->user_state.mark;
    }
    return native_answer_session(c, 200, n);
}

enum err native_session_patch(struct api_call *c)
{
    struct session_patch patch;
    TRY(native_read_patch(&c->body, &patch));
    TRY(session_patch(c->sessions, c->ctx, &c->target, &patch, &c->session));
    return native_answer_session(c, 200, 0);
}

/* SPDX-License-Identifier: MIT */
/* Handlers of /threads and /threads/{id}. */
#include "langgraph.h"

/* Reads all messages of the thread that a write returned; a write returns the newest ones, or none.
 * False if that fails. The write is done by then, so the answer is no error: it has no messages. */
static bool read_messages(struct api_call *c)
{
    struct session *s = &c->session, whole;
    if (s->n_messages == (size_t)s->message_count)
        return true;
    enum err e = session_get_again(c->sessions, c->ctx, s->session_id, s->generation,
                                   c->precondition.user, SESSION_MESSAGES_MAX, &whole);
    ctx_clear_error(c->ctx);
    if (e != ERR_NONE)
        return false;
    s->messages = whole.messages;
    s->n_messages = whole.n_messages;
    return true;
}

static enum err answer_thread(struct api_call *c, bool messages)
{
    struct json_writer j = api_begin(c->res, 200);
    langgraph_write_thread(&j, &c->session, LANGGRAPH_ALL | (messages ? LANGGRAPH_MESSAGES : 0));
    return api_set_etag_session(c);
}

enum err langgraph_thread_create(struct api_call *c)
{
    struct session_draft draft;
    bool get_or_create;
    TRY(langgraph_read_draft(c->ctx, &c->doc, &draft, &get_or_create));
    draft.user_id = c->precondition.user;
    TRY((get_or_create ? session_get_or_create : session_create)(
        c->sessions, c->ctx, &draft, &c->precondition, &c->session, &c->receipt));
    return answer_thread(c, read_messages(c));
}

enum err langgraph_thread_get(struct api_call *c)
{
    TRY(session_get(c->sessions, c->ctx, c->id, c->precondition.user, SESSION_MESSAGES_MAX,
                    &c->session));
    return answer_thread(c, true);
}

enum err langgraph_thread_patch(struct api_call *c)
{
    struct session_patch patch;
    TRY(langgraph_read_patch(c->ctx, &c->doc, &patch));
    TRY(session_patch(c->sessions, c->ctx, c->id, &patch, &c->precondition, &c->session,
                      &c->receipt));
    return answer_thread(c, read_messages(c));
}

enum err langgraph_thread_copy(struct api_call *c)
{
    enum err e =
        session_copy(c->sessions, c->ctx, c->id, &c->precondition, &c->session, &c->receipt);
    TRY(langgraph_too_slow(c->ctx, e, "copy_too_slow",
                           "The thread has more messages than can be copied in time; nothing was "
                           "changed."));
    return answer_thread(c, true);
}

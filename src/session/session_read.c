/* SPDX-License-Identifier: MIT */
/* Reads: a session, a page of messages, one message, a search. And the deletion of a message. */
#include "session_internal.h"

#include <string.h>

enum err session_get(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                     size_t n, struct session *out)
{
    enum err e = fresh_read(s, ctx, id, user, n, out);
    if (e == ERR_NONE && out->n_messages > n) {
        out->messages += out->n_messages - n;
        out->n_messages = n;
    }
    return e;
}

enum err session_get_again(struct sessions *s, struct request_ctx *ctx, struct sv id,
                           int64_t generation, struct sv user, size_t n, struct session *out)
{
    enum err e = session_get(s, ctx, id, user, n, out);
    return e == ERR_NONE && out->generation != generation ? session_not_found(ctx) : e;
}

/* Whether a cached session has the page: the newest messages, newest first. */
static bool window_has_page(const struct session_page_query *q)
{
    return q->after == 0 && q->before == 0 && !q->ascending && q->max_bytes == 0 &&
           q->limit <= SESSION_WINDOW;
}

static enum err page_of_window(struct request_ctx *ctx, const struct session *session, size_t limit,
                               struct session_page *out)
{
    size_t n = session->n_messages < limit ? session->n_messages : limit;
    out->messages = arena_array(ctx->arena, n, sizeof(*out->messages));
    if (!out->messages)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        out->messages[i] = session->messages[session->n_messages - 1 - i];
    out->n = n;
    out->has_more = (int64_t)n < session->message_count;
    out->generation = session->generation;
    out->version = session->version;
    out->mark = session->mark;
    out->degraded = session->degraded;
    return ERR_NONE;
}

enum err session_page(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                      const struct session_page_query *query, struct session_page *out)
{
    memset(out, 0, sizeof(*out));
    if (!s->cache || !window_has_page(query)) {
        TRY(fresh_reachable(s, ctx));
        const enum err e = sql_message_page(s, ctx, id, user, query, out);
        return e == ERR_NOT_FOUND ? session_not_found(ctx) : e;
    }
    struct session session;
    TRY(fresh_read(s, ctx, id, user, query->limit, &session));
    return page_of_window(ctx, &session, query->limit, out);
}

enum err session_search(struct sessions *s, struct request_ctx *ctx, const struct session_query *q,
                        struct session_list *out)
{
    TRY(fresh_reachable(s, ctx));
    return sql_search(s, ctx, q, out);
}

enum err session_count(struct sessions *s, struct request_ctx *ctx, const struct session_query *q,
                       int64_t *n)
{
    TRY(fresh_reachable(s, ctx));
    return sql_count(s, ctx, q, n);
}

/* A seq, the id made from generation and seq, or a client's own id. */
static struct message_name name_of(struct sv which)
{
    struct message_name name = {0, 0, which};
    uint64_t seq, generation;
    if (sv_to_u64(which, &seq) && seq > 0 && seq <= INT64_MAX)
        name.seq = (int64_t)seq;
    else if (uuid_v8_unpack(which, &generation, &seq) && generation != 0) {
        /* No session has generation 0: an id with it is always a client's own. */
        name.seq = (int64_t)seq;
        name.generation = (int64_t)generation;
    }
    return name;
}

static enum err message_not_found(struct request_ctx *ctx)
{
    return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "There is no such message.");
}

/* An id of the made form may also be a client's own, copied from another session. */
static bool try_as_client_id(struct message_name *name)
{
    const bool was_made = name->seq != 0 && name->generation != 0;
    name->seq = 0;
    name->generation = 0;
    return was_made;
}

enum err session_message_get(struct sessions *s, struct request_ctx *ctx, struct sv id,
                             struct sv user, struct sv which, struct session_message *out)
{
    struct message_name name = name_of(which);
    TRY(fresh_reachable(s, ctx));
    enum err e = sql_message_read(s, ctx, id, user, &name, out);
    if (e == ERR_NOT_FOUND && try_as_client_id(&name))
        e = sql_message_read(s, ctx, id, user, &name, out);
    return e == ERR_NOT_FOUND ? message_not_found(ctx) : e;
}

static enum err try_delete(struct sessions *s, struct request_ctx *ctx, struct session_write *w)
{
    const struct message_name name = w->message;
    enum err e = sql_message_delete(s, ctx, w);
    if (e == ERR_NONE && !w->done && try_as_client_id(&w->message))
        e = sql_message_delete(s, ctx, w);
    w->message = name;
    return e;
}

enum err session_message_delete(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                struct sv which, const struct session_precondition *precondition,
                                struct session_receipt *receipt)
{
    struct session_write w = {
        .id = id, .message = name_of(which), .precondition = precondition, .receipt = receipt};
    enum err e = session_write_uncached(s, ctx, &w, try_delete);
    if (e != ERR_NOT_FOUND)
        return e;
    e = precondition->if_match ? session_write_refused(s, ctx, &w) : ERR_NOT_FOUND;
    if (e != ERR_PRECONDITION)
        return message_not_found(ctx);
    /* With If-Match, find out which it was: a missing message or a changed session. */
    struct session_message there;
    ctx_clear_error(ctx);
    TRY(session_message_get(s, ctx, id, precondition->user, which, &there));
    return session_write_refused(s, ctx, &w);
}

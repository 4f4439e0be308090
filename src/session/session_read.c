/* SPDX-License-Identifier: MIT */
/* Reads: a session, a page of messages. */
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
        TRY(sql_reachable(s, ctx));
        const enum err e = sql_message_page(s, ctx, id, user, query, out);
        TRY(e == ERR_NOT_FOUND ? session_not_found(ctx) : e);
    } else {
        struct session session;
        TRY(fresh_read(s, ctx, id, user, query->limit, &session));
        TRY(page_of_window(ctx, &session, query->limit, out));
    }
    const struct session_message *m = out->messages;
    out->over_budget = out->n == 1 && (int64_t)(m->content.n + m->metadata.n + m->extra.n) >
                                          sql_page_budget(s, query);
    return ERR_NONE;
}

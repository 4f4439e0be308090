/* SPDX-License-Identifier: MIT */
/* Reads: a session, a page of messages, a window. */
#include "session_internal.h"

#include <inttypes.h>
#include <stdio.h>
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

/* ---- the newest messages, from a cache ---- */

/* Those up to last_seq, oldest first. */
static void tail_of_session(const struct session *session, int64_t last_seq,
                            struct window_tail *out)
{
    *out =
        (struct window_tail){.messages = session->messages,
                             .n = session->n_messages,
                             .is_complete = session->n_messages == (size_t)session->message_count,
                             .stamp = session_stamp(session)};
    while (out->n > 0 && out->messages[out->n - 1].seq > last_seq)
        out->n--;
}

/* Leaves out what the summary covers; all, if it ends after last_seq: then an older one may count,
 * which only PostgreSQL has. */
static enum err cover_by_summary(struct request_ctx *ctx, const struct session *session,
                                 int64_t last_seq, struct window_tail *tail)
{
    struct session_message *summary = arena_alloc(ctx->arena, sizeof(*summary));
    if (!session->summary.p)
        return ERR_NONE;
    if (!summary)
        return ctx_nomem(ctx);
    TRY(session_summary_message(ctx, session->summary, summary));
    if (summary->seq > last_seq) {
        *tail = (struct window_tail){.n = 0};
        return ERR_NONE;
    }
    tail->summary = summary;
    tail->is_looked_for = tail->is_complete;
    while (tail->n > 0 && tail->messages->seq <= summary->seq) {
        if (tool_role_named(tail->messages->role) &
            (SESSION_ROLE_SYSTEM | SESSION_ROLE_DEVELOPER)) {
            /* One with parts or members may belong to a call, which PostgreSQL is asked. */
            const bool is_lone = tail->messages->content.n > 0 &&
                                 tail->messages->content.p[0] == '"' && !tail->messages->extra.p;
            tail->system = is_lone ? tail->messages : NULL;
            tail->is_looked_for &= is_lone;
        }
        tail->messages++;
        tail->n--;
        tail->is_complete = true;
    }
    tail->is_complete |= tail->n > 0 && tail->messages->seq == summary->seq + 1;
    return ERR_NONE;
}

/* Whether a cached session may have the page: the newest messages, newest first. */
static bool may_be_cached(const struct session_page_query *q)
{
    return q->after == 0 && (q->before == 0 || q->is_recent) && !q->ascending &&
           q->max_bytes == 0 && q->limit <= SESSION_NEWEST;
}

static enum err page_of_session(struct request_ctx *ctx, const struct session *session,
                                const struct session_page_query *query, struct session_page *out)
{
    struct window_tail tail;
    tail_of_session(session, query->before > 0 ? query->before - 1 : INT64_MAX, &tail);
    out->n = tail.n < query->limit ? tail.n : query->limit;
    out->messages = arena_array(ctx->arena, out->n, sizeof(*out->messages));
    if (!out->messages)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < out->n; i++)
        out->messages[i] = tail.messages[tail.n - 1 - i];
    out->has_more = out->n < tail.n || !tail.is_complete;
    out->stamp = session_stamp(session);
    out->degraded = session->degraded;
    return ERR_NONE;
}

enum err session_page(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                      const struct session_page_query *query, struct session_page *out)
{
    memset(out, 0, sizeof(*out));
    if (may_be_cached(query)) {
        struct session session;
        TRY(fresh_read(s, ctx, id, user, query->limit, &session));
        TRY(page_of_session(ctx, &session, query, out));
    }
    /* A cached session may have newer messages in place of some of the page. */
    if (!out->messages || (query->before > 0 && out->n < query->limit && out->has_more)) {
        TRY(sql_reachable(s, ctx));
        const enum err e = sql_message_page(s, ctx, id, user, query, out);
        TRY(e == ERR_NOT_FOUND ? session_not_found(ctx) : e);
    }
    const struct session_message *m = out->messages;
    out->over_budget = out->n == 1 && (int64_t)(m->content.n + m->metadata.n + m->extra.n) >
                                          sql_page_budget(s, query);
    return ERR_NONE;
}

/* ---- windows ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What to read of the session's end. The first size is enough where messages have 32 tokens or
 * more, tokens have 5 bytes or less, and few messages are left out. */
struct tail_size {
    int64_t rows, bytes;
};
enum { ROWS_MAX = SESSION_THREAD_MAX, MORE = 8 };

static struct tail_size tail_size_at_first(const struct session_cost *most)
{
    const int64_t tokens = least(most->tokens, INT32_MAX);
    return (struct tail_size){32 + least(most->messages, least(tokens / 32, most->bytes / 128)),
                              least(most->bytes, 5 * tokens + 2048)};
}

static enum err window_refused(struct request_ctx *ctx, enum window_result result,
                               const struct session_cost *needed)
{
    if (result == WINDOW_NONE)
        return ctx_fail(ctx, ERR_NO_WINDOW, NULL, NULL,
                        "No model accepts any message of the session: each is a call without its "
                        "result, a result without its call, or a reasoning item without what must "
                        "follow it.");
    const enum err e = ctx_fail(ctx, ERR_NO_WINDOW, "budget_too_small", NULL,
                                "Even the smallest window does not fit the budgets.");
    snprintf(ctx->err.members, sizeof(ctx->err.members),
             "{\"needed_messages\":%" PRId64 ",\"needed_tokens\":%" PRId64
             ",\"needed_bytes\":%" PRId64 "}",
             needed->messages, needed->tokens, needed->bytes);
    return e;
}

enum err session_window(struct sessions *s, struct request_ctx *ctx, struct sv id, struct sv user,
                        const struct session_window_query *query, struct session_window *out)
{
    const int64_t last_seq = query->last_seq > 0 ? query->last_seq : INT64_MAX;
    const int64_t page = s->settings.page_bytes;
    struct session_window_query q = *query;
    struct session_cost needed;
    struct window_tail tail;
    struct session session;
    enum window_result result;
    q.most.bytes = least(q.most.bytes, page);
    TRY(fresh_read(s, ctx, id, user, 0, &session));
    tail_of_session(&session, last_seq, &tail);
    TRY(cover_by_summary(ctx, &session, last_seq, &tail));
    TRY(window_choose(ctx, &tail, &q, false, out, &needed, &result));
    if (result == WINDOW_NEEDS_MORE && session.degraded)
        return sql_away(ctx);
    struct tail_size size = tail_size_at_first(&q.most);
    while (result == WINDOW_NEEDS_MORE) {
        size = (struct tail_size){least(size.rows, ROWS_MAX), least(size.bytes, page)};
        const bool is_last = size.rows == ROWS_MAX && size.bytes == page;
        TRY(sql_window_tail(s, ctx, id, user, last_seq, (size_t)size.rows, size.bytes, &tail));
        TRY(window_choose(ctx, &tail, &q, is_last, out, &needed, &result));
        size = (struct tail_size){size.rows * MORE, size.bytes * MORE};
    }
    out->degraded = session.degraded;
    return result == WINDOW_CHOSEN ? ERR_NONE : window_refused(ctx, result, &needed);
}

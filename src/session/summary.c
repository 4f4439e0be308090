/* SPDX-License-Identifier: MIT */
/*
 * Summaries: a window has a summary in place of all messages up to last_seq. Messages do not
 * change. As in a patch (session_patch.c), a write reads the state first, and is done only if the
 * state is still the same. Appends do not change the state. So what was checked still holds when
 * the summary is stored.
 */
#include "session_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- where a summary may end ---- */

enum { NEIGHBOURS = 500 };

/* The n messages around the end of a summary, oldest first. The summary covers messages[0] to
 * messages[at - 1]. */
struct neighbourhood {
    struct session_message messages[2 * NEIGHBOURS];
    size_t n, at;
    bool is_first, is_last; /* the session has no older, no newer ones */
};

static enum err read_neighbourhood(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                   int64_t last_seq, struct neighbourhood *out)
{
    const struct session_page_query q[] = {
        {.before = last_seq < INT64_MAX ? last_seq + 1 : 0, .limit = NEIGHBOURS},
        {.after = last_seq, .limit = NEIGHBOURS, .ascending = true}};
    struct session_page before = {.n = 0}, after = {.n = 0};
    enum err e = sql_message_page(s, ctx, id, SV_NONE, &q[0], &before);
    if (e == ERR_NONE)
        e = sql_message_page(s, ctx, id, SV_NONE, &q[1], &after);
    if (e != ERR_NONE && e != ERR_NOT_FOUND)
        return e;
    out->at = before.n;
    out->n = before.n + after.n;
    out->is_first = !before.has_more;
    out->is_last = !after.has_more;
    for (size_t i = 0; i < before.n; i++)
        out->messages[before.n - 1 - i] = before.messages[i];
    for (size_t i = 0; i < after.n; i++)
        out->messages[before.n + i] = after.messages[i];
    return ERR_NONE;
}

/* What keeps a summary from being stored; the values are those of session_write.fault. */
enum { STORABLE, SHRINKS, BEYOND, INSIDE };

static enum err find_fault(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base)
{
    const int64_t last_seq = w->drafts.messages->seq;
    struct neighbourhood *near = arena_alloc(ctx->arena, sizeof(*near));
    struct session_message current = {.seq = 0};
    size_t safe;
    if (!near)
        return ctx_nomem(ctx);
    if (base->summary.p)
        TRY(session_summary_message(ctx, base->summary, &current));
    TRY(read_neighbourhood(s, ctx, w->id, last_seq, near));
    TRY(window_boundary(ctx, near->messages, near->n, near->is_first, near->is_last, near->at,
                        &safe));
    w->nearest = safe > 0 ? near->messages[safe - 1].seq : 0;
    if (last_seq < current.seq) {
        w->fault = SHRINKS;
        w->nearest = current.seq;
    } else if (near->at == 0 ||
               (near->at == near->n && near->messages[near->n - 1].seq < last_seq)) {
        w->fault = BEYOND;
        w->nearest = near->n > 0 ? near->messages[near->n - 1].seq : 0;
    } else if (safe != near->at && last_seq != current.seq) { /* the current one may be replaced */
        w->fault = INSIDE;
        w->nearest = w->nearest >= current.seq ? w->nearest : 0;
    }
    return ERR_NONE;
}

static enum err try_put(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                        const struct session *base)
{
    w->fault = STORABLE;
    TRY(find_fault(s, ctx, w, base));
    return w->fault == STORABLE ? sql_summary_put(s, ctx, w, base) : ERR_NONE;
}

static enum err try_delete(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base)
{
    struct session_message current;
    w->fault = base->summary.p ? STORABLE : BEYOND;
    if (w->fault != STORABLE)
        return ERR_NONE;
    TRY(session_summary_message(ctx, base->summary, &current));
    return sql_summary_delete(s, ctx, w, base, current.seq);
}

static enum err refused(struct request_ctx *ctx, const struct session_write *w)
{
    if (w->fault == SHRINKS)
        return ctx_fail(ctx, ERR_CONFLICT, "summary_shrinks", "last_seq",
                        "The session has a summary up to message %" PRId64
                        ". A new one may not end before it.",
                        w->nearest);
    if (w->fault == BEYOND)
        return ctx_fail(ctx, ERR_INVALID, "no_such_message", "last_seq",
                        "The session has messages up to %" PRId64
                        ", and a summary covers at least one.",
                        w->nearest);
    const enum err e = ctx_fail(ctx, ERR_CONFLICT, "inside_tool_call", "last_seq",
                                "The summary would end between a call and its result, which may be "
                                "still to come. nearest_seq, if there is one, is the nearest "
                                "message after which it may end.");
    if (w->nearest > 0)
        snprintf(ctx->err.members, sizeof(ctx->err.members), "{\"nearest_seq\":%" PRId64 "}",
                 w->nearest);
    return e;
}

enum err session_summary_put(struct sessions *s, struct request_ctx *ctx, struct sv id,
                             const struct session_message *summary,
                             const struct session_precondition *precondition,
                             struct session_receipt *receipt)
{
    struct session_write w = {.id = id,
                              .drafts = {summary, 1},
                              .change = try_put,
                              .precondition = precondition,
                              .receipt = receipt};
    const enum err e = session_write_uncached(s, ctx, &w, session_change_state);
    return e == ERR_NOT_FOUND && w.fault != STORABLE ? refused(ctx, &w) : e;
}

enum err session_summary_delete(struct sessions *s, struct request_ctx *ctx, struct sv id,
                                const struct session_precondition *precondition,
                                struct session_receipt *receipt)
{
    struct session_write w = {
        .id = id, .change = try_delete, .precondition = precondition, .receipt = receipt};
    const enum err e = session_write_uncached(s, ctx, &w, session_change_state);
    return e == ERR_NOT_FOUND && w.fault != STORABLE
               ? ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "The session has no summary.")
               : e;
}

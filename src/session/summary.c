/* SPDX-License-Identifier: MIT */
/*
 * Summaries: a text that windows have in place of all messages up to its last_seq. As a patch does
 * (session_patch.c), a change reads the state first, and is done only if the state is still the
 * same; appends do not interfere. So what was checked holds when it is stored.
 */
#include "session_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum { NEIGHBOURS = 500 }; /* messages that are read on each side of the end */

/* What keeps a summary from being stored; the values are those of session_write.fault. */
enum { STORABLE, SHRINKS, ABSENT, INSIDE };

static enum err find_fault(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           int64_t current)
{
    const int64_t last_seq = w->drafts.messages->seq;
    const struct session_page_query queries[] = {
        {.before = last_seq < INT64_MAX ? last_seq + 1 : 0, .limit = NEIGHBOURS},
        {.after = last_seq, .limit = NEIGHBOURS, .ascending = true}};
    struct session_page pages[2] = {{.n = 0}, {.n = 0}};
    size_t safe;
    if (last_seq < current)
        w->fault = SHRINKS;
    /* What is stored may be replaced, whatever came after it. */
    if (last_seq <= current)
        return ERR_NONE;
    for (size_t i = 0; i < 2; i++) {
        const enum err e = sql_message_page(s, ctx, w->id, SV_NONE, &queries[i], &pages[i]);
        if (e != ERR_NONE && e != ERR_NOT_FOUND)
            return e;
    }
    const size_t at = pages[0].n, n = at + pages[1].n;
    struct session_message *m = arena_array(ctx->arena, n, sizeof(*m));
    if (!m)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        m[i] = i < at ? pages[0].messages[at - 1 - i] : pages[1].messages[i - at];
    TRY(window_boundary(ctx, m, n, !pages[0].has_more, !pages[1].has_more, at, &safe));
    if (at == 0 || m[at - 1].seq != last_seq)
        w->fault = ABSENT;
    else if (safe != at)
        w->fault = INSIDE;
    w->nearest = safe > 0 && m[safe - 1].seq >= current ? m[safe - 1].seq : 0;
    return ERR_NONE;
}

/* w->drafts is the summary; without one, the current summary is removed. */
static enum err try_change(struct sessions *s, struct request_ctx *ctx, struct session_write *w,
                           const struct session *base)
{
    struct session_message current = {.seq = 0};
    w->fault = STORABLE;
    if (base->summary.p)
        TRY(session_summary_message(ctx, base->summary, &current));
    if (w->drafts.n > 0)
        TRY(find_fault(s, ctx, w, current.seq));
    else if (current.seq == 0)
        w->fault = ABSENT;
    return w->fault == STORABLE ? sql_summary_change(s, ctx, w, base, current.seq) : ERR_NONE;
}

static enum err refused(struct request_ctx *ctx, const struct session_write *w)
{
    if (w->drafts.n == 0)
        return ctx_fail(ctx, ERR_NOT_FOUND, NULL, NULL, "The session has no summary.");
    if (w->fault == ABSENT)
        return ctx_fail(ctx, ERR_INVALID, "no_such_message", "last_seq",
                        "The session has no message with this seq.");
    if (w->fault == SHRINKS)
        return ctx_fail(ctx, ERR_CONFLICT, "summary_shrinks", "last_seq",
                        "The current summary ends with a later message.");
    const enum err e = ctx_fail(ctx, ERR_CONFLICT, "inside_tool_call", "last_seq",
                                "The summary would end between a call and its result, which may be "
                                "still to come. nearest_seq, if there is one, is the nearest "
                                "message after which it may end.");
    if (w->nearest > 0)
        snprintf(ctx->err.members, sizeof(ctx->err.members), "{\"nearest_seq\":%" PRId64 "}",
                 w->nearest);
    return e;
}

enum err session_summary_change(struct sessions *s, struct request_ctx *ctx,
                                const struct session_target *target,
                                const struct session_message *summary)
{
    struct session_write w =
        SESSION_WRITE(target, .drafts = {summary, summary ? 1 : 0}, .change = try_change);
    if (summary && (int64_t)summary->content.n > s->settings.user_state_bytes)
        return ctx_fail(ctx, ERR_TOO_LARGE, "state_too_large", "content",
                        "A summary has at most %lld bytes.",
                        (long long)s->settings.user_state_bytes);
    const enum err e = session_write_uncached(s, ctx, &w, session_change_state);
    return e == ERR_NOT_FOUND && w.fault != STORABLE ? refused(ctx, &w) : e;
}

/* SPDX-License-Identifier: MIT */
/*
 * Chooses the window among the newest messages of a session (session_read.c reads them):
 *
 * 1. Groups: messages that a model accepts together or not at all (tool_calls.c). Unfit ones are
 *    left out.
 * 2. The end: the newest message, or the newest of a role of end_on.
 * 3. The beginning: the oldest message of a role of start_on from which on all fits the budgets. If
 *    even the newest of these is too far back, it is kept, and as many of the newest groups as fit;
 *    between them is a gap.
 *
 * A summary comes first. The message directly after it may begin a window, whatever its role.
 */
#include "session_internal.h"

enum { NOWHERE = -1 };
enum { USER = SESSION_ROLE_USER, SYSTEM = SESSION_ROLE_SYSTEM | SESSION_ROLE_DEVELOPER };

struct choice {
    struct request_ctx *ctx;
    const struct window_tail *tail;
    const struct session_window_query *query;
    struct tool_links links;
    struct tool_message *m;    /* of links */
    struct group *groups;      /* of the message that stands for a group: see tool_group */
    bool knows_all;            /* what is before the tail does not matter */
    size_t known;              /* what is before this may belong to messages before the tail */
    size_t end;                /* the window ends before this message */
    bool has_end;              /* a message of a role of end_on was found, if one was asked for */
    bool *is_within;           /* of each message and the end: a group goes across from before it */
    struct session_cost *from; /* of all that is kept from a message on */
    /* The newest system message. NOWHERE: it is before the tail, or there is none. */
    const struct session_message *system;
    ptrdiff_t system_at;
    /* The result: where the part without a gap begins, and the message before the gap. */
    size_t begin;
    const struct session_message *start;
};

static struct session_cost sum(struct session_cost a, struct session_cost b)
{
    return (struct session_cost){a.messages + b.messages, a.tokens + b.tokens, a.bytes + b.bytes};
}

static struct session_cost cost_of(const struct session_message *m)
{
    int64_t tokens;
    if (!m)
        return (struct session_cost){0, 0, 0};
    if (!sv_to_i64(m->tokens, &tokens))
        tokens = (int64_t)((m->content.n + m->extra.n + 3) / 4);
    return (struct session_cost){1, tokens, (int64_t)(m->content.n + m->metadata.n + m->extra.n)};
}

static bool fits(const struct choice *c, struct session_cost cost)
{
    const struct session_cost most = c->query->most;
    return cost.messages <= most.messages && cost.tokens <= most.tokens && cost.bytes <= most.bytes;
}

/* ---- groups ---- */

struct group {
    size_t last, n;
    bool is_unfit;
};

/* Whether a message may belong to one before the tail: a result to its call, or a message of the
 * assistant's run at the beginning to its reasoning. */
static bool may_belong_before(const struct choice *c, size_t i, bool is_in_first_run)
{
    const struct tool_message *m = &c->m[i];
    return is_in_first_run || (m->is_orphan && (m->is_item || m->behind == SIZE_MAX));
}

static void read_groups(struct choice *c)
{
    bool is_in_first_run = true;
    for (size_t i = 0; i < c->tail->n; i++) {
        struct group *g = &c->groups[tool_group(c->m, i)];
        g->n++;
        g->last = i;
        g->is_unfit |= c->m[i].is_unfit || c->m[i].is_orphan;
        is_in_first_run = is_in_first_run && (c->m[i].is_assistant || c->m[i].is_reasoning);
        if (!c->knows_all && may_belong_before(c, i, is_in_first_run))
            c->known = i + 1;
    }
    for (size_t i = 0; i < c->known; i++) {
        const struct group *g = &c->groups[tool_group(c->m, i)];
        c->known = g->last >= c->known ? g->last + 1 : c->known;
    }
}

static struct group *group_of(const struct choice *c, size_t i)
{
    return &c->groups[tool_group(c->m, i)];
}

/* Marks messages that no window may begin with or end before. Unfit groups count only for the end:
 * whether they are fit may depend on it. */
static void mark_within(struct choice *c, bool unfit_too)
{
    size_t until = c->known; /* where the last of the groups ends that began before i */
    for (size_t i = 0; i < c->tail->n; i++) {
        const struct group *g = group_of(c, i);
        c->is_within[i] = i < until;
        if ((unfit_too || !g->is_unfit) && g->last + 1 > until)
            until = g->last + 1;
    }
}

static void find_end(struct choice *c)
{
    const unsigned roles = c->query->end_on;
    size_t i = c->tail->n;
    mark_within(c, true);
    while (roles && i > 0 && (c->is_within[i] || !(c->m[i - 1].role & roles)))
        i--;
    c->has_end = !roles || i > 0;
    c->end = c->has_end ? i : c->tail->n;
}

/* A call without a result is open if only results follow it; an item's also if other calls do. All
 * others were left unanswered. */
static void find_unanswered(struct choice *c)
{
    bool only_results = true, only_tools = true;
    for (size_t i = c->end; i-- > 0;) {
        const struct tool_message *m = &c->m[i];
        if (m->is_unanswered && !(m->is_call_item ? only_tools : only_results))
            group_of(c, i)->is_unfit = true;
        only_results = only_results && m->is_result;
        only_tools = only_tools && (m->is_result || m->is_call_item || m->is_reasoning);
    }
}

static bool is_kept(const struct choice *c, size_t i)
{
    return i < c->end && !group_of(c, i)->is_unfit;
}

static enum err prepare(struct choice *c)
{
    const size_t n = c->tail->n;
    TRY(tool_links_read(c->ctx, c->tail->messages, n, &c->links));
    c->m = c->links.m;
    c->groups = arena_zalloc(c->ctx->arena, n * sizeof(*c->groups));
    c->is_within = arena_zalloc(c->ctx->arena, (n + 1) * sizeof(*c->is_within));
    c->from = arena_zalloc(c->ctx->arena, (n + 1) * sizeof(*c->from));
    if (!c->groups || !c->is_within || !c->from)
        return ctx_nomem(c->ctx);
    read_groups(c);
    find_end(c);
    find_unanswered(c);
    mark_within(c, false);
    for (size_t i = c->end; i-- > 0;) {
        const bool kept = is_kept(c, i);
        c->from[i] = kept ? sum(c->from[i + 1], cost_of(&c->tail->messages[i])) : c->from[i + 1];
        if (kept && !c->system && (c->m[i].role & SYSTEM)) {
            c->system = &c->tail->messages[i];
            c->system_at = (ptrdiff_t)i;
        }
    }
    if (!c->system)
        c->system = c->tail->system;
    return ERR_NONE;
}

/* ---- the beginning ---- */

static bool may_begin(const struct choice *c, size_t i)
{
    return is_kept(c, i) && !c->is_within[i];
}

/* Whether no message that is kept lies between the summary and this message. */
static bool follows_summary(const struct choice *c, size_t i)
{
    return c->tail->summary && c->tail->is_complete && c->from[i].messages == c->from[0].messages;
}

static bool is_start(const struct choice *c, size_t i)
{
    const bool has_role = !c->m[i].has_result && (c->m[i].role & c->query->start_on);
    return may_begin(c, i) && (has_role || follows_summary(c, i));
}

/* A message that may stand before a gap: no other belongs to it. */
static bool is_lone_start(const struct choice *c, size_t i)
{
    return is_kept(c, i) && group_of(c, i)->n == 1 && !c->m[i].has_result && !c->m[i].has_call &&
           (c->m[i].role & c->query->start_on);
}

/* The system message that a window takes from before i, where it begins, with a start or NULL. */
static const struct session_message *system_before(const struct choice *c, size_t i,
                                                   const struct session_message *start)
{
    const bool is_before = c->system_at < (ptrdiff_t)i && c->system != start;
    return is_before && c->query->include_system ? c->system : NULL;
}

static struct session_cost cost_from(const struct choice *c, size_t i,
                                     const struct session_message *start)
{
    return sum(sum(c->from[i], cost_of(start)),
               sum(cost_of(system_before(c, i, start)), cost_of(c->tail->summary)));
}

/* The first message from `from` on at which a window that fits may begin, or the end. */
static size_t first_that_fits(const struct choice *c, size_t from,
                              bool (*begins)(const struct choice *, size_t),
                              const struct session_message *start)
{
    size_t i = from;
    while (i < c->end && !(begins(c, i) && fits(c, cost_from(c, i, start))))
        i++;
    return i;
}

/* The newest message before `end` for which `is` holds; c->end: there is none. */
static size_t newest(const struct choice *c, size_t end, bool (*is)(const struct choice *, size_t))
{
    while (end > 0 && !is(c, end - 1))
        end--;
    return end > 0 ? end - 1 : c->end;
}

/* The newest start before the tail. */
static const struct session_message *start_before(const struct choice *c)
{
    const struct session_message *user = c->tail->start, *system = c->tail->system;
    user = c->query->start_on & USER ? user : NULL;
    if (!system || c->tail->summary || !(c->query->start_on & tool_role_named(system->role)))
        return user;
    return user && user->seq > system->seq ? user : system;
}

/* Even the newest start is too far back, or there is none. */
static enum window_result choose_with_gap(struct choice *c, struct session_cost *needed)
{
    const size_t last = newest(c, c->end, may_begin);
    const size_t start = newest(c, last, is_lone_start);
    const bool has_start = start < c->end;
    const bool is_sure = has_start ? start >= c->known || !c->m[start].is_assistant
                                   : c->tail->is_looked_for && c->query->start_on == USER;
    if (last < c->end && is_start(c, last)) {
        *needed = cost_from(c, last, NULL);
        return WINDOW_TOO_SMALL;
    }
    if (!c->knows_all && (last == c->end || !is_sure))
        return WINDOW_NEEDS_MORE;
    if (c->from[0].messages == 0)
        return WINDOW_NONE;
    c->start = has_start ? &c->tail->messages[start] : start_before(c);
    *needed = cost_from(c, last < c->end ? last : 0, c->start);
    c->begin = first_that_fits(c, has_start ? start + 1 : 0, may_begin, c->start);
    return c->begin < c->end ? WINDOW_CHOSEN : WINDOW_TOO_SMALL;
}

static enum window_result choose(struct choice *c, struct session_cost *needed)
{
    const bool knows_older = c->tail->is_looked_for || (c->knows_all && !c->tail->summary);
    if (!c->system && !knows_older && c->query->include_system)
        return WINDOW_NEEDS_MORE;
    /* Where all that is known fits, older messages may fit as well. */
    if (!c->knows_all && (!c->has_end || fits(c, c->from[c->known])))
        return WINDOW_NEEDS_MORE;
    if (c->tail->summary && c->knows_all && c->from[0].messages == 0) {
        *needed = cost_from(c, 0, NULL);
        return fits(c, *needed) ? WINDOW_CHOSEN : WINDOW_TOO_SMALL;
    }
    c->begin = first_that_fits(c, 0, is_start, NULL);
    if (c->begin == c->end)
        return choose_with_gap(c, needed);
    if (follows_summary(c, c->begin))
        c->begin = 0; /* so that messages left out directly after the summary count as omitted */
    return WINDOW_CHOSEN;
}

/* ---- the result ---- */

static void add_message(struct session_window *out, const struct session_message *m)
{
    if (!m)
        return;
    out->messages[out->n++] = *m;
    out->cost = sum(out->cost, cost_of(m));
    out->estimated += !m->tokens.p;
}

static enum err fill(const struct choice *c, struct session_window *out)
{
    const struct window_tail *tail = c->tail;
    struct arena *arena = c->ctx->arena;
    const struct session_message *system = system_before(c, c->begin, c->start);
    const bool start_is_first = system && c->start && c->start->seq < system->seq;
    out->messages = arena_array(arena, c->end - c->begin + 3, sizeof(*out->messages));
    out->omitted = arena_array(arena, c->end - c->begin, sizeof(*out->omitted));
    out->open_calls = arena_array(arena, c->links.n_events, sizeof(*out->open_calls));
    if (!out->messages || !out->omitted || !out->open_calls)
        return ctx_nomem(c->ctx);
    add_message(out, tail->summary);
    add_message(out, start_is_first ? c->start : system);
    add_message(out, start_is_first ? system : c->start);
    for (size_t i = c->begin; i < c->end; i++) {
        const struct session_message *m = &tail->messages[i];
        if (!is_kept(c, i)) {
            out->omitted[out->n_omitted++] = m->seq;
            continue;
        }
        out->first_seq = out->first_seq ? out->first_seq : m->seq;
        out->last_seq = m->seq;
        add_message(out, m);
    }
    for (size_t i = 0; i < c->links.n_events; i++) {
        const struct tool_event *e = &c->links.events[i];
        if (e->is_open && e->at >= c->begin && is_kept(c, e->at))
            out->open_calls[out->n_open_calls++] = e->id;
    }
    const bool has_older_system = c->system_at != NOWHERE && c->system_at < (ptrdiff_t)c->begin;
    if (c->system && (system || c->system == c->start || c->system_at >= (ptrdiff_t)c->begin))
        out->system_seq = c->system->seq;
    out->summary_seq = tail->summary ? tail->summary->seq : 0;
    out->truncated = c->start || !tail->is_complete || c->begin > (has_older_system ? 1 : 0);
    if (c->start || (tail->summary && out->truncated && out->first_seq > 0)) {
        const int64_t kept = system ? system->seq : 0;
        const int64_t first = (c->start ? c->start : tail->summary)->seq + 1;
        out->gap_first_seq = first + (kept == first);
        out->gap_last_seq = out->first_seq - 1 - (kept == out->first_seq - 1);
    }
    return ERR_NONE;
}

enum err window_choose(struct request_ctx *ctx, const struct window_tail *tail,
                       const struct session_window_query *query, bool is_last,
                       struct session_window *out, struct session_cost *needed,
                       enum window_result *result)
{
    struct choice c = {.ctx = ctx,
                       .tail = tail,
                       .query = query,
                       .knows_all = tail->is_complete || is_last,
                       .system_at = NOWHERE};
    *out = (struct session_window){.stamp = tail->stamp};
    *result = c.knows_all ? WINDOW_CHOSEN : WINDOW_NEEDS_MORE;
    if (tail->n == 0 && !tail->summary)
        return ERR_NONE;
    TRY(prepare(&c));
    *result = choose(&c, needed);
    return *result == WINDOW_CHOSEN ? fill(&c, out) : ERR_NONE;
}

/* ---- where a summary may end ---- */

enum err window_boundary(struct request_ctx *ctx, struct session_message *messages, size_t n,
                         bool is_first, bool is_last, size_t at, size_t *safe)
{
    struct choice c = {.ctx = ctx,
                       .tail = &(struct window_tail){.messages = messages, .n = n},
                       .query = &(struct session_window_query){.end_on = 0},
                       .knows_all = is_first};
    size_t last = is_last ? n : n - (n > 0);
    TRY(prepare(&c));
    /* A call may wait for its result, reasoning for what follows it. */
    for (size_t i = 0; i < last; i++)
        if ((c.m[i].is_unanswered && is_kept(&c, i)) || (c.m[i].is_reasoning && i == n - 1))
            last = i;
    *safe = 0;
    for (size_t far = 0; *safe == 0 && far <= n; far++)
        if (far < at && at - far <= last && !c.is_within[at - far])
            *safe = at - far;
        else if (at + far > 0 && at + far <= last && !c.is_within[at + far])
            *safe = at + far;
    return ERR_NONE;
}

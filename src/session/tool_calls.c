/* SPDX-License-Identifier: MIT */
/*
 * Which messages belong together, so that a model accepts all of them or none: a tool's result and
 * its call, a reasoning item and the items that it led to. Calls and results come in four forms:
 * OpenAI's chat format and LangChain's (tool_calls, tool_call_id), Anthropic's parts of a content
 * (tool_use, tool_result), and OpenAI's items (function_call, function_call_output).
 *
 * window.c is the only user.
 */
#include "session_internal.h"

#include <stdlib.h>

#include "parley/base/names.h"
#include "parley/json/doc.h"
#include "parley/json/members.h"
#include "parley/session/session_json.h"

struct scan {
    struct request_ctx *ctx;
    struct buf events;
    struct tool_message *m; /* of the message that is being read */
    size_t at;
};

/* ---- one message ---- */

const struct session_role_name session_role_names[] = {
    {"user", SESSION_ROLE_USER},     {"assistant", SESSION_ROLE_ASSISTANT},
    {"system", SESSION_ROLE_SYSTEM}, {"developer", SESSION_ROLE_DEVELOPER},
    {"tool", SESSION_ROLE_TOOL},     {"human", SESSION_ROLE_USER},
    {"ai", SESSION_ROLE_ASSISTANT},  {"function", SESSION_ROLE_TOOL}};

unsigned tool_role_named(struct sv name)
{
    const size_t i = name.p ? names_index(&NAMES(session_role_names), name) : SESSION_ROLE_NAMES;
    return i < SESSION_ROLE_NAMES ? session_role_names[i].role : 0;
}

/* json: a JSON string, which may have an escape. */
static struct sv id_of(struct scan *x, struct sv json)
{
    const struct json_node node = {.type = JSON_IS_STRING, .raw = json};
    struct sv id;
    if (!json.p || json.p[0] != '"')
        return SV_NONE;
    if (json_doc_string(x->ctx, &node, "", &id) == ERR_NONE)
        return id;
    ctx_clear_error(x->ctx);
    return (struct sv){json.p + 1, json.n - 2};
}

static void add(struct scan *x, struct sv id, const void *kind, bool is_result)
{
    const struct tool_event e = {id, x->at, kind, is_result, false};
    if (id.p)
        buf_put(&x->events, &e, sizeof(e));
    if (is_result) {
        x->m->has_result = true;
        x->m->has_nameless_result |= !id.p;
    } else {
        x->m->has_call = true;
        x->m->has_nameless_call |= !id.p;
    }
}

static void add_calls(struct scan *x, struct sv list)
{
    struct sv call;
    if (!list.p || list.p[0] != '[')
        return;
    for (sv_skip(&list, 1); json_element_next(&list, &call);)
        if (call.p[0] == '{')
            add(x, id_of(x, json_member_get(call, "id")), NULL, false);
}

static void read_parts(struct scan *x, struct sv content)
{
    struct sv part;
    bool others = false;
    for (sv_skip(&content, 1); json_element_next(&content, &part);) {
        const struct sv type = part.p[0] == '{' ? json_member_get(part, "type") : SV_NONE;
        if (type.p && sv_eq(type, SV("\"tool_use\""))) {
            add(x, id_of(x, json_member_get(part, "id")), NULL, false);
        } else if (type.p && sv_eq(type, SV("\"tool_result\""))) {
            add(x, id_of(x, json_member_get(part, "tool_use_id")), NULL, true);
            x->m->has_late_result |= others;
            continue;
        }
        others = true;
    }
    x->m->is_result = x->m->is_result || (x->m->has_result && !others);
}

static void read_message(struct scan *x, const struct session_message *m)
{
    struct tool_message *t = x->m;
    t->role = tool_role_named(m->role);
    t->is_assistant = t->role == SESSION_ROLE_ASSISTANT;
    if (m->extra.p) {
        add_calls(x, json_member_get(m->extra, "tool_calls"));
        add_calls(x, json_member_get(m->extra, "invalid_tool_calls"));
    }
    const struct sv of = json_member_get(m->extra, "tool_call_id");
    if (of.p || sv_eq(m->role, SV("tool"))) {
        add(x, id_of(x, of), NULL, true);
        t->is_result = true;
    }
    if (m->content.p && m->content.p[0] == '[')
        read_parts(x, m->content);
}

struct sv session_item_member(const struct session_message *m, const char *name)
{
    const struct sv member = json_member_get(m->extra, name);
    const bool object = !member.p && m->content.p && m->content.p[0] == '{';
    return object ? json_member_get(m->content, name) : member;
}

/* OpenAI's items that need an output of the client. Its other calls, such as web_search_call, have
 * their results in themselves. */
static const struct item_type {
    const char *call, *output, *id;
    bool by_message_id; /* one without the id is named by its message_id */
} item_types[] = {
    {"function_call", "function_call_output", "call_id", true},
    {"custom_tool_call", "custom_tool_call_output", "call_id", true},
    {"computer_call", "computer_call_output", "call_id", true},
    {"local_shell_call", "local_shell_call_output", "call_id", true},
    {"shell_call", "shell_call_output", "call_id", true},
    {"apply_patch_call", "apply_patch_call_output", "call_id", true},
    {"tool_search_call", "tool_search_output", "call_id", false},
    {"mcp_approval_request", "mcp_approval_response", "approval_request_id", true},
};

static void read_item(struct scan *x, const struct session_message *m)
{
    struct tool_message *t = x->m;
    t->role = m->role.p ? tool_role_named(m->role) : SESSION_ROLE_ASSISTANT;
    t->is_item = true;
    t->is_reasoning = sv_eq(m->type, SV("reasoning"));
    for (const struct item_type *i = item_types; i < item_types + ARRAY_LEN(item_types); i++) {
        const bool is_result = sv_eq(m->type, sv_from(i->output));
        if (!is_result && !sv_eq(m->type, sv_from(i->call)))
            continue;
        struct sv id = id_of(x, session_item_member(m, i->id));
        if (!id.p && i->by_message_id)
            id = m->message_id;
        if (!id.p)
            continue;
        add(x, id, i, is_result);
        t->is_result = is_result;
        t->is_call_item = !is_result;
        if (is_result)
            t->role = SESSION_ROLE_TOOL;
    }
    t->is_assistant = !t->is_result && !t->is_reasoning;
}

/* ---- groups: a union-find forest over the messages ---- */

size_t tool_group(struct tool_message *m, size_t at)
{
    while (m[at].parent != at) {
        m[at].parent = m[m[at].parent].parent;
        at = m[at].parent;
    }
    return at;
}

static void join(struct tool_message *m, size_t a, size_t b)
{
    m[tool_group(m, a)].parent = tool_group(m, b);
}

/* Reasoning belongs to the run of the assistant's items that follows it. */
static void join_reasoning(struct tool_message *m, size_t n)
{
    bool in_run = false;
    for (size_t i = 0; i < n; i++) {
        const bool goes_on =
            m[i].is_reasoning ? i > 0 && m[i - 1].is_reasoning : in_run && m[i].is_assistant;
        if (goes_on)
            join(m, i, i - 1);
        in_run = m[i].is_reasoning || goes_on;
        m[i].is_unfit |=
            m[i].is_reasoning && !(i + 1 < n && (m[i + 1].is_reasoning || m[i + 1].is_assistant));
    }
}

static int compare_ids(const struct tool_event *x, const struct tool_event *y)
{
    if (x->kind != y->kind)
        return (uintptr_t)x->kind < (uintptr_t)y->kind ? -1 : 1;
    return sv_compare(x->id, y->id);
}

/* By id, then in the order of the session; in one message calls come first. */
static int compare_events(const void *a, const void *b)
{
    const struct tool_event *x = *(struct tool_event *const *)a,
                            *y = *(struct tool_event *const *)b;
    const int c = compare_ids(x, y);
    if (c != 0)
        return c;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->is_result != y->is_result ? x->is_result - y->is_result : x < y ? -1 : x > y;
}

/* Whether a model accepts the result where it is. OpenAI's items may have anything between call and
 * output; in the other forms the results follow the message of their calls. */
static bool is_in_place(const struct tool_message *m, size_t call, size_t result)
{
    return (m[call].is_item || m[result].behind == call) && !m[result].has_late_result;
}

static void leave_open(struct tool_message *m, struct tool_event *call)
{
    if (!call)
        return;
    call->is_open = true;
    m[call->at].is_unanswered = true;
}

/* Each result belongs to the nearest call of its id before it, if that has no result yet. */
static enum err join_results(struct request_ctx *ctx, const struct tool_links *links)
{
    struct tool_message *m = links->m;
    struct tool_event **sorted = arena_array(ctx->arena, links->n_events, sizeof(*sorted));
    struct tool_event *call = NULL;
    if (!sorted)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < links->n_events; i++)
        sorted[i] = &links->events[i];
    qsort(sorted, links->n_events, sizeof(*sorted), compare_events);
    for (size_t i = 0; i < links->n_events; i++) {
        struct tool_event *e = sorted[i];
        if (call && (compare_ids(call, e) != 0 || (!e->is_result && call->at != e->at))) {
            leave_open(m, call);
            call = NULL;
        }
        if (!e->is_result) {
            call = call ? call : e;
        } else if (call && is_in_place(m, call->at, e->at)) {
            join(m, call->at, e->at);
            call = NULL;
        } else {
            m[e->at].is_orphan = true;
        }
    }
    leave_open(m, call);
    return ERR_NONE;
}

/* Ollama's calls have no id. Their results follow them. */
static void join_nameless(struct tool_message *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!m[i].has_nameless_result)
            continue;
        if (m[i].behind != SIZE_MAX && m[m[i].behind].has_nameless_call)
            join(m, m[i].behind, i);
        else
            m[i].is_orphan = true;
    }
}

enum err tool_links_read(struct request_ctx *ctx, const struct session_message *messages, size_t n,
                         struct tool_links *out)
{
    struct scan x = {.ctx = ctx};
    struct tool_message *m = arena_zalloc(ctx->arena, n * sizeof(*m));
    if (!m)
        return ctx_nomem(ctx);
    buf_init(&x.events, ctx->arena, 0);
    for (size_t i = 0; i < n; i++) {
        x.m = &m[i];
        x.at = i;
        m[i].parent = i;
        m[i].behind = i == 0 ? SIZE_MAX : m[i - 1].is_result ? m[i - 1].behind : i - 1;
        (sv_eq(messages[i].type, SV("message")) ? read_message : read_item)(&x, &messages[i]);
    }
    if (x.events.failed)
        return ctx_nomem(ctx);
    *out = (struct tool_links){m, (struct tool_event *)(void *)x.events.p,
                               x.events.n / sizeof(struct tool_event)};
    TRY(join_results(ctx, out));
    join_nameless(m, n);
    join_reasoning(m, n);
    return ERR_NONE;
}

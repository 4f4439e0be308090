/* SPDX-License-Identifier: MIT */
/*
 * The choice of a window. A conversation is written as words, one for each message:
 *
 *   u s d a    of the user, the system, the developer, the assistant
 *   a:x,y      the assistant calls the tools x and y; t:x: the result of x (chat format)
 *   p:x,y r:x  the same as parts of a content; n:x: a result before a text; m:x: after it
 *   f:x o:x    the same as items; k: a reasoning item; w: another item of the assistant
 *   a: t:      a call and a result without an id
 */
#include "../../../src/session/session_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static struct sv list_of(struct request_ctx *ctx, const char *before, struct sv ids,
                         const char *after)
{
    struct sv text = SV("");
    while (ids.p) {
        const struct sv id = sv_cut(&ids, ',');
        const char *quote = id.n > 0 ? "\"" : "";
        text = arena_printf(ctx->arena, "%.*s%s{%s%s%.*s%s}", SV_ARG(text), text.n > 0 ? "," : "",
                            before, quote, SV_ARG(id.n > 0 ? id : SV("null")), quote);
    }
    return arena_printf(ctx->arena, "[%.*s%s]", SV_ARG(text), after);
}

static struct session_message message_of(struct request_ctx *ctx, struct sv word, int64_t seq)
{
    struct sv ids = word;
    const char kind = sv_cut(&ids, ':').p[0];
    struct session_message m = {.seq = seq,
                                .message_id = arena_printf(ctx->arena, "m%" PRId64, seq),
                                .type = SV("message"),
                                .role = SV("assistant"),
                                .content = SV("\"12\""),
                                .metadata = SV("{}")};
    switch (kind) {
    case 'u':
        m.role = SV("user");
        break;
    case 's':
        m.role = SV("system");
        break;
    case 'd':
        m.role = SV("developer");
        break;
    case 'a':
        if (ids.p)
            m.extra = arena_printf(ctx->arena, "{\"tool_calls\":%.*s}",
                                   SV_ARG(list_of(ctx, "\"id\":", ids, "")));
        break;
    case 't':
        m.role = SV("tool");
        if (ids.n > 0)
            m.extra = arena_printf(ctx->arena, "{\"tool_call_id\":\"%.*s\"}", SV_ARG(ids));
        break;
    case 'p':
        m.content = list_of(ctx, "\"type\":\"tool_use\",\"id\":", ids, "");
        break;
    case 'r':
    case 'n':
    case 'm': {
        const struct sv text = SV("{\"type\":\"text\",\"text\":\"x\"}");
        const struct sv results =
            list_of(ctx, "\"type\":\"tool_result\",\"tool_use_id\":", ids, kind == 'n' ? ",1" : "");
        m.role = SV("user");
        m.content = kind == 'm' ? arena_printf(ctx->arena, "[%.*s,%s", SV_ARG(text), results.p + 1)
                                : results;
        break;
    }
    default:
        m.type = kind == 'f'   ? SV("function_call")
                 : kind == 'o' ? SV("function_call_output")
                 : kind == 'k' ? SV("reasoning")
                               : SV("web_search_call");
        m.role = m.content = SV_NONE;
        m.extra = ids.p ? arena_printf(ctx->arena, "{\"call_id\":\"%.*s\"}", SV_ARG(ids)) : SV_NONE;
    }
    return m;
}

/* Messages 1, 2, 3 …; each has one token. */
static size_t messages_of(struct request_ctx *ctx, const char *words, struct session_message **out)
{
    size_t n = 0;
    *out = arena_array(ctx->arena, strlen(words) / 2 + 1, sizeof(**out));
    for (struct sv rest = sv_from(words); rest.n > 0; n++) {
        (*out)[n] = message_of(ctx, sv_cut(&rest, ' '), (int64_t)n + 1);
        (*out)[n].tokens = SV("1");
    }
    return n;
}

/* The tail of the newest n messages, with what is looked for before it. The first `covered`
 * messages have a summary; n does not exceed the others. */
static struct window_tail tail_after(struct request_ctx *ctx, size_t covered,
                                     struct session_message *all, size_t n_all, size_t n)
{
    struct window_tail t = {.messages = all + n_all - n,
                            .n = n,
                            .is_complete = n == n_all - covered,
                            .is_looked_for = true};
    struct session_message *summary = arena_zalloc(ctx->arena, sizeof(*summary));
    *summary = message_of(ctx, SV("s"), (int64_t)covered);
    summary->tokens = SV("1");
    t.summary = covered > 0 ? summary : NULL;
    for (size_t i = 0; i < n_all - n; i++) {
        const struct session_message *m = &all[i];
        if (sv_eq(m->role, SV("system")) || sv_eq(m->role, SV("developer")))
            t.system = m;
        if (i >= covered && sv_eq(m->role, SV("user")) &&
            !memmem(m->content.p, m->content.n, "tool_result", 11))
            t.start = m;
    }
    return t;
}

static struct session_window_query query_of(int64_t max_messages)
{
    return (struct session_window_query){.most = {max_messages, INT64_MAX, INT64_MAX},
                                         .start_on = SESSION_ROLE_USER,
                                         .include_system = true};
}

/* "1 4 5 open x omitted 3 gap 2-3", "needs 3", "none" or "more". */
static void describe(struct request_ctx *ctx, const struct window_tail *tail,
                     const struct session_window_query *q, bool is_last, char *out, size_t size)
{
    struct session_window w;
    struct session_cost needed = {0, 0, 0};
    enum window_result result;
    size_t n = 0;
    CU_ASSERT_EQUAL(window_choose(ctx, tail, q, is_last, &w, &needed, &result), ERR_NONE);
    out[0] = '\0';
    if (result != WINDOW_CHOSEN) {
        snprintf(out, size, result == WINDOW_NONE ? "none" : "more");
        if (result == WINDOW_TOO_SMALL)
            snprintf(out, size, "needs %" PRId64, needed.messages);
        return;
    }
    for (size_t i = 0; i < w.n; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%" PRId64, i > 0 ? " " : "", w.messages[i].seq);
    for (size_t i = 0; i < w.n_open_calls; i++)
        n += (size_t)snprintf(out + n, size - n, " open %.*s", SV_ARG(w.open_calls[i]));
    for (size_t i = 0; i < w.n_omitted; i++)
        n += (size_t)snprintf(out + n, size - n, " omitted %" PRId64, w.omitted[i]);
    if (w.gap_first_seq > 0)
        snprintf(out + n, size - n, " gap %" PRId64 "-%" PRId64, w.gap_first_seq, w.gap_last_seq);
}

/* Each case fails if its rule is left out of tool_calls.c or window.c: tried for all of them. */
static const struct {
    const char *words;
    int64_t max_messages;
    const char *window;
} cases[] = {
    /* It begins with a message of the user. */
    {"u a u a", 9, "1 2 3 4"},
    {"u a u a", 3, "3 4"},
    {"u a u a", 1, "needs 2"},
    {"a u a", 9, "2 3"},
    {"a a", 9, "1 2"},
    {"a a", 1, "2"},
    /* The newest system message comes with it. */
    {"s u a u a", 3, "1 4 5"},
    {"s d u a u a", 3, "2 5 6"},
    {"s u a d u a", 4, "4 5 6"},
    {"u s a u a", 4, "2 4 5"},
    {"s u", 1, "needs 2"},
    /* A call and its results are not parted. */
    {"u a:x t:x a", 9, "1 2 3 4"},
    {"u a:x t:x a", 3, "1 4 gap 2-3"},
    {"u a:x,y t:y t:x a", 9, "1 2 3 4 5"},
    {"u a:x t:x a:y t:y", 3, "1 4 5 gap 2-3"},
    {"u a:x t:x a:y t:y", 2, "needs 3"},
    {"u p:x r:x a", 9, "1 2 3 4"},
    {"u p:x,y r:x r:y a", 9, "1 2 3 4 5"},
    {"u p:x,y r:x,y p:z r:z", 3, "1 4 5 gap 2-3"},
    {"u p:x n:x a", 9, "1 2 3 4"},
    {"u f:x o:x a", 9, "1 2 3 4"},
    {"u f:x f:y o:y o:x a", 3, "1 6 gap 2-5"},
    {"u f:x u o:x a", 9, "1 2 3 4 5"},
    {"u f:x u o:x a", 3, "3 5 gap 4-4"},
    /* A user's message with a result begins no window. */
    {"u p:x n:x a", 3, "1 4 gap 2-3"},
    {"p:x r:x a", 9, "1 2 3"},
    /* What no model accepts is left out. */
    {"u t:x a", 9, "1 3 omitted 2"},
    {"u r:x a", 9, "1 3 omitted 2"},
    {"u o:x a", 9, "1 3 omitted 2"},
    {"u a:x u a", 9, "1 3 4 omitted 2"},
    {"u a:x,y t:x u a", 9, "1 4 5 omitted 2 omitted 3"},
    {"u p:x,y r:x u a", 9, "1 4 5 omitted 2 omitted 3"},
    {"u f:x f:y o:y u", 9, "1 3 4 5 omitted 2"},
    {"u a:x u t:x a", 9, "1 3 5 omitted 2 omitted 4"},
    {"u p:x m:x u", 9, "1 4 omitted 2 omitted 3"},
    {"u p:x,y n:x r:y u", 9, "1 5 omitted 2 omitted 3 omitted 4"},
    {"u a:x t:x t:x u", 9, "1 2 3 5 omitted 4"},
    {"u a:x t:x a:x u", 9, "1 2 3 5 omitted 4"},
    {"u a:x t:x u a:x t:x", 9, "1 2 3 4 5 6"},
    {"t:x", 9, "none"},
    /* Calls that are still open. */
    {"u a:x,y", 9, "1 2 open x open y"},
    {"u a:x,y t:y", 9, "1 2 3 open x"},
    {"u f:x f:y o:x", 9, "1 2 3 4 open y"},
    {"u f:x k f:y", 9, "1 2 3 4 open x open y"},
    {"u f:x a", 9, "1 3 omitted 2"},
    {"u a:x a:y t:y", 9, "1 3 4 omitted 2"},
    /* Reasoning stays with what it led to. */
    {"u k a u", 9, "1 2 3 4"},
    {"u k k f:x o:x a", 3, "1 6 gap 2-5"},
    {"u k f:x f:y o:y u", 9, "1 6 omitted 2 omitted 3 omitted 4 omitted 5"},
    {"u k w a u", 3, "5"},
    {"u a k", 9, "1 2 omitted 3"},
    {"u k u a", 9, "1 3 4 omitted 2"},
    /* Calls without ids. */
    {"u a: t: t: a", 9, "1 2 3 4 5"},
    {"u a t: a", 9, "1 2 4 omitted 3"},
};

TEST(table)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_ctx *ctx = test_ctx();
        struct session_message *all;
        const size_t n = messages_of(ctx, cases[i].words, &all);
        const struct session_window_query q = query_of(cases[i].max_messages);
        const struct window_tail t = tail_after(ctx, 0, all, n, n);
        char got[256];
        describe(ctx, &t, &q, false, got, sizeof(got));
        CU_ASSERT_STRING_EQUAL(got, cases[i].window);
        if (strcmp(got, cases[i].window) != 0)
            fprintf(stderr, "%s, %" PRId64 ": %s\n", cases[i].words, cases[i].max_messages, got);
    }
}

/* A summary up to a message; it has the seq of that message. Each case fails if its rule is left
 * out: tried for all of them. */
TEST(summaries)
{
    static const struct {
        const char *words;
        size_t covered;
        int64_t max_messages;
        const char *window;
    } with[] = {
        {"u a u a", 2, 9, "2 3 4"},
        {"u a a u", 2, 9, "2 3 4"},
        {"u a a u", 2, 2, "2 4 gap 3-3"},
        {"u a u a u a", 2, 3, "2 5 6 gap 3-4"},
        {"u a u a", 2, 2, "needs 3"},
        {"u a u a:x t:x a", 2, 3, "2 3 6 gap 4-5"},
        {"u a a:x t:x a:y t:y", 2, 3, "2 5 6 gap 3-4"},
        {"u a:x t:x a:y t:y", 1, 2, "needs 3"},
        /* The system message comes after it, wherever it is. */
        {"s u a u", 2, 9, "2 1 3 4"},
        {"s u a u", 3, 9, "3 1 4"},
        {"u a s u", 2, 9, "2 3 4"},
        {"u a s u", 2, 3, "2 3 4"},
        {"u a s a u", 2, 3, "2 3 5 gap 4-4"},
        /* Nothing is left. */
        {"s u a", 3, 9, "3 1"},
        {"u a", 2, 9, "2"},
        {"s u a", 3, 1, "needs 2"},
        {"u a t:x", 2, 9, "2 omitted 3"},
        {"u a t:x a", 2, 9, "2 4 omitted 3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(with); i++) {
        struct request_ctx *ctx = test_ctx();
        struct session_message *all;
        const size_t n = messages_of(ctx, with[i].words, &all);
        const struct session_window_query q = query_of(with[i].max_messages);
        const struct window_tail t = tail_after(ctx, with[i].covered, all, n, n - with[i].covered);
        char got[256];
        describe(ctx, &t, &q, false, got, sizeof(got));
        CU_ASSERT_STRING_EQUAL(got, with[i].window);
        if (strcmp(got, with[i].window) != 0)
            fprintf(stderr, "%s, %zu, %" PRId64 ": %s\n", with[i].words, with[i].covered,
                    with[i].max_messages, got);
    }
}

/* at: the end that is asked for. Fails if open calls or groups are not looked at: tried. */
TEST(boundaries)
{
    static const struct {
        const char *words;
        bool is_first, is_last;
        size_t at, safe;
    } with[] = {
        {"u a u", true, true, 2, 2},       {"u a u", true, true, 3, 3},
        {"u a:x t:x a", true, true, 2, 1}, {"u a:x,y t:x t:y a", true, true, 3, 4},
        {"u a:x t:x a", true, true, 3, 3}, {"u a:x", true, true, 2, 1},
        {"u a:x,y t:x", true, true, 3, 1}, {"u a:x u a", true, true, 2, 2},
        {"u f:x o:x", true, true, 2, 1},   {"u k a u", true, true, 2, 1},
        {"u a k", true, true, 3, 2},       {"a:x t:x u", true, true, 1, 2},
        {"a:x", true, true, 1, 0},         {"t:x a u", false, true, 1, 1},
        {"u a u", true, false, 3, 2},      {"u p:x,y r:x r:y a", true, true, 2, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(with); i++) {
        struct request_ctx *ctx = test_ctx();
        struct session_message *all;
        size_t safe = 99;
        const size_t n = messages_of(ctx, with[i].words, &all);
        CU_ASSERT_EQUAL(
            window_boundary(ctx, all, n, with[i].is_first, with[i].is_last, with[i].at, &safe),
            ERR_NONE);
        CU_ASSERT_EQUAL(safe, with[i].safe);
        if (safe != with[i].safe)
            fprintf(stderr, "%s, %zu: %zu\n", with[i].words, with[i].at, safe);
    }
}

TEST(roles_and_budgets)
{
    static const struct {
        unsigned start_on, end_on;
        bool no_system;
        int64_t tokens, bytes;
        const char *window;
    } with[] = {{SESSION_ROLE_ASSISTANT, 0, false, 99, 999, "1 3 4 5 6 7"},
                {SESSION_ROLE_TOOL, 0, false, 99, 999, "1 2 3 4 5 6 7"}, /* none may begin */
                {SESSION_ROLE_USER, SESSION_ROLE_USER, false, 99, 999, "1 2 3 4 5 6"},
                {SESSION_ROLE_USER, SESSION_ROLE_ASSISTANT, false, 99, 999, "1 2 3 4 5 6 7"},
                {SESSION_ROLE_USER, SESSION_ROLE_TOOL, false, 99, 999, "1 2 3 4"},
                {SESSION_ROLE_USER, SESSION_ROLE_DEVELOPER, false, 99, 999, "1 2 3 4 5 6 7"},
                {SESSION_ROLE_USER, 0, true, 2, 999, "6 7"},
                {SESSION_ROLE_USER, 0, true, 99, 12, "6 7"},
                {SESSION_ROLE_USER, 0, true, 99, 11, "needs 2"}};
    struct request_ctx *ctx = test_ctx();
    struct session_message *all;
    const size_t n = messages_of(ctx, "s u a:x t:x a u a", &all);
    const struct window_tail t = tail_after(ctx, 0, all, n, n);
    for (size_t i = 0; i < ARRAY_LEN(with); i++) {
        const struct session_window_query q = {.most = {99, with[i].tokens, with[i].bytes},
                                               .start_on = with[i].start_on,
                                               .end_on = with[i].end_on,
                                               .include_system = !with[i].no_system};
        char got[256];
        describe(ctx, &t, &q, false, got, sizeof(got));
        CU_ASSERT_STRING_EQUAL(got, with[i].window);
        if (strcmp(got, with[i].window) != 0)
            fprintf(stderr, "%zu: %s\n", i, got);
    }
}

/* A window of a part of the session is that of the whole session, or more is asked for. Fails if a
 * result whose call may be older counts as one without a call, and if the system message is not
 * looked for: tried. */
TEST(tails)
{
    static const char *const words[] = {
        "u",   "u",   "a",   "s",   "d", "a:x", "a:x,y", "t:x", "t:y", "p:x", "r:x", "m:x", "n:x",
        "f:x", "o:x", "f:y", "o:y", "k", "w",   "a:",    "t:",  "a:z", "t:z", "t:x", "o:x"};
    enum { MESSAGES = 14, ROUNDS = 3000 };
    size_t decided = 0;
    srandom(1);
    for (int round = 0; round < ROUNDS; round++) {
        struct request_ctx *ctx = test_ctx();
        char text[MESSAGES * 6] = "";
        for (int i = 0; i < MESSAGES; i++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), i > 0 ? " %s" : "%s",
                     words[(size_t)random() % ARRAY_LEN(words)]);
        struct session_message *all;
        const size_t n = messages_of(ctx, text, &all);
        struct session_window_query q = query_of(1 + random() % 6);
        q.end_on = random() % 4 == 0 ? SESSION_ROLE_ASSISTANT : 0;
        q.start_on = random() % 4 == 0 ? SESSION_ROLE_ASSISTANT : SESSION_ROLE_USER;
        const size_t covered = random() % 3 == 0 ? (size_t)random() % n : 0;
        const struct window_tail whole = tail_after(ctx, covered, all, n, n - covered);
        char expected[256], got[256];
        describe(ctx, &whole, &q, false, expected, sizeof(expected));
        for (size_t part = 0; part < n - covered; part++) {
            struct window_tail t = tail_after(ctx, covered, all, n, part);
            describe(ctx, &t, &q, false, got, sizeof(got));
            if (strcmp(got, "more") == 0)
                continue;
            decided++;
            CU_ASSERT_STRING_EQUAL(got, expected);
            if (strcmp(got, expected) != 0)
                fprintf(stderr, "%s after %zu, %zu of it, %" PRId64 ": %s, not %s\n", text, covered,
                        part, q.most.messages, got, expected);
            t.is_looked_for = false;
            t.system = t.start = NULL;
            describe(ctx, &t, &q, false, got, sizeof(got));
            CU_ASSERT_TRUE(strcmp(got, "more") == 0 || strcmp(got, expected) == 0);
            t.is_looked_for = true;
            describe(ctx, &t, &q, true, got, sizeof(got));
            CU_ASSERT_STRING_NOT_EQUAL(got, "more");
        }
    }
    CU_ASSERT_TRUE(decided > ROUNDS);
}

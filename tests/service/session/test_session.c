/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"

static const struct session_guard nobody = {.create_only = false};

static void test_create_and_read(void)
{
    struct world w;
    if (!world_open(&w, true))
        return;
    struct session s;
    struct session_receipt r;
    struct session_message_draft m[] = {message_of("user", "\"hi \\u00e9\""),
                                        message_of("assistant", "[{\"type\":\"text\"}]")};
    struct session_draft d = draft_of("s:create", "u1");
    d.messages = m;
    d.n_messages = 2;
    d.context = SV("{\"a\": 1.0, \"b\":  12345678901234567890}");
    d.metadata = SV("{\"k\":[1,2]}");
    CU_ASSERT_EQUAL(session_create(w.sessions, world_request(&w, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
    CU_ASSERT_EQUAL(s.version, 1);
    CU_ASSERT_EQUAL(s.message_count, 2);
    for (int again = 0; again < 3; again++) {
        CU_ASSERT_EQUAL(
            session_get(w.sessions, world_request(&w, "t1"), SV("s:create"), SV("u1"), 20, &s),
            ERR_NONE);
        CU_ASSERT_EQUAL(s.n_messages, 2);
        CU_ASSERT_TRUE(sv_eq(s.context, d.context));
        CU_ASSERT_EQUAL(s.ttl_seconds, 604800);
        if (s.n_messages != 2)
            continue;
        CU_ASSERT_EQUAL(s.messages[0].seq, 1);
        CU_ASSERT_TRUE(sv_eq(s.messages[0].content, m[0].content));
        CU_ASSERT_TRUE(sv_eq(s.messages[1].role, SV("assistant")));
    }
    /* Taken, foreign user, foreign tenant. */
    CU_ASSERT_EQUAL(session_create(w.sessions, world_request(&w, "t1"), &d, &nobody, &s, &r),
                    ERR_CONFLICT);
    CU_ASSERT_EQUAL(
        session_get(w.sessions, world_request(&w, "t1"), SV("s:create"), SV("u2"), 20, &s),
        ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(
        session_get(w.sessions, world_request(&w, "t2"), SV("s:create"), SV("u1"), 20, &s),
        ERR_NOT_FOUND);
    world_close(&w);
}

static void append(struct world *w, const char *id, size_t n, size_t return_n, bool create,
                   struct session_receipt *r)
{
    struct session_message_draft m[40];
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", "\"x\"");
    struct session_append a = {m, n, create, return_n};
    enum err e = session_append(w->sessions, world_request(w, "t1"), sv_from(id), &a, &nobody, r);
    CU_ASSERT_EQUAL(e, ERR_NONE);
    if (e != ERR_NONE)
        fprintf(stderr, "append: %s %s %s\n", err_name(e), w->ctx.err.detail, w->ctx.err.cause);
}

static void test_append_and_page(void)
{
    struct world w;
    if (!world_open(&w, true))
        return;
    struct session s;
    struct session_receipt r;
    append(&w, "s:page", 1, 0, true, &r);
    CU_ASSERT_TRUE(r.created);
    CU_ASSERT_EQUAL(r.version, 1);
    append(&w, "s:page", 30, 5, true, &r);
    CU_ASSERT_FALSE(r.created);
    CU_ASSERT_EQUAL(r.first_seq, 2);
    CU_ASSERT_EQUAL(r.last_seq, 31);
    CU_ASSERT_EQUAL(r.n_window, 5);
    if (r.n_window == 5)
        CU_ASSERT_EQUAL(r.window[4].seq, 31);
    struct session_page p;
    struct session_page_query q = {.limit = 10};
    CU_ASSERT_EQUAL(
        session_page(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, &q, &p), ERR_NONE);
    CU_ASSERT_EQUAL(p.n, 10);
    CU_ASSERT_TRUE(p.has_more);
    CU_ASSERT_TRUE(p.n == 10 && p.messages[0].seq == 31 && p.messages[9].seq == 22);
    q = (struct session_page_query){.after = 28, .limit = 10, .ascending = true};
    CU_ASSERT_EQUAL(
        session_page(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, &q, &p), ERR_NONE);
    CU_ASSERT_TRUE(p.n == 3 && !p.has_more && p.messages[0].seq == 29);
    /* Contents are 3 bytes and metadata 2: three messages fit 16 bytes. */
    q = (struct session_page_query){.limit = 10, .max_bytes = 16};
    CU_ASSERT_EQUAL(
        session_page(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, &q, &p), ERR_NONE);
    CU_ASSERT_TRUE(p.n == 3 && p.has_more && p.messages[2].seq == 29);
    q.max_bytes = 4;
    CU_ASSERT_EQUAL(
        session_page(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, &q, &p), ERR_NONE);
    CU_ASSERT_TRUE(p.n == 0 && p.has_more);
    /* Warm appends carry the cached window on. */
    CU_ASSERT_EQUAL(session_get(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, 20, &s),
                    ERR_NONE);
    append(&w, "s:page", 1, 0, false, &r);
    CU_ASSERT_EQUAL(session_get(w.sessions, world_request(&w, "t1"), SV("s:page"), SV_NONE, 20, &s),
                    ERR_NONE);
    CU_ASSERT_EQUAL(s.version, 3);
    CU_ASSERT_TRUE(s.n_messages == 20 && s.messages[19].seq == 32 && s.messages[0].seq == 13);
    world_close(&w);
}

static void test_patch_and_delete(void)
{
    struct world w;
    if (!world_open(&w, true))
        return;
    struct session s;
    struct session_receipt r;
    struct session_draft d = draft_of("s:patch", "u1");
    d.context = SV("{\"a\":1,\"b\":{\"c\":2.50}}");
    CU_ASSERT_EQUAL(session_create(w.sessions, world_request(&w, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
    const int64_t generation = s.generation;
    struct session_patch patch = {
        .context = SV("{\"a\":null,\"d\":[1]}"), .has_language = true, .language = SV("de")};
    struct sv stale = SV("1.s7");
    struct session_guard guard = {.if_match = &stale, .n_if_match = 1};
    CU_ASSERT_EQUAL(
        session_patch(w.sessions, world_request(&w, "t1"), SV("s:patch"), &patch, &guard, &s, &r),
        ERR_PRECONDITION);
    guard = (struct session_guard){.key = SV("k-patch"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(session_patch(w.sessions, world_request(&w, "t1"), SV("s:patch"), &patch,
                                      &guard, &s, &r),
                        ERR_NONE);
        CU_ASSERT_EQUAL(r.replayed, i == 1);
        CU_ASSERT_TRUE(sv_eq(s.context, SV("{\"b\":{\"c\":2.50},\"d\":[1]}")));
        CU_ASSERT_EQUAL(s.state_version, 2);
        CU_ASSERT_TRUE(sv_eq(s.language, SV("de")));
    }
    guard.fingerprint = SV("f2");
    CU_ASSERT_EQUAL(
        session_patch(w.sessions, world_request(&w, "t1"), SV("s:patch"), &patch, &guard, &s, &r),
        ERR_KEY_REUSED);
    append(&w, "s:patch", 3, 0, false, &r);
    CU_ASSERT_EQUAL(session_message_delete(w.sessions, world_request(&w, "t1"), SV("s:patch"),
                                           SV("2"), &nobody, &r),
                    ERR_NONE);
    CU_ASSERT_EQUAL(session_message_delete(w.sessions, world_request(&w, "t1"), SV("s:patch"),
                                           SV("2"), &nobody, &r),
                    ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(session_get(w.sessions, world_request(&w, "t1"), SV("s:patch"), SV_NONE, 5, &s),
                    ERR_NONE);
    CU_ASSERT_EQUAL(s.message_count, 2);
    CU_ASSERT_EQUAL(session_delete(w.sessions, world_request(&w, "t1"), SV("s:patch"), &nobody, &r),
                    ERR_NONE);
    CU_ASSERT_EQUAL(session_get(w.sessions, world_request(&w, "t1"), SV("s:patch"), SV_NONE, 5, &s),
                    ERR_NOT_FOUND);
    struct session_draft again = draft_of("s:patch", "u1");
    CU_ASSERT_EQUAL(
        session_get_or_create(w.sessions, world_request(&w, "t1"), &again, &nobody, &s, &r),
        ERR_NONE);
    CU_ASSERT_TRUE(r.created && s.generation != generation && s.n_messages == 0);
    CU_ASSERT_EQUAL(
        session_get_or_create(w.sessions, world_request(&w, "t1"), &again, &nobody, &s, &r),
        ERR_NONE);
    CU_ASSERT_FALSE(r.created);
    world_close(&w);
}

static void test_keyed_writes(void)
{
    struct world w;
    if (!world_open(&w, true))
        return;
    struct session s;
    struct session_receipt r, first;
    struct session_draft d = draft_of(NULL, "u1");
    struct session_guard guard = {.key = SV("k-create"), .fingerprint = SV("f1")};
    char id[2][64];
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(session_create(w.sessions, world_request(&w, "t1"), &d, &guard, &s, &r),
                        ERR_NONE);
        CU_ASSERT_EQUAL(r.replayed, i == 1);
        snprintf(id[i], sizeof(id[i]), "%.*s", SV_ARG(s.session_id));
    }
    CU_ASSERT_STRING_EQUAL(id[0], id[1]);
    struct session_message_draft m = message_of("user", "\"x\"");
    struct session_append a = {&m, 1, false, 2};
    guard = (struct session_guard){.key = SV("k-append"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            session_append(w.sessions, world_request(&w, "t1"), sv_from(id[0]), &a, &guard, &r),
            ERR_NONE);
        CU_ASSERT_EQUAL(r.first_seq, 1);
        CU_ASSERT_EQUAL(r.n_window, 1);
        if (i == 0)
            first = r;
    }
    CU_ASSERT_TRUE(r.replayed && r.at == first.at && r.version == first.version);
    /* Replayed although the session is gone by now. */
    guard = (struct session_guard){.key = SV("k-delete"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL(
            session_delete(w.sessions, world_request(&w, "t1"), sv_from(id[0]), &guard, &r),
            ERR_NONE);
    CU_ASSERT_TRUE(r.replayed);
    guard.key = SV("k-delete-2");
    CU_ASSERT_EQUAL(session_delete(w.sessions, world_request(&w, "t1"), sv_from(id[0]), &guard, &r),
                    ERR_NOT_FOUND);
    world_close(&w);
}

SUITE(session, "session", {"create and read", test_create_and_read},
      {"append and page", test_append_and_page}, {"patch and delete", test_patch_and_delete},
      {"keyed writes", test_keyed_writes})

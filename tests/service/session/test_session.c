/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>

#include "../../unit/suite.h"

static void test_create_and_read(void)
{
    struct world *w = world_open(true);
    struct session_message_draft m[] = {message_of("user", "\"hi \\u00e9\""),
                                        message_of("assistant", "[{\"type\":\"text\"}]")};
    struct session_draft d = draft_with("s:create", "u1", m, 2);
    d.context = SV("{\"a\": 1.0, \"b\":  12345678901234567890}");
    d.metadata = SV("{\"k\":[1,2]}");
    OK(world_create(w, "t1", &d, &nobody));
    CU_ASSERT_EQUAL(w->s.version, 1);
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    for (int again = 0; again < 3; again++) {
        OK(world_get_as(w, "t1", "s:create", "u1", 20));
        CU_ASSERT_EQUAL(w->s.n_messages, 2);
        CU_ASSERT_TRUE(sv_eq(w->s.context, d.context));
        CU_ASSERT_EQUAL(w->s.ttl_seconds, 604800);
        if (w->s.n_messages != 2)
            continue;
        CU_ASSERT_EQUAL(w->s.messages[0].seq, 1);
        CU_ASSERT_TRUE(sv_eq(w->s.messages[0].content, m[0].content));
        CU_ASSERT_TRUE(sv_eq(w->s.messages[1].role, SV("assistant")));
    }
    /* Taken, foreign user, foreign tenant. */
    CU_ASSERT_EQUAL(world_create(w, "t1", &d, &nobody), ERR_CONFLICT);
    CU_ASSERT_EQUAL(world_get_as(w, "t1", "s:create", "u2", 20), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(world_get_as(w, "t2", "s:create", "u1", 20), ERR_NOT_FOUND);
    world_close(w);
}

static void append(struct world *w, const char *id, size_t n, size_t return_n, bool create)
{
    struct session_message_draft m[40];
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", "\"x\"");
    const struct session_append a = {m, n, create, return_n};
    OK(world_append(w, "t1", id, &a, &nobody));
}

static void test_append_and_page(void)
{
    struct world *w = world_open(true);
    append(w, "s:page", 1, 0, true);
    CU_ASSERT_TRUE(w->r.created);
    CU_ASSERT_EQUAL(w->r.version, 1);
    append(w, "s:page", 30, 5, true);
    CU_ASSERT_FALSE(w->r.created);
    CU_ASSERT_EQUAL(w->r.first_seq, 2);
    CU_ASSERT_EQUAL(w->r.last_seq, 31);
    CU_ASSERT_EQUAL(w->r.n_window, 5);
    if (w->r.n_window == 5)
        CU_ASSERT_EQUAL(w->r.window[4].seq, 31);
    struct session_page_query q = {.limit = 10};
    OK(world_page(w, "t1", "s:page", NULL, &q));
    CU_ASSERT_EQUAL(w->page.n, 10);
    CU_ASSERT_TRUE(w->page.has_more);
    CU_ASSERT_TRUE(w->page.n == 10 && w->page.messages[0].seq == 31 &&
                   w->page.messages[9].seq == 22);
    q = (struct session_page_query){.after = 28, .limit = 10, .ascending = true};
    OK(world_page(w, "t1", "s:page", NULL, &q));
    CU_ASSERT_TRUE(w->page.n == 3 && !w->page.has_more && w->page.messages[0].seq == 29);
    /* Contents are 3 bytes and metadata 2: three messages fit 16 bytes. */
    q = (struct session_page_query){.limit = 10, .max_bytes = 16};
    OK(world_page(w, "t1", "s:page", NULL, &q));
    CU_ASSERT_TRUE(w->page.n == 3 && w->page.has_more && w->page.messages[2].seq == 29);
    q.max_bytes = 4;
    OK(world_page(w, "t1", "s:page", NULL, &q));
    CU_ASSERT_TRUE(w->page.n == 0 && w->page.has_more);
    /* An append updates the cached window. */
    OK(world_get(w, "t1", "s:page"));
    append(w, "s:page", 1, 0, false);
    OK(world_get(w, "t1", "s:page"));
    CU_ASSERT_EQUAL(w->s.version, 3);
    CU_ASSERT_TRUE(w->s.n_messages == 20 && w->s.messages[19].seq == 32 &&
                   w->s.messages[0].seq == 13);
    world_close(w);
}

static void test_patch_and_delete(void)
{
    struct world *w = world_open(true);
    struct session_draft d = draft_of("s:patch", "u1");
    d.context = SV("{\"a\":1,\"b\":{\"c\":2.50}}");
    OK(world_create(w, "t1", &d, &nobody));
    const int64_t generation = w->s.generation;
    struct session_patch patch = {
        .context = SV("{\"a\":null,\"d\":[1]}"), .has_language = true, .language = SV("de")};
    struct sv stale = SV("1.s7");
    struct session_precondition precondition = {.if_match = &stale, .n_if_match = 1};
    CU_ASSERT_EQUAL(world_patch(w, "t1", "s:patch", &patch, &precondition), ERR_PRECONDITION);
    precondition = (struct session_precondition){.key = SV("k-patch"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++) {
        OK(world_patch(w, "t1", "s:patch", &patch, &precondition));
        CU_ASSERT_EQUAL(w->r.replayed, i == 1);
        CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{\"b\":{\"c\":2.50},\"d\":[1]}")));
        CU_ASSERT_EQUAL(w->s.state_version, 2);
        CU_ASSERT_TRUE(sv_eq(w->s.language, SV("de")));
    }
    precondition.fingerprint = SV("f2");
    CU_ASSERT_EQUAL(world_patch(w, "t1", "s:patch", &patch, &precondition), ERR_KEY_REUSED);
    append(w, "s:patch", 3, 0, false);
    OK(world_delete_message(w, "t1", "s:patch", "2", &nobody));
    CU_ASSERT_EQUAL(world_delete_message(w, "t1", "s:patch", "2", &nobody), ERR_NOT_FOUND);
    OK(world_get_as(w, "t1", "s:patch", NULL, 5));
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    OK(world_delete(w, "t1", "s:patch", &nobody));
    CU_ASSERT_EQUAL(world_get_as(w, "t1", "s:patch", NULL, 5), ERR_NOT_FOUND);
    struct session_draft again = draft_of("s:patch", "u1");
    OK(world_ensure(w, "t1", &again, &nobody));
    CU_ASSERT_TRUE(w->r.created && w->s.generation != generation && w->s.n_messages == 0);
    OK(world_ensure(w, "t1", &again, &nobody));
    CU_ASSERT_FALSE(w->r.created);
    world_close(w);
}

static void test_keyed_writes(void)
{
    struct world *w = world_open(true);
    struct session_receipt first;
    struct session_precondition precondition = {.key = SV("k-create"), .fingerprint = SV("f1")};
    char id[2][64];
    for (int i = 0; i < 2; i++) {
        world_make(w, "t1", NULL, "u1", 0, "", &precondition);
        CU_ASSERT_EQUAL(w->r.replayed, i == 1);
        snprintf(id[i], sizeof(id[i]), "%.*s", SV_ARG(w->s.session_id));
    }
    CU_ASSERT_STRING_EQUAL(id[0], id[1]);
    struct session_message_draft m = message_of("user", "\"x\"");
    struct session_append a = {&m, 1, false, 2};
    precondition = (struct session_precondition){.key = SV("k-append"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++) {
        OK(world_append(w, "t1", id[0], &a, &precondition));
        CU_ASSERT_EQUAL(w->r.first_seq, 1);
        CU_ASSERT_EQUAL(w->r.n_window, 1);
        if (i == 0)
            first = w->r;
    }
    CU_ASSERT_TRUE(w->r.replayed && w->r.at == first.at && w->r.version == first.version);
    /* A replay, although the session is gone. */
    precondition = (struct session_precondition){.key = SV("k-delete"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++)
        OK(world_delete(w, "t1", id[0], &precondition));
    CU_ASSERT_TRUE(w->r.replayed);
    precondition.key = SV("k-delete-2");
    CU_ASSERT_EQUAL(world_delete(w, "t1", id[0], &precondition), ERR_NOT_FOUND);
    world_close(w);
}

SUITE(session, "session", {"create and read", test_create_and_read},
      {"append and page", test_append_and_page}, {"patch and delete", test_patch_and_delete},
      {"keyed writes", test_keyed_writes})

/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "../../unit/suite.h"

static void test_create_and_read(void)
{
    struct fixture *w = fixture_open(true);
    struct session_message m[] = {message_of("user", "\"hi \\u00e9\""),
                                  message_of("assistant", "[{\"type\":\"text\"}]")};
    struct session_draft d = draft_with("s:create", "u1", m, 2);
    d.context = SV("{\"a\": 1.0, \"b\":  12345678901234567890}");
    d.metadata = SV("{\"k\":[1,2]}");
    OK(fixture_create(w, "t1", &d, &nobody));
    CU_ASSERT_EQUAL(w->s.version, 1);
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    for (int again = 0; again < 3; again++) {
        OK(fixture_get_as(w, "t1", "s:create", "u1", 20));
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
    CU_ASSERT_EQUAL(fixture_create(w, "t1", &d, &nobody), ERR_CONFLICT);
    CU_ASSERT_EQUAL(fixture_get_as(w, "t1", "s:create", "u2", 20), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_get_as(w, "t2", "s:create", "u1", 20), ERR_NOT_FOUND);
    fixture_close(w);
}

/* An append that would create and has If-Match creates nothing; the plain form and that of a keyed
 * message. Fails if * is lost on the way: tried. */
static void test_append_if_match(void)
{
    struct fixture *w = fixture_open(true);
    struct sv stale = SV("1.v1");
    const struct session_precondition any = {.must_exist = true},
                                      tag = {.must_exist = true,
                                             .if_match = &stale,
                                             .n_if_match = 1},
                                      keyed = {.must_exist = true,
                                               .key = SV("k-if-match"),
                                               .fingerprint = SV("f")},
                                      other = {.must_exist = true, .user = SV("u2")};
    const struct session_precondition *const all[] = {&any, &tag, &keyed};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        CU_ASSERT_EQUAL(fixture_append_one(w, "t1", "s:if", true, "1", all[i]), ERR_PRECONDITION);
        CU_ASSERT_EQUAL(fixture_append_one(w, "t1", "s:if", false, "1", all[i]), ERR_NOT_FOUND);
    }
    CU_ASSERT_EQUAL(fixture_get(w, "t1", "s:if"), ERR_NOT_FOUND);
    struct session_draft d = draft_of("s:if", "u1");
    OK(fixture_create(w, "t1", &d, &nobody));
    OK(fixture_append_one(w, "t1", "s:if", true, "1", &any));
    OK(fixture_append_one(w, "t1", "s:if", true, "1", &keyed));
    CU_ASSERT_FALSE(w->r.created);
    CU_ASSERT_EQUAL(fixture_append_one(w, "t1", "s:if", true, "1", &tag), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fixture_append_one(w, "t1", "s:if", true, "1", &other), ERR_NOT_FOUND);
    fixture_close(w);
}

static void test_patch_and_delete(void)
{
    struct fixture *w = fixture_open(true);
    struct session_draft d = draft_of("s:patch", "u1");
    d.context = SV("{\"a\":1,\"b\":{\"c\":2.50}}");
    OK(fixture_create(w, "t1", &d, &nobody));
    const int64_t generation = w->s.generation;
    struct session_patch patch = {
        .context = SV("{\"a\":null,\"d\":[1]}"), .has_language = true, .language = SV("de")};
    struct sv stale = SV("1.s7");
    struct session_precondition precondition = {.if_match = &stale, .n_if_match = 1};
    CU_ASSERT_EQUAL(fixture_patch(w, "t1", "s:patch", &patch, &precondition), ERR_PRECONDITION);
    precondition = (struct session_precondition){.key = SV("k-patch"), .fingerprint = SV("f1")};
    for (int i = 0; i < 2; i++) {
        OK(fixture_patch(w, "t1", "s:patch", &patch, &precondition));
        CU_ASSERT_EQUAL(w->r.replayed, i == 1);
        CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{\"b\":{\"c\":2.50},\"d\":[1]}")));
        CU_ASSERT_EQUAL(w->s.state_version, 2);
        CU_ASSERT_TRUE(sv_eq(w->s.language, SV("de")));
    }
    precondition.fingerprint = SV("f2");
    CU_ASSERT_EQUAL(fixture_patch(w, "t1", "s:patch", &patch, &precondition), ERR_KEY_REUSED);
    for (int i = 0; i < 3; i++)
        OK(fixture_append_one(w, "t1", "s:patch", false, "\"x\"", &nobody));
    /* Contents are 3 bytes and metadata 2: two of the three messages fit 14 bytes. None fits 4, and
     * one comes all the same. */
    static const struct session_page_query bytes[] = {{.limit = 10, .max_bytes = 14},
                                                      {.limit = 10, .max_bytes = 4}};
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
        OK(fixture_page(w, "t1", "s:patch", NULL, &bytes[i]));
        CU_ASSERT_TRUE(w->page.n == (i == 0 ? 2 : 1) && w->page.has_more);
        CU_ASSERT_EQUAL(w->page.over_budget, i == 1);
    }
    OK(fixture_delete_message(w, "t1", "s:patch", "2", &nobody));
    CU_ASSERT_EQUAL(fixture_delete_message(w, "t1", "s:patch", "2", &nobody), ERR_NOT_FOUND);
    OK(fixture_get_as(w, "t1", "s:patch", NULL, 5));
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    OK(fixture_delete(w, "t1", "s:patch", &nobody));
    CU_ASSERT_EQUAL(fixture_get_as(w, "t1", "s:patch", NULL, 5), ERR_NOT_FOUND);
    struct session_draft again = draft_of("s:patch", "u1");
    OK(fixture_ensure(w, "t1", &again, &nobody));
    CU_ASSERT_TRUE(w->r.created && w->s.generation != generation && w->s.n_messages == 0);
    OK(fixture_ensure(w, "t1", &again, &nobody));
    CU_ASSERT_FALSE(w->r.created);
    fixture_close(w);
}

SUITE(session, "session", {"create and read", test_create_and_read},
      {"patch and delete", test_patch_and_delete}, {"append with If-Match", test_append_if_match})

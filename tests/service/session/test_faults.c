/* SPDX-License-Identifier: MIT */
/* A write that PostgreSQL refuses, at whichever row or statement, has changed nothing. */

#include "../../unit/suite.h"
#include "fixture.h"

static int64_t rows_of(const char *id)
{
    return fixture_rows("sessions WHERE session_id = '%s'", id);
}

static int64_t messages_like(const char *content)
{
    return fixture_rows("messages WHERE content = '\"%s\"'", content);
}

enum fault { NO_CONTENT, NO_ROLE, BAD_METADATA, TWICE, FAULTS };

static const enum err expected[FAULTS] = {[NO_CONTENT] = ERR_INTERNAL,
                                          [NO_ROLE] = ERR_INTERNAL,
                                          [BAD_METADATA] = ERR_INVALID,
                                          [TWICE] = ERR_CONFLICT};

/* n good messages, of which the one at bad has the fault. */
static void set_fault(struct session_message *m, size_t n, size_t bad, enum fault fault,
                      const char *content)
{
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", content);
    switch (fault) {
    case NO_CONTENT:
        m[bad].content = SV_NONE;
        break;
    case NO_ROLE:
        m[bad].role = SV_NONE;
        break;
    case BAD_METADATA:
        m[bad].metadata = SV("{\"a\":");
        break;
    case TWICE:
        m[bad].message_id = SV("twice");
        m[bad == 0 ? n - 1 : 0].message_id = SV("twice");
        break;
    case FAULTS:
        break;
    }
}

/* Fails if the session is stored by one transaction and its messages by the next: tried. */
static void a_create_that_fails(void)
{
    struct session_message m[5];
    const struct session_precondition with_key = keyed("k-create-fails");
    struct fixture *w = fixture_open(true);
    for (int fault = 0; fault < FAULTS; fault++) {
        for (size_t bad = 0; bad < 5; bad += 2) {
            const struct session_draft d = draft_with("f:create", "u1", m, 5);
            set_fault(m, 5, bad, (enum fault)fault, "\"create fails\"");
            CU_ASSERT_EQUAL(fixture_create(w, "t1", &d, &with_key), expected[fault]);
            CU_ASSERT_EQUAL(fixture_ensure(w, "t1", &d, &with_key), expected[fault]);
        }
    }
    CU_ASSERT_EQUAL(rows_of("f:create"), 0);
    CU_ASSERT_EQUAL(messages_like("create fails"), 0);
    CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'k-create-fails'"), 0);
    CU_ASSERT_EQUAL(fixture_get(w, "t1", "f:create"), ERR_NOT_FOUND);
    /* The key is free, and so is the id. */
    struct session_draft d = draft_of("f:create", "u1");
    OK(fixture_create(w, "t1", &d, &with_key));
    CU_ASSERT_FALSE(w->r.replayed);
    fixture_close(w);
}

/* Fails if a taken key does not fail the whole statement: tried. */
static void a_key_that_is_taken(void)
{
    struct session_precondition with_key = keyed("k-taken");
    struct session_message m = message_of("user", "\"key taken\"");
    struct session_draft d = draft_of("f:key-1", NULL);
    const struct session_append a = {&m, 1, true};
    const struct session_patch patch = {.context = SV("{\"a\":1}")};
    struct fixture *w = fixture_open(true);
    OK(fixture_create(w, "t1", &d, &with_key));
    with_key.fingerprint = SV("f2");
    d = draft_with("f:key-2", NULL, &m, 1);
    CU_ASSERT_EQUAL(fixture_create(w, "t1", &d, &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(fixture_ensure(w, "t1", &d, &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(fixture_append(w, "t1", "f:key-2", &a, &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(fixture_append(w, "t1", "f:key-1", &a, &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(fixture_patch(w, "t1", "f:key-1", &patch, &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(fixture_delete(w, "t1", "f:key-1", &with_key), ERR_KEY_REUSED);
    CU_ASSERT_EQUAL(rows_of("f:key-2"), 0);
    CU_ASSERT_EQUAL(messages_like("key taken"), 0);
    OK(fixture_get(w, "t1", "f:key-1"));
    CU_ASSERT_TRUE(w->s.version == 1 && sv_eq(w->s.context, SV("{}")));
    fixture_close(w);
}

/* Fails if the numbers are given by a transaction of its own, ahead of the messages: tried. */
static void a_bulk_with_a_bad_row(void)
{
    static struct session_message m[SESSION_MESSAGES_MAX];
    static const size_t indexes[] = {0, 499, SESSION_MESSAGES_MAX - 1};
    struct session_append a = {m, 3, true};
    struct fixture *w = fixture_open(true);
    set_fault(m, 3, 0, FAULTS, "\"good\"");
    m[0].message_id = SV("taken");
    OK(fixture_append(w, "t1", "f:bulk", &a, &nobody));
    OK(fixture_get_as(w, "t1", "f:bulk", NULL, 0));
    a.n_messages = SESSION_MESSAGES_MAX;
    for (int fault = 0; fault <= FAULTS; fault++) {
        for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
            set_fault(m, SESSION_MESSAGES_MAX, indexes[i], (enum fault)fault, "\"bulk fails\"");
            if (fault == FAULTS)
                m[indexes[i]].message_id = SV("taken"); /* by a message that is there */
            enum err want = fault == FAULTS ? ERR_CONFLICT : expected[fault];
            CU_ASSERT_EQUAL(fixture_append(w, "t1", "f:bulk", &a, &nobody), want);
            if (want == ERR_CONFLICT)
                CU_ASSERT_STRING_EQUAL(w->ctx.err.slug, "message_id_taken");
            if (fault == FAULTS)
                continue;
            /* No session is made for it, either. */
            CU_ASSERT_EQUAL(fixture_append(w, "t1", "f:bulk-new", &a, &nobody), want);
        }
    }
    CU_ASSERT_EQUAL(messages_like("bulk fails"), 0);
    CU_ASSERT_EQUAL(rows_of("f:bulk-new"), 0);
    OK(fixture_get(w, "t1", "f:bulk"));
    CU_ASSERT_TRUE(w->s.version == 1 && w->s.last_seq == 3 && w->s.message_count == 3 &&
                   w->s.n_messages == 3);
    /* The next number follows the last one that was given. */
    a.n_messages = 1;
    m[0] = message_of("user", "\"next\"");
    OK(fixture_append(w, "t1", "f:bulk", &a, &nobody));
    CU_ASSERT_EQUAL(w->r.first_seq, 4);
    fixture_close(w);
}

/* A condition that cannot hold makes no session. Fails if the session is made whatever
 * If-Match says: tried. */
static void a_condition_makes_nothing(void)
{
    const struct sv tag = SV("1.v1");
    const struct session_precondition precondition = {
        .if_match = &tag, .n_if_match = 1, .must_exist = true};
    struct fixture *w = fixture_open(true);
    CU_ASSERT_EQUAL(fixture_append_one(w, "t1", "f:condition", true, "1", &precondition),
                    ERR_PRECONDITION);
    CU_ASSERT_EQUAL(rows_of("f:condition"), 0);
    fixture_close(w);
}

SUITE(session_faults, "session/faults", {"a create that fails", a_create_that_fails},
      {"a key that is taken", a_key_that_is_taken},
      {"a bulk with a bad row", a_bulk_with_a_bad_row},
      {"a condition makes nothing", a_condition_makes_nothing})

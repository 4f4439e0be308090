/* SPDX-License-Identifier: MIT */
#include "expect.h"

#include <string.h>

#include <CUnit/CUnit.h>

/* A session with one message whose content says whose it is. */
void expect_make(struct world *w, const char *tenant, const char *id, const char *content,
                 const struct session_guard *guard)
{
    struct session s;
    struct session_receipt r;
    struct session_message_draft m = message_of("user", content);
    struct session_draft d = draft_of(id, NULL);
    d.messages = &m;
    d.n_messages = 1;
    CU_ASSERT_EQUAL(session_create(w->sessions, world_request(w, tenant), &d, guard, &s, &r),
                    ERR_NONE);
}

/* The one message of a session is this, by every way there is to it; twice, so that a cached value
 * is looked at too. */
void expect_only(struct world *w, const char *tenant, const char *id, const char *content)
{
    const struct session_page_query q = {.limit = 10};
    for (int again = 0; again < 2; again++) {
        struct session s;
        struct session_page p;
        struct session_message m;
        CU_ASSERT_EQUAL(
            session_get(w->sessions, world_request(w, tenant), sv_from(id), SV_NONE, 20, &s),
            ERR_NONE);
        CU_ASSERT_EQUAL(s.n_messages, 1);
        CU_ASSERT_TRUE(s.n_messages == 1 && sv_eq(s.messages[0].content, sv_from(content)));
        CU_ASSERT_EQUAL(
            session_page(w->sessions, world_request(w, tenant), sv_from(id), SV_NONE, &q, &p),
            ERR_NONE);
        CU_ASSERT_TRUE(p.n == 1 && sv_eq(p.messages[0].content, sv_from(content)));
        CU_ASSERT_EQUAL(session_message_get(w->sessions, world_request(w, tenant), sv_from(id),
                                            SV_NONE, SV("1"), &m),
                        ERR_NONE);
        CU_ASSERT_TRUE(sv_eq(m.content, sv_from(content)));
    }
}

void expect_nothing(struct world *w, const char *tenant, const char *id)
{
    const struct session_page_query q = {.limit = 10};
    struct session s;
    struct session_page p;
    struct session_message m;
    CU_ASSERT_EQUAL(
        session_get(w->sessions, world_request(w, tenant), sv_from(id), SV_NONE, 20, &s),
        ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(
        session_page(w->sessions, world_request(w, tenant), sv_from(id), SV_NONE, &q, &p),
        ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(session_message_get(w->sessions, world_request(w, tenant), sv_from(id), SV_NONE,
                                        SV("1"), &m),
                    ERR_NOT_FOUND);
}

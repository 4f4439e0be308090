/* SPDX-License-Identifier: MIT */
#include "expect.h"

#include <string.h>

#include <CUnit/CUnit.h>

/* The one message of a session is this, by every way there is to it; twice, so that a cached value
 * is looked at too. */
void expect_only(struct world *w, const char *tenant, const char *id, const char *content)
{
    const struct session_page_query q = {.limit = 10};
    for (int again = 0; again < 2; again++) {
        OK(world_get(w, tenant, id));
        CU_ASSERT_EQUAL(w->s.n_messages, 1);
        CU_ASSERT_TRUE(w->s.n_messages == 1 && sv_eq(w->s.messages[0].content, sv_from(content)));
        OK(world_page(w, tenant, id, NULL, &q));
        CU_ASSERT_TRUE(w->page.n == 1 && sv_eq(w->page.messages[0].content, sv_from(content)));
        OK(world_message(w, tenant, id, NULL, "1"));
        CU_ASSERT_TRUE(sv_eq(w->m.content, sv_from(content)));
    }
}

void expect_nothing(struct world *w, const char *tenant, const char *id)
{
    const struct session_page_query q = {.limit = 10};
    CU_ASSERT_EQUAL(world_get(w, tenant, id), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(world_page(w, tenant, id, NULL, &q), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(world_message(w, tenant, id, NULL, "1"), ERR_NOT_FOUND);
}

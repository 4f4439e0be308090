/* SPDX-License-Identifier: MIT */
/* Many threads that delete what others delete or append to. */

#include "../../unit/suite.h"
#include "crowd.h"

enum { DELETERS = 4, DELETED = 40 };

static void work_delete_messages(struct crowd *crowd, struct world *c, int me)
{
    (void)me;
    for (int seq = 1; seq <= DELETED; seq++) {
        enum err e;
        const char *which = text_of("%d", seq);
        UNTIL_DONE(e, world_delete_message(c, "t1", crowd->id, which, &nobody));
        crowd->calls_done += e == ERR_NONE;
        crowd->missing += e == ERR_NOT_FOUND;
    }
}

/* Fails if the count goes by what the statement's snapshot shows, the session not being locked
 * before: tried. */
static void a_message_is_counted_down_once(void)
{
    struct world *w = world_open(true);
    struct world *c = world_share(w);
    struct crowd crowd = crowd_at(w, "c:delete");
    for (int i = 0; i < DELETED / 2 + 1; i++)
        OK(crowd_append(&crowd, c, 2, true, &nobody));
    crowd_run(&crowd, DELETERS, work_delete_messages);
    CU_ASSERT_EQUAL(crowd.calls_done, DELETED);
    CU_ASSERT_EQUAL(crowd.missing, DELETED * (DELETERS - 1));
    OK(world_get(w, "t1", "c:delete"));
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    CU_ASSERT_EQUAL(w->s.version, DELETED / 2 + 1 + DELETED);
    CU_ASSERT_TRUE(w->s.n_messages == 2 && w->s.messages[0].seq == DELETED + 1);
    world_close(c);
    world_close(w);
}

/* The first one deletes and deletes, the others append: with create, so that a new session comes
 * after each deletion, or (odd ones) without. */
static void work_delete_or_append(struct crowd *crowd, struct world *c, int me)
{
    for (int i = 0; i < 25; i++) {
        enum err e;
        if (me == 0) {
            UNTIL_DONE(e, world_delete(c, "t1", crowd->id, &nobody));
            crowd->failed += e != ERR_NONE && e != ERR_NOT_FOUND;
            continue;
        }
        e = crowd_append(crowd, c, 1, me % 2 == 0, &nobody);
        crowd->failed += e != ERR_NONE && (me % 2 == 0 || e != ERR_NOT_FOUND);
        crowd->calls_done += e == ERR_NONE;
    }
}

/* Every acknowledged message is stored in a session of its own generation, without a gap there, and
 * nothing else is. Fails if the numbers come from what the statement's snapshot shows instead of
 * from the locked row: tried. */
static void delete_against_append(void)
{
    struct world *w = world_open(true);
    world_sql("DELETE FROM sessions WHERE tenant = 't1'", NULL, 0);
    struct crowd crowd = crowd_at(w, "c:both");
    crowd_run(&crowd, 8, work_delete_or_append);
    CU_ASSERT_EQUAL(crowd.failed, 0);
    CU_ASSERT_TRUE(crowd.calls_done > 0);
    CU_ASSERT_EQUAL(world_rows("messages WHERE tenant = 't1'"), crowd.calls_done);
    CU_ASSERT_EQUAL(world_rows("sessions s WHERE tenant = 't1'"
                               " AND (last_seq <> message_count OR last_seq <>"
                               " (SELECT count(*) FROM messages m WHERE m.tenant = s.tenant"
                               " AND m.generation = s.generation))"),
                    0);
    CU_ASSERT_TRUE(world_rows("sessions WHERE session_id = 'c:both'") <= 1);
    world_close(w);
}

SUITE(session_deletion, "session/concurrency (deletion)",
      {"a message is counted down once", a_message_is_counted_down_once},
      {"delete against append", delete_against_append})

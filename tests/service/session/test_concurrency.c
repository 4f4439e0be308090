/* SPDX-License-Identifier: MIT */
/* Many threads write to one session. Their order is free; what was acknowledged must be there. */
#include <stdio.h>

#include "../../unit/suite.h"
#include "crowd.h"

/* ---- appending ---- */

enum { APPENDERS = 64, ROUNDS = 4 };

static void work_append(struct crowd *crowd, struct world *c, int me)
{
    for (int i = 0; i < ROUNDS; i++) {
        const struct session_receipt *r = &c->r;
        size_t n = (size_t)(me + i) % 3 + 1;
        if (crowd_append(crowd, c, n, true, &nobody) != ERR_NONE ||
            r->last_seq - r->first_seq + 1 != (int64_t)n) {
            crowd->failed++;
            continue;
        }
        crowd->created += r->created;
        crowd->calls_done++;
        for (int64_t seq = r->first_seq; seq <= r->last_seq; seq++)
            crowd->seen[seq % (int64_t)sizeof(crowd->seen)]++;
    }
}

/* Fails if the numbers come from what the statement's snapshot shows instead of from the locked
 * row: tried. */
static void appenders(void)
{
    struct world *w = world_open(true);
    struct crowd crowd = crowd_at(w, "c:append");
    crowd_run(&crowd, APPENDERS, work_append);
    int64_t total = 0;
    for (int me = 0; me < APPENDERS; me++)
        for (int i = 0; i < ROUNDS; i++)
            total += (me + i) % 3 + 1;
    CU_ASSERT_EQUAL(crowd.failed, 0);
    CU_ASSERT_EQUAL(crowd.created, 1);
    CU_ASSERT_EQUAL(crowd.calls_done, APPENDERS * ROUNDS);
    for (int64_t seq = 1; seq <= total; seq++)
        CU_ASSERT_EQUAL(crowd.seen[seq], 1);
    OK(world_get(w, "t1", "c:append"));
    CU_ASSERT_EQUAL(w->s.version, APPENDERS * ROUNDS);
    CU_ASSERT_EQUAL(w->s.message_count, total);
    CU_ASSERT_EQUAL(w->s.last_seq, total);
    CU_ASSERT_TRUE(w->s.n_messages == 20 && w->s.messages[19].seq == total);
    CU_ASSERT_EQUAL(world_rows("messages WHERE generation = %lld", (long long)w->s.generation),
                    total);
    world_close(w);
}

/* ---- making ---- */

static void work_ensure(struct crowd *crowd, struct world *c, int me)
{
    struct session_draft d = draft_of(crowd->id, NULL);
    enum err e;
    UNTIL_DONE(e, world_ensure(c, "t1", &d, &nobody));
    crowd->failed += e != ERR_NONE;
    crowd->created += e == ERR_NONE && c->r.created;
    c->r.generation = c->s.generation;
    (void)me;
}

/* Fails if the insert renames whatever session has the id, live or not: tried. */
static void one_is_made(void)
{
    struct world *w = world_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("c:ensure-%d", round);
        struct crowd crowd = crowd_at(w, id);
        crowd_run(&crowd, 16, work_ensure);
        CU_ASSERT_EQUAL(crowd.failed, 0);
        CU_ASSERT_EQUAL(crowd.created, 1);
        for (int i = 1; i < 16; i++)
            CU_ASSERT_EQUAL(crowd.receipts[i].generation, crowd.receipts[0].generation);
        CU_ASSERT_EQUAL(world_rows("sessions WHERE session_id = '%s'", id), 1);
    }
    world_close(w);
}

static void work_create(struct crowd *crowd, struct world *c, int me)
{
    struct session_message_draft m = message_of("user", "\"new\"");
    struct session_draft d = draft_with(crowd->id, NULL, &m, 1);
    enum err e;
    (void)me;
    UNTIL_DONE(e, world_create(c, "t1", &d, &nobody));
    crowd->created += e == ERR_NONE;
    crowd->conflicts += e == ERR_CONFLICT;
}

/* Fails if a live session becomes a tombstone like an expired one: tried. */
static void one_takes_the_place_of_the_expired(void)
{
    struct world *w = world_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("c:expired-%d", round);
        world_make(w, "t1", id, NULL, 1, "\"old\"", &nobody);
        const int64_t old = w->s.generation;
        world_expire(id);
        struct crowd crowd = crowd_at(w, id);
        crowd_run(&crowd, 16, work_create);
        CU_ASSERT_EQUAL(crowd.created, 1);
        CU_ASSERT_EQUAL(crowd.conflicts, 15);
        OK(world_get(w, "t1", id));
        CU_ASSERT_TRUE(w->s.n_messages == 1 && sv_eq(w->s.messages[0].content, SV("\"new\"")));
        CU_ASSERT_NOT_EQUAL(w->s.generation, old);
        CU_ASSERT_EQUAL(world_rows("sessions WHERE generation = %lld AND session_id = '~%lld~%s'",
                                   (long long)old, (long long)old, id),
                        1);
    }
    world_close(w);
}

/* ---- one idempotency key ---- */

static void work_keyed_append(struct crowd *crowd, struct world *c, int me)
{
    const struct session_precondition precondition = keyed(crowd->id);
    enum err e = crowd_append(crowd, c, 2, true, &precondition);
    crowd->failed += e != ERR_NONE;
    crowd->calls_done += e == ERR_NONE && !c->r.replayed;
    (void)me;
}

static void work_keyed_create(struct crowd *crowd, struct world *c, int me)
{
    const struct session_precondition precondition = keyed(crowd->id);
    struct session_draft d = draft_of(NULL, NULL); /* each makes an id of its own */
    enum err e;
    UNTIL_DONE(e, world_create(c, "t1", &d, &precondition));
    crowd->failed += e != ERR_NONE;
    crowd->calls_done += e == ERR_NONE && !c->r.replayed;
    (void)me;
}

static void expect_one_answer(struct crowd *crowd, int n)
{
    const struct session_receipt *a = &crowd->receipts[0];
    CU_ASSERT_EQUAL(crowd->failed, 0);
    CU_ASSERT_EQUAL(crowd->calls_done, 1);
    for (int i = 1; i < n; i++) {
        const struct session_receipt *b = &crowd->receipts[i];
        CU_ASSERT_TRUE(a->generation == b->generation && a->version == b->version &&
                       a->first_seq == b->first_seq && a->last_seq == b->last_seq &&
                       a->message_count == b->message_count && a->at == b->at &&
                       a->session_at == b->session_at && a->expires_at == b->expires_at &&
                       a->status == b->status);
    }
}

/* Fails if a taken key is not looked up, or not stored: tried. */
static void one_key(void)
{
    struct world *w = world_open(true);
    for (int round = 0; round < 5; round++) {
        const char *id = text_of("c:key-%d", round);
        struct crowd crowd = crowd_at(w, id);
        crowd_run(&crowd, 16, work_keyed_append);
        expect_one_answer(&crowd, 16);
        CU_ASSERT_EQUAL(world_rows("messages m JOIN sessions s"
                                   " USING (tenant, generation) WHERE s.session_id = '%s'",
                                   id),
                        2);
        const int64_t before = world_rows("sessions");
        crowd = crowd_at(w, text_of("c:key-create-%d", round));
        crowd_run(&crowd, 16, work_keyed_create);
        expect_one_answer(&crowd, 16);
        CU_ASSERT_EQUAL(world_rows("sessions"), before + 1);
    }
    world_close(w);
}

/* ---- patching ---- */

static void work_patch(struct crowd *crowd, struct world *c, int me)
{
    const char *text = text_of("{\"m%d\":{\"at\":%d}}", me, me);
    const struct session_patch patch = {.context = sv_from(text)};
    enum err e;
    UNTIL_DONE(e, world_patch(c, "t1", crowd->id, &patch, &nobody));
    crowd->failed += e != ERR_NONE;
    /* An append in between does not interfere. */
    crowd->failed += crowd_append(crowd, c, 1, false, &nobody) != ERR_NONE;
}

/* Fails if the update does not ask for the state_version that was read: tried. */
static void patches_of_different_members(void)
{
    struct world *w = world_open(true);
    world_make(w, "t1", "c:patch", NULL, 0, "", &nobody);
    struct crowd crowd = crowd_at(w, "c:patch");
    crowd_run(&crowd, 16, work_patch);
    CU_ASSERT_EQUAL(crowd.failed, 0);
    OK(world_get(w, "t1", "c:patch"));
    CU_ASSERT_EQUAL(w->s.state_version, 17);
    CU_ASSERT_EQUAL(w->s.version, 33);
    CU_ASSERT_EQUAL(w->s.message_count, 16);
    for (int i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(world_count("SELECT (context::jsonb->'m%d'->>'at')::int FROM sessions"
                                    " WHERE session_id = 'c:patch'",
                                    i),
                        i);
    world_close(w);
}

/* ---- deleting ---- */

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

/* Fails if the count comes from the statement's snapshot, because the session is not locked first:
 * tried.
 */
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

/* Thread 0 deletes the session again and again. The others append: with create, so that each
 * deletion is followed by a new session, or (odd ones) without. */
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

/* Every acknowledged message is stored in a session of its generation, without gaps, and nothing
 * else is. Fails if the numbers come from what the statement's snapshot shows instead of from the
 * locked row: tried. */
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

SUITE(session_concurrency, "session/concurrency", {"64 appenders", appenders},
      {"one is made", one_is_made},
      {"one takes the place of the expired", one_takes_the_place_of_the_expired},
      {"one key", one_key}, {"patches of different members", patches_of_different_members},
      {"a message is counted down once", a_message_is_counted_down_once},
      {"delete against append", delete_against_append})

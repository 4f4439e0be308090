/* SPDX-License-Identifier: MIT */
/* Many threads write to one session. Their order is free; what was acknowledged must be there. */
#include <stdio.h>

#include "../../unit/suite.h"
#include "threads.h"

/* ---- appending ---- */

enum { APPENDERS = 64, ROUNDS = 4 };

static void work_append(struct threads *threads, struct fixture *c, int me)
{
    for (int i = 0; i < ROUNDS; i++) {
        const struct session_receipt *r = &c->r;
        size_t n = (size_t)(me + i) % 3 + 1;
        if (threads_append(threads, c, n, true, &nobody) != ERR_NONE ||
            r->last_seq - r->first_seq + 1 != (int64_t)n) {
            threads->failed++;
            continue;
        }
        threads->created += r->created;
        threads->calls_done++;
        for (int64_t seq = r->first_seq; seq <= r->last_seq; seq++)
            threads->seen[seq % (int64_t)sizeof(threads->seen)]++;
    }
}

/* Fails if the numbers come from what the statement's snapshot shows instead of from the locked
 * row: tried. */
static void appenders(void)
{
    struct fixture *w = fixture_open(true);
    struct threads threads = threads_at(w, "c:append");
    threads_run(&threads, APPENDERS, work_append);
    int64_t total = 0;
    for (int me = 0; me < APPENDERS; me++)
        for (int i = 0; i < ROUNDS; i++)
            total += (me + i) % 3 + 1;
    CU_ASSERT_EQUAL(threads.failed, 0);
    CU_ASSERT_EQUAL(threads.created, 1);
    CU_ASSERT_EQUAL(threads.calls_done, APPENDERS * ROUNDS);
    for (int64_t seq = 1; seq <= total; seq++)
        CU_ASSERT_EQUAL(threads.seen[seq], 1);
    OK(fixture_get(w, "t1", "c:append"));
    CU_ASSERT_EQUAL(w->s.version, APPENDERS * ROUNDS);
    CU_ASSERT_EQUAL(w->s.message_count, total);
    CU_ASSERT_EQUAL(w->s.last_seq, total);
    CU_ASSERT_TRUE(w->s.n_messages == 20 && w->s.messages[19].seq == total);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE generation = %lld", (long long)w->s.generation),
                    total);
    fixture_close(w);
}

/* ---- making ---- */

static void work_ensure(struct threads *threads, struct fixture *c, int me)
{
    struct session_draft d = draft_of(threads->id, NULL);
    enum err e;
    UNTIL_DONE(e, fixture_ensure(c, "t1", &d, &nobody));
    threads->failed += e != ERR_NONE;
    threads->created += e == ERR_NONE && c->r.created;
    c->r.generation = c->s.generation;
    (void)me;
}

/* Fails if the insert renames whatever session has the id, live or not: tried. */
static void one_is_made(void)
{
    struct fixture *w = fixture_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("c:ensure-%d", round);
        struct threads threads = threads_at(w, id);
        threads_run(&threads, 16, work_ensure);
        CU_ASSERT_EQUAL(threads.failed, 0);
        CU_ASSERT_EQUAL(threads.created, 1);
        for (int i = 1; i < 16; i++)
            CU_ASSERT_EQUAL(threads.receipts[i].generation, threads.receipts[0].generation);
        CU_ASSERT_EQUAL(fixture_rows("sessions WHERE session_id = '%s'", id), 1);
    }
    fixture_close(w);
}

static void work_create(struct threads *threads, struct fixture *c, int me)
{
    struct session_message m = message_of("user", "\"new\"");
    struct session_draft d = draft_with(threads->id, NULL, &m, 1);
    enum err e;
    (void)me;
    UNTIL_DONE(e, fixture_create(c, "t1", &d, &nobody));
    threads->created += e == ERR_NONE;
    threads->conflicts += e == ERR_CONFLICT;
}

/* Fails if a live session becomes a tombstone like an expired one: tried. */
static void one_takes_the_place_of_the_expired(void)
{
    struct fixture *w = fixture_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("c:expired-%d", round);
        fixture_make(w, "t1", id, NULL, 1, "\"old\"", &nobody);
        const int64_t old = w->s.generation;
        fixture_expire(id);
        struct threads threads = threads_at(w, id);
        threads_run(&threads, 16, work_create);
        CU_ASSERT_EQUAL(threads.created, 1);
        CU_ASSERT_EQUAL(threads.conflicts, 15);
        OK(fixture_get(w, "t1", id));
        CU_ASSERT_TRUE(w->s.n_messages == 1 && sv_eq(w->s.messages[0].content, SV("\"new\"")));
        CU_ASSERT_NOT_EQUAL(w->s.generation, old);
        CU_ASSERT_EQUAL(
            fixture_rows("sessions WHERE generation = %lld AND session_id = E'\\001%lld~%s'",
                         (long long)old, (long long)old, id),
            1);
    }
    fixture_close(w);
}

/* ---- one idempotency key ---- */

static void work_keyed_append(struct threads *threads, struct fixture *c, int me)
{
    const struct session_precondition precondition = keyed(threads->id);
    enum err e = threads_append(threads, c, 2, true, &precondition);
    threads->failed += e != ERR_NONE;
    threads->calls_done += e == ERR_NONE && !c->r.replayed;
    (void)me;
}

static void work_keyed_create(struct threads *threads, struct fixture *c, int me)
{
    const struct session_precondition precondition = keyed(threads->id);
    struct session_draft d = draft_of(NULL, NULL); /* each makes an id of its own */
    enum err e;
    UNTIL_DONE(e, fixture_create(c, "t1", &d, &precondition));
    threads->failed += e != ERR_NONE;
    threads->calls_done += e == ERR_NONE && !c->r.replayed;
    (void)me;
}

static void expect_one_answer(struct threads *threads, int n)
{
    const struct session_receipt *a = &threads->receipts[0];
    CU_ASSERT_EQUAL(threads->failed, 0);
    CU_ASSERT_EQUAL(threads->calls_done, 1);
    for (int i = 1; i < n; i++) {
        const struct session_receipt *b = &threads->receipts[i];
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
    struct fixture *w = fixture_open(true);
    for (int round = 0; round < 5; round++) {
        const char *id = text_of("c:key-%d", round);
        struct threads threads = threads_at(w, id);
        threads_run(&threads, 16, work_keyed_append);
        expect_one_answer(&threads, 16);
        CU_ASSERT_EQUAL(fixture_rows("messages m JOIN sessions s"
                                     " USING (tenant, generation) WHERE s.session_id = '%s'",
                                     id),
                        2);
        const int64_t before = fixture_rows("sessions");
        threads = threads_at(w, text_of("c:key-create-%d", round));
        threads_run(&threads, 16, work_keyed_create);
        expect_one_answer(&threads, 16);
        CU_ASSERT_EQUAL(fixture_rows("sessions"), before + 1);
    }
    fixture_close(w);
}

/* ---- patching ---- */

static void work_patch(struct threads *threads, struct fixture *c, int me)
{
    const char *text = text_of("{\"m%d\":{\"at\":%d}}", me, me);
    const struct session_patch patch = {.context = sv_from(text)};
    enum err e;
    UNTIL_DONE(e, fixture_patch(c, "t1", threads->id, &patch, &nobody));
    threads->failed += e != ERR_NONE;
    /* An append in between does not interfere. */
    threads->failed += threads_append(threads, c, 1, false, &nobody) != ERR_NONE;
}

/* Fails if the update does not ask for the state_version that was read: tried. */
static void patches_of_different_members(void)
{
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "c:patch", NULL, 0, "", &nobody);
    struct threads threads = threads_at(w, "c:patch");
    threads_run(&threads, 16, work_patch);
    CU_ASSERT_EQUAL(threads.failed, 0);
    OK(fixture_get(w, "t1", "c:patch"));
    CU_ASSERT_EQUAL(w->s.state_version, 17);
    CU_ASSERT_EQUAL(w->s.version, 33);
    CU_ASSERT_EQUAL(w->s.message_count, 16);
    for (int i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(fixture_count("SELECT (context::jsonb->'m%d'->>'at')::int FROM sessions"
                                      " WHERE session_id = 'c:patch'",
                                      i),
                        i);
    fixture_close(w);
}

/* ---- deleting ---- */

enum { DELETERS = 4, DELETED = 40 };

static void work_delete_messages(struct threads *threads, struct fixture *c, int me)
{
    (void)me;
    for (int seq = 1; seq <= DELETED; seq++) {
        enum err e;
        const char *which = text_of("%d", seq);
        UNTIL_DONE(e, fixture_delete_message(c, "t1", threads->id, which, &nobody));
        threads->calls_done += e == ERR_NONE;
        threads->missing += e == ERR_NOT_FOUND;
    }
}

/* Fails if the count comes from the statement's snapshot, because the session is not locked first:
 * tried.
 */
static void a_message_is_counted_down_once(void)
{
    struct fixture *w = fixture_open(true);
    struct fixture *c = fixture_share(w);
    struct threads threads = threads_at(w, "c:delete");
    for (int i = 0; i < DELETED / 2 + 1; i++)
        OK(threads_append(&threads, c, 2, true, &nobody));
    threads_run(&threads, DELETERS, work_delete_messages);
    CU_ASSERT_EQUAL(threads.calls_done, DELETED);
    CU_ASSERT_EQUAL(threads.missing, DELETED * (DELETERS - 1));
    OK(fixture_get(w, "t1", "c:delete"));
    CU_ASSERT_EQUAL(w->s.message_count, 2);
    CU_ASSERT_EQUAL(w->s.version, DELETED / 2 + 1 + DELETED);
    CU_ASSERT_TRUE(w->s.n_messages == 2 && w->s.messages[0].seq == DELETED + 1);
    fixture_close(c);
    fixture_close(w);
}

/* Thread 0 deletes the session again and again. The others append: with create, so that each
 * deletion is followed by a new session, or (odd ones) without. */
static void work_delete_or_append(struct threads *threads, struct fixture *c, int me)
{
    for (int i = 0; i < 25; i++) {
        enum err e;
        if (me == 0) {
            UNTIL_DONE(e, fixture_delete(c, "t1", threads->id, &nobody));
            threads->failed += e != ERR_NONE && e != ERR_NOT_FOUND;
            continue;
        }
        e = threads_append(threads, c, 1, me % 2 == 0, &nobody);
        threads->failed += e != ERR_NONE && (me % 2 == 0 || e != ERR_NOT_FOUND);
        threads->calls_done += e == ERR_NONE;
    }
}

/* Every acknowledged message is stored in a session of its generation, without gaps, and nothing
 * else is. Fails if the numbers come from what the statement's snapshot shows instead of from the
 * locked row: tried. */
static void delete_against_append(void)
{
    struct fixture *w = fixture_open(true);
    fixture_sql("DELETE FROM sessions WHERE tenant = 't1'", NULL, 0);
    struct threads threads = threads_at(w, "c:both");
    threads_run(&threads, 8, work_delete_or_append);
    CU_ASSERT_EQUAL(threads.failed, 0);
    CU_ASSERT_TRUE(threads.calls_done > 0);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE tenant = 't1'"), threads.calls_done);
    CU_ASSERT_EQUAL(fixture_rows("sessions s WHERE tenant = 't1'"
                                 " AND (last_seq <> message_count OR last_seq <>"
                                 " (SELECT count(*) FROM messages m WHERE m.tenant = s.tenant"
                                 " AND m.generation = s.generation))"),
                    0);
    CU_ASSERT_TRUE(fixture_rows("sessions WHERE session_id = 'c:both'") <= 1);
    fixture_close(w);
}

SUITE(session_concurrency, "session/concurrency", {"64 appenders", appenders},
      {"one is made", one_is_made},
      {"one takes the place of the expired", one_takes_the_place_of_the_expired},
      {"one key", one_key}, {"patches of different members", patches_of_different_members},
      {"a message is counted down once", a_message_is_counted_down_once},
      {"delete against append", delete_against_append})

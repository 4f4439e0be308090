/* SPDX-License-Identifier: MIT */
/* Updates of one session by many at once, and of a session that has a long history. */

#include "../../unit/suite.h"
#include "threads.h"
#include "edits.h"

static void update(struct threads *threads, struct fixture *c, const char *edits,
                   const char *context)
{
    enum err e;
    UNTIL_DONE(e, edits_run(c, threads->id, edits, context, &nobody));
    threads->failed += e != ERR_NONE;
}

static void work_same_id(struct threads *threads, struct fixture *c, int me)
{
    const char *edits = text_of("+same=%d", me + 10);
    update(threads, c, edits, NULL);
}

/* One of them is new, the others replace it. Fails if the row is not locked before the
 * statement: tried. */
static void one_new_id(void)
{
    struct fixture *w = fixture_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("u:same-%d", round);
        fixture_make(w, "t1", id, NULL, 0, "", &nobody);
        struct threads threads = threads_at(w, id);
        threads_run(&threads, 16, work_same_id);
        CU_ASSERT_EQUAL(threads.failed, 0);
        (void)edits_state(w, id);
        CU_ASSERT_TRUE(w->s.n_messages == 1 && w->s.message_count == 1 && w->s.last_seq == 1);
        CU_ASSERT_EQUAL(w->s.version, 17);
        CU_ASSERT_EQUAL(w->s.state_version, 16);
    }
    fixture_close(w);
}

static void work_own_member(struct threads *threads, struct fixture *c, int me)
{
    const char *edits = text_of("+m-%d=%d +=1 ?nobody", me, me);
    const char *context = text_of("{\"m%d\":{\"at\":%d}}", me, me);
    update(threads, c, edits, context);
    /* An append in between does not interfere. */
    threads->failed += threads_append(threads, c, 1, false, &nobody) != ERR_NONE;
}

/* Fails if the update does not ask for the state that was read: tried. */
static void members_and_messages(void)
{
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "u:members", NULL, 0, "", &nobody);
    struct threads threads = threads_at(w, "u:members");
    threads_run(&threads, 16, work_own_member);
    CU_ASSERT_EQUAL(threads.failed, 0);
    (void)edits_state(w, "u:members");
    CU_ASSERT_TRUE(w->s.n_messages == 48 && w->s.message_count == 48 && w->s.last_seq == 48);
    CU_ASSERT_EQUAL(w->s.version, 33);
    CU_ASSERT_EQUAL(w->s.state_version, 17);
    for (int i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(fixture_count("SELECT (s.context::jsonb->'m%d'->>'at')::int FROM sessions s"
                                      " JOIN messages m USING (tenant, generation)"
                                      " WHERE session_id = 'u:members' AND message_id = 'm-%d'",
                                      i, i),
                        i);
    fixture_close(w);
}

/* ---- the cost ---- */

static int64_t rows_read(void)
{
    return fixture_count("SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
                         " WHERE relname = 'messages') + (SELECT seq_tup_read FROM"
                         " pg_stat_user_tables WHERE relname = 'messages')");
}

/* What a backend has counted is known once it has ended. */
static void wait_for_counts(void)
{
    EVENTUALLY(fixture_rows("pg_stat_activity WHERE application_name = 'test'") == 0);
}

/* 5,000 sessions of two messages, so that a planner that does not know a generation takes any for
 * short. */
static const char many_short[] =
    "WITH s AS (INSERT INTO sessions (generation, tenant, session_id, ttl_seconds, expires_at,"
    " expiry_hour, last_seq, message_count) SELECT n, 'many', 'u:' || n, 60, now() + interval '1 "
    "hour', 999999, 2, "
    "2"
    " FROM generate_series(1, 5000) n RETURNING generation)"
    " INSERT INTO messages (tenant, generation, seq, created_at, size, role, content)"
    " SELECT 'many', generation, n, now(), 3, 'user', '1' FROM s, generate_series(1, 2) n";

/* An update reads the rows that it names, however long the history is. Fails if the deletion goes
 * by the generation of the session and an array of seqs: tried. */
static void a_long_history(void)
{
    struct fixture *w = fixture_open(false);
    struct session_draft d = draft_of("u:long", NULL);
    OK(fixture_create(w, "t1", &d, &nobody));
    const long long generation = w->s.generation;
    CU_ASSERT_TRUE(
        fixture_count("INSERT INTO messages (tenant, generation, seq, created_at, size,"
                      " role, content, message_id) SELECT 't1', %lld, n, now(), 3, 'user',"
                      " '1', 'm-' || n FROM generate_series(1, 20000) n RETURNING 1",
                      generation) == 1);
    fixture_exec("UPDATE sessions SET last_seq = 20000, message_count = 20000"
                 " WHERE session_id = 'u:long'");
    fixture_exec("%s; ANALYZE", many_short);
    fixture_close(w);
    wait_for_counts();
    const int64_t before = rows_read();
    w = fixture_open(false);
    for (int i = 0; i < 20; i++) {
        const char *edits = text_of("+m-%d=7 -m-%d +=8 ?n-%d", 100 + i, 200 + i, i);
        OK(edits_run(w, "u:long", edits, i % 2 ? "{\"topic\":3}" : NULL, &nobody));
    }
    fixture_close(w);
    wait_for_counts();
    CU_ASSERT_TRUE(rows_read() - before < 1000);
    CU_ASSERT_EQUAL(fixture_count("SELECT message_count FROM sessions WHERE session_id = 'u:long'"),
                    20000);
    fixture_exec("DELETE FROM sessions WHERE tenant = 'many'; ANALYZE");
}

SUITE(session_update_at_once, "session/update (at once)", {"one new id", one_new_id},
      {"members and messages", members_and_messages}, {"a long history", a_long_history})

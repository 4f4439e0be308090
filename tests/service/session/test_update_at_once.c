/* SPDX-License-Identifier: MIT */
/* Updates of one session by many at once, and of a session that has a long history. */

#include "../../unit/suite.h"
#include "crowd.h"
#include "script.h"

static void update(struct crowd *crowd, struct world *c, const char *script, const char *context)
{
    enum err e;
    UNTIL_DONE(e, script_run(c, crowd->id, script, context, &nobody));
    crowd->failed += e != ERR_NONE;
}

static void work_same_id(struct crowd *crowd, struct world *c, int me)
{
    const char *script = text_of("+same=%d", me + 10);
    update(crowd, c, script, NULL);
}

/* One of them is new, the others replace it. Fails if the row is not locked before the
 * statement: tried. */
static void one_new_id(void)
{
    struct world *w = world_open(true);
    for (int round = 0; round < 10; round++) {
        const char *id = text_of("u:same-%d", round);
        world_make(w, "t1", id, NULL, 0, "", &nobody);
        struct crowd crowd = crowd_at(w, id);
        crowd_run(&crowd, 16, work_same_id);
        CU_ASSERT_EQUAL(crowd.failed, 0);
        (void)script_state(w, id);
        CU_ASSERT_TRUE(w->s.n_messages == 1 && w->s.message_count == 1 && w->s.last_seq == 1);
        CU_ASSERT_EQUAL(w->s.version, 17);
        CU_ASSERT_EQUAL(w->s.state_version, 16);
    }
    world_close(w);
}

static void work_own_member(struct crowd *crowd, struct world *c, int me)
{
    const char *script = text_of("+m-%d=%d +=1 ?nobody", me, me);
    const char *context = text_of("{\"m%d\":{\"at\":%d}}", me, me);
    update(crowd, c, script, context);
    /* An append in between does not interfere. */
    crowd->failed += crowd_append(crowd, c, 1, false, &nobody) != ERR_NONE;
}

/* Fails if the update does not ask for the state that was read: tried. */
static void members_and_messages(void)
{
    struct world *w = world_open(true);
    world_make(w, "t1", "u:members", NULL, 0, "", &nobody);
    struct crowd crowd = crowd_at(w, "u:members");
    crowd_run(&crowd, 16, work_own_member);
    CU_ASSERT_EQUAL(crowd.failed, 0);
    (void)script_state(w, "u:members");
    CU_ASSERT_TRUE(w->s.n_messages == 48 && w->s.message_count == 48 && w->s.last_seq == 48);
    CU_ASSERT_EQUAL(w->s.version, 33);
    CU_ASSERT_EQUAL(w->s.state_version, 17);
    for (int i = 0; i < 16; i++)
        CU_ASSERT_EQUAL(world_count("SELECT (s.context::jsonb->'m%d'->>'at')::int FROM sessions s"
                                    " JOIN messages m USING (tenant, generation)"
                                    " WHERE session_id = 'u:members' AND message_id = 'm-%d'",
                                    i, i),
                        i);
    world_close(w);
}

/* ---- the cost ---- */

static int64_t rows_read(void)
{
    return world_count("SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes"
                       " WHERE relname = 'messages') + (SELECT seq_tup_read FROM"
                       " pg_stat_user_tables WHERE relname = 'messages')");
}

/* What a backend has counted is known once it has ended. */
static void wait_for_counts(void)
{
    EVENTUALLY(world_rows("pg_stat_activity WHERE application_name = 'test'") == 0);
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
    struct world *w = world_open(false);
    struct session_draft d = draft_of("u:long", NULL);
    OK(world_create(w, "t1", &d, &nobody));
    const long long generation = w->s.generation;
    CU_ASSERT_TRUE(world_count("INSERT INTO messages (tenant, generation, seq, created_at, size,"
                               " role, content, message_id) SELECT 't1', %lld, n, now(), 3, 'user',"
                               " '1', 'm-' || n FROM generate_series(1, 20000) n RETURNING 1",
                               generation) == 1);
    world_exec("UPDATE sessions SET last_seq = 20000, message_count = 20000"
               " WHERE session_id = 'u:long'");
    world_exec("%s; ANALYZE", many_short);
    world_close(w);
    wait_for_counts();
    const int64_t before = rows_read();
    w = world_open(false);
    for (int i = 0; i < 20; i++) {
        const char *script = text_of("+m-%d=7 -m-%d +=8 ?n-%d", 100 + i, 200 + i, i);
        OK(script_run(w, "u:long", script, i % 2 ? "{\"topic\":3}" : NULL, &nobody));
    }
    world_close(w);
    wait_for_counts();
    CU_ASSERT_TRUE(rows_read() - before < 1000);
    CU_ASSERT_EQUAL(world_count("SELECT message_count FROM sessions WHERE session_id = 'u:long'"),
                    20000);
    world_exec("DELETE FROM sessions WHERE tenant = 'many'; ANALYZE");
}

SUITE(session_update_at_once, "session/update (at once)", {"one new id", one_new_id},
      {"members and messages", members_and_messages}, {"a long history", a_long_history})

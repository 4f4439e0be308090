/* SPDX-License-Identifier: MIT */
/* Backends die at any moment: a write is stored whole or not at all; it is there if it was
 * acknowledged, and not if it was refused. */
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "hosts.h"
#include "edits.h"

static enum err create_three(struct fixture *w, const char *id,
                             const struct session_precondition *precondition)
{
    struct session_message m[3];
    for (int i = 0; i < 3; i++)
        m[i] = message_of("user", "\"three\"");
    struct session_draft d = draft_with(id, NULL, m, 3);
    return fixture_create(w, "t1", &d, precondition);
}

/* Whole, or nothing; *there says which. */
static void expect_whole(const char *id, bool *there)
{
    int64_t sessions = fixture_rows("sessions WHERE session_id = '%s'", id);
    int64_t messages = fixture_rows("messages m JOIN sessions s USING (tenant,"
                                    " generation) WHERE s.session_id = '%s'",
                                    id);
    CU_ASSERT_TRUE((sessions == 0 && messages == 0) || (sessions == 1 && messages == 3));
    *there = sessions == 1;
}

/* Waits until they are gone. */
static const char kill_all_and_wait[] =
    "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
    " WHERE datname = 'parley_sessions' AND usename = 'parley_app'";

/* A connection that died in the pool makes no outcome unknown. Fails if the pool does not look
 * whether a connection is alive before it gives it out: tried. */
static void killed_between_calls(void)
{
    struct fixture *w = fixture_open(true);
    for (int i = 0; i < 10; i++) {
        bool there;
        const char *id = text_of("f:between-%d", i);
        CU_ASSERT_TRUE(fixture_count(kill_all_and_wait) >= 0);
        enum err e;
        do {
            e = create_three(w, id, &nobody);
            expect_whole(id, &there);
            /* The pool was just opening one when it was killed, and pauses. */
        } while (e == ERR_UNAVAILABLE && !there);
        OK(e);
        CU_ASSERT_TRUE(there);
    }
    fixture_close(w);
}

/* Makes the insert of a message take so many seconds; NULL: no longer. */
static void hold_inserts(const char *seconds)
{
    if (!seconds)
        fixture_exec("DROP TRIGGER hold ON messages; DROP FUNCTION hold()");
    else
        fixture_exec("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
                     " $$ BEGIN PERFORM pg_sleep(%s); RETURN NEW; END $$;"
                     " CREATE TRIGGER hold AFTER INSERT ON messages FOR EACH ROW"
                     " EXECUTE FUNCTION hold()",
                     seconds);
}

static bool is_away(enum err e)
{
    return e == ERR_UNAVAILABLE || e == ERR_OUTCOME_UNKNOWN || e == ERR_OVERLOAD ||
           e == ERR_TIMEOUT;
}

/* Writes while backends die at any moment. Fails if the session is stored by one transaction and
 * its messages by the next: tried. */
static void killed_at_calls(void)
{
    struct killer k;
    enum err results[200];
    struct fixture *w = fixture_open(true);
    hold_inserts("0.002");
    killer_start(&k);
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        const char *id = text_of("f:at-%zu", i);
        results[i] = create_three(w, id, &nobody);
    }
    killer_stop(&k);
    hold_inserts(NULL);
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        bool there;
        const char *id = text_of("f:at-%zu", i);
        expect_whole(id, &there);
        CU_ASSERT_TRUE(there || results[i] != ERR_NONE);
        CU_ASSERT_TRUE(!there || results[i] == ERR_NONE || results[i] == ERR_OUTCOME_UNKNOWN);
        CU_ASSERT_TRUE(results[i] == ERR_NONE || is_away(results[i]));
    }
    fixture_close(w);
}

/* With a key a client may repeat whatever failed: it is done once in the end. Fails if the numbers
 * are given by a transaction of its own, ahead of the messages: tried. */
static void killed_and_repeated(void)
{
    struct killer k;
    enum { WRITES = 40 };
    struct fixture *w = fixture_open(true);
    killer_start(&k);
    for (int i = 0; i < WRITES; i++) {
        const struct session_precondition precondition = keyed(text_of("k-repeated-%d", i));
        enum err e;
        int tries = 0;
        do {
            e = fixture_append_one(w, "t1", "f:repeated", true, "\"repeated\"", &precondition);
            if (e != ERR_NONE)
                service_sleep_ms(2);
        } while (e != ERR_NONE && ++tries < 5000);
        OK(e);
        CU_ASSERT_EQUAL(w->r.first_seq, i + 1);
    }
    killer_stop(&k);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE content = '\"repeated\"'"), WRITES);
    CU_ASSERT_EQUAL(fixture_count("SELECT last_seq FROM sessions WHERE session_id = 'f:repeated'"),
                    WRITES);
    fixture_close(w);
}

/* Each update has its context and its message, or neither. Fails if the messages are a transaction
 * of their own, ahead of the context: tried. */
static void killed_at_updates(void)
{
    struct killer k;
    enum { WRITES = 40 };
    struct session_draft d = draft_of("f:updates", NULL);
    d.context = SV("{\"n\":0}");
    struct fixture *w = fixture_open(true);
    OK(fixture_create(w, "t1", &d, &nobody));
    killer_start(&k);
    for (int i = 1; i <= WRITES; i++) {
        const char *context = text_of("{\"n\":%d}", i);
        const char *edits = text_of("+=%d +last=%d", i, i);
        const struct session_precondition precondition = keyed(text_of("k-updates-%d", i));
        enum err e;
        int tries = 0;
        do {
            e = edits_run(w, "f:updates", edits, context, &precondition);
            CU_ASSERT_TRUE(e == ERR_NONE || is_away(e));
            CU_ASSERT_EQUAL(fixture_rows("sessions s WHERE session_id ="
                                         " 'f:updates' AND (context::jsonb->>'n')::int <> (SELECT"
                                         " count(*) FROM messages m WHERE m.generation ="
                                         " s.generation AND message_id IS NULL)"),
                            0);
            if (e != ERR_NONE)
                service_sleep_ms(2);
        } while (e != ERR_NONE && ++tries < 5000);
        OK(e);
    }
    killer_stop(&k);
    const struct session s = edits_state(w, "f:updates");
    CU_ASSERT_TRUE(s.message_count == WRITES + 1 && s.last_seq == WRITES + 1 &&
                   s.version == WRITES + 1);
    fixture_close(w);
}

struct writer {
    struct fixture *w;
    const char *id;
    const struct session_precondition *precondition;
    pthread_t thread;
    enum err result;
    _Atomic bool finished;
};

static void *writer_main(void *arg)
{
    struct writer *writer = arg;
    struct fixture *c = fixture_share(writer->w);
    writer->result = create_three(c, writer->id, writer->precondition);
    fixture_close(c);
    writer->finished = true;
    return NULL;
}

/* Runs the writer, waits until its backend is where the condition says, and ends it there. False if
 * it got through without. */
static bool write_and_kill(struct writer *writer, const char *condition)
{
    char sql[512], out[32] = "0";
    snprintf(sql, sizeof(sql), KILL_ALL " AND %s", condition);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&writer->thread, NULL, writer_main, writer), 0);
    while (strcmp(out, "0") == 0 && !writer->finished) {
        CU_ASSERT_TRUE(fixture_sql(sql, out, sizeof(out)));
        service_sleep_ms(2);
    }
    pthread_join(writer->thread, NULL);
    return strcmp(out, "0") != 0;
}

/* Ended in the middle of its statement: nothing is stored. Fails if the session is stored by a
 * transaction of its own: tried. */
static void killed_in_the_statement(void)
{
    bool there;
    struct fixture *w = fixture_open(true);
    struct writer writer = {.w = w, .id = "f:in-statement", .precondition = &nobody};
    hold_inserts("60");
    CU_ASSERT_TRUE(write_and_kill(&writer, "wait_event = 'PgSleep'"));
    hold_inserts(NULL);
    CU_ASSERT_EQUAL(writer.result, ERR_OUTCOME_UNKNOWN);
    expect_whole("f:in-statement", &there);
    CU_ASSERT_FALSE(there);
    fixture_close(w);
}

/* Ended after its commit and before its answer, which PostgreSQL can be held at by a standby that
 * never comes: everything is stored, and the key gives the answer. Fails if the outcome is called
 * anything but unknown: tried. */
static void killed_at_commit(void)
{
    char id[32];
    bool there, caught = false;
    struct fixture *w = fixture_open(true);
    struct session_precondition with_key;
    struct writer writer = {.w = w, .id = id, .precondition = &with_key};
    fixture_exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    fixture_exec("SELECT pg_reload_conf()");
    /* Not all of the server has read it at once: the first ones may get through. */
    for (int i = 0; i < 1000 && !caught; i++) {
        snprintf(id, sizeof(id), "f:at-commit-%d", i);
        with_key = keyed(id);
        writer.finished = false;
        caught = write_and_kill(&writer, "wait_event = 'SyncRep'");
    }
    CU_ASSERT_TRUE(caught);
    fixture_exec("ALTER SYSTEM RESET synchronous_standby_names");
    fixture_exec("SELECT pg_reload_conf()");
    CU_ASSERT_EQUAL(writer.result, ERR_OUTCOME_UNKNOWN);
    expect_whole(id, &there);
    CU_ASSERT_TRUE(there);
    enum err e;
    do
        e = create_three(w, id, &with_key);
    while (e == ERR_UNAVAILABLE || e == ERR_OUTCOME_UNKNOWN || e == ERR_TIMEOUT);
    OK(e);
    CU_ASSERT_TRUE(w->r.replayed && w->r.created);
    expect_whole(id, &there);
    fixture_close(w);
}

SUITE(session_killed, "session/faults (killed)", {"killed between calls", killed_between_calls},
      {"killed at calls", killed_at_calls}, {"killed and repeated", killed_and_repeated},
      {"killed at updates", killed_at_updates},
      {"killed in the statement", killed_in_the_statement}, {"killed at commit", killed_at_commit})

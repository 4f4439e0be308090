/* SPDX-License-Identifier: MIT */
/* The statements of a batch, whose members the test chooses: who is left out, and which numbers the
 * others get. */
#include <pthread.h>
#include <stdio.h>

#include "../../../src/session/session_internal.h"
#include "../../unit/suite.h"
#include "fixture.h"

enum { MEMBERS_MAX = 4, MESSAGES_MAX = 3 };

/* A member as a test gives it. */
struct given {
    const char *id;
    size_t messages;
    const char *key;
};

struct entry {
    struct given given;
    char content[32]; /* of each of its messages */
    struct sql_batch_member m;
    struct session_write w;
    struct session_precondition precondition;
    struct session_append append;
    struct session_draft draft;
    struct session_message messages[MESSAGES_MAX];
    struct session_receipt r;
};

struct batch {
    struct fixture *w;
    struct entry all[MEMBERS_MAX];
    size_t n;
    enum err e;
    pthread_t thread;
};

static void batch_make(struct batch *b, struct fixture *w, const struct given given[MEMBERS_MAX],
                       bool creates)
{
    static int made;
    *b = (struct batch){.w = w};
    struct request_ctx *ctx = fixture_request(w, "t1");
    for (; b->n < MEMBERS_MAX && given[b->n].id; b->n++) {
        struct entry *e = &b->all[b->n];
        e->given = given[b->n];
        snprintf(e->content, sizeof(e->content), "\"batch %d\"", ++made);
        for (size_t k = 0; k < e->given.messages; k++)
            e->messages[k] = message_of("user", e->content);
        if (e->given.key)
            e->precondition = keyed(e->given.key);
        e->append = (struct session_append){e->messages, e->given.messages, false};
        e->draft = draft_with(e->given.id, NULL, e->messages, e->given.messages);
        e->draft.ttl_seconds = 60;
        e->w = (struct session_write){.id = sv_from(e->given.id),
                                      .precondition = &e->precondition,
                                      .receipt = &e->r,
                                      .draft = creates ? &e->draft : NULL,
                                      .append = creates ? NULL : &e->append,
                                      .drafts = {e->messages, e->given.messages}};
        e->m = (struct sql_batch_member){.of_batch = {.ctx = ctx}, .w = &e->w};
    }
}

static void *batch_run(void *arg)
{
    struct batch *b = arg;
    struct db_member *members[MEMBERS_MAX];
    for (size_t i = 0; i < b->n; i++)
        members[i] = &b->all[i].m.of_batch;
    b->e = sql_write_kind.run_batch(b->w->sessions, &b->w->ctx, members, b->n);
    return NULL;
}

/* What its receipt and its record say is in the tables: its messages at its numbers. */
static void expect_stored(const struct entry *e)
{
    const long long first = (long long)e->r.first_seq, last = (long long)e->r.last_seq;
    CU_ASSERT_EQUAL(e->m.of_batch.apart, DB_TOGETHER);
    CU_ASSERT_TRUE(e->w.done && last - first + 1 == (long long)e->given.messages);
    CU_ASSERT_EQUAL(fixture_rows("messages m JOIN sessions s USING (tenant, generation) WHERE"
                                 " s.session_id = '%s' AND s.generation = %lld AND m.content ="
                                 " '%s' AND m.seq BETWEEN %lld AND %lld",
                                 e->given.id, (long long)e->r.generation, e->content, first, last),
                    (int64_t)e->given.messages);
    if (e->given.key)
        CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = '%s' AND session_id = '%s' AND"
                                     " version = %lld AND first_seq = %lld AND last_seq = %lld",
                                     e->given.key, e->given.id, (long long)e->r.version, first,
                                     last),
                        1);
}

static void expect_nothing_stored(const struct entry *e)
{
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE content = '%s'", e->content), 0);
    CU_ASSERT_EQUAL(
        fixture_rows("idempotency_keys WHERE key = '%s'", e->given.key ? e->given.key : ""), 0);
}

static struct fixture *prepared(void)
{
    struct fixture *w = fixture_open(false);
    fixture_exec("DELETE FROM idempotency_keys; DELETE FROM sessions");
    for (int i = 1; i <= 3; i++)
        fixture_make(w, "t1", text_of("b:%d", i), NULL, (size_t)i, "\"old\"", &nobody);
    return w;
}

/* Appends: to other sessions without keys, the same with keys, and to one session; creates. Fails
 * if the rows are handed out in another order: the mutant batch-answers-mixed-up. */
TEST(own_answers)
{
    static const struct {
        bool creates;
        struct given given[MEMBERS_MAX];
    } rows[] = {{false, {{"b:1", 1, NULL}, {"b:3", 1, NULL}, {"b:2", 1, NULL}}},
                {false, {{"b:3", 3, "k1"}, {"b:1", 1, "k3"}, {"b:2", 2, "k2"}}},
                {false, {{"b:3", 1, NULL}, {"b:1", 2, "k1"}, {"b:3", 3, "k0"}, {"b:3", 1, NULL}}},
                {true, {{"c:1", 1, "k2"}, {"c:3", 3, NULL}, {"c:2", 0, "k1"}, {"c:4", 1, NULL}}}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct batch b;
        struct fixture *w = prepared();
        batch_make(&b, w, rows[i].given, rows[i].creates);
        batch_run(&b);
        CU_ASSERT_EQUAL(b.e, ERR_NONE);
        for (size_t k = 0; k < b.n; k++)
            if (b.all[k].given.messages > 0)
                expect_stored(&b.all[k]);
        fixture_close(w);
    }
}

/* One session is locked: its members are left out at once, the others are done. Fails if the batch
 * waits for it: the mutant batch-waits-for-a-session. */
TEST(locked_session)
{
    static const struct given rows[][MEMBERS_MAX] = {
        {{"b:1", 1, NULL}, {"b:2", 1, NULL}, {"b:3", 1, NULL}},
        {{"b:2", 1, "k2"}, {"b:1", 2, "k1"}, {"b:2", 1, NULL}, {"b:3", 1, NULL}}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct batch b;
        struct fixture *w = prepared();
        struct held_transaction *held = transaction_hold(
            "BEGIN; SELECT 1 FROM sessions WHERE tenant = 't1' AND session_id = 'b:2' FOR UPDATE");
        batch_make(&b, w, rows[i], false);
        batch_run(&b);
        transaction_release(held);
        CU_ASSERT_EQUAL(b.e, ERR_NONE);
        for (size_t k = 0; k < b.n; k++) {
            if (!sv_eq(b.all[k].w.id, SV("b:2"))) {
                expect_stored(&b.all[k]);
                continue;
            }
            CU_ASSERT_EQUAL(b.all[k].m.of_batch.apart, DB_APART_SKIPPED);
            expect_nothing_stored(&b.all[k]);
        }
        fixture_close(w);
    }
}

/* PostgreSQL refuses one member's messages: nothing is stored, and each runs alone, so that no
 * other fails. Fails if all get the error: the mutant batch-one-fails-all. */
TEST(bad_member)
{
    enum { NO_ROLE, BAD_METADATA, FAULTS };
    static const struct given given[MEMBERS_MAX] = {
        {"b:1", 1, NULL}, {"b:2", 2, "k2"}, {"b:3", 1, NULL}};
    for (int i = 0; i < FAULTS * 3; i++) {
        struct batch b;
        struct fixture *w = prepared();
        batch_make(&b, w, given, false);
        const size_t bad = (size_t)i % 3;
        struct session_message *m = &b.all[bad].messages[0];
        if (i / 3 == NO_ROLE)
            m->role = SV_NONE;
        else
            m->metadata = SV("{\"a\":");
        batch_run(&b);
        CU_ASSERT_EQUAL(b.e, ERR_NONE);
        for (size_t k = 0; k < b.n; k++) {
            struct db_member *member = &b.all[k].m.of_batch;
            CU_ASSERT_EQUAL(member->apart, DB_APART_FAILED);
            expect_nothing_stored(&b.all[k]);
            member->apart = DB_TOGETHER;
            const enum err e = sql_write_kind.run_alone(w->sessions, member);
            CU_ASSERT_EQUAL(e == ERR_NONE, k != bad);
            if (k == bad)
                expect_nothing_stored(&b.all[k]);
            else
                expect_stored(&b.all[k]);
        }
        fixture_close(w);
    }
}

/* ---- changes between the snapshot and the lock ---- */

/* A batch that reads a session waits for the advisory lock 88, before it locks the row. It does not
 * wait in the lock, since a batch waits for a lock for some ms only. */
static void policy_make(void)
{
    fixture_exec("CREATE OR REPLACE FUNCTION batch_hold() RETURNS boolean LANGUAGE plpgsql AS $$"
                 " BEGIN IF current_query() LIKE '%%ORDINALITY%%FOR NO KEY UPDATE%%' THEN"
                 " WHILE NOT pg_try_advisory_xact_lock_shared(88) LOOP PERFORM pg_sleep(0.005);"
                 " END LOOP; END IF; RETURN true; END $$;"
                 "CREATE POLICY batch_hold ON sessions AS RESTRICTIVE USING (batch_hold())");
}

/* Numbers, versions and marks follow those that the row had when it was locked. */
static void expect_after(const struct batch *b, const struct session *before)
{
    int64_t version = before->version, seq = before->last_seq, count = before->message_count;
    uint64_t mark = before->mark;
    for (size_t k = 0; k < b->n; k++) {
        const struct entry *e = &b->all[k];
        if (!sv_eq(e->w.id, SV("b:1")))
            continue;
        count += (int64_t)e->given.messages;
        seq += (int64_t)e->given.messages;
        CU_ASSERT_EQUAL(e->r.version, ++version);
        CU_ASSERT_EQUAL(e->r.last_seq, seq);
        CU_ASSERT_EQUAL(e->r.message_count, count);
        CU_ASSERT_EQUAL(e->r.mark_before, mark);
        mark = e->r.mark;
    }
    CU_ASSERT_EQUAL(fixture_rows("sessions WHERE session_id = 'b:1' AND version = %lld AND last_seq"
                                 " = %lld AND message_count = %lld AND mark = %lld",
                                 (long long)version, (long long)seq, (long long)count,
                                 (long long)mark),
                    1);
}

/* Others append to b:1, delete messages of it, or delete it, and commit while a batch has its
 * snapshot, but no lock. Fails if a number, a version or a mark comes from a second scan of
 * sessions: the mutants batch-number-of-snapshot, batch-plain-number-of-snapshot,
 * batch-version-of-snapshot and batch-mark-of-snapshot. */
TEST(changed_before_the_lock)
{
    static const struct given rows[][MEMBERS_MAX] = {
        {{"b:2", 1, NULL}, {"b:1", 1, NULL}},
        {{"b:1", 2, "k2"}, {"b:2", 1, NULL}, {"b:1", 1, "k1"}, {"b:1", 3, NULL}}};
    enum { NOTHING, APPEND, APPENDS, MESSAGE_DELETED, DELETED, WAYS };
    for (size_t i = 0; i < ARRAY_LEN(rows) * WAYS; i++) {
        struct batch b;
        struct fixture *w = prepared(), *other = fixture_share(w);
        const int way = (int)(i % WAYS);
        policy_make();
        struct held_transaction *held = transaction_hold("BEGIN; SELECT pg_advisory_xact_lock(88)");
        batch_make(&b, w, rows[i / WAYS], false);
        CU_ASSERT_EQUAL_FATAL(pthread_create(&b.thread, NULL, batch_run, &b), 0);
        CU_ASSERT_TRUE(wait_for_backends("wait_event = 'PgSleep'", 1));
        for (int k = 0; k < (way == APPEND ? 1 : way == APPENDS ? 3 : 0); k++)
            OK(fixture_append_one(other, "t1", "b:1", false, "\"between\"", &nobody));
        if (way == MESSAGE_DELETED)
            OK(fixture_delete_message(other, "t1", "b:1", "1", &nobody));
        OK(fixture_get(other, "t1", "b:1"));
        if (way == DELETED)
            OK(fixture_delete(other, "t1", "b:1", &nobody));
        transaction_release(held);
        pthread_join(b.thread, NULL);
        fixture_exec("DROP POLICY batch_hold ON sessions");
        CU_ASSERT_EQUAL(b.e, ERR_NONE);
        for (size_t k = 0; k < b.n; k++) {
            if (way != DELETED || !sv_eq(b.all[k].w.id, SV("b:1")))
                expect_stored(&b.all[k]);
            else
                CU_ASSERT_EQUAL(b.all[k].m.of_batch.apart, DB_APART_SKIPPED);
        }
        if (way != DELETED)
            expect_after(&b, &other->s);
        fixture_close(other);
        fixture_close(w);
    }
}

/* Sessions may have so many messages, and b:1 has got one between the batch's snapshot and its
 * lock. A member that does not fit is left out, with those of its session after it; the last one
 * that fits is the current one. Fails if the statement compares with the count of its snapshot,
 * with one too many, or without the members before, or if the last one counts as superseded: tried.
 */
TEST(full_session)
{
    static const struct {
        int64_t most;
        struct given given[MEMBERS_MAX];
        bool in[MEMBERS_MAX];
    } rows[] = {
        {2, {{"b:1", 1, NULL}, {"b:2", 1, NULL}}, {false}},
        {3, {{"b:1", 1, NULL}, {"b:2", 1, NULL}, {"b:3", 1, NULL}}, {true, true, false}},
        {3, {{"b:1", 2, "k1"}, {"b:2", 1, "k2"}, {"b:1", 1, NULL}}, {false, true, false}},
        {3, {{"b:1", 1, "k1"}, {"b:1", 1, "k2"}, {"b:2", 1, NULL}}, {true, false, true}},
        {3, {{"b:2", 1, "k1"}, {"b:2", 1, "k2"}, {"b:2", 1, NULL}, {"b:3", 1, NULL}}, {true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        struct batch b;
        struct fixture *w = prepared(), *other = fixture_share(w);
        const bool more = i % 2 == 1; /* all of them fit */
        w->sessions->settings.messages_max = more ? 6 : rows[i / 2].most;
        policy_make();
        struct held_transaction *held = transaction_hold("BEGIN; SELECT pg_advisory_xact_lock(88)");
        batch_make(&b, w, rows[i / 2].given, false);
        CU_ASSERT_EQUAL_FATAL(pthread_create(&b.thread, NULL, batch_run, &b), 0);
        CU_ASSERT_TRUE(wait_for_backends("wait_event = 'PgSleep'", 1));
        OK(fixture_append_one(other, "t1", "b:1", false, "\"between\"", &nobody));
        transaction_release(held);
        pthread_join(b.thread, NULL);
        fixture_exec("DROP POLICY batch_hold ON sessions");
        CU_ASSERT_EQUAL(b.e, ERR_NONE);
        for (size_t k = 0; k < b.n; k++) {
            bool is_last = true;
            for (size_t later = k + 1; later < b.n; later++)
                is_last = is_last && !sv_eq(b.all[k].w.id, b.all[later].w.id);
            if (more || rows[i / 2].in[k]) {
                expect_stored(&b.all[k]);
                CU_ASSERT_EQUAL(b.all[k].r.superseded, more && !is_last);
                continue;
            }
            CU_ASSERT_EQUAL(b.all[k].m.of_batch.apart, DB_APART_SKIPPED);
            expect_nothing_stored(&b.all[k]);
        }
        fixture_close(other);
        fixture_close(w);
    }
}

/* SPDX-License-Identifier: MIT */
/* An erasure deletes everything of a user, in steps, while other requests run and backends die. */
#include <string.h>

#include "../../unit/suite.h"
#include "../db/fixture.h"
#include "hosts.h"
#include "threads.h"

/* A session of a user with n messages, made under a key named as the session is. */
static void make(struct fixture *w, const char *tenant, const char *user, const char *id, size_t n)
{
    const struct session_precondition precondition = keyed(id);
    fixture_make(w, tenant, id, user, n, "\"erase\"", &precondition);
}

/* Rows of a tenant in all three tables. */
static int64_t rows_of(const char *tenant)
{
    return fixture_count("SELECT (SELECT count(*) FROM sessions WHERE tenant = '%s')"
                         " + (SELECT count(*) FROM messages WHERE tenant = '%s')"
                         " + (SELECT count(*) FROM idempotency_keys WHERE tenant = '%s')",
                         tenant, tenant, tenant);
}

/* A session that can be found has every message that it counts, and no message is without one. */
static void expect_nothing_half(const char *tenant)
{
    CU_ASSERT_EQUAL(fixture_rows("sessions s WHERE tenant = '%s'"
                                 " AND session_id NOT LIKE E'\\001%%' AND message_count <> (SELECT"
                                 " count(*) FROM messages m WHERE m.tenant = s.tenant"
                                 " AND m.generation = s.generation)",
                                 tenant),
                    0);
    CU_ASSERT_EQUAL(fixture_rows("messages m WHERE tenant = '%s' AND NOT EXISTS"
                                 " (SELECT FROM sessions s WHERE s.tenant = m.tenant"
                                 " AND s.generation = m.generation)",
                                 tenant),
                    0);
}

static enum err erase(struct fixture *w, const char *tenant, const char *user,
                      struct session_erasure *out)
{
    return session_erase_user(w->sessions, fixture_request(w, tenant), sv_from(user), out);
}

/* Fails if keys or expired sessions stay, if the caches are not cleared, or if the user is no
 * condition: tried. (The tenant is also a condition of row-level security.) */
static void everything_and_nothing_else(void)
{
    struct session_erasure done;
    struct hosts *c = hosts_open();
    for (int i = 0; i < 70; i++) {
        const char *id = text_of("er:%d", i);
        make(c->a, "er1", "anna", id, i % 3 == 0 ? 0 : 5);
    }
    make(c->a, "er1", "anna", "er:long", 2300);
    make(c->a, "er1", "anna", "er:expired", 4);
    make(c->a, "er1", "bert", "er:other", 3);
    make(c->a, "er2", "anna", "er:1", 3);
    fixture_exec("UPDATE sessions SET expires_at = now() - interval '1 s'"
                 " WHERE session_id = 'er:expired'");
    const int64_t others = rows_of("er2");
    for (int warm = 0; warm < 2; warm++)
        OK(fixture_get(c->b, "er1", "er:1"));
    CU_ASSERT_TRUE(fixture_was_from(c->b, "memory"));
    OK(erase(c->a, "er1", "anna", &done));
    CU_ASSERT_EQUAL(done.sessions, 72);
    CU_ASSERT_EQUAL(done.messages, 46 * 5 + 2300 + 4);
    CU_ASSERT_FALSE(done.has_more);
    CU_ASSERT_EQUAL(fixture_get(c->b, "er1", "er:1"), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(rows_of("er1"), 1 + 3 + 1);
    CU_ASSERT_EQUAL(rows_of("er2"), others);
    OK(erase(c->a, "er1", "anna", &done));
    CU_ASSERT_TRUE(done.sessions == 0 && done.messages == 0 && !done.has_more);
    OK(erase(c->a, "er1", "bert", &done));
    CU_ASSERT_TRUE(done.sessions == 1 && done.messages == 3 && rows_of("er1") == 0);
    hosts_close(c);
}

/* An erasure without time to delete: tombstones stay, and the sweeper deletes all of them with
 * their keys. Fails if a session is deleted before its keys, of which a step deletes 1,000, or if a
 * tombstone loses its user: tried. */
static void the_sweeper_completes_an_erasure(void)
{
    int64_t made = 0;
    struct db_rows rows;
    struct session_list list;
    struct fixture *w = fixture_open(false);
    make(w, "er3", "anna", "er3:a", 1500);
    make(w, "er3", "anna", "er3:b", 2);
    struct request_ctx *ctx = fixture_request(w, "er3");
    OK(sql_user_to_erase(w->sessions, ctx, SV("anna"), NULL, 10, &rows));
    OK(sql_user_tombstone(w->sessions, ctx, SV("anna"), &rows, true, &made));
    CU_ASSERT_EQUAL(made, 2);
    fixture_exec("INSERT INTO idempotency_keys SELECT tenant, key || n, fingerprint,"
                 " created_at, status, session_id, generation, version, state_version,"
                 " first_seq, last_seq, message_count, at, expires_at, session_at, state"
                 " FROM idempotency_keys, generate_series(1, 2500) n WHERE key ="
                 " 'er3:a'");
    CU_ASSERT_EQUAL(fixture_get(w, "er3", "er3:a"), ERR_NOT_FOUND);
    const struct session_list_query q = {
        .user = SV("anna"), .created_before = SESSION_ANY_TIME, .limit = 10};
    OK(session_list(w->sessions, fixture_request(w, "er3"), &q, &list));
    CU_ASSERT_EQUAL(list.n, 0);
    hosts_sweep(w);
    CU_ASSERT_EQUAL(rows_of("er3"), 0);
    fixture_close(w);
}

/* has_more is true while any row is left, also one that another transaction has locked all the
 * time. The erasure does not wait long for it. The key of that session stays, so that a repeated
 * create makes no second one. Fails if a locked row fails the erasure, or if keys of sessions that
 * are still there are deleted: tried. */
static void a_session_that_stays_locked(void)
{
    struct session_erasure done;
    struct fixture *w = fixture_open(false);
    make(w, "er4", "anna", "er4:a", 2);
    make(w, "er4", "anna", "er4:locked", 2);
    make(w, "er4", "anna", "er4:c", 2);
    struct held_transaction *held =
        transaction_hold("BEGIN; SELECT FROM sessions WHERE session_id = 'er4:locked' FOR UPDATE");
    OK(erase(w, "er4", "anna", &done));
    CU_ASSERT_TRUE(done.sessions == 2 && done.messages == 4 && done.has_more);
    CU_ASSERT_EQUAL(rows_of("er4"), 1 + 2 + 1);
    transaction_release(held);
    OK(erase(w, "er4", "anna", &done));
    CU_ASSERT_TRUE(done.sessions == 1 && done.messages == 2 && !done.has_more);
    CU_ASSERT_EQUAL(rows_of("er4"), 0);
    fixture_close(w);
}

static void work_erase(struct threads *threads, struct fixture *c, int me)
{
    struct session_erasure done;
    (void)me;
    if (session_erase_user(threads->w->sessions, fixture_request(c, "er11"), SV("anna"), &done) ==
        ERR_NONE)
        threads->calls_done++;
}

static void *erase_at_once(void *threads)
{
    threads_run(threads, 24, work_erase);
    return NULL;
}

/* Erasures of one user, which wait for a row that somebody has locked, have 9 of 20 connections:
 * three quarters of the 13 that writes may have. Fails if an erasure has no contention key: tried.
 */
static void many_wait_for_one_row(void)
{
    pthread_t eraser;
    struct fixture *w = fixture_open(false);
    make(w, "er11", "anna", "er11:locked", 2);
    struct threads threads = threads_at(w, "");
    struct held_transaction *held =
        transaction_hold("BEGIN; SELECT FROM sessions WHERE session_id = 'er11:locked' FOR UPDATE");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&eraser, NULL, erase_at_once, &threads), 0);
    EVENTUALLY(fx_pool(w->db).waiting == 24 - 9);
    CU_ASSERT_EQUAL(fx_pool(w->db).max, 20);
    make(w, "er11", "bert", "er11:other", 1);
    transaction_release(held);
    pthread_join(eraser, NULL);
    CU_ASSERT_TRUE(threads.calls_done > 0);
    fixture_close(w);
}

/* Member 0 sweeps, 1 and 2 erase, the others append: to sessions of the user, made where they are
 * not there (even ones) or not. */
static _Atomic int64_t erased_messages, swept_messages;

static void work_erase_or_append(struct threads *threads, struct fixture *c, int me)
{
    struct session_erasure done;
    bool more;
    for (int i = 0; i < 30; i++) {
        if (me == 0) {
            threads->failed +=
                sql_sweep(threads->w->sessions, fixture_request(c, ""), &more) != ERR_NONE;
            service_sleep_ms(2);
        } else if (me <= 2) {
            enum err e;
            UNTIL_DONE(e, session_erase_user(threads->w->sessions, fixture_request(c, "er5"),
                                             SV("anna"), &done));
            threads->failed += e != ERR_NONE;
            erased_messages += done.messages;
            service_sleep_ms(2);
        } else {
            struct session_message m[2] = {message_of("user", "1"), message_of("user", "2")};
            const struct session_append a = {m, 2, me % 2 == 0};
            const char *id = text_of("er5:%d", i % 5);
            const char *key = text_of("er5-%d-%d", me, i);
            struct session_precondition anna = keyed(key);
            anna.user = SV("anna");
            enum err e;
            UNTIL_DONE(e, fixture_append(c, "er5", id, &a, &anna));
            threads->failed += e != ERR_NONE && (me % 2 == 0 || e != ERR_NOT_FOUND);
            threads->calls_done += e == ERR_NONE ? 2 : 0;
        }
    }
}

/* Each acknowledged message was deleted once, or is in a session of the user that was made since.
 * Fails if messages are deleted before their session is a tombstone: tried. */
static void erase_during_other_requests(void)
{
    static struct metrics_slot slot;
    struct session_erasure done;
    struct fixture *w = fixture_open(true);
    const struct sessions_settings settings = w->sessions->settings;
    struct sessions *counted = sessions_open(&settings, w->db, w->cache, &slot), *own = w->sessions;
    erased_messages = 0;
    w->sessions = counted;
    struct threads threads = threads_at(w, "");
    threads_run(&threads, 9, work_erase_or_append);
    CU_ASSERT_EQUAL(threads.failed, 0);
    CU_ASSERT_TRUE(threads.calls_done > 0);
    expect_nothing_half("er5");
    const int64_t left = fixture_rows("messages WHERE tenant = 'er5'");
    swept_messages = (int64_t)slot.swept_messages;
    CU_ASSERT_EQUAL(erased_messages + swept_messages + left, threads.calls_done);
    OK(erase(w, "er5", "anna", &done));
    CU_ASSERT_TRUE(!done.has_more && rows_of("er5") == 0);
    w->sessions = own;
    sessions_close(counted);
    fixture_close(w);
}

/* Backends die at any moment. Nothing is half deleted at any time, nothing comes back, and the
 * erasure ends. Fails if messages are deleted before their session is a tombstone: tried. */
static void killed_in_the_middle(void)
{
    struct session_erasure done = {.has_more = true};
    struct killer k;
    int64_t visible = 120;
    struct fixture *w = fixture_open(true);
    for (int i = 0; i < 120; i++) {
        const char *id = text_of("er6:%d", i);
        make(w, "er6", "anna", id, 40);
    }
    killer_start(&k);
    for (int i = 0; i < 400 && done.has_more; i++) {
        enum err e = erase(w, "er6", "anna", &done);
        if (e != ERR_NONE)
            done.has_more = true;
        const int64_t now =
            fixture_rows("sessions WHERE tenant = 'er6' AND session_id NOT LIKE E'\\001%%'");
        CU_ASSERT_TRUE(now <= visible);
        visible = now;
        expect_nothing_half("er6");
        if (i == 60)
            k.stop = true; /* so that it ends on any machine */
    }
    killer_stop(&k);
    CU_ASSERT_FALSE(done.has_more);
    CU_ASSERT_EQUAL(rows_of("er6"), 0);
    fixture_close(w);
}

/* A step fails after one that was done, with an error that would mean that nothing changed. Fails
 * if that error is returned as it is: tried. */
static void a_failure_after_a_step(void)
{
    struct session_erasure done;
    struct fixture *w = fixture_open(true);
    for (int i = 0; i < 40; i++) {
        const char *id = text_of("er8:%d", i);
        make(w, "er8", "anna", id, 2);
    }
    fixture_exec("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                 " IF OLD.session_id = 'er8:5' THEN RAISE EXCEPTION USING ERRCODE ="
                 " '57014'; END IF; RETURN NEW; END $$; CREATE TRIGGER refuse BEFORE"
                 " UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()");
    CU_ASSERT_EQUAL(erase(w, "er8", "anna", &done), ERR_OUTCOME_UNKNOWN);
    CU_ASSERT_PTR_NOT_NULL(strstr(w->ctx.err.detail, "again"));
    const int64_t visible =
        fixture_rows("sessions WHERE tenant = 'er8' AND session_id NOT LIKE E'\\001%%'");
    CU_ASSERT_TRUE(visible > 0 && visible < 40);
    /* Records of the tombstones go; then nothing more is done. */
    CU_ASSERT_EQUAL(erase(w, "er8", "anna", &done), ERR_OUTCOME_UNKNOWN);
    CU_ASSERT_EQUAL(erase(w, "er8", "anna", &done), ERR_TIMEOUT);
    expect_nothing_half("er8");
    fixture_exec("DROP TRIGGER refuse ON sessions; DROP FUNCTION refuse()");
    OK(erase(w, "er8", "anna", &done));
    CU_ASSERT_TRUE(done.sessions == visible && done.messages == 80 && !done.has_more);
    CU_ASSERT_EQUAL(rows_of("er8"), 0);
    fixture_close(w);
}

/* The state in the record of a PATCH is deleted with its session. The key stays, so that the PATCH
 * is not applied to another session of that id. Fails if the state stays, or the key goes: tried.
 */
static void the_state_of_a_patch_goes(void)
{
    const struct session_precondition precondition = keyed("er7-patch");
    const struct session_patch patch = {.context = SV("{\"secret\":1}")};
    struct fixture *w = fixture_open(false);
    make(w, "er7", "anna", "er7:a", 2);
    OK(fixture_patch(w, "er7", "er7:a", &patch, &precondition));
    const struct session_precondition gone = keyed("er7-gone");
    for (int again = 0; again < 2; again++) {
        OK(fixture_delete(w, "er7", "er7:a", &gone));
        CU_ASSERT_EQUAL(w->r.replayed, again == 1);
        hosts_sweep(w);
    }
    CU_ASSERT_EQUAL(
        fixture_rows("idempotency_keys WHERE state LIKE '%%secret%%' AND tenant = 'er7'"), 0);
    make(w, "er7", "anna", "er7:a2", 1);
    fixture_make(w, "er7", "er7:a", "anna", 0, "", &nobody);
    CU_ASSERT_EQUAL(fixture_patch(w, "er7", "er7:a", &patch, &precondition), ERR_NOT_FOUND);
    OK(fixture_get(w, "er7", "er7:a"));
    CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{}")));
    fixture_close(w);
}

/* The idempotency records of a swept session still are the user's, and are erased in steps. A
 * locked row is left, and has_more says so. Fails if records have no user, if there is only one
 * step, or if has_more looks at sessions alone: tried. */
static void keys_outlive_their_sessions(void)
{
    struct session_erasure done;
    struct fixture *w = fixture_open(false);
    make(w, "er9", "anna", "er9:a", 2);
    make(w, "er9", "bert", "er9:b", 2);
    fixture_exec("UPDATE sessions SET expires_at = now(), expiry_hour = 0 WHERE tenant = 'er9';"
                 "INSERT INTO idempotency_keys SELECT (jsonb_populate_record(k, jsonb_build_object("
                 "'key', key || n))).* FROM idempotency_keys k, generate_series(1, 2500) n"
                 " WHERE key = 'er9:a'");
    hosts_sweep(w);
    CU_ASSERT_EQUAL(rows_of("er9"), 2501 + 1);
    OK(erase(w, "er9", "anna", &done));
    CU_ASSERT_TRUE(done.sessions == 0 && done.keys == 2501 && !done.has_more);
    CU_ASSERT_EQUAL(rows_of("er9"), 1);
    struct held_transaction *held =
        transaction_hold("BEGIN; SELECT FROM idempotency_keys WHERE key = 'er9:b' FOR UPDATE");
    struct request_ctx *ctx = fixture_request(w, "er9");
    ctx->deadline = deadline_in_ms(2000);
    OK(session_erase_user(w->sessions, ctx, SV("bert"), &done));
    CU_ASSERT_TRUE(done.keys == 0 && done.has_more);
    transaction_release(held);
    OK(erase(w, "er9", "bert", &done));
    CU_ASSERT_TRUE(done.keys == 1 && !done.has_more);
    CU_ASSERT_EQUAL(rows_of("er9"), 0);
    fixture_close(w);
}

/* Rows of the schema before migration 8: those without a user are deleted, all others get their
 * user again. Fails if it is the session's user and not that of the state, or if the owner of the
 * tables sees no row: tried. */
static void rows_of_an_older_schema(void)
{
    struct session_erasure done;
    const struct session_precondition precondition = keyed("er10:patch");
    const struct session_patch patch = {.context = SV("{\"secret\":1}")};
    struct fixture *w = fixture_open(false);
    make(w, "er10", "anna", "er10:lost", 3);
    make(w, "er10", "anna", "er10:renamed", 3);
    OK(fixture_patch(w, "er10", "er10:renamed", &patch, &precondition));
    const struct fixture was = *w;
    fixture_close(w); /* it would not serve that schema */
    fixture_migrate(&was, 7);
    fixture_exec("UPDATE sessions SET session_id = '~' || generation, user_id = NULL"
                 " WHERE session_id = 'er10:lost';"
                 "UPDATE sessions SET user_id = 'bert' WHERE session_id ="
                 " 'er10:renamed'");
    fixture_migrate(&was, -1);
    CU_ASSERT_EQUAL(rows_of("er10"), (1 + 3 + 1) + 1);
    w = fixture_open(false);
    OK(erase(w, "er10", "anna", &done));
    CU_ASSERT_TRUE(done.keys == 1 && !done.has_more);
    CU_ASSERT_EQUAL(rows_of("er10"), 1 + 3 + 1);
    OK(erase(w, "er10", "bert", &done));
    CU_ASSERT_EQUAL(rows_of("er10"), 0);
    fixture_close(w);
}

/* As if a worker had made the tombstone and was stopped before it cleared the caches. */
static void make_uncleared_tombstone(struct fixture *w, const char *id)
{
    struct session s;
    for (int i = 0; i < 2; i++) {
        struct request_ctx *ctx = fixture_request(w, "t1");
        OK(session_get(w->sessions, ctx, sv_from(id), SV_NONE, 20, &s));
        CU_ASSERT_TRUE(i == 0 || fixture_was_from(w, "memory"));
    }
    fixture_exec("UPDATE sessions SET session_id = E'\\001' || generation || '~' || session_id,"
                 " expires_at = now(), expiry_hour = 0 WHERE session_id = '%s'",
                 id);
    CU_ASSERT_TRUE(hosts_in_memory(w, id) > 0);
}

/* After an erasure no cache has a session, also if another worker made the tombstone and did not
 * clear the caches. */
static void caches_of_older_tombstones(void)
{
    struct session_erasure done;
    struct fixture *w = fixture_open(true);
    make(w, "t1", "u", "gone:1", 3);
    make_uncleared_tombstone(w, "gone:1");
    OK(erase(w, "t1", "u", &done));
    CU_ASSERT_EQUAL(hosts_in_memory(w, "gone:1"), 0);
    CU_ASSERT_EQUAL(fixture_get(w, "t1", "gone:1"), ERR_NOT_FOUND);
    fixture_close(w);
}

SUITE(session_erase, "session/erase", {"everything and nothing else", everything_and_nothing_else},
      {"the sweeper completes an erasure", the_sweeper_completes_an_erasure},
      {"a session that stays locked", a_session_that_stays_locked},
      {"many wait for one row", many_wait_for_one_row},
      {"erase during other requests", erase_during_other_requests},
      {"killed in the middle", killed_in_the_middle},
      {"a failure after a step", a_failure_after_a_step},
      {"the state of a patch goes", the_state_of_a_patch_goes},
      {"keys outlive their sessions", keys_outlive_their_sessions},
      {"rows of an older schema", rows_of_an_older_schema},
      {"caches of older tombstones", caches_of_older_tombstones})

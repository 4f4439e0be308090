/* SPDX-License-Identifier: MIT */
/* The sweeper deletes expired sessions, tombstones and old records, in bounded steps, and nothing
 * else.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../unit/suite.h"
#include "hosts.h"

enum { STEP = 1000 /* most messages of one session in one pass */ };

static const char *const tenants[] = {"sweep-1", "sweep-2", "sweep-3"};

/* A session of so many messages, all with its id as content. */
static void make(struct fixture *w, const char *tenant, const char *id, size_t n)
{
    fixture_make(w, tenant, id, NULL, n, text_of("\"%s\"", id), &nobody);
}

static void drop(struct fixture *w, const char *tenant, const char *id)
{
    OK(fixture_delete(w, tenant, id, &nobody));
}

static int64_t messages_of(const char *id)
{
    return fixture_rows("messages WHERE content = '\"%s\"'", id);
}

static int64_t expired_left(void)
{
    return fixture_rows("sessions WHERE expires_at <= now() AND tenant LIKE 'sweep-%%'");
}

/* In each tenant: a live session, one expired without messages, one expired with many, a deleted
 * one, and a live one whose expiry_hour is over. */
static void make_all_kinds(struct fixture *w, size_t many)
{
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        make(w, tenants[i], "sw:live", 5);
        make(w, tenants[i], "sw:hour", 5);
        make(w, tenants[i], "sw:empty", 0);
        make(w, tenants[i], "sw:many", many);
        make(w, tenants[i], "sw:deleted", 7);
        drop(w, tenants[i], "sw:deleted");
        fixture_exec("UPDATE sessions SET expiry_hour = 0 WHERE session_id = 'sw:hour'");
    }
    fixture_expire("sw:empty");
    fixture_expire("sw:many");
}

/* The live sessions are unchanged. */
static void expect_live(struct fixture *w)
{
    static const char *const ids[] = {"sw:live", "sw:hour"};
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        for (size_t k = 0; k < ARRAY_LEN(ids); k++) {
            OK(fixture_get(w, tenants[i], ids[k]));
            CU_ASSERT_TRUE(w->s.n_messages == 5 && w->s.message_count == 5 && w->s.version == 1);
        }
    }
}

static void clean_up(struct fixture *w)
{
    static const char *const ids[] = {"sw:live", "sw:hour"};
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++)
        for (size_t k = 0; k < ARRAY_LEN(ids); k++)
            drop(w, tenants[i], ids[k]);
}

static enum err sweep(struct fixture *w, bool *more)
{
    return sql_sweep(w->sessions, fixture_request(w, "ignored"), more);
}

/* Fails if the sweeper looks at the hour alone (its statements and its policy without expires_at),
 * or if it deletes a session's messages all at once: tried. */
static void deletes_what_is_expired(void)
{
    bool more = true;
    int passes = 0;
    struct fixture *w = fixture_open(false);
    make_all_kinds(w, 2600);
    int64_t left = 2600 * (int64_t)ARRAY_LEN(tenants);
    while (more && passes++ < 100) {
        OK(sweep(w, &more));
        int64_t now_left = messages_of("sw:many");
        CU_ASSERT_TRUE(left - now_left <= STEP * (int64_t)ARRAY_LEN(tenants));
        left = now_left;
    }
    CU_ASSERT_FALSE(more);
    CU_ASSERT_TRUE(passes >= 3);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(messages_of("sw:deleted"), 0);
    CU_ASSERT_EQUAL(expired_left(), 0);
    expect_live(w);
    clean_up(w);
    fixture_close(w);
}

enum { SWEEPERS = 6 };

/* A sweeper with a pool of its own, as each worker of each host has one. */
struct sweeping {
    struct fixture *w;
    struct metrics_slot slot;
    struct sessions *sessions;
    pthread_t thread;
    int failed, passes;
    _Atomic bool stop;
};

/* Ends after two passes in a row without anything to do. */
static void *sweeping_main(void *arg)
{
    struct sweeping *s = arg;
    struct fixture *c = fixture_share(s->w);
    for (int idle = 0; idle < 2 && s->passes < 1000; s->passes++) {
        bool more = false;
        enum err e = sql_sweep(s->sessions, fixture_request(c, ""), &more);
        s->failed += e != ERR_NONE;
        idle = more ? 0 : idle + 1;
    }
    fixture_close(c);
    return NULL;
}

/* Appends to a live session while the sweepers run. */
static void *load_main(void *arg)
{
    struct sweeping *s = arg;
    struct session_receipt r;
    const struct session_target target = {SV("sw:load"), &nobody, &r};
    struct session_message m = message_of("user", "\"load\"");
    const struct session_append a = {&m, 1, true};
    struct fixture *c = fixture_share(s->w);
    while (!s->stop)
        s->failed +=
            session_append(s->sessions, fixture_request(c, tenants[0]), &target, &a) != ERR_NONE;
    fixture_close(c);
    return NULL;
}

/* Every row is deleted once: the sum of what they counted is what there was. Fails if a statement
 * fails on rows that another one has locked (NOWAIT): tried. */
static void several_at_once(void)
{
    static struct sweeping s[SWEEPERS], load;
    uint64_t sessions = 0, messages = 0, keys = 0;
    memset(s, 0, sizeof(s));
    memset(&load, 0, sizeof(load));
    for (size_t i = 0; i < SWEEPERS; i++) {
        s[i].w = fixture_open(false);
        s[i].sessions = sessions_open(&s[i].w->sessions->settings, s[i].w->db, NULL, &s[i].slot);
    }
    load.w = s[0].w;
    load.sessions = s[0].w->sessions;
    hosts_sweep(s[0].w);
    make_all_kinds(s[0].w, 2600);
    fixture_exec("INSERT INTO idempotency_keys SELECT 'sweep-1', 'at-once-' || n, 'f',"
                 " now() - interval '25 hours', 201, 'x', 1, 1, 1, 0, 0, 0, now(),"
                 " now(), now() FROM generate_series(1, 5000) n");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&load.thread, NULL, load_main, &load), 0);
    for (size_t i = 0; i < SWEEPERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&s[i].thread, NULL, sweeping_main, &s[i]), 0);
    for (size_t i = 0; i < SWEEPERS; i++) {
        pthread_join(s[i].thread, NULL);
        CU_ASSERT_EQUAL(s[i].failed, 0);
        sessions += s[i].slot.swept_sessions;
        messages += s[i].slot.swept_messages;
        keys += s[i].slot.swept_keys;
    }
    load.stop = true;
    pthread_join(load.thread, NULL);
    CU_ASSERT_EQUAL(load.failed, 0);
    CU_ASSERT_EQUAL(sessions, 3 * ARRAY_LEN(tenants));
    CU_ASSERT_EQUAL(messages, (2600 + 7) * ARRAY_LEN(tenants));
    CU_ASSERT_EQUAL(keys, 5000);
    CU_ASSERT_EQUAL(messages_of("sw:many"), 0);
    CU_ASSERT_EQUAL(expired_left(), 0);
    expect_live(s[0].w);
    clean_up(s[0].w);
    drop(s[0].w, tenants[0], "sw:load");
    for (size_t i = 0; i < SWEEPERS; i++) {
        sessions_close(s[i].sessions);
        fixture_close(s[i].w);
    }
}

static enum err create_keyed(struct fixture *w, const char *tenant, const char *key)
{
    const struct session_precondition precondition = keyed(key);
    struct session_draft d = draft_of(NULL, NULL);
    enum err e = fixture_create(w, tenant, &d, &precondition);
    CU_ASSERT_FALSE(w->r.replayed);
    return e;
}

/* Locked rows are skipped: a sweeper neither waits nor fails, and deletes all the rest. Fails if
 * one of the statements waits (without SKIP LOCKED), or deletes sessions that it did not lock:
 * tried, each by itself. */
static void locked_rows(void)
{
    bool more;
    struct fixture *w = fixture_open(false);
    hosts_sweep(w);
    make(w, tenants[0], "sw:held", 3);
    make(w, tenants[0], "sw:held-empty", 0);
    make(w, tenants[0], "sw:free", 3);
    fixture_expire("sw:held");
    fixture_expire("sw:held-empty");
    fixture_expire("sw:free");
    OK(create_keyed(w, tenants[0], "sw-held"));
    OK(create_keyed(w, tenants[0], "sw-free-1"));
    fixture_exec("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
                 " WHERE key IN ('sw-held', 'sw-free-1')");
    struct held_transaction *held =
        transaction_hold("BEGIN; SELECT FROM sessions WHERE session_id LIKE 'sw:held%' FOR UPDATE;"
                         "SELECT FROM idempotency_keys WHERE key = 'sw-held' FOR UPDATE");
    OK(sweep(w, &more));
    CU_ASSERT_TRUE(more);
    CU_ASSERT_EQUAL(messages_of("sw:free"), 0);
    CU_ASSERT_EQUAL(messages_of("sw:held"), 3);
    CU_ASSERT_EQUAL(expired_left(), 2);
    CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'sw-free-1'"), 0);
    transaction_release(held);
    hosts_sweep(w);
    CU_ASSERT_EQUAL(expired_left(), 0);
    CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'sw-held'"), 0);
    fixture_close(w);
}

/* The id of an expired session may be taken while the sweeper deletes the old one. Fails if the
 * session is deleted before its messages: tried. */
static void the_same_id_again(void)
{
    bool more;
    struct fixture *w = fixture_open(false);
    make(w, tenants[0], "sw:again", 1500);
    fixture_expire("sw:again");
    OK(sweep(w, &more));
    CU_ASSERT_EQUAL(messages_of("sw:again"), 500);
    make(w, tenants[0], "sw:again", 3);
    hosts_sweep(w);
    CU_ASSERT_EQUAL(messages_of("sw:again"), 3);
    OK(fixture_get(w, tenants[0], "sw:again"));
    CU_ASSERT_EQUAL(w->s.n_messages, 3);
    drop(w, tenants[0], "sw:again");
    fixture_close(w);
}

/* Fails if keys of any age are deleted: tried. */
static void old_keys(void)
{
    struct fixture *w = fixture_open(false);
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        OK(create_keyed(w, tenants[i], "sw-old"));
        OK(create_keyed(w, tenants[i], "sw-young"));
    }
    fixture_exec("UPDATE idempotency_keys SET created_at = now() - interval '24 hours'"
                 " WHERE key = 'sw-old';"
                 "UPDATE idempotency_keys SET created_at = now() - interval '1439"
                 " minutes' WHERE key = 'sw-young';"
                 "INSERT INTO idempotency_keys SELECT tenant, key || n, fingerprint,"
                 " created_at, status, session_id, generation, version, state_version,"
                 " first_seq, last_seq, message_count, at, expires_at, session_at, state"
                 " FROM idempotency_keys, generate_series(1, 1500) n"
                 " WHERE key = 'sw-old' AND tenant = 'sweep-2'");
    hosts_sweep(w);
    CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key LIKE 'sw-old%%'"), 0);
    CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'sw-young'"),
                    (int64_t)ARRAY_LEN(tenants));
    fixture_close(w);
}

/* A key that is older than a day is free, swept or not. Fails if sql_key_read does not delete it:
 * tried.
 */
static void an_old_key_is_free(void)
{
    struct fixture *w = fixture_open(false);
    OK(create_keyed(w, tenants[0], "sw-free"));
    fixture_exec("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
                 " WHERE key = 'sw-free'");
    OK(create_keyed(w, tenants[0], "sw-free"));
    fixture_close(w);
}

/* The thread sweeps by itself, and ends with the service. */
static void the_thread(void)
{
    struct fixture *w = fixture_open(false);
    struct sessions_settings settings = w->sessions->settings;
    settings.sweep_s = 1;
    make(w, tenants[0], "sw:thread", 3);
    fixture_expire("sw:thread");
    struct sessions *s = sessions_open(&settings, w->db, NULL, NULL);
    CU_ASSERT_PTR_NOT_NULL(s);
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 1500 && messages_of("sw:thread") > 0; i++)
        nanosleep(&pause, NULL);
    CU_ASSERT_EQUAL(messages_of("sw:thread"), 0);
    sessions_close(s);
    fixture_close(w);
}

SUITE(session_sweeper, "session/sweeper", {"deletes what is expired", deletes_what_is_expired},
      {"several at once", several_at_once}, {"locked rows", locked_rows},
      {"the same id again", the_same_id_again}, {"old keys", old_keys},
      {"an old key is free", an_old_key_is_free}, {"the thread", the_thread})

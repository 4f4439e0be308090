/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "../../unit/suite.h"

enum { MAX = 20 };

/* Any of the pool's connections, those that are kept for reads as well. */
static void acquire_n(struct fx *fx, struct db_conn **c, int n)
{
    fx->ctx.reserve = true;
    for (int i = 0; i < n; i++) {
        c[i] = NULL;
        OK(db_pool_acquire(fx->db, &fx->ctx, &c[i]));
    }
}

static void release_n(struct fx *fx, struct db_conn **c, int n)
{
    for (int i = 0; i < n; i++)
        if (c[i])
            db_pool_release(fx->db, c[i]);
}

/* Fails if keep_minimum opens nothing, or if acquire takes the busy connection again: tried. */
static void opens_two_that_differ(void)
{
    struct db_conn *c[2];
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(fx_status(fx).open, 2);
    CU_ASSERT_EQUAL(fx_status(fx).idle, 2);
    CU_ASSERT_EQUAL(
        fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'"), 2);
    acquire_n(fx, c, 2);
    CU_ASSERT_NOT_EQUAL(fx_pid(c[0]), fx_pid(c[1]));
    CU_ASSERT_EQUAL(fx_status(fx).in_use, 2);
    release_n(fx, c, 2);
    CU_ASSERT_EQUAL(fx_status(fx).open, 2);
    fx_close(fx);
}

struct seeker {
    struct fx *fx;
    enum err rc;
    int pid, retry_after;
    bool urgent, writes; /* writes: may not have what is kept for reads */
    uint64_t contention_key;
    _Atomic int *turns;
    int turn; /* when it got its connection */
    pthread_t thread;
};

static void *seek(void *arg)
{
    struct seeker *s = arg;
    struct request_ctx ctx;
    struct arena *arena = arena_create(1 << 20);
    struct db_conn *c;
    ctx_init(&ctx, arena, deadline_in_ms(10000), SV("t1"), SV("r2"));
    ctx.urgent = s->urgent;
    ctx.contention_key = s->contention_key;
    ctx.reserve = !s->writes;
    s->rc = db_pool_acquire(s->fx->db, &ctx, &c);
    s->retry_after = ctx.err.retry_after_s;
    if (s->rc == ERR_NONE) {
        s->turn = s->turns ? (*s->turns)++ : 0;
        s->pid = fx_pid(c);
        db_pool_release(s->fx->db, c);
    }
    arena_destroy(arena);
    return NULL;
}

/* Seeks in a thread, and returns when so many wait. */
static void seek_begin(struct seeker *s, int waiting)
{
    CU_ASSERT_EQUAL_FATAL(pthread_create(&s->thread, NULL, seek, s), 0);
    EVENTUALLY(fx_status(s->fx).waiting == waiting);
}

static void seek_end(struct seeker *s)
{
    pthread_join(s->thread, NULL);
    OK(s->rc);
}

/* Fails if may_open compares with > instead of >=, or if release does not hand over: tried. */
static void grows_to_max_and_the_next_waits(void)
{
    struct db_conn *c[MAX];
    struct fx *fx = fx_open(NULL);
    struct seeker s = {.fx = fx};
    acquire_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_status(fx).open, MAX);
    seek_begin(&s, 1);
    CU_ASSERT_EQUAL(fx_status(fx).open, MAX);
    int pid = fx_pid(c[7]);
    db_pool_release(fx->db, c[7]);
    c[7] = NULL;
    seek_end(&s);
    CU_ASSERT_EQUAL(s.pid, pid);
    CU_ASSERT_EQUAL(
        fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'"), MAX);
    release_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_status(fx).idle, MAX);
    CU_ASSERT_EQUAL(fx_status(fx).waiting, 0);
    fx_close(fx);
}

/* Fails if the mark is not looked at: tried. */
static void urgent_goes_before_those_that_wait(void)
{
    enum { SEEKERS = 4 };
    struct db_conn *c[MAX];
    struct seeker s[SEEKERS];
    _Atomic int turns = 0;
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, MAX);
    for (int i = 0; i < SEEKERS; i++) {
        s[i] = (struct seeker){.fx = fx, .urgent = i == SEEKERS - 1, .turns = &turns};
        seek_begin(&s[i], i + 1);
    }
    db_pool_release(fx->db, c[0]);
    c[0] = NULL;
    for (int i = 0; i < SEEKERS; i++) {
        seek_end(&s[i]);
        CU_ASSERT_EQUAL(s[i].turn, s[i].urgent ? 0 : i + 1);
    }
    release_n(fx, c, MAX);
    fx_close(fx);
}

/* Of 20 connections requests that wait for one row get 15, others the rest, past those that wait.
 * Fails if one contention_key may have all: tests/plants/pool-for-one-session. */
static void one_lane_leaves_room(void)
{
    enum { MOST = MAX - MAX / 4, LANE = 7 };
    struct db_conn *c[MAX];
    struct fx *fx = fx_open(NULL);
    struct seeker same = {.fx = fx, .contention_key = LANE, .writes = true}, other = {.fx = fx};
    fx->ctx.contention_key = LANE;
    acquire_n(fx, c, MOST);
    seek_begin(&same, 1);
    fx->ctx.contention_key = 0;
    acquire_n(fx, c + MOST, MAX - MOST);
    seek_begin(&other, 2);
    release_n(fx, c + MOST, MAX - MOST);
    seek_end(&other);
    CU_ASSERT_EQUAL(fx_status(fx).waiting, 1);
    release_n(fx, c, 1);
    seek_end(&same);
    release_n(fx, c + 1, MOST - 1);
    CU_ASSERT_EQUAL(fx_status(fx).idle, MAX);
    fx_close(fx);
}

/* Writers leave what is kept for reads (2 of 20, 1 of 2), and the next one has its turn as soon as
 * one of them is done. Fails if writers may have all, and if a connection that comes back still
 * counts as its writer's: tried. */
static void some_are_kept_for_reads(void)
{
    static const int sizes[] = {2, MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const int most = sizes[i] - (sizes[i] == MAX ? 2 : 1);
        struct db_conn *c[MAX], *read;
        struct db_settings settings = fx_settings(NULL);
        settings.pool_min = 1;
        settings.pool_max = sizes[i];
        struct fx *fx = fx_open(&settings);
        struct seeker writer = {.fx = fx, .writes = true}, reader = {.fx = fx};
        for (int k = 0; k < most; k++) /* as writers */
            CU_ASSERT_EQUAL_FATAL(db_pool_acquire(fx->db, &fx->ctx, &c[k]), ERR_NONE);
        seek_begin(&writer, 1);
        seek(&reader);
        OK(reader.rc);
        acquire_n(fx, &read, 1);
        db_pool_release(fx->db, read);
        CU_ASSERT_EQUAL(fx_status(fx).waiting, 1);
        db_pool_release(fx->db, c[0]);
        CU_ASSERT_EQUAL(fx_status(fx).waiting, 0);
        seek_end(&writer);
        release_n(fx, c + 1, most - 1);
        fx_close(fx);
    }
}

/* One that gave up opening a connection leaves its place to the next of its contention_key. Fails
 * if only the maintenance thread sees that, a quarter of a second later: tried. */
static void the_next_of_a_lane_is_woken_at_once(void)
{
    enum { LANE = 7 };
    struct db_attempt attempt = {deadline_in_ms(0), -1, ""};
    struct db_settings settings = fx_settings(NULL);
    settings.pool_min = 1;
    settings.pool_max = 2;
    struct fx *fx = fx_open(&settings);
    struct seeker same = {.fx = fx, .contention_key = LANE, .writes = true};
    pthread_mutex_lock(&fx->db->lock);
    struct db_conn *c = db_pool_reserve(fx->db);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    c->demand.contention_key = LANE;
    pthread_mutex_unlock(&fx->db->lock);
    seek_begin(&same, 1);
    CU_ASSERT_EQUAL(db_pool_open_one(fx->db, c, &attempt), OPEN_LATE);
    CU_ASSERT_EQUAL(fx_status(fx).waiting, 0);
    seek_end(&same);
    fx_close(fx);
}

/* Fails if a waiter whose time is up stays in the list (the release then hands to it): tried. */
static void the_next_gives_up_in_time(void)
{
    struct db_conn *c[MAX], *again;
    struct db_settings settings = fx_settings(NULL);
    settings.acquire_ms = 50;
    struct fx *fx = fx_open(&settings);
    fx->db->set.acquire_ms = 5000; /* filling the pool is not what is timed */
    acquire_n(fx, c, MAX);
    fx->db->set.acquire_ms = 50;
    struct seeker s = {.fx = fx};
    seek(&s);
    CU_ASSERT_EQUAL(s.rc, ERR_OVERLOAD);
    CU_ASSERT_EQUAL(s.retry_after, 1);
    CU_ASSERT_EQUAL(fx_status(fx).waiting, 0);
    /* A request's own deadline ends the waiting too. */
    fx->db->set.acquire_ms = 60000;
    fx_request(fx, SV("t1"), 30);
    CU_ASSERT_EQUAL(db_pool_acquire(fx->db, &fx->ctx, &again), ERR_OVERLOAD);
    release_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_status(fx).idle, MAX);
    fx_close(fx);
}

/* Fails if the idle list is FIFO: tried. */
static void last_returned_is_lent_first(void)
{
    struct db_conn *c[3], *again;
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, 3);
    int last = fx_pid(c[2]);
    release_n(fx, c, 3);
    acquire_n(fx, &again, 1);
    CU_ASSERT_EQUAL(fx_pid(again), last);
    db_pool_release(fx->db, again);
    fx_close(fx);
}

/* Fails if acquire leaves out db_conn_quiet: tried. */
static void terminated_backends_are_not_lent(void)
{
    struct db_conn *c[4];
    struct db_rows rows;
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, 4);
    release_n(fx, c, 4);
    /* Ends the maintenance thread, which would clear them away before anybody asks. */
    CU_ASSERT_EQUAL(eventfd_write(fx->db->stop_fd, 1), 0);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                             " WHERE application_name = 'db_test'"),
                    4);
    /* A write is never repeated, so this one succeeds only on a live connection. */
    OK(fx_run(fx, DB_WRITE, "SELECT 1", &rows));
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_retries), 0);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 4);
    CU_ASSERT_EQUAL(fx_status(fx).open, 1);
    fx_close(fx);
}

static void expect_not_returned(const char *sql)
{
    struct db_conn *c;
    struct fx *fx = fx_open(NULL);
    OK(fx_run(fx, DB_WRITE, "SELECT 1", NULL));
    acquire_n(fx, &c, 1);
    const int pid = fx_pid(c);
    db_pool_release(fx->db, c);
    OK(fx_run(fx, DB_WRITE, sql, NULL));
    acquire_n(fx, &c, 1);
    CU_ASSERT_NOT_EQUAL(fx_pid(c), pid);
    db_pool_release(fx->db, c);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 1);
    fx_close(fx);
}

/* Fails if db_conn_clean does not look at dirty: tried. */
static void session_state_never_goes_back(void)
{
    expect_not_returned("SET work_mem = '1MB'");
    expect_not_returned("SELECT set_config('work_mem', '1MB', false)");
    expect_not_returned("LISTEN news");
    expect_not_returned("CREATE TEMP TABLE left_behind (a int)");
    expect_not_returned("SELECT pg_advisory_lock(7)");
}

static void expect_closed(struct fx *fx, struct db_conn *c)
{
    const int pid = fx_pid(c);
    db_pool_release(fx->db, c);
    acquire_n(fx, &c, 1);
    CU_ASSERT_NOT_EQUAL(fx_pid(c), pid);
    db_pool_release(fx->db, c);
}

/* Fails if db_conn_clean does not look at the transaction status: tried. */
static void open_or_aborted_transaction_never_goes_back(void)
{
    static const char *const sql[] = {"BEGIN", "BEGIN; SELECT 1/0"};
    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        struct db_conn *c;
        struct fx *fx = fx_open(NULL);
        acquire_n(fx, &c, 1);
        PQclear(db_conn_exec(c, sql[i], deadline_in_ms(5000), -1));
        expect_closed(fx, c);
        fx_close(fx);
    }
}

/* Fails if db_conn_clean looks neither at the transaction status nor for a pending result: tried.
 */
static void pending_result_never_goes_back(void)
{
    struct db_conn *c;
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, &c, 1);
    CU_ASSERT_EQUAL(PQsendQuery(c->pg, "SELECT 'of another'"), 1);
    CU_ASSERT_EQUAL(PQflush(c->pg), 0);
    expect_closed(fx, c);
    fx_close(fx);
}

/* Fails if release does not look at retire_us: tried. */
static void old_and_idle_connections_are_closed(void)
{
    struct db_conn *c[5];
    struct db_settings settings = fx_settings(NULL);
    settings.idle_s = 0;
    struct fx *fx = fx_open(&settings);
    acquire_n(fx, c, 5);
    release_n(fx, c, 5);
    EVENTUALLY(fx_status(fx).open == 2); /* down to the minimum by itself */
    acquire_n(fx, c, 1);
    c[0]->retire_us = 1;
    expect_closed(fx, c[0]);
    fx_close(fx);
}

/* Its server may have ended it with the one that was lost, and the end not have arrived. Fails if
 * only idle connections are retired: tests/plants/lent-again. */
static void lent_beside_a_lost_one_is_closed(void)
{
    struct db_conn *c[3];
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, 3);
    int pid[] = {fx_pid(c[1]), fx_pid(c[2])};
    db_pool_retire(fx->db);
    release_n(fx, c, 3);
    acquire_n(fx, c, 3);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_NOT_EQUAL(fx_pid(c[i]), pid[0]);
        CU_ASSERT_NOT_EQUAL(fx_pid(c[i]), pid[1]);
    }
    release_n(fx, c, 3);
    fx_close(fx);
}

/* With the server full but one connection open, the next waits for that one instead of failing.
 * Fails if OPEN_FULL is treated as OPEN_REFUSED: tried. */
static void full_server_means_waiting(void)
{
    struct db_conn *c[2];
    fx_admin("DROP ROLE IF EXISTS db_test_login; CREATE ROLE db_test_login LOGIN");
    struct db_settings settings = fx_settings(fx_url_as("db_test_login"));
    settings.pool_min = 1;
    struct fx *fx = fx_open(&settings);
    struct seeker s = {.fx = fx};
    fx_admin("ALTER ROLE db_test_login CONNECTION LIMIT 1");
    acquire_n(fx, c, 1);
    seek_begin(&s, 1);
    CU_ASSERT_EQUAL(fx_status(fx).state, DB_UP);
    release_n(fx, c, 1);
    seek_end(&s);
    fx_close(fx);
    fx_admin("DROP ROLE db_test_login");
}

SUITE(db_pool, "service db pool", {"opens two that differ", opens_two_that_differ},
      {"grows to max and the next waits", grows_to_max_and_the_next_waits},
      {"urgent goes before those that wait", urgent_goes_before_those_that_wait},
      {"one contention_key leaves room", one_lane_leaves_room},
      {"some are kept for reads", some_are_kept_for_reads},
      {"the next of a contention_key is woken at once", the_next_of_a_lane_is_woken_at_once},
      {"the next gives up in time", the_next_gives_up_in_time},
      {"last returned is lent first", last_returned_is_lent_first},
      {"terminated backends are not lent", terminated_backends_are_not_lent},
      {"session state never goes back", session_state_never_goes_back},
      {"open or aborted transaction never goes back", open_or_aborted_transaction_never_goes_back},
      {"pending result never goes back", pending_result_never_goes_back},
      {"old and idle connections are closed", old_and_idle_connections_are_closed},
      {"lent beside a lost one is closed", lent_beside_a_lost_one_is_closed},
      {"full server means waiting", full_server_means_waiting})

/* SPDX-License-Identifier: MIT */
/* Who gets which connection, who waits, and which connections are never used again. */
#include "fixture.h"

#include <string.h>

#include "../../unit/suite.h"

enum { MAX = 20 };

/* Any of the pool's connections, also those that are kept for reads. */
static void acquire_n(struct fx *fx, struct db_conn **c, int n)
{
    fx->ctx.reserve = true;
    for (int i = 0; i < n; i++) {
        c[i] = NULL;
        OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c[i]));
    }
}

static void release_n(struct fx *fx, struct db_conn **c, int n)
{
    for (int i = 0; i < n; i++)
        if (c[i])
            db_pool_release(fx->db, c[i]);
}

/* Fails if open_minimum opens nothing, or if acquire takes the busy connection again: tried. */
TEST(opens_two_that_differ)
{
    struct db_conn *c[2];
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(fx_pool(fx->db).open, 2);
    CU_ASSERT_EQUAL(fx_pool(fx->db).idle, 2);
    CU_ASSERT_EQUAL(
        fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'"), 2);
    acquire_n(fx, c, 2);
    CU_ASSERT_NOT_EQUAL(fx_pid(c[0]), fx_pid(c[1]));
    CU_ASSERT_EQUAL(fx_pool(fx->db).in_use, 2);
    release_n(fx, c, 2);
    CU_ASSERT_EQUAL(fx_pool(fx->db).open, 2);
    fx_close(fx);
}

struct seeker {
    struct fx *fx;
    enum err rc;
    int pid;
    bool urgent, writes, alone; /* alone: a read that is in no batch */
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
    ctx.reserve = !s->writes && !s->alone;
    s->rc = db_pool_acquire(s->fx->db, &ctx, s->writes ? DB_WRITE : DB_READ, &c);
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
    EVENTUALLY(fx_pool(s->fx->db).waiting == waiting);
}

static void seek_end(struct seeker *s)
{
    pthread_join(s->thread, NULL);
    OK(s->rc);
}

/* Fails if may_open compares with > instead of >=, or if release does not hand over: tried. */
TEST(grows_to_max_and_the_next_waits)
{
    struct db_conn *c[MAX];
    struct fx *fx = fx_open(NULL);
    struct seeker s = {.fx = fx};
    acquire_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_pool(fx->db).open, MAX);
    seek_begin(&s, 1);
    CU_ASSERT_EQUAL(fx_pool(fx->db).open, MAX);
    int pid = fx_pid(c[7]);
    db_pool_release(fx->db, c[7]);
    c[7] = NULL;
    seek_end(&s);
    CU_ASSERT_EQUAL(s.pid, pid);
    CU_ASSERT_EQUAL(
        fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'"), MAX);
    release_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_pool(fx->db).idle, MAX);
    CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 0);
    fx_close(fx);
}

/* Fails if ctx.urgent is ignored: tried. */
TEST(urgent_goes_before_those_that_wait)
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

/* Of 20 connections, requests of one contention key get 9; others get the rest, before those that
 * wait. Fails if one key may have all: the mutant pool-for-one-session. */
TEST(one_key_leaves_room)
{
    enum { MOST = 9, KEY = 7 };
    struct db_conn *c[MAX];
    struct fx *fx = fx_open(NULL);
    struct seeker same = {.fx = fx, .contention_key = KEY, .writes = true}, other = {.fx = fx};
    fx->ctx.contention_key = KEY;
    acquire_n(fx, c, MOST);
    seek_begin(&same, 1);
    fx->ctx.contention_key = 0;
    acquire_n(fx, c + MOST, MAX - MOST);
    seek_begin(&other, 2);
    release_n(fx, c + MOST, MAX - MOST);
    seek_end(&other);
    CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 1);
    release_n(fx, c, 1);
    seek_end(&same);
    release_n(fx, c + 1, MOST - 1);
    CU_ASSERT_EQUAL(fx_pool(fx->db).idle, MAX);
    fx_close(fx);
}

/* Writers leave connections to reads of any kind, and the next writer gets its connection as soon
 * as one of them is done. Fails if writers may have all, and if a released connection still counts
 * for its writer: tried. */
TEST(some_are_kept_for_reads)
{
    static const int sizes[] = {2, MAX}, most_of[] = {1, 13};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const int most = most_of[i];
        struct db_conn *c[MAX], *read;
        struct db_settings settings = fx_settings(NULL);
        settings.pool_min = 1;
        settings.pool_max = sizes[i];
        struct fx *fx = fx_open(&settings);
        struct seeker writer = {.fx = fx, .writes = true}, reader = {.fx = fx};
        struct seeker page = {.fx = fx, .alone = true};
        for (int k = 0; k < most; k++) /* as writers */
            CU_ASSERT_EQUAL_FATAL(db_pool_acquire(fx->db, &fx->ctx, DB_WRITE, &c[k]), ERR_NONE);
        seek_begin(&writer, 1);
        seek(&reader);
        OK(reader.rc);
        seek(&page);
        OK(page.rc);
        acquire_n(fx, &read, 1);
        db_pool_release(fx->db, read);
        CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 1);
        db_pool_release(fx->db, c[0]);
        CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 0);
        seek_end(&writer);
        release_n(fx, c + 1, most - 1);
        fx_close(fx);
    }
}

/* A request that failed to open a connection no longer counts for its contention key. Fails if only
 * the maintenance thread notices that, a quarter of a second later: tried. */
TEST(the_next_of_a_key_is_woken_at_once)
{
    enum { KEY = 7 };
    char why[DB_REASON_MAX];
    struct db_settings settings = fx_settings(NULL);
    settings.pool_min = 1;
    settings.pool_max = 2;
    struct fx *fx = fx_open(&settings);
    struct seeker same = {.fx = fx, .contention_key = KEY, .writes = true};
    pthread_mutex_lock(&fx->db->lock);
    struct db_conn *c = db_pool_reserve(fx->db, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    c->demand.contention_key = KEY;
    pthread_mutex_unlock(&fx->db->lock);
    seek_begin(&same, 1);
    /* If this thread stands still in it, it succeeds. */
    if (db_pool_open_one(fx->db, &fx->ctx, c, deadline_in_ms(0), why) == OPEN_OK)
        db_pool_release(fx->db, c);
    CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 0);
    seek_end(&same);
    fx_close(fx);
}

/* Fails if a waiter whose time is up stays in the list (the release then hands to it): tried. */
TEST(the_next_gives_up_in_time)
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
    CU_ASSERT_EQUAL(fx_pool(fx->db).waiting, 0);
    /* A request's own deadline ends the waiting too. */
    fx->db->set.acquire_ms = 60000;
    fx_request(fx, SV("t1"), 30);
    CU_ASSERT_EQUAL(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &again), ERR_OVERLOAD);
    release_n(fx, c, MAX);
    CU_ASSERT_EQUAL(fx_pool(fx->db).idle, MAX);
    fx_close(fx);
}

/* Fails if the idle list is FIFO: tried. */
TEST(last_released_is_used_first)
{
    struct db_conn *c[3];
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, 3);
    int last = fx_pid(c[2]);
    release_n(fx, c, 3);
    CU_ASSERT_EQUAL(fx_next_pid(fx), last);
    fx_close(fx);
}

/* Fails if acquire leaves out db_conn_quiet: tried. */
TEST(terminated_backends_are_not_used)
{
    struct db_conn *c[4];
    struct db_rows rows;
    struct fx *fx = fx_open(NULL);
    acquire_n(fx, c, 4);
    release_n(fx, c, 4);
    /* The maintenance thread would clear them away before anybody asks. */
    pthread_mutex_lock(&fx->db->maintainer.lock);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
                             " WHERE application_name = 'db_test'"),
                    4);
    /* A write is never repeated, so this one succeeds only on a live connection. */
    OK(fx_run(fx, DB_WRITE, "SELECT 1", &rows));
    pthread_mutex_unlock(&fx->db->maintainer.lock);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_retries), 0);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 4);
    CU_ASSERT_EQUAL(fx_pool(fx->db).open, 1);
    fx_close(fx);
}

static void expect_closed(struct fx *fx, struct db_conn *c)
{
    const int pid = fx_pid(c);
    db_pool_release(fx->db, c);
    CU_ASSERT_NOT_EQUAL(fx_next_pid(fx), pid);
}

/* Fails if db_conn_clean does not look at the transaction status, or, for the last row, neither at
 * that nor for a pending result: tried. */
TEST(unfinished_work_is_closed)
{
    static const char *const sql[] = {"BEGIN", "BEGIN; SELECT 1/0", NULL};
    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        struct db_conn *c;
        struct fx *fx = fx_open(NULL);
        acquire_n(fx, &c, 1);
        if (sql[i])
            PQclear(fx_exec(c, sql[i]));
        else
            CU_ASSERT_TRUE(PQsendQuery(c->pg, "SELECT 'of another'") && PQflush(c->pg) == 0);
        expect_closed(fx, c);
        fx_close(fx);
    }
}

/* Fails if release does not look at retire_us: tried. */
TEST(old_and_idle_connections_are_closed)
{
    struct db_conn *c[5];
    struct db_settings settings = fx_settings(NULL);
    settings.idle_s = 0;
    struct fx *fx = fx_open(&settings);
    acquire_n(fx, c, 5);
    release_n(fx, c, 5);
    EVENTUALLY(fx_pool(fx->db).open == 2); /* down to the minimum by itself */
    acquire_n(fx, c, 1);
    c[0]->retire_us = 1;
    expect_closed(fx, c[0]);
    fx_close(fx);
}

/* A write that gets no answer in time. Its backend goes on for a second. */
static void hang(struct fx *fx)
{
    static const struct db_stmt stmts[] = {{NULL, "SET LOCAL statement_timeout = 0"},
                                           {NULL, "SELECT pg_sleep(1)"}};
    struct db_call calls[] = {{.stmt = &stmts[0]}, {.stmt = &stmts[1]}};
    fx_request(fx, SV("t1"), 100);
    CU_ASSERT_EQUAL(db_batch(fx->db, &fx->ctx, DB_WRITE, calls, ARRAY_LEN(calls), NULL),
                    ERR_OUTCOME_UNKNOWN);
    fx_request(fx, SV("t1"), 5000);
}

/* Connections of writes without an answer keep their places until the backends have ended: other
 * writes are refused at once, reads are not. Fails if such a connection is closed (the mutant
 * abandoned-closed), if it does not count as a writer (abandoned-not-counted), and if a write waits
 * for one: tried. */
TEST(writes_without_an_answer)
{
    static const struct {
        int max, hang, reads;
    } rows[] = {{1, 1, 1}, {2, 1, 1}, {4, 2, 2}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct db_conn *c[4];
        struct db_rows r;
        struct db_settings settings = fx_settings(NULL);
        settings.pool_min = 1;
        settings.pool_max = rows[i].max;
        struct fx *fx = fx_open(&settings);
        for (int k = 0; k < rows[i].hang; k++)
            hang(fx);
        CU_ASSERT_EQUAL(atomic_load(&fx->slot->pool_abandoned), rows[i].hang);
        acquire_n(fx, c, rows[i].reads);
        CU_ASSERT_EQUAL(
            fx_admin("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'db_test'"),
            rows[i].hang + rows[i].reads);
        const int64_t began = clock_mono_us();
        fx_request(fx, SV("t1"), 5000);
        CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE, "SELECT 1", &r), ERR_OVERLOAD);
        CU_ASSERT_TRUE(clock_mono_us() - began < settings.acquire_ms * 1000 / 2);
        CU_ASSERT_PTR_NOT_NULL(strstr(fx->ctx.err.cause, "wait for the answer to a write"));
        release_n(fx, c, rows[i].reads);
        EVENTUALLY(atomic_load(&fx->slot->pool_abandoned) == 0);
        fx_request(fx, SV("t1"), 5000);
        OK(fx_run(fx, DB_WRITE, "SELECT 1", &r));
        fx_close(fx);
    }
}

/* A connection whose answer is lost is closed once the server knows no statement of that age.
 * Fails if only an answer frees its place, and if db_close leaves it open: tried. */
TEST(abandoned_for_nothing)
{
    struct fx *fx = fx_open(NULL);
    hang(fx);
    atomic_store(&fx->db->finished_us, clock_boot_us() - 10000000);
    db_pool_close_unwanted(fx->db);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->pool_abandoned), 1);
    atomic_store(&fx->db->finished_us, clock_boot_us() + 1);
    db_pool_close_unwanted(fx->db);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->pool_abandoned), 0);
    hang(fx);
    fx_close(fx);
}

/* After one connection is lost, the server may have ended others, too, without it showing yet.
 * Fails if only idle connections are retired: the mutant lent-again. */
TEST(busy_ones_are_closed_after_a_loss)
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

/* The server takes one connection of the login. The caller holds it, and seeker asks for another.
 */
static struct fx *fill_server(struct db_conn **held, struct seeker *seeker)
{
    fx_admin("DROP ROLE IF EXISTS db_test_login; CREATE ROLE db_test_login LOGIN");
    struct db_settings settings = fx_settings(fx_url_as("db_test_login"));
    settings.pool_min = 1;
    struct fx *fx = fx_open(&settings);
    *seeker = (struct seeker){.fx = fx};
    fx_admin("ALTER ROLE db_test_login CONNECTION LIMIT 1");
    acquire_n(fx, held, 1);
    seek_begin(seeker, 1);
    return fx;
}

/* If the server is full and one connection is open, the next request waits for that one. Fails if
 * OPEN_FULL is treated as OPEN_REFUSED: tried. */
TEST(full_server_means_waiting)
{
    struct db_conn *c[1];
    struct seeker s;
    struct fx *fx = fill_server(c, &s);
    CU_ASSERT_EQUAL(fx_status(fx).state, DB_UP);
    release_n(fx, c, 1);
    seek_end(&s);
    fx_close(fx);
    fx_admin("DROP ROLE db_test_login");
}

/* The pause after a full server is for a pool that has a connection. One that has lost its last one
 * opens another at once. Fails if the pause always holds: tried. */
TEST(the_last_connection_of_a_full_server_is_lost)
{
    struct db_conn *c[1];
    struct seeker s;
    struct fx *fx = fill_server(c, &s);
    pthread_mutex_lock(&fx->db->lock);
    const int64_t pause_end_us = fx->db->retry_at_us;
    pthread_mutex_unlock(&fx->db->lock);
    fx_admin("ALTER ROLE db_test_login CONNECTION LIMIT 2");
    c[0]->broken = true;
    release_n(fx, c, 1);
    seek_end(&s);
    CU_ASSERT_TRUE(clock_mono_us() < pause_end_us);
    fx_close(fx);
    fx_admin("DROP ROLE db_test_login");
}

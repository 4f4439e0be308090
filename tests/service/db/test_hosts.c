/* SPDX-License-Identifier: MIT */
/* Hosts that share a real PostgreSQL: several services in one process, or with the polling worker
 * in a process of its own, which is killed or stopped. */
#include "../../../src/db/hosts_internal.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../src/auth/auth_internal.h"
#include "../../unit/suite.h"
#include "../session/fixture.h"
#include "fixture.h"

struct host {
    struct fixture *w;
    struct db_hosts_shared *s;
    struct db_hosts *h;
    _Atomic int *raised; /* shared with children */
};

static void count_up(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
}

static void host_map(struct host *x, bool alone)
{
    memset(x, 0, sizeof(*x));
    x->s = db_hosts_shared_map(alone, "1.2.3");
    x->raised = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static struct db_hosts *worker_open(struct host *x, size_t slot)
{
    const struct db_hosts_settings set = {.shared = x->s,
                                          .slot = slot,
                                          .workers = 2,
                                          .statement_ms = 100,
                                          .before_alone = count_up,
                                          .arg = x->raised};
    return db_hosts_open(&set, x->w->db);
}

static void host_open(struct host *x, bool alone)
{
    host_map(x, alone);
    x->w = fixture_open(false);
    x->h = worker_open(x, 0);
}

static void host_close(struct host *x)
{
    db_hosts_close(x->h);
    if (x->w)
        fixture_close(x->w);
    munmap(x->raised, 4096);
}

static int64_t rows(const char *id)
{
    return fixture_rows("hosts WHERE host = '%s'", id);
}

static int64_t registered(const struct host *x)
{
    struct db_hosts_found found;
    db_hosts_last_poll(x->s, &found);
    return found.registered;
}

static unsigned polls(const struct host *x)
{
    return atomic_load(&x->s->turn);
}

/* Removes registrations that a killed test has left. */
static void make_schema(void)
{
    fixture_close(fixture_open(false));
    fixture_exec("DELETE FROM hosts");
}

/* The first host, whose worker in slot 0 is a process of its own that polls when this returns. Call
 * it before this process starts threads. */
static pid_t poller_start(struct host *x)
{
    make_schema();
    host_map(x, true);
    const pid_t pid = fork();
    if (pid == 0) {
        x->w = fixture_open(false);
        x->h = worker_open(x, 0);
        for (;;)
            (void)pause();
    }
    EVENTUALLY(polls(x) > 0);
    return pid;
}

/* This process is the second worker of that host. */
static void join_poller(struct host *x)
{
    x->w = fixture_open(false);
    x->h = worker_open(x, 1);
    EVENTUALLY(db_hosts_is_alone(x->s));
}

/* The only host, with one worker in this process. */
static void host_open_alone(struct host *x)
{
    make_schema();
    host_open(x, true);
    EVENTUALLY(db_hosts_is_alone(x->s));
}

static void end_process(pid_t pid)
{
    CU_ASSERT_EQUAL(kill(pid, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
}

/* Fails if a host shows only itself, or if the row stays: tried. */
TEST(list_each_other)
{
    struct host a, b;
    struct db_hosts_found found;
    struct db_host *listed, *const seen = found.table;
    char id[DB_HOSTS_ID_LEN + 1];
    size_t all = 0;
    make_schema();
    host_open(&a, true);
    host_open(&b, false);
    EVENTUALLY(registered(&a) == 2 && registered(&b) == 2);
    db_hosts_last_poll(b.s, &found);
    CU_ASSERT_EQUAL(found.n, 2);
    CU_ASSERT_TRUE(seen[0].self && !seen[0].alone && strcmp(seen[0].id, b.s->id) == 0);
    CU_ASSERT_TRUE(!seen[1].self && seen[1].alone && strcmp(seen[1].id, a.s->id) == 0);
    CU_ASSERT_STRING_EQUAL(seen[1].version, "1.2.3");
    CU_ASSERT_STRING_EQUAL(seen[1].address, a.s->address);
    CU_ASSERT_EQUAL(seen[1].workers, 2);
    OK(db_hosts_list(a.w->db, fixture_request(a.w, ""), &listed, &all));
    CU_ASSERT_EQUAL(all, 2);
    strcpy(id, b.s->id);
    host_close(&b);
    CU_ASSERT_EQUAL(rows(id), 0);
    EVENTUALLY(registered(&a) == 1 && db_hosts_is_alone(a.s));
    strcpy(id, a.s->id);
    host_close(&a);
    CU_ASSERT_EQUAL(rows(id), 0);
}

/* Fails if the mutex is not robust, since nobody polls any more: tried. */
TEST(killed_poller)
{
    struct host a;
    const pid_t pid = poller_start(&a);
    join_poller(&a);
    end_process(pid);
    const unsigned before = polls(&a);
    const int64_t killed_us = clock_mono_us();
    EVENTUALLY(polls(&a) > before + 1);
    printf("\n    polled again %lld ms after the poller was killed",
           (long long)(clock_mono_us() - killed_us) / 1000 - HOSTS_POLL_MS);
    EVENTUALLY(db_hosts_is_alone(a.s));
    db_hosts_worker_ended(a.s, 0, pid, false);
    host_close(&a);
}

/* The shortcut ends by itself, while keys are still confirmed. Fails if the shortcut stays on until
 * a poll finds otherwise, and if only polls confirm keys, or old ones do: tried. */
TEST(stopped_poller)
{
    struct host a;
    char why[160];
    const pid_t pid = poller_start(&a);
    join_poller(&a);
    struct auth_settings keys = {.keys = true, .hosts = a.s};
    struct auth *auth = auth_open(&keys, a.w->db);
    EVENTUALLY(auth_is_ready(auth) && db_hosts_is_alone(a.s));
    const int raised = atomic_load(a.raised);
    CU_ASSERT_EQUAL(kill(pid, SIGSTOP), 0);
    EVENTUALLY(!db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(db_hosts_shortcut(a.s, why, sizeof(why)), DB_HOSTS_SILENT);
    const int64_t off_us = clock_boot_us();
    EVENTUALLY(atomic_load(&auth->valid_until) > off_us + 2 * AUTH_VALID_US);
    CU_ASSERT_FALSE(db_hosts_is_alone(a.s));
    CU_ASSERT_TRUE(db_hosts_may_write(a.s));
    CU_ASSERT_EQUAL(kill(pid, SIGCONT), 0);
    EVENTUALLY(db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(atomic_load(a.raised), raised + 1);
    auth_close(auth);
    end_process(pid);
    db_hosts_worker_ended(a.s, 0, pid, false);
    host_close(&a);
}

/* The poller of the first host is stopped, so it does not notice the second. The shortcut of the
 * first is off before the second may write. Fails if the second does not wait, or if a poll keeps
 * the shortcut on for longer: tried. */
TEST(second_waits)
{
    struct host a, b;
    const pid_t pid = poller_start(&a);
    EVENTUALLY(db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(kill(pid, SIGSTOP), 0);
    host_open(&b, false);
    EVENTUALLY(db_hosts_may_write(b.s));
    CU_ASSERT_FALSE(db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(kill(pid, SIGCONT), 0);
    EVENTUALLY(registered(&a) == 2);
    CU_ASSERT_FALSE(db_hosts_is_alone(a.s));
    host_close(&b);
    EVENTUALLY(db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(atomic_load(a.raised), 2);
    end_process(pid);
    host_close(&a);
}

/* Fails if each worker removes the registration, if a killed worker counts for ever, and if the
 * last one does not wait for what a killed one may have sent: tried. */
TEST(last_worker_removes)
{
    struct host a;
    char id[DB_HOSTS_ID_LEN + 1];
    make_schema();
    host_open(&a, true);
    strcpy(id, a.s->id);
    struct db_hosts *second = worker_open(&a, 1);
    EVENTUALLY(db_hosts_may_write(a.s));
    db_hosts_close(a.h);
    CU_ASSERT_EQUAL(rows(id), 1);
    /* It was killed, and the supervisor does not know yet. */
    atomic_store(&a.s->workers[2], 1);
    a.h = worker_open(&a, 0);
    db_hosts_close(second);
    db_hosts_close(a.h);
    CU_ASSERT_EQUAL(rows(id), 1);
    a.h = worker_open(&a, 0);
    db_hosts_worker_ended(a.s, 2, 1, false);
    const int64_t unclean_us = atomic_load(&a.s->unclean_us);
    host_close(&a);
    CU_ASSERT_EQUAL(rows(id), 0);
    CU_ASSERT_TRUE(clock_boot_us() >= unclean_us + 100000);
}

/* Fails if a running host is forgotten without noticing, or if a host of another id is: tried. */
TEST(forgotten)
{
    struct host a;
    int64_t removed, alive;
    const char *dead = "00000000000000000000000000000001";
    host_open_alone(&a);
    fixture_exec(
        "INSERT INTO hosts (host, address, version, workers, alone, seen_at) VALUES"
        " ('00000000000000000000000000000001', 'gone', '1', 1, true, now() - interval '1 h')");
    EVENTUALLY(!db_hosts_is_alone(a.s));
    struct request_ctx *ctx = fixture_request(a.w, "");
    CU_ASSERT_EQUAL(
        db_hosts_forget(a.w->db, ctx, SV("0000000000000000000000000000000f"), 0, &removed, &alive),
        ERR_NOT_FOUND);
    OK(db_hosts_forget(a.w->db, ctx, SV_NONE, 7200, &removed, &alive));
    CU_ASSERT_EQUAL(rows(dead), 1);
    OK(db_hosts_forget(a.w->db, ctx, SV_NONE, 60, &removed, &alive));
    CU_ASSERT_TRUE(removed == 1 && alive == 0 && rows(dead) == 0 && rows(a.s->id) == 1);
    EVENTUALLY(db_hosts_is_alone(a.s));
    const int raised = atomic_load(a.raised);
    const int64_t first_us = atomic_load(&a.s->registered_us);
    OK(db_hosts_forget(a.w->db, fixture_request(a.w, ""), sv_from(a.s->id), 0, &removed, &alive));
    CU_ASSERT_TRUE(removed == 0 && alive == 1 && rows(a.s->id) == 1);
    EVENTUALLY(db_hosts_is_alone(a.s));
    CU_ASSERT_EQUAL(atomic_load(a.raised), raised + 1);
    CU_ASSERT_TRUE(atomic_load(&a.s->registered_us) > first_us);
    host_close(&a);
}

/* Fails without before_alone and without the comparison of start times: tried. */
TEST(another_postgresql)
{
    struct host a;
    host_open_alone(&a);
    CU_ASSERT_EQUAL(atomic_load(a.raised), 1);
    const int64_t started_us = atomic_load(&a.s->pg_started_us);
    service_control_pg("stop");
    service_control_pg("start");
    EVENTUALLY(atomic_load(&a.s->pg_started_us) != started_us);
    EVENTUALLY(db_hosts_is_alone(a.s));
    CU_ASSERT_TRUE(atomic_load(a.raised) >= 2);
    host_close(&a);
}

/* Fails if the pool is not resized, or only ever lowered: tried. */
TEST(pool_is_divided)
{
    struct host a;
    make_schema();
    host_map(&a, false);
    a.w = fixture_open(false);
    struct db_settings settings = fx_settings(a.w->url);
    settings.pool_min = 1;
    settings.workers = 4;
    const struct db_hosts_settings set = {.shared = a.s, .workers = 2};
    struct db *db = db_open(&settings, NULL);
    a.h = db_hosts_open(&set, db);
    EVENTUALLY(db_hosts_may_write(a.s));
    EVENTUALLY(fx_pool(db).max == 20);
    fixture_exec("INSERT INTO hosts (host, address, version, workers, alone) VALUES"
                 " ('00000000000000000000000000000002', 'there', '1', 1, false),"
                 " ('00000000000000000000000000000003', 'there', '1', 1, false)");
    EVENTUALLY(fx_pool(db).max == 97 / 3 / 4);
    fixture_exec("DELETE FROM hosts WHERE address = 'there'");
    EVENTUALLY(fx_pool(db).max == 20);
    db_hosts_close(a.h);
    a.h = NULL;
    db_close(db);
    host_close(&a);
}

/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LONG_DRAIN = 1000 };

/* No worker was told to drain, and one reload was refused. */
static void expect_unchanged(struct harness *t)
{
    CU_ASSERT_TRUE(harness_count(&t->state->ready, WORKERS));
    CU_ASSERT_EQUAL(t->state->ended, 0);
    CU_ASSERT_EQUAL(t->state->serving, WORKERS);
    CU_ASSERT_EQUAL(harness_said(t, "\"reloaded\""), 0);
    CU_ASSERT_EQUAL(harness_said(t, "\"reload_refused\""), 1);
}

/* Fails if the old workers are told to drain before the new ones are ready: tried. */
TEST(new_workers_replace_the_old)
{
    struct harness t;
    harness_ready(&t, GOOD, LONG_DRAIN);
    harness_configure(&t, WORKERS + 1, LONG_DRAIN, "");
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_count(&t.state->ended, WORKERS));
    CU_ASSERT_EQUAL(t.state->started, 2 * WORKERS + 1);
    CU_ASSERT_EQUAL(t.state->most_serving, 2 * WORKERS + 1);
    CU_ASSERT_TRUE(harness_says(&t, "\"worker_set\":2,\"workers\":3", 1));
    CU_ASSERT_EQUAL(t.state->busy_at_start, 0);
    harness_configure(&t, 1, LONG_DRAIN, "");
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_count(&t.state->ended, 2 * WORKERS + 1));
    CU_ASSERT_EQUAL(t.state->started, 2 * WORKERS + 2);
    CU_ASSERT_EQUAL(t.state->serving, 1);
    harness_close(&t);
}

/* Fails if a fixed setting may change, or if the file is not read again: tried. */
TEST(wrong_files_change_nothing)
{
    static const struct {
        const char *more, *why;
    } wrong[] = {{"PARLEY_THREADS=none", "PARLEY_THREADS"},
                 {"PARLEY_TREADS=3", "PARLEY_TREADS"},
                 {"PARLEY_LISTEN=/nowhere/at.all", "PARLEY_LISTEN cannot change"},
                 {"PARLEY_HEALTH=tcp://127.0.0.1:1", "PARLEY_HEALTH cannot change"},
                 {"PARLEY_HOSTS=one", "PARLEY_HOSTS cannot change"},
                 {"PARLEY_MEMORY=1MiB", "PARLEY_MEMORY cannot change"},
                 {"REDIS_URL=redis://h:1:2", "REDIS_URL"},
                 {NULL, "cannot be read"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct harness t;
        harness_begin(&t, GOOD, LONG_DRAIN);
        CU_ASSERT_TRUE(harness_count(&t.state->started, WORKERS));
        if (wrong[i].more)
            harness_configure(&t, WORKERS, LONG_DRAIN, wrong[i].more);
        else
            unlink(t.file);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(harness_says(&t, "\"reload_refused\"", 1));
        CU_ASSERT_EQUAL(harness_said(&t, wrong[i].why), 1);
        CU_ASSERT_EQUAL(t.state->started, WORKERS);
        expect_unchanged(&t);
        harness_close(&t);
    }
}

/* New workers that end at once, or are never ready: the old ones go on, and a later reload works.
 * Fails if a new worker that ends is started again, if its reason is not logged, or if it ends the
 * service: tried. */
TEST(new_workers_that_fail)
{
    static const struct {
        enum behaviour behaviour;
        const char *why;
    } bad[] = {{MISCONFIGURED, "reload_refused\",\"message\":\"the schema is too old"},
               {NEVER_READY, "was not ready in time"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct harness t;
        harness_ready(&t, GOOD, LONG_DRAIN);
        atomic_store(&t.state->behaviour, bad[i].behaviour);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(harness_says(&t, bad[i].why, 1));
        CU_ASSERT_EQUAL(harness_said(&t, "\"reload_refused\""), 1);
        atomic_store(&t.state->behaviour, GOOD);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(harness_says(&t, "\"reloaded\"", 1));
        /* A new worker may have been told to drain before it was counted. */
        CU_ASSERT_TRUE(t.state->started > 2 * WORKERS && t.state->started <= 3 * WORKERS);
        harness_close(&t);
    }
}

/* Fails if the new workers are not told to drain: tried. */
TEST(sigterm_in_a_reload)
{
    struct harness t;
    harness_ready(&t, GOOD, LONG_DRAIN);
    atomic_store(&t.state->behaviour, NEVER_READY);
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_count(&t.state->started, 2 * WORKERS));
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(harness_wait(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(t.state->ended, 2 * WORKERS);
    CU_ASSERT_EQUAL(t.state->started, 2 * WORKERS);
    harness_end(&t, true);
}

/* The workers of both sets end by themselves. Fails without PR_SET_PDEATHSIG: tried. */
TEST(supervisor_killed_in_a_reload)
{
    struct harness t;
    harness_ready(&t, GOOD, LONG_DRAIN);
    atomic_store(&t.state->behaviour, NEVER_READY);
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_count(&t.state->serving, 2 * WORKERS));
    kill(t.pid, SIGKILL);
    CU_ASSERT_EQUAL(harness_wait(&t), -1);
    CU_ASSERT_TRUE(harness_count(&t.state->ended, 2 * WORKERS));
    harness_end(&t, false);
}

/* 100 signals within a second. Those that come while a reload is under way, or while workers still
 * drain, are one reload more. Fails if a reload does not wait for workers that drain: tried (here
 * they drain until they are killed). */
TEST(many_signals)
{
    struct harness t;
    harness_ready(&t, NEVER_ENDS, 0);
    for (int i = 0; i < 100; i++) {
        kill(t.pid, SIGHUP);
        poll(NULL, 0, 5);
    }
    CU_ASSERT_TRUE(harness_says(&t, "\"worker_set\":2", 1));
    CU_ASSERT_TRUE(harness_says(&t, "\"worker_set\":3", 1));
    CU_ASSERT_TRUE(harness_said(&t, "\"killing\"") >= WORKERS);
    CU_ASSERT_EQUAL(t.state->most_serving, 2 * WORKERS);
    CU_ASSERT_EQUAL(t.state->started, 3 * WORKERS);
    harness_close(&t);
}

/* Killed while they drain: they had left their slots. Fails if others are started for them: tried.
 */
TEST(death_while_draining)
{
    struct harness t;
    harness_ready(&t, NEVER_ENDS, LONG_DRAIN);
    const pid_t old[WORKERS] = {t.state->pids[0], t.state->pids[1]};
    atomic_store(&t.state->behaviour, GOOD);
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_says(&t, "\"reloaded\"", 1));
    for (int i = 0; i < WORKERS; i++)
        kill(old[i], SIGKILL);
    /* This reload waits for their end. */
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(harness_says(&t, "\"worker_set\":3", 1));
    CU_ASSERT_EQUAL(harness_said(&t, "\"worker_died\""), WORKERS);
    CU_ASSERT_EQUAL(t.state->started, 3 * WORKERS);
    harness_close(&t);
}

/* One after the other, each when its replacement is ready. Fails if all are replaced at once: tried
 * (most_serving is 2 more). */
TEST(recycling)
{
    struct harness t;
    harness_ready(&t, RECYCLABLE, LONG_DRAIN);
    atomic_store(&t.state->behaviour, GOOD);
    atomic_store(&t.state->recycle, true);
    CU_ASSERT_TRUE(harness_count(&t.state->ended, WORKERS));
    CU_ASSERT_EQUAL(t.state->started, 2 * WORKERS);
    CU_ASSERT_EQUAL(t.state->most_serving, WORKERS + 1);
    CU_ASSERT_TRUE(harness_says(&t, "\"recycled\"", WORKERS));
    harness_close(&t);
}

/* Fails if the old worker drains all the same, or if it is tried again at once: tried. */
TEST(recycling_that_fails)
{
    struct harness t;
    harness_ready(&t, RECYCLABLE, LONG_DRAIN);
    atomic_store(&t.state->behaviour, MISCONFIGURED);
    atomic_store(&t.state->recycle, true);
    CU_ASSERT_TRUE(harness_says(&t, "\"message\":\"the schema is too old; the old worker", 1));
    poll(NULL, 0, 1500); /* more than it took the first time */
    CU_ASSERT_EQUAL(t.state->started, WORKERS + 1);
    CU_ASSERT_EQUAL(t.state->serving, WORKERS);
    harness_close(&t);
}

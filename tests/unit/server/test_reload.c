/* SPDX-License-Identifier: MIT */
#include "theatre.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LONG_DRAIN = 1000 };

/* Nothing has changed: no worker was told to leave, and all are there. */
static void expect_as_before(struct theatre *t)
{
    CU_ASSERT_TRUE(theatre_count(&t->play->ready, WORKERS));
    CU_ASSERT_EQUAL(t->play->ended, 0);
    CU_ASSERT_EQUAL(t->play->here, WORKERS);
    CU_ASSERT_EQUAL(theatre_said(t, "\"reloaded\""), 0);
    CU_ASSERT_EQUAL(theatre_said(t, "\"reload_refused\""), 1);
}

/* Fails if the old workers are told before the new ones are ready: tried (most is too small). */
TEST(others_take_over)
{
    struct theatre t;
    theatre_ready(&t, PART_GOOD, LONG_DRAIN);
    theatre_configure(&t, WORKERS + 1, LONG_DRAIN, "");
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(theatre_count(&t.play->ended, WORKERS));
    CU_ASSERT_EQUAL(t.play->started, 2 * WORKERS + 1);
    CU_ASSERT_EQUAL(t.play->most, 2 * WORKERS + 1);
    CU_ASSERT_TRUE(theatre_says(&t, "\"generation\":2,\"workers\":3", 1));
    CU_ASSERT_EQUAL(t.play->busy_at_start, 0);
    CU_ASSERT_EQUAL(t.play->checks, 1);
    theatre_configure(&t, 1, LONG_DRAIN, "");
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(theatre_count(&t.play->ended, 2 * WORKERS + 1));
    CU_ASSERT_EQUAL(t.play->started, 2 * WORKERS + 2);
    CU_ASSERT_EQUAL(t.play->here, 1);
    theatre_close(&t);
}

/* What is wrong in a file that was read again, and what the log says of it. Fails if what
 * must stay may change, or if the file is not read again: tried. */
TEST(wrong_files_change_nothing)
{
    static const struct {
        const char *more, *why;
    } wrong[] = {{"PARLEY_THREADS=none", "PARLEY_THREADS"},
                 {"PARLEY_TREADS=3", "PARLEY_TREADS"},
                 {"PARLEY_LISTEN=/nowhere/at.all", "PARLEY_LISTEN cannot change"},
                 {"PARLEY_HOSTS=one", "PARLEY_HOSTS cannot change"},
                 {"PARLEY_MEMORY=1MiB", "PARLEY_MEMORY cannot change"},
                 {"REDIS_URL=redis://h:1:2", "REDIS_URL"},
                 {NULL, "cannot be read"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct theatre t;
        theatre_begin(&t, PART_GOOD, LONG_DRAIN);
        CU_ASSERT_TRUE(theatre_count(&t.play->started, WORKERS));
        if (wrong[i].more)
            theatre_configure(&t, WORKERS, LONG_DRAIN, wrong[i].more);
        else
            unlink(t.file);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(theatre_says(&t, "\"reload_refused\"", 1));
        CU_ASSERT_EQUAL(theatre_said(&t, wrong[i].why), 1);
        CU_ASSERT_EQUAL(t.play->checks, 0);
        expect_as_before(&t);
        theatre_close(&t);
    }
}

/* Fails if the outcome of the check is not looked at, or if nobody ends one that hangs: tried. */
TEST(checks_that_fail)
{
    static const struct {
        enum part check;
        const char *why;
    } rows[] = {{PART_MISCONFIGURED, "\"reload_refused\",\"message\":\"the server is of stone\""},
                {PART_SILENT, "or not in time"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct theatre t;
        theatre_begin(&t, PART_GOOD, LONG_DRAIN);
        CU_ASSERT_TRUE(theatre_count(&t.play->started, WORKERS));
        atomic_store(&t.play->check, rows[i].check);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(theatre_says(&t, rows[i].why, 1));
        expect_as_before(&t);
        theatre_close(&t);
    }
}

/* New workers that end at once, or are never ready; the others go on, and a later reload is good.
 * Fails if a new worker that ends is started again, if its reason is not told, or if it ends the
 * service: tried. */
TEST(new_workers_that_fail)
{
    static const struct {
        enum part part;
        const char *why;
    } bad[] = {{PART_MISCONFIGURED, "reload_refused\",\"message\":\"the schema is of yesterday"},
               {PART_SILENT, "was not ready in time"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct theatre t;
        theatre_ready(&t, PART_GOOD, LONG_DRAIN);
        atomic_store(&t.play->part, bad[i].part);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(theatre_says(&t, bad[i].why, 1));
        CU_ASSERT_EQUAL(theatre_said(&t, "\"reload_refused\""), 1);
        atomic_store(&t.play->part, PART_GOOD);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(theatre_says(&t, "\"reloaded\"", 1));
        /* A new worker that was told to go may never have come as far as to be counted. */
        CU_ASSERT_TRUE(t.play->started > 2 * WORKERS && t.play->started <= 3 * WORKERS);
        theatre_close(&t);
    }
}

/* Fails if the child that checks is not waited for, or the new workers are not told: tried. */
TEST(sigterm_in_a_reload)
{
    static const enum part parts[] = {PART_GOOD, PART_SILENT}; /* of the workers */
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct theatre t;
        theatre_ready(&t, PART_GOOD, LONG_DRAIN);
        atomic_store(&t.play->part, parts[i]);
        atomic_store(&t.play->check, parts[i] == PART_GOOD ? PART_SILENT : PART_GOOD);
        kill(t.pid, SIGHUP);
        CU_ASSERT_TRUE(theatre_count(&t.play->checks, 1));
        const int all = parts[i] == PART_GOOD ? WORKERS : 2 * WORKERS;
        CU_ASSERT_TRUE(theatre_count(&t.play->started, all));
        kill(t.pid, SIGTERM);
        CU_ASSERT_EQUAL(theatre_wait(&t), EXIT_GOOD);
        CU_ASSERT_EQUAL(t.play->ended, all);
        CU_ASSERT_EQUAL(t.play->started, all);
        theatre_end(&t, true);
    }
}

/* Both generations end when nobody is there to tell them. Fails without PR_SET_PDEATHSIG: tried. */
TEST(supervisor_killed_in_a_reload)
{
    struct theatre t;
    theatre_ready(&t, PART_GOOD, LONG_DRAIN);
    atomic_store(&t.play->part, PART_SILENT);
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(theatre_count(&t.play->here, 2 * WORKERS));
    kill(t.pid, SIGKILL);
    CU_ASSERT_EQUAL(theatre_wait(&t), -1);
    CU_ASSERT_TRUE(theatre_count(&t.play->ended, 2 * WORKERS));
    theatre_end(&t, false);
}

/* 100 signals within a second. Those that come while a reload is under way, or while workers still
 * drain, are one reload more. Fails if a reload does not wait for those that drain: tried (here
 * they drain for ever, until they are killed). */
TEST(a_storm)
{
    struct theatre t;
    theatre_ready(&t, PART_STUBBORN, 0);
    for (int i = 0; i < 100; i++) {
        kill(t.pid, SIGHUP);
        poll(NULL, 0, 5);
    }
    CU_ASSERT_TRUE(theatre_says(&t, "\"generation\":2", 1));
    CU_ASSERT_TRUE(theatre_says(&t, "\"generation\":3", 1));
    CU_ASSERT_TRUE(theatre_said(&t, "\"killing\"") >= WORKERS);
    CU_ASSERT_EQUAL(t.play->most, 2 * WORKERS);
    CU_ASSERT_EQUAL(t.play->started, 3 * WORKERS);
    theatre_close(&t);
}

/* Killed while it drains: it had given up its seat. Fails if another is started for it: tried. */
TEST(a_death_while_leaving)
{
    struct theatre t;
    theatre_ready(&t, PART_STUBBORN, LONG_DRAIN);
    const pid_t old[WORKERS] = {t.play->pids[0], t.play->pids[1]};
    atomic_store(&t.play->part, PART_GOOD);
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(theatre_says(&t, "\"reloaded\"", 1));
    for (int i = 0; i < WORKERS; i++)
        kill(old[i], SIGKILL);
    /* A reload has to wait for their end, and then can be done. */
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(theatre_says(&t, "\"generation\":3", 1));
    CU_ASSERT_EQUAL(theatre_said(&t, "\"worker_died\""), WORKERS);
    CU_ASSERT_EQUAL(t.play->started, 3 * WORKERS);
    theatre_close(&t);
}

/* One after the other, each when its replacement is ready. Fails if those that wish are replaced at
 * once: tried (most is 2 more). */
TEST(recycling)
{
    struct theatre t;
    theatre_ready(&t, PART_TIRED, LONG_DRAIN);
    atomic_store(&t.play->part, PART_GOOD);
    atomic_store(&t.play->tired, true);
    CU_ASSERT_TRUE(theatre_count(&t.play->ended, WORKERS));
    CU_ASSERT_EQUAL(t.play->started, 2 * WORKERS);
    CU_ASSERT_EQUAL(t.play->most, WORKERS + 1);
    CU_ASSERT_TRUE(theatre_says(&t, "\"recycled\"", WORKERS));
    theatre_close(&t);
}

/* Fails if the old one leaves all the same, or if it is tried again at once: tried. */
TEST(recycling_that_fails)
{
    struct theatre t;
    theatre_ready(&t, PART_TIRED, LONG_DRAIN);
    atomic_store(&t.play->part, PART_MISCONFIGURED);
    atomic_store(&t.play->tired, true);
    CU_ASSERT_TRUE(theatre_says(&t, "\"message\":\"the schema is of yesterday; the old worker", 1));
    poll(NULL, 0, 1500); /* more than it took the first time */
    CU_ASSERT_EQUAL(t.play->started, WORKERS + 1);
    CU_ASSERT_EQUAL(t.play->here, WORKERS);
    theatre_close(&t);
}

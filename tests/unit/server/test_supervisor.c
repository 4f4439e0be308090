/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <signal.h>
#include <unistd.h>

/* Fails if the second signal only repeats the first (the drain time is half an hour), or if nobody
 * is killed when the time is over: tried. */
TEST(sigterm_drains)
{
    static const struct {
        enum behaviour behaviour;
        int drain_s, signals, ended;
    } rows[] = {{GOOD, 1000, 1, WORKERS}, {NEVER_ENDS, 1800, 2, 0}, {NEVER_ENDS, 0, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct harness t;
        harness_ready(&t, rows[i].behaviour, rows[i].drain_s);
        kill(t.pid, SIGTERM);
        if (rows[i].signals == 2) {
            CU_ASSERT_TRUE(harness_says(&t, "draining", 1));
            kill(t.pid, SIGTERM);
        }
        CU_ASSERT_EQUAL(harness_wait(&t), EXIT_GOOD);
        CU_ASSERT_EQUAL(t.state->ended, rows[i].ended);
        CU_ASSERT_EQUAL(t.state->started, WORKERS);
        harness_end(&t, true);
    }
}

/* Fails if the supervisor does not clear the gauges, or does not start another: tried. */
TEST(killed_worker_is_replaced)
{
    struct harness t;
    harness_ready(&t, GOOD, 1000);
    kill(t.state->pids[0], SIGKILL);
    CU_ASSERT_TRUE(harness_count(&t.state->started, WORKERS + 1));
    CU_ASSERT_EQUAL(t.state->busy_at_start, 0);
    CU_ASSERT_TRUE(harness_says(&t, "\"signal\":9", 1));
    kill(t.pid, SIGINT);
    CU_ASSERT_EQUAL(harness_wait(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(t.state->ended, WORKERS);
    harness_end(&t, true);
}

/* Fails if such a worker is restarted like any other: tried. */
TEST(wrong_configuration_ends_the_service)
{
    struct harness t;
    harness_begin(&t, MISCONFIGURED, 1000);
    CU_ASSERT_EQUAL(harness_wait(&t), EXIT_MISCONFIGURED);
    CU_ASSERT_EQUAL(harness_said(&t, "parley: the schema is too old\n"), 1);
    CU_ASSERT_EQUAL(harness_said(&t, "parley: "), 1);
    CU_ASSERT_TRUE(t.state->started <= WORKERS);
    harness_end(&t, true);
}

/* Fails without PR_SET_PDEATHSIG: tried. */
TEST(workers_end_with_the_supervisor)
{
    struct harness t;
    harness_ready(&t, GOOD, 1000);
    kill(t.pid, SIGKILL);
    CU_ASSERT_EQUAL(harness_wait(&t), -1);
    CU_ASSERT_TRUE(harness_count(&t.state->ended, WORKERS));
    harness_end(&t, false);
}

TEST(second_service_on_the_same_sockets)
{
    struct harness t;
    harness_ready(&t, GOOD, 1000);
    struct harness second = t;
    harness_open(&second);
    CU_ASSERT_EQUAL(harness_wait(&second), EXIT_FAULT);
    CU_ASSERT_TRUE(harness_says(&t, "parley: pid file ", 1));
    CU_ASSERT_EQUAL(t.state->started, WORKERS);
    CU_ASSERT_EQUAL(t.state->ended, 0);
    harness_close(&t);
}

/* A service that ends refuses connects, and one whose supervisor was killed has only its workers.
 * No other may begin while they serve. Fails without the lock: tried (the second one starts). */
TEST(second_service_during_the_last_requests)
{
    static const int signals[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct harness t;
        harness_ready(&t, NEVER_ENDS, 1000);
        struct harness second = t;
        kill(t.pid, signals[i]);
        CU_ASSERT_TRUE(signals[i] == SIGKILL || harness_says(&t, "draining", 1));
        CU_ASSERT_TRUE(signals[i] == SIGTERM || harness_wait(&t) == -1);
        harness_open(&second);
        CU_ASSERT_EQUAL(harness_wait(&second), EXIT_FAULT);
        CU_ASSERT_TRUE(harness_says(&t, "workers of one still end", 1));
        for (int k = 0; k < WORKERS; k++)
            kill(t.state->pids[k], SIGKILL);
        CU_ASSERT_TRUE(signals[i] == SIGKILL || harness_wait(&t) == EXIT_GOOD);
        harness_end(&t, signals[i] == SIGTERM);
    }
}

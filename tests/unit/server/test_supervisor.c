/* SPDX-License-Identifier: MIT */
#include "theatre.h"

#include <signal.h>
#include <unistd.h>

/* Fails if the second signal only repeats the first (the drain time is half an hour), or if nobody
 * is killed when the time is over: tried. */
TEST(sigterm_drains)
{
    static const struct {
        enum part part;
        int drain_s, signals, ended;
    } rows[] = {
        {PART_GOOD, 1000, 1, WORKERS}, {PART_STUBBORN, 1800, 2, 0}, {PART_STUBBORN, 0, 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct theatre t;
        theatre_ready(&t, rows[i].part, rows[i].drain_s);
        kill(t.pid, SIGTERM);
        if (rows[i].signals == 2) {
            CU_ASSERT_TRUE(theatre_says(&t, "draining", 1));
            kill(t.pid, SIGTERM);
        }
        CU_ASSERT_EQUAL(theatre_wait(&t), EXIT_GOOD);
        CU_ASSERT_EQUAL(t.play->ended, rows[i].ended);
        CU_ASSERT_EQUAL(t.play->started, WORKERS);
        theatre_end(&t, true);
    }
}

/* Fails if the supervisor does not clear the gauges, or does not start another: tried. */
TEST(killed_worker_is_replaced)
{
    struct theatre t;
    theatre_ready(&t, PART_GOOD, 1000);
    kill(t.play->pids[0], SIGKILL);
    CU_ASSERT_TRUE(theatre_count(&t.play->started, WORKERS + 1));
    CU_ASSERT_EQUAL(t.play->busy_at_start, 0);
    CU_ASSERT_TRUE(theatre_says(&t, "\"signal\":9", 1));
    kill(t.pid, SIGINT);
    CU_ASSERT_EQUAL(theatre_wait(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(t.play->ended, WORKERS);
    theatre_end(&t, true);
}

/* Fails if such a worker is replaced like any other: tried. */
TEST(wrong_configuration_ends_the_service)
{
    struct theatre t;
    theatre_begin(&t, PART_MISCONFIGURED, 1000);
    CU_ASSERT_EQUAL(theatre_wait(&t), EXIT_MISCONFIGURED);
    CU_ASSERT_EQUAL(theatre_said(&t, "parley: the schema is of yesterday\n"), 1);
    CU_ASSERT_EQUAL(theatre_said(&t, "parley: "), 1);
    CU_ASSERT_TRUE(t.play->started <= WORKERS);
    theatre_end(&t, true);
}

/* Fails without PR_SET_PDEATHSIG: tried. */
TEST(workers_end_with_the_supervisor)
{
    struct theatre t;
    theatre_ready(&t, PART_GOOD, 1000);
    kill(t.pid, SIGKILL);
    CU_ASSERT_EQUAL(theatre_wait(&t), -1);
    CU_ASSERT_TRUE(theatre_count(&t.play->ended, WORKERS));
    theatre_end(&t, false);
}

TEST(second_service_on_the_same_sockets)
{
    struct theatre t;
    theatre_ready(&t, PART_GOOD, 1000);
    struct theatre second = t;
    theatre_open(&second);
    CU_ASSERT_EQUAL(theatre_wait(&second), EXIT_FAULT);
    CU_ASSERT_TRUE(theatre_says(&t, "parley: socket ", 1));
    CU_ASSERT_EQUAL(t.play->started, WORKERS);
    CU_ASSERT_EQUAL(t.play->ended, 0);
    theatre_close(&t);
}

/* A service that ends refuses connects, and one whose supervisor was killed has only its workers:
 * no other may begin beside them. Fails without the lock: tried (the second one starts). */
TEST(second_service_beside_the_last_requests)
{
    static const int signals[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct theatre t;
        theatre_ready(&t, PART_STUBBORN, 1000);
        struct theatre second = t;
        kill(t.pid, signals[i]);
        CU_ASSERT_TRUE(signals[i] == SIGKILL || theatre_says(&t, "draining", 1));
        CU_ASSERT_TRUE(signals[i] == SIGTERM || theatre_wait(&t) == -1);
        theatre_open(&second);
        CU_ASSERT_EQUAL(theatre_wait(&second), EXIT_FAULT);
        CU_ASSERT_TRUE(theatre_says(&t, "workers of one that still end", 1));
        for (int k = 0; k < WORKERS; k++)
            kill(t.play->pids[k], SIGKILL);
        CU_ASSERT_TRUE(signals[i] == SIGKILL || theatre_wait(&t) == EXIT_GOOD);
        theatre_end(&t, signals[i] == SIGTERM);
    }
}

/* SPDX-License-Identifier: MIT */
#include "parley/base/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "../suite.h"
#include "parley/base/clock.h"
#include "parley/base/sv.h"

static void *blocked(void *arg)
{
    sigset_t *set = arg;
    pthread_sigmask(SIG_BLOCK, NULL, set);
    return NULL;
}

TEST(only_faults_get_through)
{
    sigset_t before, in_thread, after;
    pthread_t id;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    CU_ASSERT_EQUAL_FATAL(thread_start(&id, blocked, &in_thread), 0);
    pthread_join(id, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    static const int signals[] = {SIGTERM, SIGHUP, SIGUSR1, SIGPIPE, SIGCHLD};
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        CU_ASSERT_EQUAL(sigismember(&in_thread, signals[i]), 1);
        CU_ASSERT_EQUAL(sigismember(&after, signals[i]), sigismember(&before, signals[i]));
    }
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        CU_ASSERT_EQUAL(sigismember(&in_thread, faults[i]), 0);
}

struct pauses {
    struct thread_loop loop;
    atomic_int n;
};

/* One short pause, and then one that only thread_loop_stop ends. */
static void *pause_twice(void *arg)
{
    struct pauses *t = arg;
    const int64_t hour_us = INT64_C(3600) * 1000000;
    int64_t wait_us;
    do
        wait_us = atomic_fetch_add(&t->n, 1) == 0 ? 1000 : hour_us;
    while (thread_loop_pause(&t->loop, clock_mono_us() + wait_us));
    return NULL;
}

TEST(pauses_and_stops)
{
    struct pauses t = {.n = 0};
    CU_ASSERT_TRUE_FATAL(thread_loop_start(&t.loop, pause_twice, &t));
    while (atomic_load(&t.n) < 2)
        sched_yield();
    thread_loop_stop(&t.loop);
    CU_ASSERT_EQUAL(atomic_load(&t.n), 2);
}

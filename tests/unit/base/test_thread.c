/* SPDX-License-Identifier: MIT */
#include "parley/base/thread.h"

#include <signal.h>

#include "../suite.h"
#include "parley/base/sv.h"

static void *blocked(void *arg)
{
    sigset_t *set = arg;
    pthread_sigmask(SIG_BLOCK, NULL, set);
    return NULL;
}

static void only_faults_get_through(void)
{
    sigset_t before, in_thread, after;
    pthread_t id;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    CU_ASSERT_EQUAL_FATAL(thread_start(&id, NULL, blocked, &in_thread), 0);
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

SUITE(thread, "base/thread", {"only faults get through", only_faults_get_through})

/* SPDX-License-Identifier: MIT */
#include "parley/base/thread.h"

#include <signal.h>
#include <time.h>

#include "parley/base/err.h"

int thread_start(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    sigset_t blocked, before;
    sigfillset(&blocked);
    /* POSIX leaves a fault whose signal is blocked undefined: Linux ends the process without
     * calling a handler, not even a sanitizer's. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int e = pthread_create(out, attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_us)
{
    const struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
    return pthread_cond_clockwait(c, lock, CLOCK_MONOTONIC, &until) == 0;
}

bool thread_loop_start(struct thread_loop *l, void *(*run)(void *), void *arg)
{
    l->stop = false;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    if (thread_start(&l->id, NULL, run, arg) == 0)
        return true;
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    return false;
}

bool thread_loop_pause(struct thread_loop *l, int64_t until_us)
{
    pthread_mutex_lock(&l->lock);
    while (!l->stop && thread_cond_wait(&l->wake, &l->lock, until_us))
        ;
    const bool goes_on = !l->stop;
    pthread_mutex_unlock(&l->lock);
    return goes_on;
}

void thread_loop_stop(struct thread_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->id, NULL);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
}

/* SPDX-License-Identifier: MIT */
/* Threads whose waits are timed by the monotonic clock. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* pthread_create, with a stack of 1 MiB and all signals blocked in the thread: the worker's main
 * thread handles them, and libfcgi does not repeat a read that one interrupted. The signals of the
 * thread's own faults (SIGSEGV and the like) are not blocked. */
int thread_start(pthread_t *out, void *(*run)(void *), void *arg);

/* Call it under the lock. until_us: by clock_mono_us. False: the time is over. */
bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_us);

/* A thread that does something periodically until it is stopped. */
struct thread_loop {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under lock */
};
/* False: no thread was started; do not stop it. */
bool thread_loop_start(struct thread_loop *l, void *(*run)(void *), void *arg);
/* For run: waits until until_us. False: stop was called, and run must return. */
bool thread_loop_pause(struct thread_loop *l, int64_t until_us);
/* Ends a pause and waits until run has returned. */
void thread_loop_stop(struct thread_loop *l);

/* SPDX-License-Identifier: MIT */
#ifndef PARLEY_BASE_THREAD_H
#define PARLEY_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* pthread_create for a thread that no signal interrupts: the worker's main thread takes those. The
 * signals of the thread's own faults are not blocked, so that a handler may report them. */
int thread_start(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

/* A condition variable whose waits are timed by clock_mono_us. */
void thread_cond_init(pthread_cond_t *c);
/* Call it under the lock. False: the time is over. */
bool thread_cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, int64_t until_us);

/* A thread that works in turns until it is told to stop. */
struct thread_loop {
    pthread_t id;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under lock */
};
/* False: there is no thread, and nothing to stop. */
bool thread_loop_start(struct thread_loop *l, void *(*run)(void *), void *arg);
/* Called by run between two turns: waits until then. False: run has to return. */
bool thread_loop_pause(struct thread_loop *l, int64_t until_us);
/* Ends a pause, and waits until run has returned. */
void thread_loop_stop(struct thread_loop *l);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef PARLEY_BASE_THREAD_H
#define PARLEY_BASE_THREAD_H

#include <pthread.h>

/* pthread_create for a thread that no signal interrupts: those are the business of the worker's
 * main thread. What the thread's own faults raise is not blocked, so that a handler may tell of it.
 */
int thread_start(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

#endif

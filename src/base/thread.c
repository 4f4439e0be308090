/* SPDX-License-Identifier: MIT */
#include "parley/base/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    sigset_t blocked, before;
    sigfillset(&blocked);
    /* To raise one of these while it is blocked is undefined (POSIX): Linux ends the process and
     * passes over every handler, a sanitizer's too. */
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int e = pthread_create(out, attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

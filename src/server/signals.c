/* SPDX-License-Identifier: MIT */
/* Signals are blocked and waited for: no signal handler runs any code. */
#include "server_internal.h"

#include <errno.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "parley/base/clock.h"

void signals_block(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
    sigprocmask(SIG_BLOCK, set, NULL);
}

int signals_wait(const sigset_t *set, int64_t at_us)
{
    for (;;) {
        int64_t left = at_us == INT64_MAX ? INT64_MAX : at_us - clock_mono_us();
        left = left < 0 ? 0 : left;
        const struct timespec ts = {.tv_sec = left / 1000000, .tv_nsec = (left % 1000000) * 1000};
        int n = sigtimedwait(set, NULL, at_us == INT64_MAX ? NULL : &ts);
        if (n > 0)
            return n;
        /* EINTR: a signal that is not in the set, or the process was stopped for a while. */
        if (errno != EINTR)
            return 0;
    }
}

bool signals_follow_parent(pid_t parent, int signo)
{
    return prctl(PR_SET_PDEATHSIG, signo) == 0 && getppid() == parent;
}

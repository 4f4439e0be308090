/* SPDX-License-Identifier: MIT */
/* Prints how far an export or import is, its rate, and the time that is left: in one line of a
 * terminal, which is written anew, else in a line from time to time. */
#include "transfer_internal.h"

#include <inttypes.h>
#include <unistd.h>

enum { US_PER_S = 1000000, TERMINAL_US = US_PER_S / 2, LINE_US = 10 * US_PER_S, S_PER_MIN = 60 };

void progress_say(struct progress *p, int64_t bytes, int64_t messages)
{
    const int64_t now = clock_mono_us();
    const bool terminal = isatty(STDERR_FILENO);
    if (p->begun_us == 0)
        p->begun_us = p->said_us = now;
    if (now - p->said_us < (terminal ? TERMINAL_US : LINE_US))
        return;
    const double s = (double)(now - p->begun_us) / US_PER_S;
    p->said_us = now;
    p->is_open = terminal;
    fprintf(stderr, "%sparley: %s %" PRId64 " messages, %.0f/s", terminal ? "\r" : "", p->verb,
            messages, (double)messages / s);
    if (p->total > 0 && bytes > 0)
        fprintf(stderr, ", %" PRId64 " %%, %.1f minutes left", bytes * 100 / p->total,
                s * (double)(p->total - bytes) / (double)bytes / S_PER_MIN);
    fputs(terminal ? "\033[K" : "\n", stderr);
}

void progress_end(struct progress *p)
{
    if (p->is_open)
        fputc('\n', stderr);
    p->is_open = false;
}

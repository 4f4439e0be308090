/* SPDX-License-Identifier: MIT */
/* Prints how far an export or import is, its rate, and the time that is left. */
#include "transfer_internal.h"

#include <inttypes.h>

enum { US_PER_S = 1000000, PAUSE_US = 5 * US_PER_S, S_PER_MIN = 60 };

void progress_say(struct progress *p, int64_t bytes, int64_t messages)
{
    const int64_t now = clock_mono_us();
    if (p->begun_us == 0)
        p->begun_us = p->said_us = now;
    if (now - p->said_us < PAUSE_US)
        return;
    const double s = (double)(now - p->begun_us) / US_PER_S;
    p->said_us = now;
    fprintf(stderr, "parley: %s %" PRId64 " messages, %.0f/s", p->verb, messages,
            (double)messages / s);
    if (p->total > 0 && bytes > 0)
        fprintf(stderr, ", %" PRId64 " %%, %.1f minutes left", bytes * 100 / p->total,
                s * (double)(p->total - bytes) / (double)bytes / S_PER_MIN);
    fputc('\n', stderr);
}

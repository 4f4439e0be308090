/* SPDX-License-Identifier: MIT */
/* Prints how far an export or import is, its rate, and the time that is left. */
#include "transfer_internal.h"

#include <inttypes.h>
#include <unistd.h>

enum { TERMINAL_MS = 500, LINE_MS = 10000, US_PER_S = 1000000, S_PER_H = 3600, S_PER_MIN = 60 };

void progress_begin(struct progress *p, const char *verb, int64_t total)
{
    *p = (struct progress){.verb = verb, .total = total, .begun_us = clock_mono_us()};
    p->next = deadline_in_ms(isatty(STDERR_FILENO) ? TERMINAL_MS : LINE_MS);
}

void progress_say(struct progress *p, int64_t bytes, int64_t messages)
{
    const bool terminal = isatty(STDERR_FILENO);
    if (!deadline_passed(p->next))
        return;
    const double s = (double)(clock_mono_us() - p->begun_us) / US_PER_S;
    p->next = deadline_in_ms(terminal ? TERMINAL_MS : LINE_MS);
    p->is_open = terminal;
    fprintf(stderr, "%sparley: %s %" PRId64 " messages, %.0f/s", terminal ? "\r" : "", p->verb,
            messages, (double)messages / s);
    if (p->total > 0 && bytes > 0) {
        const int64_t left = (int64_t)(s * (double)(p->total - bytes) / (double)bytes);
        fprintf(stderr, ", %" PRId64 " %%, %" PRId64 ":%02d:%02d left", bytes * 100 / p->total,
                left / S_PER_H, (int)(left / S_PER_MIN % S_PER_MIN), (int)(left % S_PER_MIN));
    }
    fputs(terminal ? "\033[K" : "\n", stderr);
}

void progress_end(struct progress *p)
{
    if (p->is_open)
        fputc('\n', stderr);
    p->is_open = false;
}

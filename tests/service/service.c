/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *text_of(const char *fmt, ...)
{
    static _Thread_local char texts[32][512];
    static _Thread_local unsigned next;
    char *text = texts[next++ % ARRAY_LEN(texts)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(texts[0]), fmt, ap);
    va_end(ap);
    return text;
}

void service_sleep_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

void service_control_pg(const char *command)
{
    char line[512];
    snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", getenv("TEST_PG"), command);
    CU_ASSERT_EQUAL(system(line), 0);
}

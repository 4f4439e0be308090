/* SPDX-License-Identifier: MIT */
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void service_sleep_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

void service_server(const char *word)
{
    char command[512];
    snprintf(command, sizeof(command), "%s %s >/dev/null 2>&1", getenv("TEST_PG"), word);
    CU_ASSERT_EQUAL(system(command), 0);
}

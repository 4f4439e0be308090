/* SPDX-License-Identifier: MIT */
/* What the tests against real servers share. tests/service/with-servers starts the servers. */
#ifndef PARLEY_TESTS_SERVICE_H
#define PARLEY_TESTS_SERVICE_H

#include <CUnit/CUnit.h>

#include "parley/base/err.h"

#define OK(call) CU_ASSERT_EQUAL(call, ERR_NONE)

/* Waits until the condition holds, at most 20 s, and asserts that it did. */
#define EVENTUALLY(condition)                                                         \
    do {                                                                              \
        bool holds = false;                                                           \
        for (int step = 0; step < 10000 && !(holds = (condition)); step++)            \
            service_sleep_ms(2);                                                      \
        CU_assertImplementation(holds, __LINE__, #condition, __FILE__, "", CU_FALSE); \
    } while (0)

/* Formats like printf, at most 511 bytes. Valid during the thread's next 31 calls. */
const char *text_of(const char *fmt, ...) PRINTF_LIKE(1, 2);
void service_sleep_ms(long ms);
/* Controls PostgreSQL: stop, start, kill, pause or resume. */
void service_control_pg(const char *command);

#endif

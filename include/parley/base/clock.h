/* SPDX-License-Identifier: MIT */
/*
 * Clocks and deadlines. Monotonic time is for measuring and waiting, wall time for people. All in
 * microseconds unless the name says otherwise.
 */
#pragma once

#include "parley/base/sv.h"

int64_t clock_mono_us(void);
int64_t clock_boot_us(void); /* monotonic, and goes on while the machine is suspended */
int64_t clock_wall_us(void); /* since 1970-01-01T00:00:00Z */

/* A point on the monotonic clock, which bounds every wait of a request. */
struct deadline {
    int64_t at_us;
};

struct deadline deadline_in_ms(int64_t ms); /* ms: at most 100,000 years */
struct deadline deadline_earlier(struct deadline a, struct deadline b);
bool deadline_passed(struct deadline d);
/* Sleeps until d. */
void deadline_wait(struct deadline d);
/* The time left, rounded up, never below 0: fits poll(2) and statement_timeout. */
int deadline_left_ms(struct deadline d);

enum { CLOCK_RFC3339_LEN = 27, CLOCK_RFC3339_MAX = 32 /* with an offset in place of Z */ };
/* Writes "2026-11-23T21:50:00.000000Z" (RFC 3339, UTC, six decimals) and a NUL. Years 0001 to 9999;
 * a value outside is clamped. */
void clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_LEN + 1]);
/* Reads a time of RFC 3339 with a capital T, and Z or an offset. It may have up to six decimals,
 * and no leap second. False: the text is no such time, and *out is unchanged. */
MUSTCHECK bool clock_read_rfc3339(struct sv text, int64_t *out);

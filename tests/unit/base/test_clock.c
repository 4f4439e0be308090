/* SPDX-License-Identifier: MIT */
#include "parley/base/clock.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../suite.h"

TEST(known_times)
{
    static const struct {
        int64_t us;
        const char *text;
    } t[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {951782400000001, "2000-02-29T00:00:00.000001Z"},
        {4107542399999999, "2100-02-28T23:59:59.999999Z"},
        {4107542400000000, "2100-03-01T00:00:00.000000Z"}, /* 2100 is no leap year */
        {1795470600000000, "2026-11-23T21:50:00.000000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char out[CLOCK_RFC3339_LEN + 1];
        clock_rfc3339(t[i].us, out);
        CU_ASSERT_STRING_EQUAL(out, t[i].text);
    }
}

/* Compared with the C library, for all years. */
TEST(same_as_gmtime)
{
    int different = 0;
    for (int64_t s = -62135596800; s <= 253402300799; s += 86400 * 17 + 12345) {
        char ours[CLOCK_RFC3339_LEN + 1], theirs[40], date[32];
        time_t when = (time_t)s;
        struct tm tm;
        gmtime_r(&when, &tm);
        snprintf(date, sizeof(date), "%04d", tm.tm_year + 1900);
        strftime(date + 4, sizeof(date) - 4, "-%m-%dT%H:%M:%S", &tm);
        snprintf(theirs, sizeof(theirs), "%s.000123Z", date);
        clock_rfc3339(s * 1000000 + 123, ours);
        different += strcmp(ours, theirs) != 0;
    }
    CU_ASSERT_EQUAL(different, 0);
}

TEST(deadlines)
{
    struct deadline past = deadline_in_ms(-1), far = deadline_in_ms(60000);
    CU_ASSERT_TRUE(deadline_passed(past));
    CU_ASSERT_FALSE(deadline_passed(far));
    CU_ASSERT_EQUAL(deadline_left_ms(past), 0);
    int left = deadline_left_ms(far);
    CU_ASSERT_TRUE(left > 0 && left <= 60000);
    CU_ASSERT_EQUAL(deadline_earlier(past, far).at_us, past.at_us);
    CU_ASSERT_EQUAL(deadline_earlier(far, past).at_us, past.at_us);
}

TEST(deadlines_do_not_overflow)
{
    CU_ASSERT_EQUAL(deadline_left_ms(deadline_in_ms(INT64_MAX / 2000)), INT_MAX);
    CU_ASSERT_TRUE(deadline_passed(deadline_in_ms(INT64_MIN / 2000)));
    /* Rounded up. */
    CU_ASSERT_EQUAL(deadline_left_ms((struct deadline){INT64_MAX}), INT_MAX);
    struct deadline soon = {clock_mono_us() + 3600 * INT64_C(1000000) + 1};
    CU_ASSERT_TRUE(deadline_left_ms(soon) <= 3600001);
}

TEST(clocks_move_forward)
{
    int64_t a = clock_mono_us(), b = clock_mono_us();
    CU_ASSERT_TRUE(a > 0 && b >= a);
    CU_ASSERT_TRUE(clock_wall_us() > INT64_C(1700000000) * 1000000);
}

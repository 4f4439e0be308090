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

/* What clock_rfc3339 writes for all years, and other forms. Fails if the date and time are not
 * compared with what is written again, nor the offset, if an offset has the other sign, or if a
 * seventh decimal or none is taken: tried. */
TEST(times_are_read)
{
    static const struct {
        const char *text;
        int64_t us;
    } t[] = {
        {"2000-02-29T00:00:00.000001Z", 951782400000001},
        {"2026-11-23T21:50:00Z", 1795470600000000},
        {"2026-11-23T21:50:00.5Z", 1795470600500000},
        {"2026-11-23T21:50:00.000000+00:00", 1795470600000000},
        {"2026-11-23T23:20:00+01:30", 1795470600000000},
        {"2026-11-22T22:50:00.1-23:00", 1795470600100000},
        {"0001-01-01T00:00:00-00:00", -62135596800000000},
        {"9999-12-31T23:59:59.999999-23:59", 253402387139999999},
    };
    static const char *const wrong[] = {
        "",
        "Z",
        "2026-11-23",
        "2026-11-23T21:50:00",
        "2026-11-23T21:50Z",
        "2026-11-23 21:50:00Z",
        "2026-11-23t21:50:00z",
        "2026-11-23T21:50:00.Z",
        "2026-11-23T21:50:00.1234567Z",
        "2026-11-23T21:50:00,5Z",
        "2026-11-23T21:50:00+0100",
        "2026-11-23T21:50:00+01",
        "2026-11-23T21:50:00+24:00",
        "2026-11-23T21:50:00+01:60",
        "2026-11-23T21:50:00+1:00",
        "2026-11-23T21:50:00+ 1:00",
        "2026-11-23T21:50:00+01:00Z",
        "2026-11-23T21:50:00ZZ",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T21:60:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "+026-11-23T21:50:00Z",
        "2026-1-23T21:50:00Z",
        "2026-11- 3T21:50:00Z",
        " 2026-11-23T21:50:00Z",
        "1795470600",
        "now",
        "infinity",
        "2026-11-23T21:50:00.000000+00:000",
    };
    int64_t us;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        us = 0;
        CU_ASSERT_TRUE(clock_read_rfc3339(sv_from(t[i].text), &us));
        CU_ASSERT_EQUAL(us, t[i].us);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        us = 7;
        CU_ASSERT_FALSE(clock_read_rfc3339(sv_from(wrong[i]), &us));
        CU_ASSERT_EQUAL(us, 7);
    }
    CU_ASSERT_FALSE(clock_read_rfc3339(SV("2026-11-23T21:50:00Z\0"), &us));
    int different = 0;
    for (int64_t s = -62135596800; s <= 253402300799; s += 86400 * 17 + 12345) {
        char text[CLOCK_RFC3339_LEN + 1];
        clock_rfc3339(s * 1000000 + 123, text);
        different += !clock_read_rfc3339(sv_from(text), &us) || us != s * 1000000 + 123;
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

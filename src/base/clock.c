/* SPDX-License-Identifier: MIT */
#include "parley/base/clock.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { US_PER_MS = 1000, US_PER_S = 1000000, S_PER_DAY = 86400 };

static int64_t clock_read(clockid_t id)
{
    struct timespec ts = {0, 0};
    /* Cannot fail: every Linux has these clocks. */
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

int64_t clock_boot_us(void)
{
    return clock_read(CLOCK_BOOTTIME);
}

int64_t clock_wall_us(void)
{
    return clock_read(CLOCK_REALTIME);
}

struct deadline deadline_in_ms(int64_t ms)
{
    return (struct deadline){clock_mono_us() + ms * US_PER_MS};
}

struct deadline deadline_earlier(struct deadline a, struct deadline b)
{
    return a.at_us < b.at_us ? a : b;
}

bool deadline_passed(struct deadline d)
{
    return clock_mono_us() >= d.at_us;
}

int deadline_left_ms(struct deadline d)
{
    int64_t now = clock_mono_us();
    if (d.at_us <= now)
        return 0;
    /* Rounded up: a wait that ended early would have to be repeated. */
    int64_t us = d.at_us - now;
    int64_t ms = us / US_PER_MS + (us % US_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

void deadline_wait(struct deadline d)
{
    while (!deadline_passed(d))
        (void)poll(NULL, 0, deadline_left_ms(d));
}

/* Days since 1970-01-01 to year, month and day of the Gregorian calendar, by H. Hinnant's method:
 * years begin in March, so that the leap day is the last one ("chrono-compatible low-level date
 * algorithms"). Not gmtime_r(3): it takes a lock, and every request needs the time. */
static void civil_from_days(int64_t days, int64_t date[3])
{
    int64_t z = days + 719468; /* since 0000-03-01; not negative from year 1 on */
    int64_t era = z / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    date[0] = year_of_era + era * 400 + (month <= 2);
    date[1] = month;
    date[2] = day_of_year - (153 * from_march + 2) / 5 + 1;
}

static char *put_digits(char *p, int64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        p[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + width;
}

void clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_LEN + 1])
{
    const int64_t min = -62135596800 * US_PER_S;                /* 0001-01-01T00:00:00 */
    const int64_t max = 253402300799 * US_PER_S + US_PER_S - 1; /* 9999-12-31T23:59:59.999999 */
    int64_t t = wall_us < min ? min : wall_us > max ? max : wall_us;
    /* Division truncates towards zero; before 1970 the time of day must not be negative. */
    int64_t micros = (t % US_PER_S + US_PER_S) % US_PER_S;
    int64_t seconds = (t - micros) / US_PER_S;
    int64_t of_day = (seconds % S_PER_DAY + S_PER_DAY) % S_PER_DAY;
    static const int widths[] = {4, 2, 2, 2, 2, 2, 6};
    static const char after[] = "--T::.Z";
    int64_t parts[] = {0, 0, 0, of_day / 3600, of_day / 60 % 60, of_day % 60, micros};
    civil_from_days((seconds - of_day) / S_PER_DAY, parts);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        out = put_digits(out, parts[i], widths[i]);
        *out++ = after[i];
    }
    *out = '\0';
}

/* Date, time and offset are written again and compared: strptime(3) takes much that is no RFC 3339,
 * and timegm(3) any day and second. */
bool clock_read_rfc3339(struct sv text, int64_t *out)
{
    char s[CLOCK_RFC3339_MAX + 1] = "", again[CLOCK_RFC3339_LEN + 1];
    struct tm tm = {.tm_sec = 0}, offset = {.tm_sec = 0};
    int64_t unit = US_PER_S;
    if (text.n > CLOCK_RFC3339_MAX)
        return false;
    memcpy(s, text.p, text.n);
    const char *p = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
    int64_t t = (int64_t)timegm(&tm) * US_PER_S;
    clock_rfc3339(t, again);
    if (!p || strlen(s) != text.n || strncmp(s, again, (size_t)(p - s)) != 0)
        return false;
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9' && unit > 1; p++) {
            unit /= 10;
            t += (*p - '0') * unit;
        }
        if (unit == US_PER_S)
            return false;
    }
    if (*p == '+' || *p == '-') {
        const bool east = *p++ == '+';
        const bool is_read = strptime(p, "%H:%M", &offset);
        snprintf(again, sizeof(again), "%02d:%02d", offset.tm_hour, offset.tm_min);
        if (!is_read || strcmp(p, again) != 0)
            return false;
        t += (east ? -60 : 60) * (offset.tm_hour * INT64_C(60) + offset.tm_min) * US_PER_S;
    } else if (strcmp(p, "Z") != 0) {
        return false;
    }
    *out = t;
    return true;
}

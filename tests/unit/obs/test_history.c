/* SPDX-License-Identifier: MIT */
#include "parley/obs/history.h"

#include <stdlib.h>
#include <string.h>

#include "../suite.h"

/* The history as text. */
static const char *render(const struct metrics_history *h)
{
    struct buf b;
    buf_init(&b, test_ctx()->arena, 100);
    metrics_history_render(&b, h);
    buf_putc(&b, '\0');
    CU_ASSERT_FALSE(b.failed);
    return b.p;
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static void step(struct metrics_history *h, const struct metrics_slot *slots)
{
    h->due_us = 0;
    metrics_history_step(h, slots, 2);
}

/* The value with this name in the last sample. */
static long long last_value(const char *text, const char *name)
{
    const char *value = strrchr(text, '[') + 1, *end = strstr(text, "],");
    for (const char *at = strchr(text, '[') + 1; at < end; at = strchr(at, ',') + 1) {
        if (strncmp(at + 1, name, strlen(name)) == 0 && at[1 + strlen(name)] == '"')
            return strtoll(value, NULL, 10);
        value = strchr(value, ',') + 1;
    }
    CU_FAIL("no such series");
    return 0;
}

/* Fails if a series has the counter of another, if one slot is left out, or if statuses are in the
 * wrong class: tried. */
TEST(a_sample_sums_the_slots)
{
    static struct metrics_slot s[2];
    static struct metrics_history h;
    static const int statuses[] = {200, 201, 304, 400, 404, 429, 499, 500, 503};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        metrics_request(&s[i % 2], (unsigned)i, statuses[i], 300);
    metrics_request(&s[1], METRICS_ROUTES_MAX - 1, 200, INT64_C(11000000));
    metrics_add(&s[0].source_hits[METRICS_REDIS], 5);
    metrics_batch(&s[1].appends, 7);
    metrics_observe(&s[0].statement, 250);
    metrics_set(&s[0].pool_open, 3);
    metrics_set(&s[1].pool_open, 4);
    step(&h, s);
    static const struct {
        const char *name;
        long long value;
    } want[] = {
        {"2xx", 4},
        {"4xx", 3},
        {"5xx", 3},
        {"up_to_250_us", 0},
        {"up_to_500_us", 9},
        {"longer", 1},
        {"redis_hits", 5},
        {"memory_hits", 0},
        {"append_batches", 1},
        {"append_members", 7},
        {"create_members", 0},
        {"statements", 1},
        {"statement_us", 250},
        {"pool_open", 7},
        {"threads_busy", 0},
    };
    const char *t = render(&h);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        CU_ASSERT_EQUAL(last_value(t, want[i].name), want[i].value);
}

/* Fails if a sample is taken early, or if more than an hour is shown: the oldest one may be being
 * overwritten. Tried. */
TEST(the_last_hour_is_kept)
{
    static struct metrics_slot s[2];
    static struct metrics_history h;
    CU_ASSERT_EQUAL(count(render(&h), "["), 2);
    step(&h, s);
    metrics_history_step(&h, s, 2);
    CU_ASSERT_EQUAL(count(render(&h), "["), 3);
    for (int i = 1; i < 2 * HISTORY_SAMPLES; i++) {
        metrics_add(&s[1].queue_refused, 1);
        step(&h, s);
    }
    CU_ASSERT_EQUAL(count(render(&h), "["), 2 + HISTORY_SAMPLES);
    CU_ASSERT_EQUAL(last_value(render(&h), "queue_refused"), 2 * HISTORY_SAMPLES - 1);
}

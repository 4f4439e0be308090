/* SPDX-License-Identifier: MIT */
#include "parley/obs/history.h"

#include <inttypes.h>

#include "parley/base/clock.h"

static const struct series {
    const char *name;
    size_t offset, n; /* of the counters in struct metrics_slot that are summed */
} series[] = {
    {"memory_hits", METRICS_AT(source_hits[METRICS_MEMORY])},
    {"redis_hits", METRICS_AT(source_hits[METRICS_REDIS])},
    {"postgres_hits", METRICS_AT(source_hits[METRICS_POSTGRES])},
    {"append_batches", METRICS_AT(appends.size)},
    {"append_members", METRICS_AT(appends.members)},
    {"create_batches", METRICS_AT(creates.size)},
    {"create_members", METRICS_AT(creates.members)},
    {"read_batches", METRICS_AT(read_batches)},
    {"read_members", METRICS_AT(read_batched)},
    {"statements", METRICS_AT(statement.bucket)},
    {"statement_us", METRICS_AT(statement.sum_us)},
    {"queue_refused", METRICS_AT(queue_refused)},
    {"pool_open", METRICS_AT(pool_open)},
    {"pool_in_use", METRICS_AT(pool_in_use)},
    {"pool_waiting", METRICS_AT(pool_waiting)},
    {"threads_busy", METRICS_AT(threads_busy)},
};

/* A sample has the counts of metrics_count_responses first, then the series. */
enum { VALUES = METRICS_RESPONSES + ARRAY_LEN(series) };
_Static_assert((int)VALUES <= (int)HISTORY_VALUES, "a sample has room for all");

void metrics_history_step(struct metrics_history *h, const struct metrics_slot *slots, size_t n)
{
    const struct metrics_slots s = {slots, n};
    const uint64_t taken = atomic_load(&h->taken);
    const size_t at = taken % (HISTORY_SAMPLES + 1);
    uint64_t value[VALUES] = {0};
    if (clock_mono_us() < h->due_us)
        return;
    metrics_count_responses(s, value);
    for (size_t i = 0; i < ARRAY_LEN(series); i++)
        value[METRICS_RESPONSES + i] = metrics_sum(s, series[i].offset, series[i].n);
    atomic_store(&h->sample[at].at_us, clock_wall_us());
    for (size_t i = 0; i < VALUES; i++)
        atomic_store_explicit(&h->sample[at].value[i], value[i], memory_order_relaxed);
    atomic_store(&h->taken, taken + 1);
    h->due_us = deadline_in_ms(HISTORY_PAUSE_MS).at_us;
}

void metrics_history_render(struct buf *out, const struct metrics_history *h)
{
    const uint64_t taken = atomic_load(&h->taken);
    const uint64_t first = taken > HISTORY_SAMPLES ? taken - HISTORY_SAMPLES : 0;
    buf_printf(out, "{\"series\":[\"at_ms\",\"2xx\",\"4xx\",\"5xx\"");
    for (size_t i = 0; i < METRICS_BUCKETS; i++)
        buf_printf(out, ",\"up_to_%" PRIu64 "_us\"", metrics_bounds_us[i]);
    buf_printf(out, ",\"longer\"");
    for (size_t i = 0; i < ARRAY_LEN(series); i++)
        buf_printf(out, ",\"%s\"", series[i].name);
    buf_printf(out, "],\"samples\":[");
    for (uint64_t k = first; k < taken; k++) {
        const size_t at = k % (HISTORY_SAMPLES + 1);
        buf_printf(out, "%s[%" PRId64, k > first ? "," : "",
                   atomic_load(&h->sample[at].at_us) / 1000);
        for (size_t i = 0; i < VALUES; i++)
            buf_printf(out, ",%" PRIu64,
                       atomic_load_explicit(&h->sample[at].value[i], memory_order_relaxed));
        buf_printf(out, "]");
    }
    buf_printf(out, "]}");
}

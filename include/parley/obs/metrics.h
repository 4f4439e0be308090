/* SPDX-License-Identifier: MIT */
/*
 * Metrics in memory that all workers of a host share. The supervisor maps one slot a worker before
 * it forks. A worker adds to its own slot with relaxed atomics and never waits; any process may
 * render the sum. The counts of a killed worker stay, and no lock can be left held. Text format:
 * Prometheus exposition format 0.0.4.
 */
#pragma once

#include <stdatomic.h>

#include "parley/base/buf.h"

enum { METRICS_ROUTES_MAX = 64, METRICS_STATUSES = 28, METRICS_BUCKETS = 14, METRICS_SOURCES = 3 };
enum { METRICS_SERVERS = 8 };

enum metrics_source { METRICS_MEMORY, METRICS_REDIS, METRICS_POSTGRES };

struct metrics_histogram {
    _Atomic uint64_t bucket[METRICS_BUCKETS + 1]; /* the last one is +Inf */
    _Atomic uint64_t sum_us;
};

/* Writes of several requests in one statement. */
enum { METRICS_BATCH_SIZES = 5, METRICS_APART = 4 };
struct metrics_batches {
    _Atomic uint64_t size[METRICS_BATCH_SIZES]; /* batches of 2, up to 4, 8, 16, and more */
    _Atomic uint64_t members;
    _Atomic uint64_t apart[METRICS_APART]; /* statements of their own, by enum db_apart */
};

struct metrics_slot {
    _Atomic uint64_t requests[METRICS_ROUTES_MAX][METRICS_STATUSES];
    struct metrics_histogram latency[METRICS_ROUTES_MAX];
    struct metrics_histogram queue;     /* from nginx to a handler */
    struct metrics_histogram acquire;   /* until there is a connection of the pool */
    struct metrics_histogram statement; /* a round trip to PostgreSQL */
    _Atomic uint64_t source_hits[METRICS_SOURCES], source_misses[METRICS_SOURCES];
    _Atomic uint64_t errors[ERR_COUNT];
    /* metrics.c says what each of these counts. */
    _Atomic uint64_t replays, bad_connections, queue_refused, body_refused, hangs;
    _Atomic uint64_t db_opened, db_closed, db_discarded, db_retries;
    _Atomic uint64_t read_batches, read_batched, cache_sets, cache_sets_lost;
    struct metrics_batches appends, creates;
    _Atomic uint64_t swept_sessions, swept_messages, swept_keys;
    /* Gauges: set by the worker, and to 0 by the supervisor when the worker ends. */
    union {
        struct {
            _Atomic int64_t pool_open, pool_idle, pool_in_use, pool_abandoned, pool_waiting;
            _Atomic int64_t pool_max, threads_busy;
            _Atomic int64_t body_bytes; /* that requests with large bodies have reserved */
            _Atomic int64_t pool_servers[METRICS_SERVERS]; /* by index in DATABASE_URL */
            /* Of the database, so the same in every worker with search: not to be added. */
            _Atomic int64_t search_waiting, search_oldest_s;
        };
        _Atomic int64_t gauges[10 + METRICS_SERVERS]; /* the same, for a loop */
    };
};

void metrics_add(_Atomic uint64_t *counter, uint64_t n);
void metrics_set(_Atomic int64_t *gauge, int64_t v);
void metrics_observe(struct metrics_histogram *h, int64_t us); /* negative counts as 0 */
void metrics_batch(struct metrics_batches *b, size_t members);
/* route below METRICS_ROUTES_MAX; an HTTP status not in the table counts as "other". */
void metrics_request(struct metrics_slot *s, unsigned route, int status, int64_t us);

_Static_assert(offsetof(struct metrics_slot, search_oldest_s) ==
                   offsetof(struct metrics_slot, gauges[9 + METRICS_SERVERS]),
               "gauges has all of them");

struct metrics_slots {
    const struct metrics_slot *at;
    size_t n;
};
/* The sum, over all slots, of n counters or gauges from this offset in a slot on. METRICS_AT gives
 * offset and n for a field. */
uint64_t metrics_sum(struct metrics_slots s, size_t offset, size_t n);
#define METRICS_AT(field)                 \
    offsetof(struct metrics_slot, field), \
        sizeof(((struct metrics_slot *)0)->field) / sizeof(uint64_t)
/* Adds up the responses of all routes: first by class (2xx and 3xx, 4xx, all others), then by the
 * bound of their time; the last count is of those that took longer than all bounds. */
enum { METRICS_CLASSES = 3, METRICS_RESPONSES = METRICS_CLASSES + METRICS_BUCKETS + 1 };
void metrics_count_responses(struct metrics_slots s, uint64_t *out);
extern const uint64_t metrics_bounds_us[METRICS_BUCKETS];
/* Writes the sums of all slots. route_names: one label a route; NULL entries are left out, and so
 * are requests and errors that never happened. Other counters begin at 0, so that Prometheus sees
 * the first event as an increase. */
void metrics_render(struct buf *out, struct metrics_slots s, const char *const *route_names,
                    size_t n_routes);
/* Writes a counter, if the name ends in _total, or a gauge. help: NULL after the first of a family.
 * label NULL: none; otherwise `of` is the value of the label. */
void metrics_write(struct buf *out, const char *name, const char *help, const char *label,
                   const char *of, int64_t value);

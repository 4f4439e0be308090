/* SPDX-License-Identifier: MIT */
#include "parley/obs/metrics.h"

#include <stddef.h>

/* Each slot is written by one worker and read by any: the sum of relaxed loads may be a moment
 * apart between two series, which a scrape cannot tell from having come a moment later. */

const uint64_t metrics_bounds_us[METRICS_BUCKETS] = {
    100,   250,   500,    1000,   2500,    5000,    10000,
    25000, 50000, 100000, 250000, 1000000, 2500000, 10000000,
};

/* The statuses that have a counter of their own; the last counter is for all others. */
static const short statuses[METRICS_STATUSES - 1] = {
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 406, 408, 409,
    411, 412, 413, 414, 415, 422, 428, 429, 431, 500, 501, 503, 504,
};

struct series {
    const char *name, *help;
    size_t offset; /* in struct metrics_slot */
};

static const struct series plain_counters[] = {
    {"parley_idempotent_replays_total", "Answers given again for an Idempotency-Key.",
     offsetof(struct metrics_slot, replays)},
    {"parley_bad_connections_total", "FastCGI connections closed for what came over them.",
     offsetof(struct metrics_slot, bad_connections)},
    {"parley_queue_refused_total", "Requests refused because they had waited too long.",
     offsetof(struct metrics_slot, queue_refused)},
    {"parley_db_connections_opened_total", "PostgreSQL connections opened.",
     offsetof(struct metrics_slot, db_opened)},
    {"parley_db_connections_closed_total", "PostgreSQL connections closed, for any reason.",
     offsetof(struct metrics_slot, db_closed)},
    {"parley_db_connections_discarded_total",
     "PostgreSQL connections closed because they were not clean.",
     offsetof(struct metrics_slot, db_discarded)},
    {"parley_db_retries_total", "Transactions run again after a conflict.",
     offsetof(struct metrics_slot, db_retries)},
    {"parley_read_batches_total", "Statements that answered several reads at once.",
     offsetof(struct metrics_slot, read_batches)},
    {"parley_read_batched_total", "Reads that such a statement answered.",
     offsetof(struct metrics_slot, read_batched)},
    {"parley_cache_sets_total", "Values sent to Redis and stored there.",
     offsetof(struct metrics_slot, cache_sets)},
    {"parley_cache_sets_lost_total", "Values for Redis that were dropped, or not stored there.",
     offsetof(struct metrics_slot, cache_sets_lost)},
    {"parley_swept_sessions_total", "Expired sessions deleted by the sweeper.",
     offsetof(struct metrics_slot, swept_sessions)},
    {"parley_swept_messages_total", "Messages deleted by the sweeper.",
     offsetof(struct metrics_slot, swept_messages)},
    {"parley_swept_keys_total", "Idempotency keys deleted by the sweeper.",
     offsetof(struct metrics_slot, swept_keys)},
};

static const struct series histograms[] = {
    {"parley_http_request_seconds", "Time that a handler took to make an answer.",
     offsetof(struct metrics_slot, latency)},
    {"parley_queue_seconds", "Time from nginx passing a request on to a handler taking it.",
     offsetof(struct metrics_slot, queue)},
    {"parley_pool_acquire_seconds", "Time to get a connection of the PostgreSQL pool.",
     offsetof(struct metrics_slot, acquire)},
    {"parley_statement_seconds", "Time of a round trip to PostgreSQL.",
     offsetof(struct metrics_slot, statement)},
};

/* name is the label of parley_pool_connections here. */
static const struct series pool_states[] = {
    {"open", NULL, offsetof(struct metrics_slot, pool_open)},
    {"idle", NULL, offsetof(struct metrics_slot, pool_idle)},
    {"in_use", NULL, offsetof(struct metrics_slot, pool_in_use)},
    {"max", NULL, offsetof(struct metrics_slot, pool_max)},
};

static const struct series plain_gauges[] = {
    {"parley_pool_waiting", "Requests that wait for a connection of the PostgreSQL pool.",
     offsetof(struct metrics_slot, pool_waiting)},
    {"parley_threads_busy", "Handler threads that serve a request.",
     offsetof(struct metrics_slot, threads_busy)},
};

void metrics_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void metrics_set(_Atomic int64_t *gauge, int64_t v)
{
    atomic_store_explicit(gauge, v, memory_order_relaxed);
}

void metrics_observe(struct metrics_histogram *h, int64_t us)
{
    uint64_t v = us > 0 ? (uint64_t)us : 0;
    size_t i = 0;

    while (i < METRICS_BUCKETS && v > metrics_bounds_us[i])
        i++;
    metrics_add(&h->bucket[i], 1);
    metrics_add(&h->sum_us, v);
}

void metrics_request(struct metrics_slot *s, unsigned route, int status, int64_t us)
{
    size_t i = 0;

    while (i < ARRAY_LEN(statuses) && statuses[i] != status)
        i++;
    if (route < METRICS_ROUTES_MAX)
        metrics_add(&s->requests[route][i], 1);
    metrics_observe(&s->latency, us);
}

/* All the slots of a render; passed down instead of two parameters. */
struct slots {
    const struct metrics_slot *at;
    size_t n;
};

/* Gauges too, which are int64_t: what is added up is the same. */
static uint64_t sum_counter(struct slots s, size_t offset)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s.n; i++) {
        const void *p = (const char *)&s.at[i] + offset;
        sum += atomic_load_explicit((const _Atomic uint64_t *)p, memory_order_relaxed);
    }
    return sum;
}

/* Not %f: its decimal point depends on the locale, and the bounds shall be printed exactly. */
static void put_seconds(struct buf *out, uint64_t us)
{
    char digits[6];
    size_t n = sizeof(digits);
    uint64_t part = us % 1000000;

    for (size_t i = n; i > 0; i--) {
        digits[i - 1] = (char)('0' + part % 10);
        part /= 10;
    }
    while (n > 0 && digits[n - 1] == '0')
        n--;
    buf_u64(out, us / 1000000);
    if (n > 0)
        buf_putc(out, '.');
    buf_put(out, digits, n);
}

static void put_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* One sample with one label; a counter that never counted is left out. */
static void put_labelled(struct buf *out, const char *name, const char *label, const char *value,
                         uint64_t count)
{
    if (count > 0)
        buf_printf(out, "%s{%s=\"%s\"} %llu\n", name, label, value, (unsigned long long)count);
}

static void render_requests(struct buf *out, struct slots s, const char *const *route_names,
                            size_t n_routes)
{
    static const char name[] = "parley_http_requests_total";

    put_family(out, name, "counter", "Requests answered, by route and status.");
    for (size_t r = 0; r < n_routes && r < METRICS_ROUTES_MAX; r++) {
        if (!route_names[r])
            continue;
        for (size_t i = 0; i < METRICS_STATUSES; i++) {
            size_t cell = r * METRICS_STATUSES + i;
            uint64_t count = sum_counter(s, offsetof(struct metrics_slot, requests) +
                                                cell * sizeof(_Atomic uint64_t));
            if (count == 0)
                continue;
            buf_printf(out, "%s{route=\"%s\",status=\"", name, route_names[r]);
            if (i < ARRAY_LEN(statuses))
                buf_i64(out, statuses[i]);
            else
                BUF_LIT(out, "other");
            buf_printf(out, "\"} %llu\n", (unsigned long long)count);
        }
    }
}

static void render_histogram(struct buf *out, struct slots s, const struct series *h)
{
    uint64_t below = 0;

    put_family(out, h->name, "histogram", h->help);
    for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
        below += sum_counter(s, h->offset + offsetof(struct metrics_histogram, bucket) +
                                    i * sizeof(_Atomic uint64_t));
        buf_printf(out, "%s_bucket{le=\"", h->name);
        if (i < METRICS_BUCKETS)
            put_seconds(out, metrics_bounds_us[i]);
        else
            BUF_LIT(out, "+Inf");
        buf_printf(out, "\"} %llu\n", (unsigned long long)below);
    }
    buf_printf(out, "%s_sum ", h->name);
    put_seconds(out, sum_counter(s, h->offset + offsetof(struct metrics_histogram, sum_us)));
    /* The format demands that the count equals the last bucket, so it is not counted apart. */
    buf_printf(out, "\n%s_count %llu\n", h->name, (unsigned long long)below);
}

static void render_tiers(struct buf *out, struct slots s, const char *name, const char *help,
                         size_t offset)
{
    static const char *const tiers[METRICS_TIERS] = {"memory", "redis", "postgres"};

    put_family(out, name, "counter", help);
    for (size_t i = 0; i < METRICS_TIERS; i++)
        put_labelled(out, name, "tier", tiers[i],
                     sum_counter(s, offset + i * sizeof(_Atomic uint64_t)));
}

static void render_errors(struct buf *out, struct slots s)
{
    static const char name[] = "parley_errors_total";

    put_family(out, name, "counter", "Requests that failed, by kind.");
    for (size_t i = 0; i < ERR_COUNT; i++)
        put_labelled(
            out, name, "kind", err_name((enum err)i),
            sum_counter(s, offsetof(struct metrics_slot, errors) + i * sizeof(_Atomic uint64_t)));
}

static void render_counters(struct buf *out, struct slots s)
{
    for (size_t i = 0; i < ARRAY_LEN(plain_counters); i++) {
        const struct series *c = &plain_counters[i];
        uint64_t count = sum_counter(s, c->offset);
        put_family(out, c->name, "counter", c->help);
        if (count > 0)
            buf_printf(out, "%s %llu\n", c->name, (unsigned long long)count);
    }
}

static void render_gauges(struct buf *out, struct slots s)
{
    put_family(out, "parley_pool_connections", "gauge", "Connections of the PostgreSQL pools.");
    for (size_t i = 0; i < ARRAY_LEN(pool_states); i++)
        buf_printf(out, "parley_pool_connections{state=\"%s\"} %lld\n", pool_states[i].name,
                   (long long)(int64_t)sum_counter(s, pool_states[i].offset));
    for (size_t i = 0; i < ARRAY_LEN(plain_gauges); i++) {
        const struct series *g = &plain_gauges[i];
        put_family(out, g->name, "gauge", g->help);
        buf_printf(out, "%s %lld\n", g->name, (long long)(int64_t)sum_counter(s, g->offset));
    }
}

void metrics_render(struct buf *out, const struct metrics_slot *slots, size_t n_slots,
                    const char *const *route_names, size_t n_routes)
{
    struct slots s = {slots, n_slots};

    render_requests(out, s, route_names, n_routes);
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++)
        render_histogram(out, s, &histograms[i]);
    render_tiers(out, s, "parley_tier_hits_total", "Reads a tier answered.",
                 offsetof(struct metrics_slot, tier_hits));
    render_tiers(out, s, "parley_tier_misses_total", "Reads a tier could not answer.",
                 offsetof(struct metrics_slot, tier_misses));
    render_errors(out, s);
    render_counters(out, s);
    render_gauges(out, s);
}

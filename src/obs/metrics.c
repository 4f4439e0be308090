/* SPDX-License-Identifier: MIT */
#include "parley/obs/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* One worker writes a slot and any process reads it. Relaxed loads suffice: sums of two series that
 * are a moment apart look like a scrape that came a moment later. */

const uint64_t metrics_bounds_us[METRICS_BUCKETS] = {
    100,   250,   500,    1000,   2500,    5000,    10000,
    25000, 50000, 100000, 250000, 1000000, 2500000, 10000000,
};

/* Statuses with a counter of their own; the last counter is for all others. */
static const short statuses[METRICS_STATUSES - 1] = {
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 406, 408, 409,
    411, 412, 413, 414, 415, 422, 428, 429, 431, 500, 501, 503, 504,
};

struct series {
    const char *name;
    const char *help;  /* NULL: as the row above */
    const char *label; /* with its braces; "": none */
    size_t offset;     /* in struct metrics_slot */
    bool gauge;
};

#define COUNTER(name, help, label, field)                              \
    {                                                                  \
        name, help, label, offsetof(struct metrics_slot, field), false \
    }
#define GAUGE(name, help, label, field)                               \
    {                                                                 \
        name, help, label, offsetof(struct metrics_slot, field), true \
    }

static const struct series sums[] = {
    COUNTER("parley_source_hits_total", "Reads answered from a source.", "{source=\"memory\"}",
            source_hits[METRICS_MEMORY]),
    COUNTER("parley_source_hits_total", NULL, "{source=\"redis\"}", source_hits[METRICS_REDIS]),
    COUNTER("parley_source_hits_total", NULL, "{source=\"postgres\"}",
            source_hits[METRICS_POSTGRES]),
    COUNTER("parley_source_misses_total", "Reads that a source could not answer.",
            "{source=\"memory\"}", source_misses[METRICS_MEMORY]),
    COUNTER("parley_source_misses_total", NULL, "{source=\"redis\"}", source_misses[METRICS_REDIS]),
    COUNTER("parley_source_misses_total", NULL, "{source=\"postgres\"}",
            source_misses[METRICS_POSTGRES]),
    COUNTER("parley_idempotent_replays_total", "Answers repeated for an Idempotency-Key.", "",
            replays),
    COUNTER("parley_bad_connections_total",
            "FastCGI connections closed because of a malformed request.", "", bad_connections),
    COUNTER("parley_queue_refused_total", "Requests refused because they had waited too long.", "",
            queue_refused),
    COUNTER("parley_db_connections_opened_total", "PostgreSQL connections opened.", "", db_opened),
    COUNTER("parley_db_connections_closed_total", "PostgreSQL connections closed, for any reason.",
            "", db_closed),
    COUNTER("parley_db_connections_discarded_total",
            "PostgreSQL connections closed because they were not clean.", "", db_discarded),
    COUNTER("parley_db_retries_total", "Transactions run again after a conflict.", "", db_retries),
    COUNTER("parley_read_batches_total", "Statements that answered several reads at once.", "",
            read_batches),
    COUNTER("parley_read_batched_total", "Reads that such a statement answered.", "", read_batched),
    COUNTER("parley_cache_sets_total", "Values sent to Redis and stored there.", "", cache_sets),
    COUNTER("parley_cache_sets_lost_total",
            "Values for Redis that were dropped, or not stored there.", "", cache_sets_lost),
    COUNTER("parley_swept_sessions_total", "Expired sessions deleted by the sweeper.", "",
            swept_sessions),
    COUNTER("parley_swept_messages_total", "Messages deleted by the sweeper.", "", swept_messages),
    COUNTER("parley_swept_keys_total", "Idempotency keys deleted by the sweeper.", "", swept_keys),
    GAUGE("parley_pool_connections", "Connections of the PostgreSQL pools.", "{state=\"open\"}",
          pool_open),
    GAUGE("parley_pool_connections", NULL, "{state=\"idle\"}", pool_idle),
    GAUGE("parley_pool_connections", NULL, "{state=\"in_use\"}", pool_in_use),
    GAUGE("parley_pool_connections", NULL, "{state=\"max\"}", pool_max),
    GAUGE("parley_pool_waiting", "Requests that wait for a connection of the PostgreSQL pool.", "",
          pool_waiting),
    GAUGE("parley_threads_busy", "Handler threads that serve a request.", "", threads_busy),
};

static const struct series histograms[] = {
    COUNTER("parley_http_request_seconds", "Time that a handler took to answer.", "", latency),
    COUNTER("parley_queue_seconds", "Time from nginx to a handler.", "", queue),
    COUNTER("parley_pool_acquire_seconds", "Time to get a connection of the PostgreSQL pool.", "",
            acquire),
    COUNTER("parley_statement_seconds", "Time of a round trip to PostgreSQL.", "", statement),
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

void metrics_batch(struct metrics_batches *b, size_t members)
{
    metrics_add(&b->size[members <= 2 ? 0 : members <= 4 ? 1 : members <= 8 ? 2 : 3], 1);
    metrics_add(&b->members, members);
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

struct slots {
    const struct metrics_slot *at;
    size_t n;
};

/* The sum over all slots of the i-th counter from offset on. Gauges add up the same way. */
static uint64_t sum(struct slots s, size_t offset, size_t i)
{
    uint64_t total = 0;
    offset += i * sizeof(_Atomic uint64_t);
    for (size_t k = 0; k < s.n; k++) {
        const void *p = (const char *)&s.at[k] + offset;
        total += atomic_load_explicit((const _Atomic uint64_t *)p, memory_order_relaxed);
    }
    return total;
}

/* Not %f: its decimal point depends on the locale, and it does not print the bounds exactly. */
static void write_seconds(struct buf *out, uint64_t us)
{
    char part[16];
    int n = snprintf(part, sizeof(part), ".%06u", (unsigned)(us % 1000000));
    while (part[n - 1] == '0')
        n--;
    buf_u64(out, us / 1000000);
    if (n > 1)
        buf_put(out, part, (size_t)n);
}

static void write_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_requests(struct buf *out, struct slots s, const char *const *route_names,
                            size_t n_routes)
{
    static const char name[] = "parley_http_requests_total";
    write_family(out, name, "counter", "Requests answered, by route and status.");
    for (size_t r = 0; r < n_routes && r < METRICS_ROUTES_MAX; r++) {
        for (size_t i = 0; route_names[r] && i < METRICS_STATUSES; i++) {
            char status[8] = "other";
            const unsigned long long count =
                sum(s, offsetof(struct metrics_slot, requests), r * METRICS_STATUSES + i);
            if (i < ARRAY_LEN(statuses))
                snprintf(status, sizeof(status), "%d", statuses[i]);
            if (count > 0)
                buf_printf(out, "%s{route=\"%s\",status=\"%s\"} %llu\n", name, route_names[r],
                           status, count);
        }
    }
}

static void render_histogram(struct buf *out, struct slots s, const struct series *h)
{
    uint64_t below = 0;
    write_family(out, h->name, "histogram", h->help);
    for (size_t i = 0; i <= METRICS_BUCKETS; i++) {
        below += sum(s, h->offset + offsetof(struct metrics_histogram, bucket), i);
        buf_printf(out, "%s_bucket{le=\"", h->name);
        if (i < METRICS_BUCKETS)
            write_seconds(out, metrics_bounds_us[i]);
        else
            BUF_LIT(out, "+Inf");
        buf_printf(out, "\"} %llu\n", (unsigned long long)below);
    }
    buf_printf(out, "%s_sum ", h->name);
    write_seconds(out, sum(s, h->offset + offsetof(struct metrics_histogram, sum_us), 0));
    /* The format demands that the count equals the last bucket: it has no counter of its own. */
    buf_printf(out, "\n%s_count %llu\n", h->name, (unsigned long long)below);
}

/* Of writes, by kind: the sizes of batches, and why others had a statement of their own. */
static const struct {
    const char *name;
    size_t offset;
} kinds[] = {{"append", offsetof(struct metrics_slot, appends)},
             {"create", offsetof(struct metrics_slot, creates)}};

static void render_batches(struct buf *out, struct slots s)
{
    static const char *const bounds[METRICS_BATCH_SIZES] = {"2", "4", "8", "+Inf"};
    static const char name[] = "parley_write_batch_size";
    write_family(out, name, "histogram", "Writes that shared a statement and a commit.");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        unsigned long long below = 0;
        for (size_t i = 0; i < METRICS_BATCH_SIZES; i++) {
            below += sum(s, kinds[k].offset + offsetof(struct metrics_batches, size), i);
            buf_printf(out, "%s_bucket{kind=\"%s\",le=\"%s\"} %llu\n", name, kinds[k].name,
                       bounds[i], below);
        }
        const unsigned long long members =
            sum(s, kinds[k].offset + offsetof(struct metrics_batches, members), 0);
        buf_printf(out, "%s_sum{kind=\"%s\"} %llu\n%s_count{kind=\"%s\"} %llu\n", name,
                   kinds[k].name, members, name, kinds[k].name, below);
    }
}

static void render_apart(struct buf *out, struct slots s)
{
    static const char *const reasons[METRICS_APART] = {"skipped", "failed", "contended", "unfit"};
    static const char name[] = "parley_writes_apart_total";
    write_family(out, name, "counter", "Writes that no batch took, by the reason.");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (size_t i = 0; i < METRICS_APART; i++) {
            const size_t at = kinds[k].offset + offsetof(struct metrics_batches, apart);
            const unsigned long long count = sum(s, at, i);
            if (count > 0)
                buf_printf(out, "%s{kind=\"%s\",reason=\"%s\"} %llu\n", name, kinds[k].name,
                           reasons[i], count);
        }
    }
}

static void render_errors(struct buf *out, struct slots s)
{
    static const char name[] = "parley_errors_total";
    write_family(out, name, "counter", "Requests that failed, by kind.");
    for (size_t i = 0; i < ERR_COUNT; i++) {
        const unsigned long long count = sum(s, offsetof(struct metrics_slot, errors), i);
        if (count > 0)
            buf_printf(out, "%s{kind=\"%s\"} %llu\n", name, err_name((enum err)i), count);
    }
}

/* A counter that is 0 is left out. */
static void render_sum(struct buf *out, struct slots s, const struct series *r)
{
    const int64_t n = (int64_t)sum(s, r->offset, 0);
    if (r->help)
        write_family(out, r->name, r->gauge ? "gauge" : "counter", r->help);
    if (r->gauge || n != 0)
        buf_printf(out, "%s%s %lld\n", r->name, r->label, (long long)n);
}

void metrics_render(struct buf *out, const struct metrics_slot *slots, size_t n_slots,
                    const char *const *route_names, size_t n_routes)
{
    struct slots s = {slots, n_slots};
    render_requests(out, s, route_names, n_routes);
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++)
        render_histogram(out, s, &histograms[i]);
    render_errors(out, s);
    render_batches(out, s);
    render_apart(out, s);
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        render_sum(out, s, &sums[i]);
}

/* SPDX-License-Identifier: MIT */
#include "parley/obs/metrics.h"

#include <stdio.h>
#include <string.h>

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
    const char *name, *help; /* as in metrics_write */
    size_t offset;           /* in struct metrics_slot */
    const char *label, *of;
};

#define AT(field) .offset = offsetof(struct metrics_slot, field)

static const struct series sums[] = {
    {"parley_source_hits_total", "Reads answered from a source.", AT(source_hits[METRICS_MEMORY]),
     "source", "memory"},
    {"parley_source_hits_total", NULL, AT(source_hits[METRICS_REDIS]), "source", "redis"},
    {"parley_source_hits_total", NULL, AT(source_hits[METRICS_POSTGRES]), "source", "postgres"},
    {"parley_source_misses_total", "Reads that a source could not answer.",
     AT(source_misses[METRICS_MEMORY]), "source", "memory"},
    {"parley_source_misses_total", NULL, AT(source_misses[METRICS_REDIS]), "source", "redis"},
    {"parley_source_misses_total", NULL, AT(source_misses[METRICS_POSTGRES]), "source", "postgres"},
    {"parley_idempotent_replays_total", "Answers repeated for an Idempotency-Key.", AT(replays)},
    {"parley_bad_connections_total", "FastCGI connections closed because of a malformed request.",
     AT(bad_connections)},
    {"parley_queue_refused_total", "Requests refused because they had waited too long.",
     AT(queue_refused)},
    {"parley_body_refused_total", "Requests refused because other bodies had the memory.",
     AT(body_refused)},
    {"parley_request_hangs_total", "Handlers that did not return.", AT(hangs)},
    {"parley_db_connections_opened_total", "PostgreSQL connections opened.", AT(db_opened)},
    {"parley_db_connections_closed_total", "PostgreSQL connections closed, for any reason.",
     AT(db_closed)},
    {"parley_db_connections_discarded_total",
     "PostgreSQL connections closed because they were not clean.", AT(db_discarded)},
    {"parley_db_retries_total", "Transactions run again after a conflict.", AT(db_retries)},
    {"parley_read_batches_total", "Statements that answered several reads at once.",
     AT(read_batches)},
    {"parley_read_batched_total", "Reads that such a statement answered.", AT(read_batched)},
    {"parley_cache_sets_total", "Values sent to Redis and stored there.", AT(cache_sets)},
    {"parley_cache_sets_lost_total", "Values for Redis that were dropped, or not stored there.",
     AT(cache_sets_lost)},
    {"parley_swept_sessions_total", "Expired sessions deleted by the sweeper.", AT(swept_sessions)},
    {"parley_swept_messages_total", "Messages deleted by the sweeper.", AT(swept_messages)},
    {"parley_swept_keys_total", "Idempotency keys deleted by the sweeper.", AT(swept_keys)},
    {"parley_pool_connections", "Connections of the PostgreSQL pools.", AT(pool_open), "state",
     "open"},
    {"parley_pool_connections", NULL, AT(pool_idle), "state", "idle"},
    {"parley_pool_connections", NULL, AT(pool_in_use), "state", "in_use"},
    {"parley_pool_connections", NULL, AT(pool_abandoned), "state", "abandoned"},
    {"parley_pool_connections", NULL, AT(pool_max), "state", "max"},
    {"parley_pool_waiting", "Requests that wait for a connection of the PostgreSQL pool.",
     AT(pool_waiting)},
    {"parley_threads_busy", "Handler threads that serve a request.", AT(threads_busy)},
    {"parley_body_bytes", "Memory that requests with large bodies have.", AT(body_bytes)},
};

static const struct series histograms[] = {
    {"parley_queue_seconds", "Time from nginx to a handler.", AT(queue)},
    {"parley_pool_acquire_seconds", "Time to get a connection of the PostgreSQL pool.",
     AT(acquire)},
    {"parley_statement_seconds", "Time of a round trip to PostgreSQL.", AT(statement)},
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
    size_t i = 0;
    for (size_t most = 2; i < METRICS_BATCH_SIZES - 1 && members > most; most *= 2)
        i++;
    metrics_add(&b->size[i], 1);
    metrics_add(&b->members, members);
}

void metrics_request(struct metrics_slot *s, unsigned route, int status, int64_t us)
{
    size_t i = 0;
    while (i < ARRAY_LEN(statuses) && statuses[i] != status)
        i++;
    if (route >= METRICS_ROUTES_MAX)
        return;
    metrics_add(&s->requests[route][i], 1);
    metrics_observe(&s->latency[route], us);
}

uint64_t metrics_sum(struct metrics_slots s, size_t offset, size_t n)
{
    uint64_t total = 0;
    for (size_t k = 0; k < s.n; k++) {
        const void *first = (const char *)&s.at[k] + offset;
        for (size_t i = 0; i < n; i++)
            total +=
                atomic_load_explicit((const _Atomic uint64_t *)first + i, memory_order_relaxed);
    }
    return total;
}

/* Of the i-th counter from offset on. */
static uint64_t sum(struct metrics_slots s, size_t offset, size_t i)
{
    return metrics_sum(s, offset + i * sizeof(_Atomic uint64_t), 1);
}

void metrics_count_responses(struct metrics_slots s, uint64_t *out)
{
    for (size_t r = 0; r < METRICS_ROUTES_MAX; r++) {
        for (size_t i = 0; i < METRICS_STATUSES; i++) {
            const short status = i < ARRAY_LEN(statuses) ? statuses[i] : 500;
            out[status < 400   ? 0
                : status < 500 ? 1
                               : 2] += sum(s, offsetof(struct metrics_slot, requests[r]), i);
        }
        for (size_t i = 0; i <= METRICS_BUCKETS; i++)
            out[METRICS_CLASSES + i] += sum(s, offsetof(struct metrics_slot, latency[r].bucket), i);
    }
}

static void write_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void render_requests(struct buf *out, struct metrics_slots s, const char *const *route_names,
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

/* label NULL: none; otherwise `of` is the value of the label. */
static void render_histogram(struct buf *out, struct metrics_slots s, const char *name,
                             size_t offset, const char *label, const char *of)
{
    const size_t buckets = offset + offsetof(struct metrics_histogram, bucket);
    unsigned long long below = 0;
    char first[96] = "", alone[96] = "";
    if (label) {
        snprintf(first, sizeof(first), "%s=\"%s\",", label, of);
        snprintf(alone, sizeof(alone), "{%s=\"%s\"}", label, of);
    }
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        below += sum(s, buckets, i);
        /* In seconds. No locale is set: the point is a point. */
        buf_printf(out, "%s_bucket{%sle=\"%g\"} %llu\n", name, first,
                   (double)metrics_bounds_us[i] / 1e6, below);
    }
    below += sum(s, buckets, METRICS_BUCKETS);
    buf_printf(out, "%s_bucket{%sle=\"+Inf\"} %llu\n%s_sum%s %.6f\n", name, first, below, name,
               alone, (double)sum(s, offset + offsetof(struct metrics_histogram, sum_us), 0) / 1e6);
    /* The format demands that the count equals the last bucket: it has no counter of its own. */
    buf_printf(out, "%s_count%s %llu\n", name, alone, below);
}

/* Of each route that had a request. */
static void render_latency(struct buf *out, struct metrics_slots s, const char *const *route_names,
                           size_t n_routes)
{
    static const char name[] = "parley_http_request_seconds";
    write_family(out, name, "histogram", "Time that a handler took to answer, by route.");
    for (size_t r = 0; r < n_routes && r < METRICS_ROUTES_MAX; r++)
        if (route_names[r] && metrics_sum(s, METRICS_AT(requests[r])) > 0)
            render_histogram(out, s, name, offsetof(struct metrics_slot, latency[r]), "route",
                             route_names[r]);
}

/* Of writes, by kind: the sizes of batches, and why others had a statement of their own. */
static const struct {
    const char *name;
    size_t offset;
} kinds[] = {{"append", offsetof(struct metrics_slot, appends)},
             {"create", offsetof(struct metrics_slot, creates)}};

static void render_batches(struct buf *out, struct metrics_slots s)
{
    static const char *const bounds[METRICS_BATCH_SIZES] = {"2", "4", "8", "16", "+Inf"};
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

static void render_apart(struct buf *out, struct metrics_slots s)
{
    static const char *const reasons[METRICS_APART] = {"skipped", "failed", "contended", "unfit"};
    static const char name[] = "parley_writes_apart_total";
    write_family(out, name, "counter", "Writes that no batch took, by the reason.");
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        for (size_t i = 0; i < METRICS_APART; i++) {
            const size_t at = kinds[k].offset + offsetof(struct metrics_batches, apart);
            buf_printf(out, "%s{kind=\"%s\",reason=\"%s\"} %llu\n", name, kinds[k].name, reasons[i],
                       (unsigned long long)sum(s, at, i));
        }
    }
}

static void render_errors(struct buf *out, struct metrics_slots s)
{
    static const char name[] = "parley_errors_total";
    write_family(out, name, "counter", "Requests that failed, by kind.");
    for (size_t i = 0; i < ERR_COUNT; i++) {
        const unsigned long long count = sum(s, offsetof(struct metrics_slot, errors), i);
        if (count > 0)
            buf_printf(out, "%s{kind=\"%s\"} %llu\n", name, err_name((enum err)i), count);
    }
}

void metrics_write(struct buf *out, const char *name, const char *help, const char *label,
                   const char *of, int64_t value)
{
    const size_t n = strlen(name), suffix = strlen("_total");
    const bool counter = n > suffix && strcmp(name + n - suffix, "_total") == 0;
    if (help)
        write_family(out, name, counter ? "counter" : "gauge", help);
    buf_printf(out, label ? "%s{%s=\"" : "%s", name, label);
    for (const char *p = label ? of : ""; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *p == '\n' ? ' ' : *p);
    }
    buf_printf(out, label ? "\"} %lld\n" : " %lld\n", (long long)value);
}

void metrics_render(struct buf *out, struct metrics_slots s, const char *const *route_names,
                    size_t n_routes)
{
    render_requests(out, s, route_names, n_routes);
    render_latency(out, s, route_names, n_routes);
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
        write_family(out, histograms[i].name, "histogram", histograms[i].help);
        render_histogram(out, s, histograms[i].name, histograms[i].offset, NULL, NULL);
    }
    render_errors(out, s);
    render_batches(out, s);
    render_apart(out, s);
    for (size_t i = 0; i < ARRAY_LEN(sums); i++)
        metrics_write(out, sums[i].name, sums[i].help, sums[i].label, sums[i].of,
                      (int64_t)sum(s, sums[i].offset, 0));
}

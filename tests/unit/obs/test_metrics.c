/* SPDX-License-Identifier: MIT */
#include "parley/obs/metrics.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static const char *const routes[] = {"session_get", NULL, "message_append"};

/* The text of two slots, as of two workers, as a C string. */
static const char *render(const struct metrics_slot s[2])
{
    struct buf b;
    buf_init(&b, test_ctx()->arena, 100);
    metrics_render(&b, (struct metrics_slots){s, 2}, routes, ARRAY_LEN(routes));
    buf_putc(&b, '\0');
    CU_ASSERT_FALSE(b.failed);
    return b.p;
}

static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
        if ((at == text || at[-1] == '\n') && at[n] == '\n')
            return true;
    printf("\n    no line: %s", line);
    return false;
}

/* Fails if only one slot is summed, or if two routes or statuses share a counter: tried. */
TEST(requests_are_summed_by_route_and_status)
{
    struct metrics_slot s[2] = {{.replays = 0}};
    for (int i = 0; i < 3; i++)
        metrics_request(&s[0], 0, 200, 100);
    metrics_request(&s[1], 0, 200, 100);
    metrics_request(&s[1], 0, 404, 100);
    metrics_request(&s[1], 2, 201, 100);
    metrics_request(&s[0], 2, 299, 100);
    metrics_request(&s[0], 2, 511, 100);
    metrics_request(&s[0], 1, 200, 100);                  /* a route without a name */
    metrics_request(&s[0], METRICS_ROUTES_MAX, 200, 100); /* no such route */
    const char *t = render(s);
    static const char *const lines[] = {
        "parley_http_requests_total{route=\"session_get\",status=\"200\"} 4",
        "parley_http_requests_total{route=\"session_get\",status=\"404\"} 1",
        "parley_http_requests_total{route=\"message_append\",status=\"201\"} 1",
        "parley_http_requests_total{route=\"message_append\",status=\"other\"} 2"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        CU_ASSERT_TRUE(has_line(t, lines[i]));
    CU_ASSERT_PTR_NULL(strstr(t, "status=\"500\""));
    CU_ASSERT_TRUE(has_line(t, "parley_http_request_seconds_count{route=\"session_get\"} 5"));
    CU_ASSERT_TRUE(has_line(t, "parley_http_request_seconds_count{route=\"message_append\"} 3"));
    CU_ASSERT_TRUE(has_line(
        t, "parley_http_request_seconds_bucket{route=\"message_append\",le=\"0.0001\"} 3"));
}

/* Every status of the table has its own line. */
TEST(statuses_of_the_table)
{
    static const char known[] =
        "200 201 202 204 206 304 400 401 403 404 405 406 408 409 411 412 413 "
        "414 415 422 428 429 431 500 501 503 504";
    struct metrics_slot s[2] = {{.replays = 0}};
    for (int status = 100; status < 600; status++)
        for (int n = 0; n < status; n++)
            metrics_request(&s[0], 0, status, 1);
    const char *t = render(s);
    size_t n = 0;
    for (struct sv rest = sv_from(known); rest.p; n++) {
        char line[120];
        const struct sv status = sv_cut(&rest, ' ');
        snprintf(line, sizeof(line),
                 "parley_http_requests_total{route=\"session_get\",status=\"%.*s\"} %.*s",
                 SV_ARG(status), SV_ARG(status));
        CU_ASSERT_TRUE(has_line(t, line));
    }
    CU_ASSERT_EQUAL(n, METRICS_STATUSES - 1);
}

/* Fails if a bound does not belong to its bucket, or if buckets are not cumulative: tried. */
TEST(histogram_with_known_times)
{
    struct metrics_slot s[2] = {{.replays = 0}};
    struct metrics_histogram *h = &s[0].statement;
    metrics_observe(h, -5);       /* 0 */
    metrics_observe(h, 100);      /* on the first bound */
    metrics_observe(h, 101);      /* just above it */
    metrics_observe(h, 100000);   /* on 0.1 s */
    metrics_observe(h, 100001);   /* slow by a microsecond */
    metrics_observe(h, 20000000); /* beyond all bounds */
    metrics_observe(&s[1].statement, 50);
    const char *t = render(s);
    static const char *const lines[] = {"# TYPE parley_statement_seconds histogram",
                                        "parley_statement_seconds_bucket{le=\"0.0001\"} 3",
                                        "parley_statement_seconds_bucket{le=\"0.00025\"} 4",
                                        "parley_statement_seconds_bucket{le=\"0.05\"} 4",
                                        "parley_statement_seconds_bucket{le=\"0.1\"} 5",
                                        "parley_statement_seconds_bucket{le=\"0.25\"} 6",
                                        "parley_statement_seconds_bucket{le=\"1\"} 6",
                                        "parley_statement_seconds_bucket{le=\"10\"} 6",
                                        "parley_statement_seconds_bucket{le=\"+Inf\"} 7",
                                        "parley_statement_seconds_count 7",
                                        "parley_statement_seconds_sum 20.200252",
                                        "parley_pool_acquire_seconds_bucket{le=\"+Inf\"} 0"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        CU_ASSERT_TRUE(has_line(t, lines[i]));
}

#define AT(field) offsetof(struct metrics_slot, field)

/* Every counter and gauge has another number, so that each line must read its own field. */
TEST(every_counter_and_gauge)
{
    static const struct {
        size_t at;
        const char *name;
    } rows[] = {
        {AT(source_hits[METRICS_MEMORY]), "parley_source_hits_total{source=\"memory\"}"},
        {AT(source_hits[METRICS_REDIS]), "parley_source_hits_total{source=\"redis\"}"},
        {AT(source_hits[METRICS_POSTGRES]), "parley_source_hits_total{source=\"postgres\"}"},
        {AT(source_misses[METRICS_MEMORY]), "parley_source_misses_total{source=\"memory\"}"},
        {AT(source_misses[METRICS_REDIS]), "parley_source_misses_total{source=\"redis\"}"},
        {AT(errors[ERR_TIMEOUT]), "parley_errors_total{kind=\"timeout\"}"},
        {AT(replays), "parley_idempotent_replays_total"},
        {AT(bad_connections), "parley_bad_connections_total"},
        {AT(queue_refused), "parley_queue_refused_total"},
        {AT(body_refused), "parley_body_refused_total"},
        {AT(db_opened), "parley_db_connections_opened_total"},
        {AT(db_closed), "parley_db_connections_closed_total"},
        {AT(db_discarded), "parley_db_connections_discarded_total"},
        {AT(db_retries), "parley_db_retries_total"},
        {AT(read_batches), "parley_read_batches_total"},
        {AT(read_batched), "parley_read_batched_total"},
        {AT(appends.members), "parley_write_batch_size_sum{kind=\"append\"}"},
        {AT(creates.members), "parley_write_batch_size_sum{kind=\"create\"}"},
        {AT(appends.size[4]), "parley_write_batch_size_count{kind=\"append\"}"},
        {AT(creates.size[0]), "parley_write_batch_size_bucket{kind=\"create\",le=\"2\"}"},
        {AT(appends.apart[0]), "parley_writes_apart_total{kind=\"append\",reason=\"skipped\"}"},
        {AT(appends.apart[1]), "parley_writes_apart_total{kind=\"append\",reason=\"failed\"}"},
        {AT(creates.apart[2]), "parley_writes_apart_total{kind=\"create\",reason=\"contended\"}"},
        {AT(creates.apart[3]), "parley_writes_apart_total{kind=\"create\",reason=\"unfit\"}"},
        {AT(cache_sets), "parley_cache_sets_total"},
        {AT(cache_sets_lost), "parley_cache_sets_lost_total"},
        {AT(swept_sessions), "parley_swept_sessions_total"},
        {AT(swept_messages), "parley_swept_messages_total"},
        {AT(swept_keys), "parley_swept_keys_total"},
        {AT(pool_open), "parley_pool_connections{state=\"open\"}"},
        {AT(pool_idle), "parley_pool_connections{state=\"idle\"}"},
        {AT(pool_in_use), "parley_pool_connections{state=\"in_use\"}"},
        {AT(pool_abandoned), "parley_pool_connections{state=\"abandoned\"}"},
        {AT(pool_max), "parley_pool_connections{state=\"max\"}"},
        {AT(pool_waiting), "parley_pool_waiting"},
        {AT(threads_busy), "parley_threads_busy"},
        {AT(body_bytes), "parley_body_bytes"},
        {AT(hangs), "parley_request_hangs_total"},
    };
    struct metrics_slot s[2] = {{.replays = 0}};
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        void *at = (char *)&s[i % 2] + rows[i / 2].at;
        if (rows[i / 2].at < AT(pool_open))
            metrics_add(at, 11 + i / 2);
        else
            metrics_set(at, 11 + (int64_t)i / 2);
    }
    const char *t = render(s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char line[80];
        snprintf(line, sizeof(line), "%s %zu", rows[i].name, 2 * (11 + i));
        CU_ASSERT_TRUE(has_line(t, line));
    }
    /* Never counted: there from the beginning, so that the first one is an increase. */
    CU_ASSERT_TRUE(has_line(t, "parley_source_misses_total{source=\"postgres\"} 0"));
    CU_ASSERT_PTR_NULL(strstr(t, "parley_errors_total{kind=\"busy\"}"));
    metrics_set(&s[0].threads_busy, 0);
    CU_ASSERT_TRUE(has_line(render(s), "parley_threads_busy 46"));
}

/* Each family is announced once, by HELP and then TYPE; its samples follow, and end in a number. */
TEST(text_is_well_formed)
{
    struct metrics_slot s[2] = {{.replays = 0}};
    metrics_request(&s[0], 0, 200, 1000);
    metrics_add(&s[0].errors[ERR_BUSY], 1);
    metrics_add(&s[0].replays, 1);
    const char *text = render(s);
    char family[80] = "";
    int families = 0, samples = 0;

    CU_ASSERT_EQUAL(text[strlen(text) - 1], '\n');
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        char name[80], help[80], *end = NULL;
        if (sscanf(line, "# HELP %79s", name) == 1) {
            snprintf(help, sizeof(help), "# HELP %.70s ", name);
            CU_ASSERT_PTR_NULL(strstr(line + 1, help)); /* not a second time */
            snprintf(family, sizeof(family), "%s", name);
            families++;
        } else if (sscanf(line, "# TYPE %79s", name) == 1) {
            CU_ASSERT_STRING_EQUAL(name, family);
        } else {
            CU_ASSERT_EQUAL(strncmp(line, family, strlen(family)), 0);
            const char *value = strchr(line, '\n');
            while (value > line && value[-1] != ' ')
                value--;
            (void)strtod(value, &end);
            CU_ASSERT_TRUE(end > value && *end == '\n');
            samples++;
        }
    }
    CU_ASSERT_EQUAL(families, 30);
    CU_ASSERT_EQUAL(samples, 1 + 4 * 17 + 1 + 2 * (5 + 2) + 2 * 4 + 30);
}

TEST(batches_by_size)
{
    static const size_t members[] = {2, 3, 4, 5, 8, 9, 16, 17, 32};
    static const uint64_t want[METRICS_BATCH_SIZES] = {1, 2, 2, 2, 2};
    struct metrics_batches b = {.members = 0};
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        metrics_batch(&b, members[i]);
    for (size_t i = 0; i < METRICS_BATCH_SIZES; i++)
        CU_ASSERT_EQUAL(b.size[i], want[i]);
    CU_ASSERT_EQUAL(b.members, 96);
}

TEST(bounds_ascend)
{
    static const char bucket[] = "\nparley_statement_seconds_bucket{le=\"";
    struct metrics_slot s[2] = {{.replays = 0}};
    size_t n = 0;
    double last = 0;
    bool tenth = false;
    for (const char *at = render(s); (at = strstr(at, bucket)); n++) {
        at += sizeof(bucket) - 1;
        const double bound = strtod(at, NULL); /* +Inf is one, too */
        CU_ASSERT_TRUE(bound > last);
        tenth = tenth || bound == 0.1;
        last = bound;
    }
    CU_ASSERT_TRUE(tenth && n == METRICS_BUCKETS + 1);
}

/* SPDX-License-Identifier: MIT */
#include "parley/obs/metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static const char *const routes[] = {"session_get", NULL, "message_append"};

/* The text of two slots, as of two workers, with a NUL behind it. */
static const char *render(const struct metrics_slot s[2])
{
    struct buf b;
    buf_init(&b, test_ctx()->arena, 100);
    metrics_render(&b, s, 2, routes, ARRAY_LEN(routes));
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
    metrics_request(&s[0], METRICS_ROUTES_MAX, 200, 100); /* no such route: not a crash */
    const char *t = render(s);
    CU_ASSERT_TRUE(
        has_line(t, "parley_http_requests_total{route=\"session_get\",status=\"200\"} 4"));
    CU_ASSERT_TRUE(
        has_line(t, "parley_http_requests_total{route=\"session_get\",status=\"404\"} 1"));
    CU_ASSERT_TRUE(
        has_line(t, "parley_http_requests_total{route=\"message_append\",status=\"201\"} 1"));
    CU_ASSERT_TRUE(
        has_line(t, "parley_http_requests_total{route=\"message_append\",status=\"other\"} 2"));
    CU_ASSERT_PTR_NULL(strstr(t, "status=\"500\""));
    CU_ASSERT_TRUE(has_line(t, "parley_http_request_seconds_count 10"));
}

/* Every status that has a counter comes out under its own name. */
TEST(statuses_of_the_table)
{
    static const int known[] = {200, 201, 202, 204, 206, 304, 400, 401, 403,
                                404, 405, 406, 408, 409, 411, 412, 413, 414,
                                415, 422, 428, 429, 431, 500, 501, 503, 504};
    struct metrics_slot s[2] = {{.replays = 0}};
    CU_ASSERT_EQUAL(ARRAY_LEN(known), METRICS_STATUSES - 1);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        for (size_t n = 0; n <= i; n++)
            metrics_request(&s[0], 0, known[i], 1);
    const char *t = render(s);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        char line[120];
        snprintf(line, sizeof(line),
                 "parley_http_requests_total{route=\"session_get\",status=\"%d\"} %zu", known[i],
                 i + 1);
        CU_ASSERT_TRUE(has_line(t, line));
    }
    CU_ASSERT_PTR_NULL(strstr(t, "other"));
}

/* Fails if a bound does not belong to its bucket, or if buckets are not cumulative: tried. */
TEST(histogram_with_known_times)
{
    struct metrics_slot s[2] = {{.replays = 0}};
    struct metrics_histogram *h = &s[0].statement;
    metrics_observe(h, -5);       /* 0 */
    metrics_observe(h, 100);      /* on the first bound */
    metrics_observe(h, 101);      /* just behind it */
    metrics_observe(h, 100000);   /* on 0.1 s */
    metrics_observe(h, 100001);   /* slow by a microsecond */
    metrics_observe(h, 20000000); /* beyond all bounds */
    metrics_observe(&s[1].statement, 50);
    const char *t = render(s);
    CU_ASSERT_TRUE(has_line(t, "# TYPE parley_statement_seconds histogram"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"0.0001\"} 3"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"0.00025\"} 4"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"0.05\"} 4"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"0.1\"} 5"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"0.25\"} 6"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"1\"} 6"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"10\"} 6"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_bucket{le=\"+Inf\"} 7"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_count 7"));
    CU_ASSERT_TRUE(has_line(t, "parley_statement_seconds_sum 20.200252"));
    CU_ASSERT_TRUE(has_line(t, "parley_http_request_seconds_sum 0")); /* empty ones are shown */
    CU_ASSERT_TRUE(has_line(t, "parley_pool_acquire_seconds_bucket{le=\"+Inf\"} 0"));
}

/* Every counter and gauge is set to a number of its own in both slots, so that each line shows
 * that it reads its own place. */
TEST(every_counter_and_gauge)
{
    struct metrics_slot s[2] = {{.replays = 0}};
    for (int i = 0; i < 2; i++) {
        struct metrics_slot *m = &s[i];
        metrics_add(&m->tier_hits[METRICS_MEMORY], 11);
        metrics_add(&m->tier_hits[METRICS_REDIS], 12);
        metrics_add(&m->tier_hits[METRICS_POSTGRES], 13);
        metrics_add(&m->tier_misses[METRICS_MEMORY], 14);
        metrics_add(&m->tier_misses[METRICS_REDIS], 15);
        metrics_add(&m->errors[ERR_TIMEOUT], 16);
        metrics_add(&m->replays, 17);
        metrics_add(&m->bad_connections, 18);
        metrics_add(&m->queue_refused, 29);
        metrics_add(&m->db_opened, 19);
        metrics_add(&m->db_closed, 20);
        metrics_add(&m->db_discarded, 21);
        metrics_add(&m->db_retries, 22);
        metrics_add(&m->read_batches, 23);
        metrics_add(&m->read_batched, 30);
        metrics_add(&m->cache_sets, 24);
        metrics_add(&m->cache_sets_lost, 25);
        metrics_add(&m->swept_sessions, 26);
        metrics_add(&m->swept_messages, 27);
        metrics_add(&m->swept_keys, 28);
        metrics_set(&m->pool_open, 31);
        metrics_set(&m->pool_idle, 32);
        metrics_set(&m->pool_in_use, 33);
        metrics_set(&m->pool_max, 34);
        metrics_set(&m->pool_waiting, 35);
        metrics_set(&m->threads_busy, 36);
    }
    static const char *const lines[] = {
        "parley_tier_hits_total{tier=\"memory\"} 22",
        "parley_tier_hits_total{tier=\"redis\"} 24",
        "parley_tier_hits_total{tier=\"postgres\"} 26",
        "parley_tier_misses_total{tier=\"memory\"} 28",
        "parley_tier_misses_total{tier=\"redis\"} 30",
        "parley_errors_total{kind=\"timeout\"} 32",
        "parley_idempotent_replays_total 34",
        "parley_bad_connections_total 36",
        "parley_queue_refused_total 58",
        "parley_db_connections_opened_total 38",
        "parley_db_connections_closed_total 40",
        "parley_db_connections_discarded_total 42",
        "parley_db_retries_total 44",
        "parley_read_batches_total 46",
        "parley_read_batched_total 60",
        "parley_cache_sets_total 48",
        "parley_cache_sets_lost_total 50",
        "parley_swept_sessions_total 52",
        "parley_swept_messages_total 54",
        "parley_swept_keys_total 56",
        "parley_pool_connections{state=\"open\"} 62",
        "parley_pool_connections{state=\"idle\"} 64",
        "parley_pool_connections{state=\"in_use\"} 66",
        "parley_pool_connections{state=\"max\"} 68",
        "parley_pool_waiting 70",
        "parley_threads_busy 72",
    };
    const char *t = render(s);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        CU_ASSERT_TRUE(has_line(t, lines[i]));
    CU_ASSERT_PTR_NULL(strstr(t, "tier_misses_total{tier=\"postgres\"}")); /* never counted */
    metrics_set(&s[0].threads_busy, 0);
    CU_ASSERT_TRUE(has_line(render(s), "parley_threads_busy 36"));
}

/* As a scraper reads it: each sample belongs to the family announced last, each family is announced
 * once, by HELP and then TYPE, and each sample ends in a number. */
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
    CU_ASSERT_EQUAL(families, 25);
    CU_ASSERT_EQUAL(samples, 1 + 4 * 17 + 1 + 1 + 6);
}

TEST(bounds_ascend)
{
    bool tenth = false;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        CU_ASSERT_TRUE(i == 0 || metrics_bounds_us[i] > metrics_bounds_us[i - 1]);
        tenth = tenth || metrics_bounds_us[i] == 100000;
    }
    CU_ASSERT_TRUE(tenth);
}

/* SPDX-License-Identifier: MIT */
/* /readyz and /status while no server is up. */
#include "parley/api/api.h"

#include <stdio.h>
#include <string.h>

#include "../http/rig.h"
#include "parley/json/doc.h"

struct bench {
    struct api_service api;
    struct metrics_slot slots[2];
    struct api_host host;
};

static void settings(const void *from, api_setting_fn each, void *arg)
{
    each(arg, "PARLEY_THREADS", NULL, *(const int64_t *)from);
    each(arg, "PARLEY_LISTEN", "/a \"b\\\",{[:]}", 0);
}

static void begin(struct bench *b)
{
    static const int64_t threads = 24;
    static const struct db_settings nowhere = {.url = "host=/nonexistent dbname=none",
                                               .app_name = "test",
                                               .pool_max = 1,
                                               .acquire_ms = 10,
                                               .connect_ms = 10,
                                               .workers = 1};
    memset(b, 0, sizeof(*b));
    b->host.n_slots = 2;
    b->host.started_at = clock_wall_us() - 5000000;
    const struct cache_settings nothing = {.redis_url = ""};
    b->api = (struct api_service){.db = db_open(&nowhere, NULL),
                                  .cache = cache_open(&nothing, NULL),
                                  .request_ms = 1000,
                                  .slots = b->slots,
                                  .host = &b->host,
                                  .version = "1.2.3",
                                  .each_setting = settings,
                                  .settings = &threads};
    CU_ASSERT_TRUE_FATAL(b->api.db && b->api.cache);
}

/* The body of an answer, which is whole JSON; until the next one. */
static const char *get_body(struct bench *b, const char *path, int status)
{
    struct http_rig *r = http_rig("GET", path);
    struct json_doc doc;
    r->req.remote_addr = SV("127.0.0.1");
    ops_dispatch(&b->api, r->ctx->arena, &r->req, &r->res);
    CU_ASSERT_EQUAL(r->res.status, status);
    CU_ASSERT_EQUAL(json_doc_parse(r->ctx, buf_get(&r->res.body), json_everything, &doc), ERR_NONE);
    return http_rig_body(r);
}

static bool has(const char *text, const char *part)
{
    bool found = strstr(text, part) != NULL;
    if (!found)
        printf("\n    no %s in %s", part, text);
    return found;
}

/* Fails if crash loops are not reported: tried. */
TEST(readyz_reports_crash_loops)
{
    struct bench b;
    begin(&b);
    const char *t = get_body(&b, "/readyz", 503);
    CU_ASSERT_TRUE(has(t, "\"workers\":{\"status\":\"up\"}"));
    CU_ASSERT_TRUE(has(t, "\"status\":\"down\",\"serves\":\"nothing\""));
    atomic_store(&b.host.crash_looping, 2);
    t = get_body(&b, "/readyz", 503);
    CU_ASSERT_TRUE(has(t, "\"workers\":{\"status\":\"crash_looping\",\"reason\":\"2 of "));
    CU_ASSERT_TRUE(has(get_body(&b, "/status", 200), "\"crash_looping\": 2"));
    cache_close(b.api.cache);
    db_close(b.api.db);
}

/* Every worker has measured the same queue. Fails if the numbers are added up, or if the series of
 * Redis is there without a Redis: tried. */
TEST(metrics_of_the_host)
{
    struct bench b;
    begin(&b);
    for (int i = 0; i < 2; i++) {
        metrics_set(&b.slots[i].search_waiting, 7 - i);
        metrics_set(&b.slots[i].search_oldest_s, 40 + i);
    }
    struct http_rig *r = http_rig("GET", "/metrics");
    r->req.remote_addr = SV("127.0.0.1");
    ops_dispatch(&b.api, r->ctx->arena, &r->req, &r->res);
    const char *t = http_rig_body(r);
    CU_ASSERT_TRUE(has(t, "\nparley_search_waiting 7\n"));
    CU_ASSERT_TRUE(has(t, "\nparley_search_oldest_seconds 41\n"));
    CU_ASSERT_TRUE(has(t, "\nparley_postgresql_up 0\n"));
    CU_ASSERT_PTR_NULL(strstr(t, "parley_redis_up"));
    cache_close(b.api.cache);
    db_close(b.api.db);
}

/* Every number has its own source, and the text has lines for people. */
TEST(status_shows_the_service)
{
    struct bench b;
    begin(&b);
    for (int i = 0; i < 2; i++) {
        struct metrics_slot *s = &b.slots[i];
        metrics_request(s, 0, 200, 10);
        metrics_request(s, 0, 404, 20000000);
        metrics_add(&s->errors[ERR_NOT_FOUND], 3);
        metrics_add(&s->replays, 4);
        metrics_add(&s->queue_refused, 5);
        metrics_add(&s->source_hits[METRICS_REDIS], 6);
        metrics_add(&s->source_misses[METRICS_REDIS], 7);
        atomic_store(&b.host.workers[i].pid, 100 + i);
        atomic_store(&b.host.workers[i].worker_set, 3);
        atomic_store(&b.host.workers[i].state, API_WORKER_LEAVING);
        metrics_set(&s->threads_busy, 8);
        metrics_set(&s->pool_open, 9);
        metrics_set(&s->pool_idle, 10);
        metrics_set(&s->pool_in_use, 11);
        metrics_set(&s->pool_abandoned, 12);
        metrics_set(&s->pool_waiting, 13);
        metrics_set(&s->pool_max, 14);
    }
    const char *t = get_body(&b, "/status", 200);
    static const char *const parts[] = {
        "{\n  \"status\": \"down\",\n  \"version\": \"1.2.3\",\n  \"pid\": ",
        "\n  \"uptime_seconds\": ",
        "\n  \"postgresql\": {\n    \"status\": ",
        "\n  \"redis\": {\n    \"status\": \"off\",\n    \"mismatches\": 0\n  }",
        "\n  \"memory\": {\n    \"status\": \"off\",\n    \"bytes\": 0,\n    \"used\": 0\n  }",
        "\n    {\"worker\": 0,\"pid\": 100,\"worker_set\": 3,\"state\": \"leaving\",\"requests\": "
        "2,\"threads_busy\": 8,\"pool\": {\"open\": 9,\"idle\": 10,\"in_use\": "
        "11,\"abandoned\": 12,\"waiting\": 13,\"max\": 14}},\n    {\"worker\": 1,\"pid\": 101,",
        "\n    \"requests\": 4,\n    \"errors\": 6,\n    \"replays\": 8,\n    \"queue_refused\": "
        "10,",
        "\n    \"redis\": {\"hits\": 12,\"misses\": 14},",
        "\n    \"PARLEY_THREADS\": 24,\n    \"PARLEY_LISTEN\": \"/a \\\"b\\\\\\\",{[:]}\"\n  "
        "}\n}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        CU_ASSERT_TRUE(has(t, parts[i]));
    cache_close(b.api.cache);
    db_close(b.api.db);
}

/* Fails if a long reason has no NUL, or a shorter one keeps the end of the last: tried. */
TEST(reasons_of_refused_reloads)
{
    struct bench b;
    char longest[2 * API_REASON_MAX];
    begin(&b);
    CU_ASSERT_TRUE(has(get_body(&b, "/status", 200), "\"reload_reason\": null,"));
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    api_host_set_reload_reason(&b.host, longest);
    longest[API_REASON_MAX - 1] = '"';
    longest[API_REASON_MAX] = '\0';
    CU_ASSERT_TRUE(has(get_body(&b, "/status", 200), longest));
    api_host_set_reload_reason(&b.host, "PostgreSQL: away");
    CU_ASSERT_TRUE(has(get_body(&b, "/status", 200), "\"reload_reason\": \"PostgreSQL: away\","));
    cache_close(b.api.cache);
    db_close(b.api.db);
}

/* With any amount of memory. Fails if json_indent forgets that it had too little: tried. */
TEST(answers_are_whole_or_errors)
{
    static const char *const paths[] = {"/livez", "/readyz", "/status"};
    static const int good[] = {200, 503, 200};
    enum { ENOUGH = 8192 };
    struct bench b;
    begin(&b);
    atomic_store(&b.host.workers[0].pid, 100);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int answers = 0, errors = 0;
        for (size_t limit = 0; limit <= ENOUGH; limit += 16) {
            struct http_rig *r = http_rig("GET", paths[i]);
            struct arena *small = arena_create(limit);
            struct json_doc doc;
            CU_ASSERT_PTR_NOT_NULL_FATAL(small);
            http_response_init(&r->res, small);
            r->req.remote_addr = SV("127.0.0.1");
            ops_dispatch(&b.api, small, &r->req, &r->res);
            answers += r->res.status == good[i] && json_doc_parse(r->ctx, buf_get(&r->res.body),
                                                                  json_nothing, &doc) == ERR_NONE;
            errors += r->res.status == 500;
            arena_destroy(small);
        }
        CU_ASSERT_TRUE(answers > 0 && errors > 0);
        CU_ASSERT_EQUAL(answers + errors, ENOUGH / 16 + 1);
    }
    cache_close(b.api.cache);
    db_close(b.api.db);
}

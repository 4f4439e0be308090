/* SPDX-License-Identifier: MIT */
/* Redis stopped, killed, emptied, started again; and one that refuses, or never ends its answer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../src/cache/cache_internal.h"
#include "../../unit/suite.h"
#include "support.h"

static const struct cache_key key = {{"default", 7}, {"telegram:1", 10}};

/* A bound for calls that hang: a thousand calls that each wait would take longer. */
enum { CALLS = 1000, HANGS_MS = 20 * REDIS_MS };

static void count(void *arg)
{
    ++*(int *)arg;
}

/* Runs the calls of a request CALLS times. Returns how often one was about to wait. */
static int use(struct cache *c)
{
    int waits = 0;
    for (int i = 0; i < CALLS; i++) {
        struct request r;
        struct cache_found f;
        request_begin(&r, 10000);
        r.ctx.before_wait = (struct ctx_hook){count, &waits};
        struct cache_snapshot s = cache_snapshot(c, key);
        CU_ASSERT_FALSE(cache_find(c, &r.ctx, key, &s, true, &f));
        CU_ASSERT_FALSE(cache_erase(c, &r.ctx, &key, 1));
        cache_raise_epoch(c, &s, false);
        put_version(c, key, 1);
        cache_remove(c, key, true);
        request_end(&r);
    }
    return waits;
}

/* At most one request waits, and the end of the cache no longer than a time-out. A request that had
 * no time says nothing about Redis. */
static void stopped(void)
{
    struct rig *rig = rig_open(NULL);
    put_version(rig->cache, key, 1);
    EVENTUALLY(find_version(rig->cache, key) == 1);
    redis_control("pause");
    for (int ms = 0; ms <= 20; ms += 20) {
        struct request r;
        struct cache_found f;
        request_begin(&r, ms);
        const struct cache_snapshot s = cache_snapshot(rig->cache, key);
        CU_ASSERT_FALSE(cache_find(rig->cache, &r.ctx, key, &s, true, &f));
        CU_ASSERT_FALSE(cache_erase(rig->cache, &r.ctx, &key, 1));
        CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
        request_end(&r);
    }
    int64_t began = clock_mono_us();
    CU_ASSERT(use(rig->cache) <= 1);
    CU_ASSERT(clock_mono_us() - began < HANGS_MS * INT64_C(1000));
    CU_ASSERT(is_down_for(rig->cache, "no answer in time"));
    began = clock_mono_us();
    cache_close(rig->cache);
    CU_ASSERT(clock_mono_us() - began < HANGS_MS * INT64_C(1000));
    redis_control("resume");
    rig->cache = NULL;
    rig_close(rig);
}

/* Each answer comes after its request has given up, and Redis stays in use: no request takes a late
 * answer for its own. Fails if the connection is kept: tests/mutants/cache-connection-kept. */
static void late_answers(void)
{
    enum { KEYS = 16, READS = 500 };
    char id[16];
    struct rig *rig = rig_open(NULL);
    for (int i = 0; i < KEYS; i++)
        put_version(rig->cache, key_numbered(id, i), i + 1);
    EVENTUALLY(sets_of(rig) == KEYS);
    redis_control("pause");
    for (int i = 0; i < 3; i++) {
        struct request r;
        struct cache_found f;
        const struct cache_key k = key_numbered(id, i);
        request_begin(&r, 20);
        const struct cache_snapshot s = cache_snapshot(rig->cache, k);
        CU_ASSERT_FALSE(cache_find(rig->cache, &r.ctx, k, &s, true, &f));
        request_end(&r);
    }
    redis_control("resume");
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    for (int i = 0; i < READS; i++)
        CU_ASSERT_EQUAL(find_version(rig->cache, key_numbered(id, i % KEYS)), i % KEYS + 1);
    CU_ASSERT_EQUAL(mismatches_of(rig->cache), 0);
    rig_close(rig);
}

/* The loss is noticed without a request and logged once, and Redis is used again when it is back.
 */
static void killed_and_started(void)
{
    const int log = log_begin_capture();
    struct rig *rig = rig_open(NULL);
    put_version(rig->cache, key, 1);
    EVENTUALLY(find_version(rig->cache, key) == 1);
    redis_control("kill");
    EVENTUALLY(state_of(rig->cache) == CACHE_DOWN);
    use(rig->cache);
    service_sleep_ms(REDIS_MS); /* some more pauses */
    CU_ASSERT_EQUAL(log_count("\"cache_up\""), 0);
    redis_control("start");
    rig_reconnect(rig);
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    CU_ASSERT_EQUAL(find_version(rig->cache, key), 0);
    put_version(rig->cache, key, 2);
    EVENTUALLY(find_version(rig->cache, key) == 2);
    admin(rig, "FLUSHALL");
    CU_ASSERT_EQUAL(find_version(rig->cache, key), 0);
    CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
    log_end_capture(log);
    CU_ASSERT_EQUAL(log_count("\"cache_down\""), 1);
    CU_ASSERT_EQUAL(log_count("\"cache_up\""), 1);
    rig_close(rig);
}

/* Redis closes connections that were idle for long, and all when it is restarted. Neither a request
 * nor the queue loses anything. Fails if a round is not sent again: tried. */
static void closed_while_idle(void)
{
    const int log = log_begin_capture();
    struct rig *rig = rig_open(NULL);
    for (int i = 1; i <= 3; i++) {
        admin(rig, "CLIENT KILL TYPE normal");
        put_version(rig->cache, key, i);
        EVENTUALLY(sets_of(rig) + lost_of(rig) == (uint64_t)i);
        admin(rig, "CLIENT KILL TYPE normal");
        CU_ASSERT_EQUAL(find_version(rig->cache, key), i);
        CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
    }
    CU_ASSERT_EQUAL(lost_of(rig), 0);
    log_end_capture(log);
    CU_ASSERT_EQUAL(log_count("cache_down"), 0);
    rig_close(rig);
}

/* A replica answers reads and refuses writes: it is not in use, and stays so. */
static void replica(void)
{
    struct rig *rig = rig_open(NULL);
    put_version(rig->cache, key, 1);
    EVENTUALLY(find_version(rig->cache, key) == 1);
    const int log = log_begin_capture();
    admin(rig, "REPLICAOF 127.0.0.1 1");
    EVENTUALLY(is_down_for(rig->cache, "READONLY"));
    for (int i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(find_version(rig->cache, key), 0);
        CU_ASSERT(is_down_for(rig->cache, "READONLY"));
        service_sleep_ms(20);
    }
    CU_ASSERT_EQUAL(log_count("cache_down"), 1);
    admin(rig, "REPLICAOF NO ONE");
    EVENTUALLY(find_version(rig->cache, key) == 1);
    log_end_capture(log);
    CU_ASSERT_EQUAL(log_count("cache_up"), 1);
    rig_close(rig);
}

static void refused(void)
{
    static const struct {
        const char *url, *reason; /* after TEST_REDIS_URL; NULL: it is in use */
    } rows[] = {{"", "NOAUTH"},
                {"?password=wrong", "WRONGPASS"},
                {"?user=nobody&password=secret", "WRONGPASS"},
                {"?password=secret&db=99", "out of range"},
                {"?password=secret", NULL}};
    struct cache_settings settings = rig_settings();
    struct rig *rig = rig_open(&settings);
    admin(rig, "CONFIG SET requirepass secret");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char url[300];
        const char *reason = rows[i].reason;
        snprintf(url, sizeof url, "%s%s", rig_settings().redis_url, rows[i].url);
        settings.redis_url = url;
        struct cache *c = cache_open(&settings, NULL);
        cache_probe(c);
        CU_ASSERT(reason ? is_down_for(c, reason) : state_of(c) == CACHE_UP);
        put_version(c, key, 1);
        cache_close(c);
    }
    /* A connection stays usable; only the next one is refused. */
    CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
    admin(rig, "CLIENT KILL TYPE normal");
    EVENTUALLY(is_down_for(rig->cache, "NOAUTH"));
    admin(rig, "CONFIG SET requirepass %s", "");
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    rig_close(rig);
}

/* Takes connections for Redis and sends each a line without an end, for longer than HANGS_MS. */
struct flood {
    int listener;
    struct cache *cache;
    pthread_t thread;
};

static void *pour(void *arg)
{
    enum { AT_ONCE = 65536, TIMES = 400 };
    static char x[AT_ONCE];
    struct flood *f = arg;
    for (;;) {
        const int fd = accept(f->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        memset(x, '+', sizeof x);
        for (int i = 0; i < TIMES && send(fd, x, sizeof x, MSG_NOSIGNAL) > 0; i++)
            continue;
        close(fd);
    }
}

/* There is always something to read, and never an answer. Fails if the time is looked at only when
 * there is nothing: tried. */
static void never_ends(void)
{
    char url[128];
    struct flood f;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct cache_settings settings = rig_settings();
    snprintf(at.sun_path, sizeof at.sun_path, "%.80s/flood", getenv("TEST_TMP"));
    snprintf(url, sizeof url, "unix://%s", at.sun_path);
    f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(f.listener, (struct sockaddr *)&at, sizeof at), 0);
    CU_ASSERT_EQUAL(listen(f.listener, 8), 0);
    CU_ASSERT_EQUAL(pthread_create(&f.thread, NULL, pour, &f), 0);
    settings.redis_url = url;
    const int64_t began = clock_mono_us();
    f.cache = cache_open(&settings, NULL);
    CU_ASSERT_EQUAL(find_version(f.cache, key), 0);
    cache_probe(f.cache);
    CU_ASSERT(is_down_for(f.cache, "no answer in time"));
    cache_close(f.cache);
    CU_ASSERT(clock_mono_us() - began < HANGS_MS * INT64_C(1000));
    shutdown(f.listener, SHUT_RDWR);
    pthread_join(f.thread, NULL);
    close(f.listener);
    unlink(at.sun_path);
}

/* A command that has no time fails; another one succeeds. */
static void run_one(struct cache_redis *r, bool succeeds)
{
    struct cache_command del = {{SV("DEL"), SV("none")}, .n = 2};
    r->timeout_ms = succeeds ? REDIS_MS : 0;
    CU_ASSERT_EQUAL(cache_redis_run(r, deadline_in_ms(10000), &del, 1), succeeds);
}

/* Each failure after the end of a pause doubles the pause. A command that ends within a pause
 * changes nothing. Fails if each of many calls that fail at once counts, or if the end of a pause
 * alone closes the breaker: tried. */
static void pauses(void)
{
    static const int64_t ms[] = {100, 200, 400, 500, 500};
    const struct cache_settings settings = rig_settings();
    struct cache_redis *r = cache_redis_open(&settings);
    CU_ASSERT(cache_redis_is_in_use(r));
    for (size_t i = 0; i < ARRAY_LEN(ms); i++) {
        run_one(r, false);
        CU_ASSERT_EQUAL(r->pause_us, ms[i] * 1000);
        CU_ASSERT(r->probe_at_us > clock_mono_us() + r->pause_us / 2);
        r->probe_at_us += 60 * INT64_C(1000000);
        run_one(r, false);
        run_one(r, true);
        CU_ASSERT_EQUAL(r->pause_us, ms[i] * 1000);
        CU_ASSERT_STRING_EQUAL(r->reason, "no answer in time");
        CU_ASSERT_FALSE(cache_redis_is_in_use(r) || cache_redis_probe_is_due(r));
        r->probe_at_us = 1;
        CU_ASSERT_FALSE(cache_redis_is_in_use(r));
        CU_ASSERT(cache_redis_probe_is_due(r));
    }
    run_one(r, true);
    CU_ASSERT(cache_redis_is_in_use(r) && !cache_redis_probe_is_due(r));
    CU_ASSERT_EQUAL(r->pause_us, 0);
    CU_ASSERT_STRING_EQUAL(r->reason, "");
    run_one(r, false);
    CU_ASSERT_EQUAL(r->pause_us, 100 * 1000);
    cache_redis_close(r);
}

static void run_refused(struct cache_redis *r)
{
    struct cache_command unknown = {{SV("NOTHING")}, .n = 1};
    CU_ASSERT_FALSE(cache_redis_run(r, deadline_in_ms(10000), &unknown, 1));
}

/* A Redis that refuses a command is given longer pauses, also when other commands succeed in
 * between, unless it has been in use for long. Fails if a success makes the next pause a short one:
 * tried. */
static void pauses_of_refusals(void)
{
    static const int64_t ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    const struct cache_settings settings = rig_settings();
    struct cache_redis *r = cache_redis_open(&settings);
    for (size_t i = 0; i < ARRAY_LEN(ms); i++) {
        run_refused(r);
        CU_ASSERT_EQUAL(r->pause_us, ms[i] * 1000);
        CU_ASSERT_PTR_NOT_NULL(strstr(r->reason, "NOTHING is refused: ERR"));
        r->probe_at_us = 1;
        if (i % 2)
            run_one(r, true);
        CU_ASSERT_EQUAL(cache_redis_is_in_use(r), i % 2);
    }
    run_one(r, true);
    r->steady_at_us = 0;
    run_refused(r);
    CU_ASSERT_EQUAL(r->pause_us, 100 * 1000);
    cache_redis_close(r);
}

/* What Redis has no memory for concerns a value, but to the probe. */
static void no_memory(void)
{
    const struct cache_settings settings = rig_settings();
    struct rig *rig = rig_open(&settings);
    admin(rig, "CONFIG SET maxmemory 1 maxmemory-policy noeviction");
    put_version(rig->cache, key, 1);
    EVENTUALLY(lost_of(rig) == 1 || is_down_for(rig->cache, "SET is refused: OOM"));
    cache_probe(rig->cache);
    CU_ASSERT(is_down_for(rig->cache, "SET is refused: OOM"));
    admin(rig, "CONFIG SET maxmemory 256mb maxmemory-policy allkeys-lru");
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    rig_close(rig);
}

static void *run_long(void *arg)
{
    struct cache_command wait = {{SV("BLPOP"), SV("none"), SV("0.4")}, .n = 3};
    CU_ASSERT(cache_redis_run(arg, deadline_in_ms(10000), &wait, 1));
    return NULL;
}

/* A command that began before a failure ends well after the pause: it does not make Redis usable,
 * and its connection, which may be one to a former master, is closed. Fails if it counts, or is
 * kept: tried. */
static void late_success(void)
{
    struct cache_settings settings = rig_settings();
    pthread_t thread;
    settings.redis_timeout_ms = 5000;
    struct cache_redis *r = cache_redis_open(&settings);
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, run_long, r), 0);
    service_sleep_ms(150);
    run_refused(r);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT(cache_redis_probe_is_due(r));
    CU_ASSERT_FALSE(cache_redis_is_in_use(r));
    CU_ASSERT_EQUAL(r->n_idle, 0);
    cache_redis_close(r);
}

/* With Sentinels nothing is connected to while the master is not known: neither its password nor a
 * session may reach whoever listens at an empty name. Fails if hiredis is given that name: tried.
 */
static void master_not_known(void)
{
    const struct sockaddr_un none = {.sun_family = AF_UNIX};
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(listener, (const struct sockaddr *)&none, sizeof none), 0);
    CU_ASSERT_EQUAL(listen(listener, 8), 0);
    struct cache_settings settings = rig_settings();
    settings.redis_url = "redis+sentinel://:secret@127.0.0.1:1/cache";
    struct cache_redis *r = cache_redis_open(&settings);
    struct cache_command del = {{SV("DEL"), SV("none")}, .n = 2};
    CU_ASSERT_FALSE(cache_redis_is_in_use(r));
    CU_ASSERT_FALSE(cache_redis_run(r, deadline_in_ms(10000), &del, 1));
    CU_ASSERT_STRING_EQUAL(r->reason, "the master is not known yet");
    CU_ASSERT_EQUAL(accept(listener, NULL, NULL), -1);
    cache_redis_close(r);
    close(listener);
}

SUITE(redis_away, "cache/redis_away", {"stopped", stopped}, {"late answers", late_answers},
      {"killed and started", killed_and_started}, {"closed while idle", closed_while_idle},
      {"a replica", replica}, {"refused", refused}, {"an answer without end", never_ends},
      {"pauses", pauses}, {"pauses of refusals", pauses_of_refusals}, {"no memory", no_memory},
      {"a late success", late_success}, {"the master is not known", master_not_known})

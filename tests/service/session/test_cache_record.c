/* SPDX-License-Identifier: MIT */
/* The record of the cache epoch in PostgreSQL, and writes that Redis cannot be told of. */
#include "../../../src/session/session_internal.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../unit/suite.h"
#include "cluster.h"

static struct cache_record asked(struct cache_authority *a, enum cache_ask what, uint64_t n)
{
    struct cache_record record = {.epoch = 0};
    CU_ASSERT_EQUAL(a->ask(a->arg, what, n, deadline_in_ms(5000), &record), ERR_NONE);
    return record;
}

/* Fails if a hold does not make the record dirty, if a later and shorter one shortens it, and if
 * the epoch is raised while it stands: each tried in the statement. */
static void held_and_raised(void)
{
    struct world w;
    if (!world_open(&w, false))
        return;
    struct cache_authority a = sessions_cache_authority(w.db);
    CU_ASSERT_TRUE(world_sql("UPDATE cache_state SET held_until = '-infinity'", NULL, 0));
    struct cache_record now = asked(&a, CACHE_LOOK, 0);
    now = asked(&a, CACHE_RAISE, now.epoch);
    CU_ASSERT_TRUE(now.epoch > 1 && !now.dirty && !now.held);
    struct cache_record held = asked(&a, CACHE_HOLD, 60000);
    CU_ASSERT_TRUE(held.held && held.dirty && held.epoch == now.epoch);
    held = asked(&a, CACHE_HOLD, 1);
    cluster_sleep_ms(5);
    held = asked(&a, CACHE_LOOK, 0);
    CU_ASSERT_TRUE(held.held && held.dirty);
    CU_ASSERT_EQUAL(asked(&a, CACHE_RAISE, now.epoch).epoch, 0);
    CU_ASSERT_EQUAL(world_count("SELECT count(*) FROM cache_state WHERE held_until BETWEEN"
                                " clock_timestamp() + interval '50 s'"
                                " AND clock_timestamp() + interval '60 s'"),
                    1);
    CU_ASSERT_TRUE(world_sql("UPDATE cache_state SET held_until = clock_timestamp()", NULL, 0));
    held = asked(&a, CACHE_LOOK, 0);
    CU_ASSERT_TRUE(!held.held && held.dirty);
    CU_ASSERT_EQUAL(asked(&a, CACHE_RAISE, now.epoch - 1).epoch, 0);
    struct cache_record raised = asked(&a, CACHE_RAISE, now.epoch);
    CU_ASSERT_TRUE(raised.epoch > now.epoch && !raised.dirty);
    CU_ASSERT_EQUAL(asked(&a, CACHE_LOOK, 0).epoch, raised.epoch);
    /* Restored from a backup: no epoch comes a second time. */
    CU_ASSERT_TRUE(world_sql("UPDATE cache_state SET epoch = 5", NULL, 0));
    CU_ASSERT_TRUE(asked(&a, CACHE_RAISE, 5).epoch > raised.epoch);
    world_close(&w);
}

struct raiser {
    struct cache_authority authority;
    uint64_t known, got;
};

static void *raiser_main(void *arg)
{
    struct raiser *r = arg;
    r->got = asked(&r->authority, CACHE_RAISE, r->known).epoch;
    return NULL;
}

/* Of several at once one raises. Fails if the statement does not compare the epoch: tried. */
static void one_raises(void)
{
    struct world w;
    if (!world_open(&w, false))
        return;
    for (int round = 0; round < 20; round++) {
        struct raiser r[4];
        pthread_t t[4];
        struct cache_authority a = sessions_cache_authority(w.db);
        uint64_t known = asked(&a, CACHE_LOOK, 0).epoch;
        int won = 0;
        for (int i = 0; i < 4; i++) {
            r[i] = (struct raiser){a, known, 0};
            CU_ASSERT_EQUAL(pthread_create(&t[i], NULL, raiser_main, &r[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(t[i], NULL);
            won += r[i].got != 0;
        }
        CU_ASSERT_EQUAL(won, 1);
    }
    world_close(&w);
}

/* The serving role may read and change the row, and neither add nor remove one. */
static void what_the_role_may(void)
{
    CU_ASSERT_EQUAL(
        world_count("SELECT has_table_privilege('parley_app', 'cache_state', 'SELECT')::int"
                    " + has_table_privilege('parley_app', 'cache_state', 'UPDATE')::int"),
        2);
    CU_ASSERT_EQUAL(
        world_count("SELECT has_table_privilege('parley_app', 'cache_state', 'INSERT')::int"
                    " + has_table_privilege('parley_app', 'cache_state', 'DELETE')::int"),
        0);
}

/* ---- writes without Redis ---- */

static void redis_control(const char *what)
{
    char command[512];
    snprintf(command, sizeof(command), "'%s' %s", getenv("TEST_REDIS"), what);
    CU_ASSERT_EQUAL(system(command), 0);
}

static void record_reachable(bool reachable)
{
    CU_ASSERT_TRUE(world_sql(reachable ? "GRANT UPDATE ON cache_state TO parley_app"
                                       : "REVOKE UPDATE ON cache_state FROM parley_app",
                             NULL, 0));
}

/* A world whose leases are short. */
static bool open_short(struct world *w)
{
    struct cache_status s = {.redis = CACHE_OFF};
    signal(SIGPIPE, SIG_IGN); /* as the worker does */
    if (!world_open(w, false))
        return false;
    const struct cache_settings cache = {.redis_url = getenv("TEST_REDIS_URL"),
                                         .redis_timeout_ms = 1000,
                                         .fence_ms = 15000,
                                         .value_max = 64 << 10,
                                         .authority = sessions_cache_authority(w->db),
                                         .lease_ms = 400,
                                         .hold_ms = 1200,
                                         .poll_ms = 20};
    w->cache = w->sessions->cache = cache_open(&cache, NULL);
    for (int i = 0; i < 2000 && (s.redis != CACHE_UP || s.reason[0]); i++) {
        cache_poll(w->cache);
        cache_status(w->cache, &s);
        (void)poll(NULL, 0, 5);
    }
    CU_ASSERT_TRUE(s.redis == CACHE_UP && !s.reason[0]);
    return true;
}

/* Redis is away, and nobody can be told: the write is refused and changes nothing. When the record
 * can be reached it is made without Redis. Fails if session_append goes on after a coherent_begin
 * that failed: tried. */
static void refused_before_it_is_made(void)
{
    struct world w;
    if (!open_short(&w))
        return;
    cluster_make(&w, "r:refused");
    redis_control("kill");
    record_reachable(false);
    CU_ASSERT_EQUAL(cluster_append(&w, "r:refused", 1), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(w.ctx.err.retry_after_s, 1);
    CU_ASSERT_EQUAL(world_count("SELECT version FROM sessions WHERE session_id = 'r:refused'"), 1);
    record_reachable(true);
    enum err e = ERR_UNAVAILABLE;
    for (int i = 0; i < 20 && (e == ERR_UNAVAILABLE || e == ERR_OUTCOME_UNKNOWN); i++)
        e = cluster_append(&w, "r:refused", 1);
    CU_ASSERT_EQUAL(e, ERR_NONE);
    redis_control("start");
    world_close(&w);
}

/* Redis goes away after the fence, and nobody can be told: what was made is not acknowledged, and
 * what failed fails as it did. Fails if coherent_end returns the statement's result: tried. */
static void not_acknowledged_after_it_was_made(void)
{
    static const enum err results[] = {ERR_NONE, ERR_CONFLICT};
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct world w;
        struct coherent_write write;
        if (!open_short(&w))
            return;
        struct request_ctx *ctx = world_request(&w, "t1");
        CU_ASSERT_EQUAL(coherent_begin(w.sessions, ctx, SV("r:made"), &write), ERR_NONE);
        CU_ASSERT_TRUE(write.fence.set);
        redis_control("kill");
        record_reachable(false);
        CU_ASSERT_EQUAL(coherent_end(w.sessions, ctx, &write, results[i], NULL),
                        results[i] == ERR_NONE ? ERR_OUTCOME_UNKNOWN : results[i]);
        record_reachable(true);
        redis_control("start");
        world_close(&w);
    }
}

SUITE(session_cache_record, "session/cache record", {"held and raised", held_and_raised},
      {"one of several raises", one_raises}, {"what the role may", what_the_role_may},
      {"refused before it is made", refused_before_it_is_made},
      {"not acknowledged after it was made", not_acknowledged_after_it_was_made})

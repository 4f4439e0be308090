/* SPDX-License-Identifier: MIT */
/*
 * Redis killed, stopped, emptied and replaced, and hosts that are cut off from it or from the
 * record, one case at a time. v1 is what Redis holds before, v2 what is written meanwhile; nobody
 * may read v1 after v2 is acknowledged. "Fails if …": tests/plants/cache-*.patch take the rules
 * out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../unit/suite.h"
#include "hosts.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};
enum { LONG_LEASE_MS = 600 };

static void expect_not(struct cache *c, int64_t version)
{
    CU_ASSERT_NOT_EQUAL(read_version(c, key), version);
}

/* ---- what becomes of Redis, for one host and for two ---- */

enum fault { KILLED, STOPPED, EMPTIED, REPLACED, FAULTS };

static void begin_fault(enum fault fault)
{
    switch (fault) {
    case KILLED:
    case REPLACED:
        redis_control("kill");
        break;
    case STOPPED:
        redis_control("pause");
        break;
    case EMPTIED:
    case FAULTS:
        break;
    }
}

static void end_fault(enum fault fault)
{
    if (fault == STOPPED)
        redis_control("resume");
    else if (fault == KILLED || fault == REPLACED)
        redis_control("start");
}

/* Fails if the marker, or the run id in it, is not compared (what REPLACED brings back is
 * read), and if a lease of one host outlives a life of its breaker (STOPPED). */
static void one_host(void)
{
    for (enum fault fault = KILLED; fault < FAULTS; fault++) {
        struct rig rig;
        if (!rig_open(&rig))
            return;
        struct cache *b = rig_worker(&rig, NULL);
        fill_version(b, key, 1);
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
        if (fault == REPLACED) {
            admin_int(&rig, "SAVE");
            host_write(rig.cache, key, 2);
        }
        if (fault == EMPTIED)
            admin_int(&rig, "FLUSHALL");
        begin_fault(fault);
        if (fault != REPLACED)
            host_write(rig.cache, key, 2);
        expect_not(b, 1);
        end_fault(fault);
        for (int i = 0; i < 2000 && !(is_in_use(b) && i > 100); i++) {
            expect_not(b, 1);
            cache_poll(b);
            expect_not(rig.cache, 1);
            usleep(1000);
        }
        CU_ASSERT(is_in_use(b));
        fill_version(b, key, 2);
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 2);
        cache_close(b);
        rig_reconnect(&rig);
        rig_close(&rig);
        hosts_forget();
    }
}

/* Fails as the one before, and if the record gives a lease while it is dirty. */
static void two_hosts(void)
{
    for (enum fault fault = KILLED; fault < FAULTS; fault++) {
        struct hosts h;
        if (!hosts_open(&h, LEASE_MS))
            return;
        struct cache *a = h.host[0].cache, *b = h.host[1].cache;
        fill_version(b, key, 1);
        CU_ASSERT_EQUAL(read_version(a, key), 1);
        if (fault == REPLACED) {
            hosts_tell(&h, "SAVE");
            host_write(a, key, 2);
        }
        if (fault == EMPTIED)
            hosts_tell(&h, "FLUSHALL");
        begin_fault(fault);
        if (fault != REPLACED)
            host_write(a, key, 2);
        expect_not(b, 1);
        end_fault(fault);
        if (fault == KILLED || fault == REPLACED)
            hosts_restarted(&h);
        for (int i = 0; i < 4000 && !(is_in_use(a) && is_in_use(b) && i > 100); i++) {
            cache_poll(i % 2 ? a : b);
            expect_not(i % 2 ? b : a, 1);
            usleep(1000);
        }
        CU_ASSERT(hosts_polled(&h));
        expect_not(b, 1);
        hosts_close(&h);
        hosts_forget();
    }
}

/* ---- one host is cut off from Redis, the other one is not ---- */

/* Both have leases, Redis holds v1, and host 0 loses Redis and writes v2. */
static bool cut_off(struct hosts *h)
{
    if (!hosts_open(h, LONG_LEASE_MS))
        return false;
    fill_version(h->host[1].cache, key, 1);
    CU_ASSERT_EQUAL(read_version(h->host[0].cache, key), 1);
    hosts_reach(h, 0, false);
    cache_poll(h->host[1].cache);
    return true;
}

static void poll_reading(struct hosts *h, int i)
{
    for (int n = 0; n < 8000 && !is_in_use(h->host[i].cache); n++) {
        cache_poll(h->host[i].cache);
        expect_not(h->host[i].cache, 1);
        usleep(1000);
    }
    CU_ASSERT(is_in_use(h->host[i].cache));
    expect_not(h->host[i].cache, 1);
}

/* Fails if a lease is not checked, not waited for, or nobody holds. */
static void cut_off_and_back(void)
{
    struct hosts h;
    if (!cut_off(&h))
        return;
    host_write(h.host[0].cache, key, 2);
    expect_not(h.host[1].cache, 1);
    CU_ASSERT(h.authority.holds > 0);
    /* For as long as host 0 is cut off, nobody reads from Redis. */
    for (int i = 0; i < 50; i++) {
        cache_poll(h.host[0].cache);
        cache_poll(h.host[1].cache);
        expect_not(h.host[1].cache, 1);
        usleep(1000);
    }
    CU_ASSERT_FALSE(is_in_use(h.host[1].cache));
    host_write(h.host[0].cache, key, 3);
    hosts_reach(&h, 0, true);
    poll_reading(&h, 0);
    poll_reading(&h, 1);
    fill_version(h.host[1].cache, key, 3);
    CU_ASSERT_EQUAL(read_version(h.host[0].cache, key), 3);
    hosts_close(&h);
}

/* Its hold runs out, and what Redis holds is left behind all the same. Fails if nobody raises the
 * epoch after a hold. */
static void cut_off_and_dead(void)
{
    struct hosts h;
    if (!cut_off(&h))
        return;
    host_write(h.host[0].cache, key, 2);
    hosts_die(&h, 0, false);
    poll_reading(&h, 1);
    hosts_close(&h);
}

/* Its holds stop for so long that host 1 uses Redis again; then it writes v3. Fails if the wait for
 * leases does not begin anew after a gap. */
static void cut_off_with_a_gap(void)
{
    struct hosts h;
    if (!cut_off(&h))
        return;
    host_write(h.host[0].cache, key, 2);
    poll_reading(&h, 1);
    fill_version(h.host[1].cache, key, 2);
    cache_poll(h.host[1].cache);
    host_write(h.host[0].cache, key, 3);
    CU_ASSERT_NOT_EQUAL(read_version(h.host[1].cache, key), 2);
    hosts_close(&h);
}

/* Its fence is set when it is cut off: what is committed is acknowledged only when it is safe, and
 * not at all if the record cannot be reached either. Fails if a settling that fails counts as one
 *. */
static void cut_off_before_the_settling(void)
{
    for (int away = 0; away < 2; away++) {
        struct hosts h;
        struct request r;
        struct cache_fence fence;
        if (!hosts_open(&h, LEASE_MS))
            return;
        struct cache *a = h.host[0].cache, *b = h.host[1].cache;
        request_begin(&r);
        CU_ASSERT_EQUAL(cache_fence(a, &r.ctx, key, &fence), ERR_NONE);
        CU_ASSERT(fence.set);
        hosts_tell(&h, "DEL parley:{default:s1}:2:f");
        fill_version(b, key, 1);
        hosts_reach(&h, 0, false);
        h.host[0].link.away = away;
        struct cache_value v = value_of(&r, key, 2);
        enum err e = cache_settle(a, &r.ctx, key, &fence, &v);
        if (away)
            CU_ASSERT_EQUAL(e, ERR_OUTCOME_UNKNOWN);
        if (e == ERR_NONE)
            expect_not(b, 1);
        /* Nor is another write begun. */
        if (away)
            CU_ASSERT_EQUAL(cache_fence(a, &r.ctx, key, &fence), ERR_UNAVAILABLE);
        request_end(&r);
        hosts_close(&h);
    }
}

/* Host 1 cannot reach the record: its lease ends, and host 0 does not wait longer than that. Fails
 * if a lease is not checked, or not waited for. */
static void lease_runs_out(void)
{
    struct hosts h;
    if (!cut_off(&h))
        return;
    h.host[1].link.away = true;
    host_write(h.host[0].cache, key, 2);
    expect_not(h.host[1].cache, 1);
    cache_poll(h.host[1].cache);
    CU_ASSERT_EQUAL(read_version(h.host[1].cache, key), 0);
    CU_ASSERT_EQUAL(state_of(h.host[1].cache), CACHE_UP);
    /* What the caller marks as not verified may still be had. */
    struct request r;
    struct cache_value v;
    request_begin(&r);
    CU_ASSERT(cache_read_unverified(h.host[1].cache, &r.ctx, key, &v));
    CU_ASSERT_EQUAL(v.version, 1);
    request_end(&r);
    hosts_close(&h);
}

/* ---- markers ---- */

/* Somebody raised the record and died before it set the marker. Host 0 knows, host 1 has a lease of
 * before; and the record is held, so that nobody can raise it. Fails if a settling leaves a marker
 * in force that is not its own. */
static void raised_and_not_marked(void)
{
    struct hosts h;
    if (!hosts_open(&h, LONG_LEASE_MS))
        return;
    struct cache *a = h.host[0].cache, *b = h.host[1].cache;
    fill_version(b, key, 1);
    usleep(LONG_LEASE_MS * 1000 / 4);
    cache_poll(b);
    h.authority.epoch++;
    h.authority.held_until_us = clock_mono_us() + 60 * INT64_C(1000000);
    cache_poll(a);
    host_write(a, key, 2);
    expect_not(b, 1);
    hosts_close(&h);
}

/* The marker is of an epoch that this host does not know yet: a writer asks, and has its fence. */
static void raised_by_another(void)
{
    struct hosts h;
    struct request r;
    struct cache_fence fence;
    if (!hosts_open(&h, LONG_LEASE_MS))
        return;
    struct cache *a = h.host[0].cache, *b = h.host[1].cache;
    h.authority.dirty = true;
    for (int i = 0; i < 4000 && h.authority.epoch == 2; i++) {
        cache_poll(b);
        usleep(1000);
    }
    fill_version(b, key, 1);
    CU_ASSERT_EQUAL(read_version(b, key), 1);
    request_begin(&r);
    CU_ASSERT_EQUAL(cache_fence(a, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT(fence.set && fence.had);
    CU_ASSERT_EQUAL(read_version(b, key), 0);
    struct cache_value v = value_of(&r, key, 2);
    CU_ASSERT_EQUAL(cache_settle(a, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(read_version(b, key), 2);
    CU_ASSERT_EQUAL(h.authority.epoch, 3);
    request_end(&r);
    hosts_close(&h);
}

/* Two write at once; the one that commits last dies without a word, and the other one stores what
 * it made before. Nobody was told of the dead one's write, but what Redis has may not stay. Fails
 * if a burial leaves Redis alone. */
static void killed_beside_another(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence dead, alive;
    if (!rig_open(&rig))
        return;
    struct cache_shared *shared = cache_shared_map(0);
    struct cache_settings s = rig_settings(&rig.link, shared);
    s.fence_ms = 300;
    struct cache *c = cache_open(&s, NULL);
    CU_ASSERT(polled(c));
    request_begin(&r);
    CU_ASSERT_EQUAL(cache_fence(c, &r.ctx, key, &dead), ERR_NONE);
    CU_ASSERT_EQUAL(cache_fence(c, &r.ctx, key, &alive), ERR_NONE);
    struct cache_value v = value_of(&r, key, 1);
    CU_ASSERT_EQUAL(cache_settle(c, &r.ctx, key, &alive, &v), ERR_NONE);
    CU_ASSERT_EQUAL(read_version(c, key), 1);
    cache_shared_bury(shared, 1);
    const long raises = rig.authority.raises;
    for (int i = 0; i < 5000 && rig.authority.raises == raises; i++) {
        cache_poll(c);
        usleep(1000);
    }
    CU_ASSERT_EQUAL(rig.authority.raises, raises + 1);
    expect_not(c, 1);
    /* Once a death. */
    for (int i = 0; i < 3 * POLL_MS; i++) {
        cache_poll(c);
        usleep(1000);
    }
    CU_ASSERT_EQUAL(rig.authority.raises, raises + 1);
    request_end(&r);
    cache_close(c);
    cache_shared_unmap(shared);
    rig_close(&rig);
}

/* Without somebody to ask, Redis is reached and nothing more. */
static void nobody_to_ask(void)
{
    struct rig rig;
    if (!rig_open(&rig))
        return;
    struct cache_settings s = rig_settings(&rig.link, NULL);
    s.authority.ask = NULL;
    struct cache *c = cache_open(&s, NULL);
    CU_ASSERT_EQUAL(state_of(c), CACHE_UP);
    fill_version(rig.cache, key, 1);
    cache_poll(c);
    CU_ASSERT_EQUAL(read_version(c, key), 0);
    host_write(c, key, 2);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    cache_close(c);
    rig_close(&rig);
}

SUITE(hosts, "service/cache/redis_hosts", {"what becomes of Redis, one host", one_host},
      {"what becomes of Redis, two hosts", two_hosts}, {"cut off and back", cut_off_and_back},
      {"cut off and dead", cut_off_and_dead}, {"cut off with a gap", cut_off_with_a_gap},
      {"cut off before the settling", cut_off_before_the_settling},
      {"a lease runs out", lease_runs_out}, {"raised and not marked", raised_and_not_marked},
      {"raised by another", raised_by_another}, {"killed beside another", killed_beside_another},
      {"nobody to ask", nobody_to_ask})

/* SPDX-License-Identifier: MIT */
/* Redis killed, started again, stopped, and left behind. */
#include "../../unit/suite.h"
#include "support.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};

static bool fence(struct cache *c, struct request *r, struct cache_fence *f)
{
    CU_ASSERT_EQUAL(cache_fence(c, &r->ctx, key, f), ERR_NONE);
    return f->set;
}

static void settle(struct cache *c, struct request *r, struct cache_fence *f, int64_t version)
{
    struct cache_value v = value_of(r, key, version);
    CU_ASSERT_EQUAL(cache_settle(c, &r->ctx, key, f, &v), ERR_NONE);
}

/* The commit came just at the end of the request's time: it is told all the same. Fails if the
 * settling is bounded by the request's deadline: tried. */
static void settling_after_the_deadline(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence f;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT(fence(rig.cache, &r, &f));
    r.ctx.deadline = deadline_in_ms(-1);
    settle(rig.cache, &r, &f, 2);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 2);
    /* A read or a fence after it has no time left, which says nothing about Redis. */
    CU_ASSERT_FALSE(fence(rig.cache, &r, &f));
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    request_end(&r);
    rig_close(&rig);
}

static void killed_and_started(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence f;
    struct cache_status status;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    fill_version(rig.cache, key, 1);
    redis_control("kill");
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    cache_status(rig.cache, &status);
    CU_ASSERT_EQUAL(status.redis, CACHE_DOWN);
    CU_ASSERT_NOT_EQUAL(status.reason[0], '\0');
    CU_ASSERT_FALSE(fence(rig.cache, &r, &f));
    CU_ASSERT_EQUAL(rig.slot->cache_fence_failures, 1);
    settle(rig.cache, &r, &f, 2);
    fill_version(rig.cache, key, 2);
    cache_poll(rig.cache);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    redis_control("start");
    CU_ASSERT(polled(rig.cache));
    cache_status(rig.cache, &status);
    CU_ASSERT_STRING_EQUAL(status.reason, "");
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    fill_version(rig.cache, key, 2);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 2);
    request_end(&r);
    rig_close(&rig);
}

/* cache_poll alone finds out, so that /readyz is right without any request. */
static void found_out_by_maintain(void)
{
    struct rig rig;
    if (!rig_open(&rig))
        return;
    redis_control("kill");
    cache_poll(rig.cache);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    redis_control("start");
    CU_ASSERT(polled(rig.cache));
    rig_close(&rig);
}

/* A fences; Redis is killed and started; R of another worker misses there, reads v1 and fills; A
 * commits v2 and settles on a link that is dead. Fails if cache_redis_attempt does not try again on
 * a fresh link: tried. */
static void restarted_between_fence_and_settling(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence f;
    if (!rig_open(&rig))
        return;
    struct cache *b = rig_worker(&rig, NULL);
    request_begin(&r);
    CU_ASSERT(fence(rig.cache, &r, &f));
    redis_control("kill");
    redis_control("start");
    CU_ASSERT(polled(b));
    fill_version(b, key, 1);
    CU_ASSERT_EQUAL(read_version(b, key), 1);
    settle(rig.cache, &r, &f, 2);
    CU_ASSERT_EQUAL(read_version(b, key), 0);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    request_end(&r);
    cache_close(b);
    rig_close(&rig);
}

/* A ticket of before is void on the Redis that came back. Fails with a fill over any link that
 * is at hand: tried. */
static void ticket_of_another_life(void)
{
    struct rig rig;
    struct request r;
    struct cache_ticket ticket;
    struct cache_value v;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT(ticket.usable);
    redis_control("kill");
    redis_control("start");
    CU_ASSERT(polled(rig.cache));
    v = value_of(&r, key, 1);
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    CU_ASSERT_EQUAL(rig.slot->cache_fills, 0);
    CU_ASSERT(polled(rig.cache));
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    request_end(&r);
    rig_close(&rig);
}

/* Each call returns although Redis is stopped, and the request's own deadline is kept, without
 * taking Redis for dead on account of it. */
static void stopped(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence f;
    struct cache_ticket ticket, held;
    struct cache_value v;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &held));
    CU_ASSERT(fence(rig.cache, &r, &f));
    redis_control("pause");
    /* Bounded by the time-out, or this would not end before Redis goes on, which is below. */
    r.ctx.deadline = deadline_in_ms(5);
    int64_t began = clock_mono_us();
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    r.ctx.deadline = deadline_in_ms(100000);
    v = value_of(&r, key, 1);
    cache_fill(rig.cache, &r.ctx, key, &held, &v);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    settle(rig.cache, &r, &f, 2);
    CU_ASSERT_FALSE(fence(rig.cache, &r, &f));
    cache_poll(rig.cache);
    CU_ASSERT(clock_mono_us() - began < 20 * REDIS_TIMEOUT_MS * INT64_C(1000));
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    redis_control("resume");
    CU_ASSERT(polled(rig.cache));
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    request_end(&r);
    rig_close(&rig);
}

/* Redis stops with v1 in it; a worker that knows it to be away writes v2. Redis goes on and still
 * has v1: when the writer uses Redis again, nobody reads v1. Fails if
 * nobody raises the epoch after a hold: tried. */
static void left_behind(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence f;
    if (!rig_open(&rig))
        return;
    struct cache *b = rig_worker(&rig, NULL);
    request_begin(&r);
    fill_version(rig.cache, key, 1);
    redis_control("pause");
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    CU_ASSERT_FALSE(fence(rig.cache, &r, &f));
    settle(rig.cache, &r, &f, 2);
    redis_control("resume");
    CU_ASSERT(polled(rig.cache));
    CU_ASSERT(polled(b));
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    CU_ASSERT_EQUAL(read_version(b, key), 0);
    request_end(&r);
    cache_close(b);
    rig_close(&rig);
}

/* Two settlings time out and are executed when Redis goes on: after a write without a fence, v2
 * comes back to life there, in an epoch that is over. Fails as left_behind does. */
static void late_settling(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence first, second;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT(fence(rig.cache, &r, &first));
    redis_control("pause");
    settle(rig.cache, &r, &first, 2); /* sent, not answered */
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    CU_ASSERT_FALSE(fence(rig.cache, &r, &second));
    settle(rig.cache, &r, &second, 3);
    redis_control("resume");
    CU_ASSERT(polled(rig.cache));
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    request_end(&r);
    rig_close(&rig);
}

enum { KEYS = 16, LATE_READS = 1000 };

/* A read times out; its answer comes when Redis goes on, and must not be read by anybody. Fails if
 * cache_redis_attempt gives a link back that has timed out: tried. */
static void late_reply(void)
{
    struct rig rig;
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    struct cache_status status;
    char id[16];
    if (!rig_open(&rig))
        return;
    for (int i = 0; i < KEYS; i++)
        fill_version(rig.cache, key_numbered(id, i), i + 1);
    redis_control("pause");
    /* By the request's deadline: the tier stays up, and nothing but the rule closes the link. */
    for (int i = 0; i < 3; i++) {
        request_begin(&r);
        r.ctx.deadline = deadline_in_ms(20);
        CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key_numbered(id, i), &v, &ticket));
        request_end(&r);
    }
    redis_control("resume");
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    for (int i = 0; i < LATE_READS; i++)
        CU_ASSERT_EQUAL(read_version(rig.cache, key_numbered(id, i % KEYS)), i % KEYS + 1);
    cache_status(rig.cache, &status);
    CU_ASSERT_EQUAL(status.mismatches, 0);
    rig_close(&rig);
}

SUITE(health, "service/cache/redis_health",
      {"settling after the deadline", settling_after_the_deadline},
      {"killed and started", killed_and_started}, {"found out by maintain", found_out_by_maintain},
      {"restarted between fence and settling", restarted_between_fence_and_settling},
      {"a ticket of another life", ticket_of_another_life}, {"stopped", stopped},
      {"left behind", left_behind}, {"late settling", late_settling}, {"late reply", late_reply})

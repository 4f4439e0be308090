/* SPDX-License-Identifier: MIT */
/* What a reader finds, and what is refused. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "../../../src/cache/cache_internal.h"
#include "../../unit/suite.h"
#include "support.h"

static const struct cache_key key = {{"default", 7}, {"telegram:1", 10}};
static const struct cache_key other = {{"default", 7}, {"telegram:2", 10}};

static uint64_t mismatches(struct cache *c)
{
    struct cache_status s;
    cache_status(c, &s);
    return s.mismatches;
}

static void round_trip(void)
{
    struct rig rig;
    struct request r;
    struct cache_value v = {0};
    struct cache_ticket ticket;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT(ticket.usable);
    CU_ASSERT_PTR_NULL(r.ctx.trace.tier);
    v = value_of(&r, key, 5);
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    memset(&v, 0, sizeof v);
    CU_ASSERT(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    CU_ASSERT_EQUAL(v.generation, 7);
    CU_ASSERT_EQUAL(v.version, 5);
    CU_ASSERT(v.ttl_ms > 0 && v.ttl_ms <= 600000);
    CU_ASSERT(sv_eq(v.bytes, SV("default/telegram:1/5")));
    CU_ASSERT_STRING_EQUAL(r.ctx.trace.tier, "redis");
    CU_ASSERT(r.ctx.trace.cache_us > 0);
    CU_ASSERT_EQUAL(rig.slot->tier_hits[METRICS_REDIS], 1);
    CU_ASSERT_EQUAL(rig.slot->tier_misses[METRICS_REDIS], 1);
    CU_ASSERT_EQUAL(rig.slot->cache_fills, 1);
    CU_ASSERT_EQUAL(rig.slot->cache_fills_refused, 0);
    CU_ASSERT_EQUAL(read_version(rig.cache, other), 0);
    request_end(&r);
    rig_close(&rig);
}

/* The whole stored value of another session, of another tenant, under the key. Fails if the decoder
 * compares neither tenant nor id: tried. */
static void foreign_value(void)
{
    struct rig rig;
    struct request r;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    const struct cache_key owners[] = {other, {SV("acme"), key.id}};
    for (size_t i = 0; i < ARRAY_LEN(owners); i++) {
        struct cache_value v = value_of(&r, owners[i], 1);
        struct cache_ticket ticket;
        struct sv stored;
        CU_ASSERT(cache_codec_encode(r.arena, owners[i], &v, &stored));
        admin_set(&rig, key, 'v', stored);
        CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
        CU_ASSERT_FALSE(ticket.usable);
        CU_ASSERT_EQUAL(mismatches(rig.cache), i + 1);
        CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
        admin_set(&rig, owners[i], 'v', stored);
        CU_ASSERT_EQUAL(read_version(rig.cache, owners[i]), 1);
    }
    /* A writer does not get it as the old value either, and leaves the key clean. */
    struct cache_fence fence;
    struct cache_value v = value_of(&r, key, 3);
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT_FALSE(fence.had);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    admin_delete(&rig, key, 'f');
    fill_version(rig.cache, key, 4);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 4);
    request_end(&r);
    rig_close(&rig);
}

/* Fails if cache_codec_decode does not compare the checksum: tried. */
static void damaged_values(void)
{
    struct rig rig;
    struct request r;
    struct sv stored;
    char copy[256];
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    struct cache_value v = value_of(&r, key, 1);
    CU_ASSERT(cache_codec_encode(r.arena, key, &v, &stored));
    for (size_t n = 0; n < stored.n; n++) {
        admin_set(&rig, key, 'v', (struct sv){stored.p, n});
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
        memcpy(copy, stored.p, stored.n);
        copy[n] = (char)(copy[n] ^ 1);
        admin_set(&rig, key, 'v', (struct sv){copy, stored.n});
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    }
    CU_ASSERT_EQUAL(mismatches(rig.cache), 2 * stored.n);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    admin_set(&rig, key, 'v', stored);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    request_end(&r);
    rig_close(&rig);
}

/* A list under the key of the value: a miss that can be filled. Fails with GET for MGET in the
 * fill script: tried. */
static void another_type(void)
{
    struct rig rig;
    char epoch[32], command[128];
    if (!rig_open(&rig))
        return;
    admin_text(&rig, "GET parley:epoch", epoch, sizeof epoch);
    snprintf(command, sizeof command, "LPUSH parley:{default:telegram:1}:%s:v x", epoch);
    CU_ASSERT_EQUAL(admin_int(&rig, command), 1);
    fill_version(rig.cache, key, 4);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 4);
    rig_close(&rig);
}

static void not_kept(void)
{
    struct rig rig;
    struct request r;
    static char big[VALUE_MAX + 1];
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    const struct cache_value values[] = {{1, 1, 1000, {big, sizeof big}}, {1, 1, 0, SV("x")}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct cache_ticket ticket;
        struct cache_fence fence;
        struct cache_value v;
        CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
        cache_fill(rig.cache, &r.ctx, key, &ticket, &values[i]);
        CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
        CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
        CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &values[i]), ERR_NONE);
        CU_ASSERT(admin_pttl(&rig, key, 'v') < 0);
        CU_ASSERT(admin_pttl(&rig, key, 'f') <= 2000);
        admin_delete(&rig, key, 'f');
    }
    /* Just small enough, and no longer than a week. */
    struct cache_value v = {1, 1, INT64_MAX, {big, VALUE_MAX}};
    struct cache_ticket ticket;
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    v = (struct cache_value){1, 1, INT64_MAX, {big, VALUE_MAX}};
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    CU_ASSERT(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT_EQUAL(v.bytes.n, VALUE_MAX);
    CU_ASSERT(v.ttl_ms > 604000000 && v.ttl_ms <= 604800000);
    /* A key too long for any session: a miss, and a write that needs no Redis. */
    struct cache_key wide = {{"default", 7}, {big, 1000}};
    struct cache_fence fence;
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, wide, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, wide, &fence), ERR_NONE);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, wide, &fence, NULL), ERR_NONE);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    CU_ASSERT_EQUAL(rig.slot->cache_fence_failures, 0);
    request_end(&r);
    rig_close(&rig);
}

static void scripts_flushed(void)
{
    struct rig rig;
    if (!rig_open(&rig))
        return;
    fill_version(rig.cache, key, 1);
    freeReplyObject(redisCommand(rig.admin, "SCRIPT FLUSH"));
    fill_version(rig.cache, other, 2);
    CU_ASSERT_EQUAL(read_version(rig.cache, other), 2);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    rig_close(&rig);
}

/* Idle links closed by Redis (its time-out, a restart) cost nothing but a new connect. Fails if
 * cache_redis_attempt does not try again: tried. */
static void links_closed_by_redis(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence fence;
    if (!rig_open(&rig))
        return;
    fill_version(rig.cache, key, 1);
    CU_ASSERT_EQUAL(admin_int(&rig, "CLIENT KILL TYPE normal SKIPME yes"), 1);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    CU_ASSERT_EQUAL(admin_int(&rig, "CLIENT KILL TYPE normal SKIPME yes"), 1);
    request_begin(&r);
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT(fence.set);
    CU_ASSERT_EQUAL(admin_int(&rig, "CLIENT KILL TYPE normal SKIPME yes"), 1);
    struct cache_value v = value_of(&r, key, 2);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 2);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    CU_ASSERT_EQUAL(rig.slot->cache_fence_failures, 0);
    request_end(&r);
    rig_close(&rig);
}

/* A ticket is good for one fill on the connection of its miss. Fails if cache_redis_fill takes
 * another link where its own is gone: tried with cache_pool_take in its place. */
static void tickets(void)
{
    struct rig rig;
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket, copy, unused;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, other, &v, &unused));
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    copy = ticket;
    v = value_of(&r, key, 1);
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    v = value_of(&r, key, 2);
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    cache_fill(rig.cache, &r.ctx, key, &copy, &v);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    CU_ASSERT_EQUAL(rig.slot->cache_fills, 1);
    CU_ASSERT_EQUAL(rig.slot->cache_fills_refused, 0);
    /* The unused one held a link; it comes back with the end of the request. */
    CU_ASSERT_NOT_EQUAL(unused.link, ticket.link);
    request_end(&r);
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, other, &v, &ticket));
    CU_ASSERT_PTR_EQUAL(ticket.link, unused.link);
    /* The connection dies between miss and fill. */
    CU_ASSERT_EQUAL(admin_int(&rig, "CLIENT KILL TYPE normal SKIPME yes"), 2);
    v = value_of(&r, other, 1);
    cache_fill(rig.cache, &r.ctx, other, &ticket, &v);
    CU_ASSERT(admin_pttl(&rig, other, 'v') < 0);
    CU_ASSERT_EQUAL(rig.slot->cache_fills, 1);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_DOWN);
    request_end(&r);
    rig_close(&rig);
}

/* More misses in one request than there may be links, and an arena that is full. */
static void bounds(void)
{
    struct rig rig;
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    int usable = 0;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    for (int i = 0; i < 600; i++) {
        CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
        usable += ticket.usable;
    }
    CU_ASSERT_EQUAL(usable, 512);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    request_end(&r);
    fill_version(rig.cache, key, 1);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 1);
    request_begin(&r);
    while (arena_alloc(r.arena, 8))
        ;
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, other, &v, &ticket));
    CU_ASSERT_FALSE(ticket.usable);
    struct cache_fence fence;
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT(fence.set);
    CU_ASSERT_FALSE(fence.had);
    v = (struct cache_value){7, 2, 1000, SV("x")};
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    request_end(&r);
    rig_close(&rig);
}

/* Redis' memory is full and it may not evict: new values are refused, writers are not. Fails
 * without the DEL ahead of the SET in fence: tried. */
static void full_memory(void)
{
    struct rig rig;
    struct request r;
    struct cache_fence fence;
    if (!rig_open(&rig))
        return;
    fill_version(rig.cache, key, 1);
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET maxmemory 1"));
    fill_version(rig.cache, other, 1);
    CU_ASSERT_EQUAL(read_version(rig.cache, other), 0);
    CU_ASSERT_EQUAL(rig.slot->cache_fills_refused, 1);
    request_begin(&r);
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT(fence.set);
    struct cache_value v = value_of(&r, key, 2);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(fence.result, ERR_NONE);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    CU_ASSERT_EQUAL(state_of(rig.cache), CACHE_UP);
    request_end(&r);
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET maxmemory 0"));
    write_version(rig.cache, key, 3);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 3);
    rig_close(&rig);
}

static size_t beside(const struct rig *rig)
{
    redisReply *reply = redisCommand(rig->admin, "KEYS *:n:*");
    const size_t n = reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : SIZE_MAX;
    if (reply)
        freeReplyObject(reply);
    return n;
}

/* A value that lies beside its place and is not taken is gone at once. Planted:
 * redis-beside-stays. */
static void what_is_not_taken(void)
{
    struct rig rig;
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    struct cache_fence fence, later;
    if (!rig_open(&rig))
        return;
    request_begin(&r);
    CU_ASSERT_FALSE(cache_read(rig.cache, &r.ctx, key, &v, &ticket));
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &fence), ERR_NONE);
    v = value_of(&r, key, 1);
    cache_fill(rig.cache, &r.ctx, key, &ticket, &v);
    CU_ASSERT_EQUAL(rig.slot->cache_fills_refused, 1);
    CU_ASSERT_EQUAL(beside(&rig), 0);
    CU_ASSERT_EQUAL(cache_fence(rig.cache, &r.ctx, key, &later), ERR_NONE);
    v = value_of(&r, key, 2);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &fence, &v), ERR_NONE);
    CU_ASSERT_EQUAL(beside(&rig), 0);
    v = value_of(&r, key, 3);
    CU_ASSERT_EQUAL(cache_settle(rig.cache, &r.ctx, key, &later, &v), ERR_NONE);
    CU_ASSERT_EQUAL(beside(&rig), 0);
    CU_ASSERT_EQUAL(read_version(rig.cache, key), 0);
    request_end(&r);
    rig_close(&rig);
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int port = -1;
    if (bind(fd, (struct sockaddr *)&at, n) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &n) == 0)
        port = ntohs(at.sin_port);
    close(fd);
    return port;
}

static void expect_url(struct rig *rig, const char *url, enum cache_state state, const char *reason)
{
    struct cache_settings settings = rig_settings(&rig->link, NULL);
    settings.redis_url = url;
    settings.one_host = true;
    struct cache *c = cache_open(&settings, NULL);
    struct cache_status status;
    cache_status(c, &status);
    CU_ASSERT_EQUAL(status.redis, state);
    CU_ASSERT_PTR_NOT_NULL(strstr(status.reason, reason));
    if (state == CACHE_UP)
        CU_ASSERT(polled(c));
    CU_ASSERT_PTR_NULL(strstr(status.reason, "sesame"));
    if (state == CACHE_UP) {
        fill_version(c, key, 1);
        CU_ASSERT_EQUAL(read_version(c, key), 1);
    }
    cache_close(c);
}

/* TCP, AUTH with and without a user, SELECT. */
static void urls(void)
{
    struct rig rig;
    char url[256], reply[64];
    if (!rig_open(&rig))
        return;
    int port = free_port();
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET port %d", port));
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET requirepass sesame"));
    snprintf(url, sizeof url, "redis://:sesame@127.0.0.1:%d/3", port);
    expect_url(&rig, url, CACHE_UP, "");
    snprintf(url, sizeof url, "redis://default:sesame@localhost:%d", port);
    expect_url(&rig, url, CACHE_UP, "");
    snprintf(url, sizeof url, "redis://:sesame2@127.0.0.1:%d", port);
    expect_url(&rig, url, CACHE_DOWN, "WRONGPASS");
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", port);
    expect_url(&rig, url, CACHE_DOWN, "NOAUTH");
    snprintf(url, sizeof url, "redis://:sesame@127.0.0.1:%d/99", port);
    expect_url(&rig, url, CACHE_DOWN, "DB index");
    snprintf(url, sizeof url, "%s?password=sesame&db=4", getenv("TEST_REDIS_URL"));
    expect_url(&rig, url, CACHE_UP, "");
    for (int db = 0; db < 5; db++) {
        freeReplyObject(redisCommand(rig.admin, "SELECT %d", db));
        bool used = db == 0 || db == 3 || db == 4;
        CU_ASSERT_EQUAL(admin_text(&rig, "GET parley:epoch", reply, sizeof reply), used);
    }
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET requirepass %b", "", (size_t)0));
    freeReplyObject(redisCommand(rig.admin, "CONFIG SET port 0"));
    rig_close(&rig);
}

SUITE(redis, "service/cache/cache_redis", {"round trip", round_trip},
      {"another session's value", foreign_value}, {"damaged values", damaged_values},
      {"another type", another_type}, {"what is not kept", not_kept},
      {"scripts flushed", scripts_flushed}, {"links closed by Redis", links_closed_by_redis},
      {"tickets", tickets}, {"bounds", bounds}, {"full memory", full_memory},
      {"what is not taken", what_is_not_taken}, {"URLs", urls})

/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

static const char *redis_url(void)
{
    const char *url = getenv("TEST_REDIS_URL");
    return url ? url : "";
}

void rig_reconnect(struct rig *rig)
{
    if (rig->admin)
        redisFree(rig->admin);
    rig->admin = NULL;
    if (strncmp(redis_url(), "unix://", 7) == 0)
        rig->admin = redisConnectUnix(redis_url() + 7);
}

void authority_init(struct authority *a)
{
    *a = (struct authority){.lock = PTHREAD_MUTEX_INITIALIZER, .epoch = 1, .dirty = true};
}

enum err authority_ask(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                       struct cache_record *out)
{
    struct authority_link *link = arg;
    struct authority *a = link->record;
    (void)until;
    if (link->away)
        return ERR_UNAVAILABLE;
    pthread_mutex_lock(&a->lock);
    int64_t now = clock_mono_us(), end = now + (int64_t)n * 1000;
    bool done = what != CACHE_RAISE || (a->epoch == n && a->held_until_us <= now);
    if (what == CACHE_HOLD) {
        a->held_until_us = end > a->held_until_us ? end : a->held_until_us;
        a->dirty = true;
        a->holds++;
    } else if (what == CACHE_RAISE && done) {
        a->epoch++;
        a->dirty = false;
        a->raises++;
    } else {
        a->looks++;
    }
    *out = (struct cache_record){done ? a->epoch : 0, a->held_until_us > now, a->dirty};
    pthread_mutex_unlock(&a->lock);
    return ERR_NONE;
}

struct cache_settings rig_settings(struct authority_link *link, struct cache_shared *shared)
{
    return (struct cache_settings){.shared = shared,
                                   .redis_url = redis_url(),
                                   .redis_timeout_ms = REDIS_TIMEOUT_MS,
                                   .fence_ms = FENCE_MS,
                                   .value_max = VALUE_MAX,
                                   .one_host = shared != NULL,
                                   .authority = {link, authority_ask},
                                   .lease_ms = LEASE_MS,
                                   .hold_ms = HOLD_MS,
                                   .poll_ms = POLL_MS};
}

struct cache *rig_worker(struct rig *rig, struct metrics_slot *slot)
{
    struct cache_settings settings = rig_settings(&rig->link, rig->shared);
    return cache_open(&settings, slot);
}

void rig_raise(struct rig *rig)
{
    long before = rig->authority.raises;
    rig->authority.dirty = true;
    for (int i = 0; i < 2000 && rig->authority.raises == before; i++) {
        cache_poll(rig->cache);
        usleep(5 * 1000);
    }
    CU_ASSERT_EQUAL(rig->authority.raises, before + 1);
}

bool rig_open(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    authority_init(&rig->authority);
    rig->link.record = &rig->authority;
    rig->shared = cache_shared_map(0);
    signal(SIGPIPE, SIG_IGN); /* as the worker does */
    rig_reconnect(rig);
    if (rig->admin && !rig->admin->err)
        freeReplyObject(redisCommand(rig->admin, "FLUSHALL"));
    rig->slot = calloc(1, sizeof *rig->slot);
    rig->cache = rig->slot && rig->shared ? rig_worker(rig, rig->slot) : NULL;
    bool good = rig->cache && polled(rig->cache);
    CU_ASSERT(good);
    if (good)
        return true;
    rig_close(rig);
    return false;
}

void rig_close(struct rig *rig)
{
    cache_close(rig->cache);
    if (rig->admin)
        redisFree(rig->admin);
    free(rig->slot);
    cache_shared_unmap(rig->shared);
}

void redis_control(const char *what)
{
    char command[512];
    const char *program = getenv("TEST_REDIS");
    snprintf(command, sizeof command, "'%s' %s", program ? program : "", what);
    CU_ASSERT_EQUAL(system(command), 0);
}

void request_begin(struct request *r)
{
    r->arena = arena_create(1 << 22);
    ctx_init(&r->ctx, r->arena, deadline_in_ms(10000), SV("default"), SV("test"));
}

void request_end(struct request *r)
{
    arena_destroy(r->arena);
}

long long admin_int(struct rig *rig, const char *command)
{
    redisReply *reply = redisCommand(rig->admin, command);
    long long n = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -3;
    if (reply)
        freeReplyObject(reply);
    return n;
}

bool admin_text(struct rig *rig, const char *command, char *out, size_t n)
{
    redisReply *reply = redisCommand(rig->admin, command);
    bool there = reply && reply->type == REDIS_REPLY_STRING;
    snprintf(out, n, "%s", there ? reply->str : "");
    if (reply)
        freeReplyObject(reply);
    return there;
}

static void name_of(struct rig *rig, struct cache_key key, char kind, char out[600])
{
    char epoch[64];
    admin_text(rig, "GET parley:epoch", epoch, sizeof epoch);
    epoch[strcspn(epoch, ".")] = '\0';
    snprintf(out, 600, "parley:{%.*s:%.*s}:%s:%c", SV_ARG(key.tenant), SV_ARG(key.id), epoch, kind);
}

void admin_set(struct rig *rig, struct cache_key key, char kind, struct sv bytes)
{
    char name[600];
    name_of(rig, key, kind, name);
    freeReplyObject(redisCommand(rig->admin, "SET %s %b PX 60000", name, bytes.p, bytes.n));
}

static long long admin_on(struct rig *rig, const char *verb, struct cache_key key, char kind)
{
    char name[600], command[640];
    name_of(rig, key, kind, name);
    snprintf(command, sizeof command, "%s %s", verb, name);
    return admin_int(rig, command);
}

void admin_delete(struct rig *rig, struct cache_key key, char kind)
{
    admin_on(rig, "DEL", key, kind);
}

long long admin_pttl(struct rig *rig, struct cache_key key, char kind)
{
    return admin_on(rig, "PTTL", key, kind);
}

struct cache_value value_of(struct request *r, struct cache_key key, int64_t version)
{
    struct cache_value v = {.generation = 7, .version = version, .ttl_ms = 600000};
    v.bytes = arena_printf(r->arena, "%.*s/%.*s/%lld", SV_ARG(key.tenant), SV_ARG(key.id),
                           (long long)version);
    return v;
}

int64_t read_version(struct cache *c, struct cache_key key)
{
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    int64_t version = 0;
    request_begin(&r);
    if (cache_read(c, &r.ctx, key, &v, &ticket))
        version = sv_eq(v.bytes, value_of(&r, key, v.version).bytes) ? v.version : -1;
    request_end(&r);
    return version;
}

void fill_version(struct cache *c, struct cache_key key, int64_t version)
{
    struct request r;
    struct cache_value v;
    struct cache_ticket ticket;
    request_begin(&r);
    cache_read(c, &r.ctx, key, &v, &ticket);
    v = value_of(&r, key, version);
    cache_fill(c, &r.ctx, key, &ticket, &v);
    request_end(&r);
}

void write_version(struct cache *c, struct cache_key key, int64_t version)
{
    struct request r;
    struct cache_fence fence;
    request_begin(&r);
    struct cache_value v = value_of(&r, key, version);
    CU_ASSERT_EQUAL(cache_fence(c, &r.ctx, key, &fence), ERR_NONE);
    CU_ASSERT_EQUAL(cache_settle(c, &r.ctx, key, &fence, &v), ERR_NONE);
    request_end(&r);
}

/* Each fills one of about 400 entries, and pushes out the oldest of eight. */
void push_out(struct cache *c)
{
    char id[16];
    for (int i = 0; i < 4000; i++)
        fill_version(c, key_numbered(id, 100000 + i), 1);
}

enum cache_state state_of(struct cache *c)
{
    struct cache_status s;
    cache_status(c, &s);
    return s.redis;
}

bool is_in_use(struct cache *c)
{
    struct cache_status s;
    cache_status(c, &s);
    return s.redis == CACHE_UP && s.reason[0] == '\0';
}

bool polled(struct cache *c)
{
    for (int i = 0; i < 4000; i++) {
        cache_poll(c);
        if (is_in_use(c))
            return true;
        usleep(5 * 1000);
    }
    return false;
}

struct cache_key key_numbered(char id[16], int i)
{
    int n = snprintf(id, 16, "telegram:%d", i);
    return (struct cache_key){SV("default"), {id, (size_t)n}};
}

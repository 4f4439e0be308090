/* SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>

#include "parley/http/request.h"

struct hosts *hosts_open(void)
{
    struct hosts *c = calloc(1, sizeof(*c));
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    *c = (struct hosts){fixture_open(true), fixture_open(true), fixture_open(false),
                        fixture_cache(NULL, getenv("TEST_REDIS_URL"))};
    CU_ASSERT_PTR_NOT_NULL_FATAL(c->redis);
    return c;
}

void hosts_close(struct hosts *c)
{
    fixture_close(c->plain);
    fixture_close(c->b);
    fixture_close(c->a);
    cache_close(c->redis);
    free(c);
}

static void *killer_main(void *arg)
{
    struct killer *k = arg;
    /* Long enough now and then for a statement that a new connection has to plan first. */
    for (int i = 0; !k->stop; i++) {
        fixture_sql(KILL_ALL, NULL, 0);
        service_sleep_ms(3 + 3 * (i % 10));
    }
    return NULL;
}

void killer_start(struct killer *k)
{
    k->stop = false;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&k->thread, NULL, killer_main, k), 0);
}

void killer_stop(struct killer *k)
{
    k->stop = true;
    pthread_join(k->thread, NULL);
}

void hosts_sweep(struct fixture *w)
{
    bool more = true;
    for (int i = 0; more && i < 100; i++)
        OK(sql_sweep(w->sessions, fixture_request(w, ""), &more));
    CU_ASSERT_FALSE(more);
}

void hosts_make(struct fixture *w, const char *id)
{
    struct session_draft d = draft_of(id, NULL);
    OK(fixture_create(w, "t1", &d, &nobody));
}

enum err hosts_append(struct fixture *w, const char *id, size_t n)
{
    static int64_t number;
    struct session_message m[30];
    char content[30][32];
    for (size_t i = 0; i < n; i++) {
        snprintf(content[i], sizeof(content[i]), "\"text %lld\"", (long long)++number);
        m[i] = message_of("user", content[i]);
    }
    const struct session_append a = {m, n, false};
    return fixture_append(w, "t1", id, &a, &nobody);
}

void hosts_expect_current(struct hosts *c, struct fixture *w, const char *id)
{
    enum err e = fixture_get(w, "t1", id), want = fixture_get(c->plain, "t1", id);
    CU_ASSERT_EQUAL(e, want);
    if (e != ERR_NONE || want != ERR_NONE)
        return;
    CU_ASSERT_FALSE(w->s.degraded);
    CU_ASSERT_TRUE(same_session(&w->s, &c->plain->s));
}

static int64_t version_in(struct cache *cache, struct fixture *w, const char *id, bool far)
{
    const struct cache_key key = {SV("t1"), sv_from(id)};
    const struct cache_snapshot now = cache_snapshot(cache, key);
    struct cache_found found;
    return cache_find(cache, fixture_request(w, "t1"), key, &now, far, &found)
               ? found.value.stamp.version
               : 0;
}

int64_t hosts_in_memory(struct fixture *w, const char *id)
{
    return version_in(w->cache, w, id, false);
}

int64_t hosts_in_redis(struct hosts *c, const char *id)
{
    return version_in(c->redis, c->plain, id, true);
}

bool hosts_wait_redis(struct hosts *c, const char *id, int64_t version)
{
    for (int i = 0; i < 1000 && hosts_in_redis(c, id) != version; i++)
        service_sleep_ms(5);
    return hosts_in_redis(c, id) == version;
}

void hosts_tags(struct arena *a, const struct session *s, struct sv out[HOSTS_TAGS])
{
    out[0] = http_etag(a, s->generation, 'v', s->version, s->mark);
    out[1] = http_etag(a, s->generation, 's', s->state_version, s->state_mark);
    out[2] =
        arena_printf(a, "%lld.c%llu", (long long)s->generation, (unsigned long long)(s->mark >> 6));
}

void hosts_put(struct hosts *c, const char *tenant, const char *id, const struct cache_value *value)
{
    const struct cache_key key = {sv_from(tenant), sv_from(id)};
    struct cache *const caches[] = {c->a->cache, c->b->cache, c->redis};
    struct request_ctx *ctx = fixture_request(c->plain, tenant);
    struct cache_found found;
    for (size_t i = 0; i < ARRAY_LEN(caches); i++) {
        bool there = false;
        for (int n = 0; n < 1000 && !there; n++) {
            const struct cache_snapshot now = cache_snapshot(caches[i], key);
            if (n % 20 == 0) /* a worker's queue may still have had another value for Redis */
                cache_put(caches[i], ctx, key, &now, caches[i] == c->redis, value);
            there = cache_find(caches[i], ctx, key, &now, caches[i] == c->redis, &found) &&
                    sv_eq(found.value.bytes, value->bytes) &&
                    cache_stamp_eq(found.value.stamp, value->stamp);
            if (!there)
                service_sleep_ms(2);
        }
        CU_ASSERT_TRUE(there);
    }
}

struct cache_value hosts_value(struct hosts *c, struct fixture *caller, const char *tenant,
                               const char *id, struct session *s)
{
    struct cache_value value = {.ttl_ms = 60000};
    struct request_ctx *ctx = &caller->ctx;
    ctx->deadline = deadline_in_ms(10000);
    ctx->tenant = sv_from(tenant);
    OK(sql_session_read(c->plain->sessions, ctx, sv_from(id), SV_NONE, SESSION_NEWEST, s));
    value.stamp = (struct cache_stamp){s->generation, s->version, s->mark};
    OK(session_codec_encode(ctx, s, &value.bytes));
    return value;
}

/* SPDX-License-Identifier: MIT */
/*
 * The chain. A read asks the tiers from the fastest to the slowest; a fill, a fence and a settling
 * go to all of them, since each keeps its own account of who may store what.
 */
#include "cache_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TIERS_MAX = 2 };

struct cache {
    struct cache_tier *tier[TIERS_MAX]; /* owned, fastest first */
    size_t n;
    struct metrics_slot *slot; /* may be NULL */
};

struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot)
{
    struct cache_url url;
    char why[256];
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->slot = slot;
    if (!settings->redis_url || settings->redis_url[0] == '\0')
        return c;
    /* An URL that cannot be used was refused with the configuration; here it is as none. */
    if (cache_url_parse(settings->redis_url, &url, why, sizeof why)) {
        c->tier[c->n] = cache_redis_open(settings, &url, slot);
        if (!c->tier[c->n]) {
            free(c);
            c = NULL;
        } else {
            c->n++;
        }
    }
    explicit_bzero(&url, sizeof url);
    return c;
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->close(c->tier[i]);
    free(c);
}

static void count_read(struct cache *c, const struct cache_tier *t, bool hit)
{
    if (!c->slot)
        return;
    enum metrics_tier tier = t->ops->metric;
    metrics_add(hit ? &c->slot->tier_hits[tier] : &c->slot->tier_misses[tier], 1);
}

bool cache_read(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_value *out, struct cache_ticket *ticket)
{
    int64_t began = clock_mono_us();
    bool hit = false;
    memset(ticket, 0, sizeof *ticket);
    for (size_t i = 0; i < c->n && !hit; i++) {
        struct cache_tier *t = c->tier[i];
        hit = t->ops->read(t, ctx, key, out, ticket);
        count_read(c, t, hit);
        if (hit)
            ctx->trace.tier = t->ops->name;
    }
    ctx->trace.cache_us += clock_mono_us() - began;
    return hit;
}

bool cache_read_unverified(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                           struct cache_value *out)
{
    struct cache_ticket unused;
    return cache_read(c, ctx, key, out, &unused);
}

void cache_fill(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_ticket *ticket, const struct cache_value *value)
{
    int64_t began = clock_mono_us();
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->fill(c->tier[i], ctx, key, ticket, value);
    ctx->trace.cache_us += clock_mono_us() - began;
}

void cache_fence(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                 struct cache_fence *fence)
{
    int64_t began = clock_mono_us();
    memset(fence, 0, sizeof *fence);
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->fence(c->tier[i], ctx, key, fence);
    ctx->trace.cache_us += clock_mono_us() - began;
}

void cache_settle(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                  struct cache_fence *fence, const struct cache_value *value)
{
    int64_t began = clock_mono_us();
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->settle(c->tier[i], ctx, key, fence, value);
    ctx->trace.cache_us += clock_mono_us() - began;
}

void cache_status(struct cache *c, struct cache_status *out)
{
    memset(out, 0, sizeof *out);
    out->redis = CACHE_OFF;
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->status(c->tier[i], out);
}

void cache_maintain(struct cache *c)
{
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->maintain(c->tier[i]);
}

/* SPDX-License-Identifier: MIT */
/*
 * The chain. A read asks the tiers from the fastest to the slowest, and what one of them has is
 * offered to those in front of it. A fill, a fence and a settling go to all of them, since each
 * keeps its own account of who may store what. A writer fences the fastest first and settles the
 * slowest first: when the memory tier takes fills again, what they may come from has been told.
 */
#include "memory_internal.h"

#include <stdlib.h>
#include <string.h>

enum { TIERS_MAX = 2, TELL_MS = 1000 };

struct cache {
    struct cache_tier *tier[TIERS_MAX]; /* owned, fastest first */
    size_t n;
    struct metrics_slot *slot; /* may be NULL */
    /* Where no write is told to Redis: the record that is to know it, and whether it does. */
    struct cache_authority authority;
    atomic_bool told;
};

static bool open_memory(struct cache *c, const struct cache_settings *settings)
{
    if (!settings->shared || !settings->shared->memory)
        return true;
    c->tier[c->n] = cache_memory_open(settings, settings->shared->memory);
    if (!c->tier[c->n])
        return false;
    c->n++;
    return true;
}

static bool open_redis(struct cache *c, const struct cache_settings *settings)
{
    struct cache_url url;
    char why[256];
    const bool off = !settings->redis_url || settings->redis_url[0] == '\0';
    /* Behind the memory tier Redis is a store that no writer speaks to. */
    if (off || (settings->one_host && settings->shared && settings->shared->memory))
        c->authority = settings->authority;
    if (off)
        return true;
    /* An URL that cannot be used was refused with the configuration; here it is as none. */
    bool valid = cache_url_parse(settings->redis_url, &url, why, sizeof why);
    if (valid)
        c->tier[c->n] = cache_redis_open(settings, &url, c->slot);
    explicit_bzero(&url, sizeof url);
    if (valid && !c->tier[c->n])
        return false;
    c->n += valid;
    return true;
}

struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->slot = slot;
    if (!open_memory(c, settings) || !open_redis(c, settings)) {
        cache_close(c);
        c = NULL;
    }
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

static bool read_tiers(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                       struct cache_value *out, struct cache_ticket *ticket)
{
    int64_t began = clock_mono_us();
    bool hit = false;
    size_t n = 0;
    while (n < c->n && !hit) {
        struct cache_tier *t = c->tier[n++];
        if (!t->ops->at_once)
            ctx_will_wait(ctx);
        hit = t->ops->read(t, ctx, key, out, ticket);
        count_read(c, t, hit);
        if (hit)
            ctx->trace.tier = t->ops->name;
    }
    for (size_t i = 0; hit && !ticket->unverified && i + 1 < n; i++)
        c->tier[i]->ops->fill(c->tier[i], ctx, key, ticket, out);
    if (hit)
        ticket->usable = false;
    ctx->trace.cache_us += clock_mono_us() - began;
    return hit;
}

bool cache_read(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_value *out, struct cache_ticket *ticket)
{
    memset(ticket, 0, sizeof *ticket);
    return read_tiers(c, ctx, key, out, ticket);
}

void cache_fill(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_ticket *ticket, const struct cache_value *value)
{
    int64_t began = clock_mono_us();
    if (!ticket->usable)
        return;
    ticket->usable = false;
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->fill(c->tier[i], ctx, key, ticket, value);
    ctx->trace.cache_us += clock_mono_us() - began;
}

bool cache_read_unverified(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                           struct cache_value *out)
{
    struct cache_ticket ticket = {.unverified = true};
    return read_tiers(c, ctx, key, out, &ticket);
}

/* What a Redis holds that hosts have shared before hears nothing of the writes of this one: the
 * record is made dirty, once, before the first of them, and nobody reads there again before the
 * epoch is raised. */
static bool record_knows(struct cache *c)
{
    struct cache_record record;
    if (!c->authority.ask || atomic_load(&c->told))
        return true;
    if (c->authority.ask(c->authority.arg, CACHE_HOLD, 1, deadline_in_ms(TELL_MS), &record) !=
        ERR_NONE)
        return false;
    atomic_store(&c->told, true);
    return true;
}

enum err cache_fence(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                     struct cache_fence *fence)
{
    int64_t began = clock_mono_us();
    memset(fence, 0, sizeof *fence);
    ctx_will_wait(ctx);
    if (!record_knows(c))
        return ERR_UNAVAILABLE;
    /* What memory notes must be older than any value that is found. */
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->fence(c->tier[i], ctx, key, fence);
    ctx->trace.cache_us += clock_mono_us() - began;
    return fence->result;
}

enum err cache_settle(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                      struct cache_fence *fence, const struct cache_value *value)
{
    int64_t began = clock_mono_us();
    for (size_t i = c->n; i-- > 0;)
        c->tier[i]->ops->settle(c->tier[i], ctx, key, fence, value);
    ctx->trace.cache_us += clock_mono_us() - began;
    return fence->result;
}

void cache_status(struct cache *c, struct cache_status *out)
{
    memset(out, 0, sizeof *out);
    out->redis = CACHE_OFF;
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->status(c->tier[i], out);
}

void cache_poll(struct cache *c)
{
    (void)record_knows(c); /* ahead of the first write, if it can be */
    for (size_t i = 0; i < c->n; i++)
        c->tier[i]->ops->poll(c->tier[i]);
}

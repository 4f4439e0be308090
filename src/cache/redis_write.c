/* SPDX-License-Identifier: MIT */
/* A writer: the fence before its statement, the settling after its commit. */
#include "redis_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include <hiredis/hiredis.h>

/* How long a writer waits at most until nobody reads from a Redis that is newly away. */
enum { SECURE_LEASES = 3, TOKEN_MAX = 40 };

struct fence_call {
    struct cache_redis *redis;
    struct request_ctx *ctx;
    struct cache_key key;
    struct cache_fence *fence;
};

static enum link_result fence_take(struct cache_link *l, const struct fence_call *call,
                                   const redisReply *reply)
{
    struct cache_fence *fence = call->fence;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return cache_value_foreign(call->redis, l, call->key);
    const redisReply *old = reply->element[0];
    if (old->type != REDIS_REPLY_STRING)
        return LINK_DONE;
    int64_t left = reply->element[1]->integer;
    fence->old.ttl_ms = left > 0 ? left : 0;
    enum link_result result = cache_value_take(call->redis, l, call->ctx, call->key,
                                               (struct sv){old->str, old->len}, &fence->old);
    fence->had = fence->had_in_redis = result == LINK_DONE;
    /* Without memory for the old value the fence is set all the same. */
    return result == LINK_NONE ? LINK_DONE : result;
}

/* Of all writers, of other processes and hosts, too, nobody else has this one. */
static struct sv token_text(char out[TOKEN_MAX], const struct cache_redis *r, uint64_t token)
{
    return (struct sv){out,
                       (size_t)snprintf(out, TOKEN_MAX, "%016" PRIx64 ".%" PRIx64, r->seed, token)};
}

/* Each attempt has a token of its own: one that timed out may yet be executed. */
static enum link_result fence_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct fence_call *call = arg;
    char token[TOKEN_MAX], px[24];
    redisReply *reply;
    call->fence->token = atomic_fetch_add(&call->redis->tokens, 1);
    struct sv text = token_text(token, call->redis, call->fence->token);
    /* Who read just before the commit of the longest write may fill for as long as that after it,
     * also when this worker is killed before it settles. */
    struct sv fence_life = cache_decimal(px, (int64_t)call->redis->fence_ms + CACHE_FILL_WINDOW_MS);
    struct cache_script_call script = {SCRIPT_FENCE, call->key, {text, fence_life}, 2};
    enum link_result result = cache_script_run(l, &script, until, &reply);
    if (result != LINK_DONE)
        return result;
    result = fence_take(l, call, reply);
    freeReplyObject(reply);
    return result;
}

/* False unless it is Redis' fault that there is no fence; the breaker is open then. */
static bool fence_try(struct fence_call *call)
{
    struct cache_redis *r = call->redis;
    bool shortened;
    char why[128] = "";
    struct deadline until = cache_redis_deadline(r, call->ctx, &shortened);
    enum link_result result = cache_redis_attempt(r, until, fence_on, call, NULL, why, true);
    call->fence->set = result == LINK_DONE;
    if (!cache_redis_at_fault(result) || (result == LINK_STALLED && shortened))
        return false;
    cache_host_open(r, why);
    return true;
}

void cache_redis_fence(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                       struct cache_fence *fence)
{
    struct cache_redis *r = cache_redis_self(t);
    struct fence_call call = {r, ctx, key, fence};
    struct deadline until =
        deadline_earlier(ctx->deadline, deadline_in_ms(SECURE_LEASES * r->lease_ms));
    enum host_secure secure = HOST_CLOSED;
    if (!cache_key_fits(key) || !r->authority.ask)
        return;
    /* Without a fence for a reason of its own a write may go on: what counts is its settling.
     * Without Redis it may not, until nobody reads there. */
    while (secure == HOST_CLOSED && !deadline_passed(until)) {
        if ((atomic_load(&r->host->life) & 1) && !fence_try(&call))
            break;
        secure = cache_host_secure(r, until, false);
    }
    if (secure == HOST_EXPOSED)
        fence->result = ERR_UNAVAILABLE;
    if (!fence->set && r->slot)
        metrics_add(&r->slot->cache_fence_failures, 1);
}

static enum link_result settle_on(struct cache_link *l, struct deadline until, void *arg)
{
    redisReply *reply;
    enum link_result result = cache_script_run(l, arg, until, &reply);
    if (result == LINK_DONE)
        freeReplyObject(reply);
    return result;
}

static enum link_result unmark_on(struct cache_link *l, struct deadline until, void *arg)
{
    (void)arg;
    return cache_link_mark(l, "", until);
}

/* Tells Redis. Where another marker is in force than the record's epoch gives, what is stored under
 * it is not known here: without a marker nothing of it is read. */
static bool tell(struct cache_redis *r, struct cache_script_call *call)
{
    char why[128] = "";
    struct deadline until = deadline_in_ms(r->timeout_ms);
    enum link_result result = cache_redis_attempt(r, until, settle_on, call, NULL, why, true);
    if (result == LINK_EPOCH)
        result = cache_redis_attempt(r, deadline_in_ms(r->timeout_ms), unmark_on, NULL, NULL, why,
                                     false);
    if (result == LINK_DONE)
        return true;
    cache_host_open(r, why);
    return false;
}

/* Not bounded by the request's deadline: what is committed must be told, or else nobody may be able
 * to read what Redis holds before the caller answers. */
void cache_redis_settle(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_fence *fence, const struct cache_value *value)
{
    struct cache_redis *r = cache_redis_self(t);
    struct deadline until = deadline_in_ms(SECURE_LEASES * r->lease_ms);
    enum host_secure secure = HOST_CLOSED;
    char own[TOKEN_MAX], fresh[TOKEN_MAX], px[24];
    if (!cache_key_fits(key) || !r->authority.ask)
        return;
    struct arena_mark mark = arena_get_mark(ctx->arena);
    /* What is put back goes back to where it was. If Redis had it no longer, another writer has
     * dropped it there, who may have committed since. */
    const bool is_kept =
        fence->set && !fence->in_doubt && (value != &fence->old || fence->had_in_redis);
    struct sv stored = is_kept ? cache_value_form(r, ctx->arena, key, value) : SV("");
    struct cache_script_call call = {SCRIPT_SETTLE,
                                     key,
                                     {fence->set ? token_text(own, r, fence->token) : SV(""),
                                      token_text(fresh, r, atomic_fetch_add(&r->tokens, 1)), stored,
                                      cache_value_life(px, value),
                                      fence->in_doubt ? SV("1") : SV("0")},
                                     5};
    bool told = false;
    while (!told && secure == HOST_CLOSED && !deadline_passed(until)) {
        told = (atomic_load(&r->host->life) & 1) && tell(r, &call);
        /* Of a write whose outcome is in doubt nobody is told that it was done. */
        if (!told && fence->in_doubt)
            break;
        if (!told)
            secure = cache_host_secure(r, until, true);
    }
    if (!told && !fence->in_doubt && secure != HOST_SECURE)
        fence->result = ERR_OUTCOME_UNKNOWN;
    arena_rewind(ctx->arena, mark);
}

/* SPDX-License-Identifier: MIT */
/* A writer: the fence before its statement, the settling after its commit. */
#include "redis_internal.h"

#include <string.h>

#include <hiredis/hiredis.h>

/* How long a writer waits at most until nobody reads from a Redis that is newly away. */
enum { SECURE_LEASES = 3 };

struct fence_call {
    struct cache_redis *redis;
    struct request_ctx *ctx;
    struct cache_key key;
    struct cache_fence *fence;
};

/* Of the order that the fence found. Another one came in between otherwise; or it is none of ours.
 */
static bool is_dropped(const redisReply *old, const redisReply *order)
{
    return old->type == REDIS_REPLY_STRING && order->len == CACHE_CODEC_ORDER &&
           old->len >= order->len && memcmp(old->str, order->str, order->len) == 0;
}

static enum link_result fence_take(struct cache_link *l, const struct fence_call *call,
                                   const redisReply *old, const redisReply *reply)
{
    struct cache_fence *fence = call->fence;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_INTEGER)
        return cache_value_foreign(call->redis, l, call->key);
    if (!is_dropped(old, reply->element[0]))
        return LINK_DONE;
    int64_t left = reply->element[1]->integer;
    fence->old.ttl_ms = left > 0 ? left : 0;
    enum link_result result = cache_value_take(call->redis, l, call->ctx, call->key,
                                               (struct sv){old->str, old->len}, &fence->old);
    fence->had = fence->had_in_redis = result == LINK_DONE;
    /* Without memory for the old value the fence is set all the same. */
    return result == LINK_NONE ? LINK_DONE : result;
}

/* Each attempt has a token of its own: one that timed out may yet be executed. */
static enum link_result fence_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct fence_call *call = arg;
    char token[CACHE_TOKEN_MAX], px[24];
    redisReply *old, *reply;
    call->fence->token = cache_token_make(call->redis);
    struct sv text = cache_token_text(token, call->redis, call->fence->token);
    /* Who read just before the commit of the longest write may fill for as long as that after it,
     * also when this worker is killed before it settles. */
    struct sv fence_life = cache_decimal(px, (int64_t)call->redis->fence_ms + CACHE_FILL_WINDOW_MS);
    struct cache_script_call script = {
        .script = SCRIPT_FENCE, .key = call->key, .args = {text, fence_life}, .n_args = 2};
    enum link_result result = cache_script_run(l, &script, until, &old, &reply);
    if (result != LINK_DONE)
        return result;
    result = fence_take(l, call, old, reply);
    freeReplyObject(old);
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
    enum link_result result = cache_script_run(l, arg, until, NULL, &reply);
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
    char own[CACHE_TOKEN_MAX], fresh[CACHE_TOKEN_MAX], px[24];
    if (!cache_key_fits(key) || !r->authority.ask)
        return;
    struct arena_mark mark = arena_get_mark(ctx->arena);
    /* What is put back goes back to where it was. If Redis had it no longer, another writer has
     * dropped it there, who may have committed since. */
    const bool is_kept =
        fence->set && !fence->in_doubt && (value != &fence->old || fence->had_in_redis);
    const struct sv token = cache_token_text(fresh, r, cache_token_make(r));
    struct cache_script_call call = {
        .script = SCRIPT_SETTLE,
        .key = key,
        .args = {fence->set ? cache_token_text(own, r, fence->token) : SV(""), token,
                 cache_value_life(px, value), fence->in_doubt ? SV("1") : SV("0")},
        .n_args = 4,
        .stored = is_kept ? cache_value_form(r, ctx->arena, key, value) : SV(""),
        .token = token};
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

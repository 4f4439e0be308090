/* SPDX-License-Identifier: MIT */
/*
 * A reader: a hit, or a miss with a ticket and the fill that the ticket allows. A ticket is bound
 * to the very connection on which the miss was seen: a Redis that died and came back in between
 * must not be filled with what was read before, since the fence that forbids it may be gone.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

static int64_t time_ms(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING)
        return -1;
    return strtoll(reply->element[0]->str, NULL, 10) * 1000 +
           strtoll(reply->element[1]->str, NULL, 10) / 1000;
}

struct read_call {
    struct cache_redis *redis;
    struct request_ctx *ctx;
    struct cache_key key;
    struct cache_value value;
    bool hit;
    int64_t began_ms;
};

enum { READ_TIME, READ_LIFE, READ_VALUE, READ_REPLIES };

static enum link_result read_judge(struct cache_link *l, struct read_call *call,
                                   redisReply *const reply[READ_REPLIES])
{
    for (int i = 0; i < READ_REPLIES; i++)
        if (reply[i]->type == REDIS_REPLY_ERROR) {
            snprintf(l->why, sizeof l->why, "%s", reply[i]->str);
            return LINK_REFUSED;
        }
    call->began_ms = time_ms(reply[READ_TIME]);
    const redisReply *both = reply[READ_VALUE];
    if (call->began_ms < 0 || reply[READ_LIFE]->type != REDIS_REPLY_INTEGER ||
        both->type != REDIS_REPLY_ARRAY || both->elements != 2)
        return cache_value_foreign(call->redis, l, call->key);
    const redisReply *marker = both->element[0], *value = both->element[1];
    if (marker->type != REDIS_REPLY_STRING || strcmp(marker->str, l->marker) != 0)
        return LINK_EPOCH;
    if (value->type == REDIS_REPLY_NIL)
        return LINK_DONE;
    if (value->type != REDIS_REPLY_STRING)
        return cache_value_foreign(call->redis, l, call->key);
    /* Asked for ahead of the value: a writer in between makes it too short, not too long. */
    call->value.ttl_ms = reply[READ_LIFE]->integer > 0 ? reply[READ_LIFE]->integer : 0;
    enum link_result result = cache_value_take(call->redis, l, call->ctx, call->key,
                                               (struct sv){value->str, value->len}, &call->value);
    call->hit = result == LINK_DONE;
    return result;
}

/* TIME first, in the same write: what the reader reads elsewhere after a miss is read later than
 * that. Marker and value come in one command, so that they are of the same instant. */
static enum link_result read_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct read_call *call = arg;
    struct cache_name name;
    redisReply *reply[READ_REPLIES] = {NULL};
    struct sv value = cache_name_make(&name, call->key, l->epoch, 'v');
    enum link_result result = cache_link_append(l, (struct sv[]){SV("TIME")}, 1);
    if (result == LINK_DONE)
        result = cache_link_append(l, (struct sv[]){SV("PTTL"), value}, 2);
    if (result == LINK_DONE)
        result = cache_link_append(l, (struct sv[]){SV("MGET"), SV(CACHE_EPOCH_KEY), value}, 3);
    for (int i = 0; i < READ_REPLIES && result == LINK_DONE; i++)
        result = cache_link_reply(l, until, &reply[i]);
    if (result == LINK_DONE)
        result = read_judge(l, call, reply);
    for (int i = 0; i < READ_REPLIES; i++)
        if (reply[i])
            freeReplyObject(reply[i]);
    return result;
}

/* What keeps a link out of the pool until the fill, or until the request ends without one. */
struct loan {
    struct cache_redis *redis;
    struct cache_link *link;
    uint64_t run;
};

static void loan_end(void *arg)
{
    struct loan *loan = arg;
    if (atomic_load(&loan->link->run) == loan->run)
        cache_pool_put(loan->redis, loan->link, true);
}

static void ticket_make(struct cache_redis *r, struct request_ctx *ctx, struct cache_link *l,
                        int64_t began_ms, struct cache_ticket *ticket)
{
    struct loan *loan = arena_alloc(ctx->arena, sizeof *loan);
    if (!loan) {
        cache_pool_put(r, l, true);
        return;
    }
    *loan = (struct loan){r, l, atomic_load(&l->run)};
    if (arena_defer(ctx->arena, loan_end, loan) != ERR_NONE)
        return;
    ticket->link = l;
    ticket->link_run = loan->run;
    ticket->life = l->life;
    ticket->began_ms = began_ms;
    ticket->usable = true;
}

bool cache_redis_read(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_value *out, struct cache_ticket *ticket)
{
    struct cache_redis *r = cache_redis_self(t);
    struct read_call call = {.redis = r, .ctx = ctx, .key = key};
    struct cache_link *l = NULL;
    bool shortened;
    char why[128] = "";
    /* The breaker first, then the lease, then (in the attempt) the epoch. */
    uint64_t life = atomic_load(&r->host->life);
    if (!(life & 1) || !r->authority.ask || !cache_key_fits(key) || deadline_passed(ctx->deadline))
        return false;
    /* Without a lease there must have been one since the breaker was closed: what Redis was not
     * told of while it was open is left behind by then. */
    if (ticket->unverified ? atomic_load(&r->host->lease_life) != life
                           : !cache_host_leased(r, life))
        return false;
    struct deadline until = cache_redis_deadline(r, ctx, &shortened);
    enum link_result result = cache_redis_attempt(r, until, read_on, &call, &l, why, false);
    if (result != LINK_DONE) {
        if (cache_redis_at_fault(result) && !(result == LINK_STALLED && shortened))
            cache_host_open(r, why);
        return false;
    }
    if (call.hit)
        *out = call.value;
    if (call.hit || ticket->unverified)
        cache_pool_put(r, l, true);
    else
        ticket_make(r, ctx, l, call.began_ms, ticket);
    return call.hit;
}

/* True if Redis took it. */
static bool fill_on(struct cache_redis *r, struct request_ctx *ctx, struct cache_link *l,
                    const struct cache_script_call *call, bool *keep)
{
    bool shortened;
    redisReply *reply;
    struct deadline until = cache_redis_deadline(r, ctx, &shortened);
    enum link_result result = cache_script_run(l, call, until, NULL, &reply);
    *keep = result == LINK_DONE || result == LINK_EPOCH;
    if (result != LINK_DONE) {
        /* An error is an answer, too: a full memory refuses a fill and nothing else. */
        if (result == LINK_LOST || (result == LINK_STALLED && !shortened))
            cache_host_open(r, l->why);
        return false;
    }
    bool taken = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    freeReplyObject(reply);
    return taken;
}

void cache_redis_fill(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_ticket *ticket, const struct cache_value *value)
{
    struct cache_redis *r = cache_redis_self(t);
    struct cache_link *l = ticket->link;
    char began[24], px[24], token[CACHE_TOKEN_MAX];
    bool keep = true;
    if (!l)
        return;
    ticket->link = NULL;
    if (atomic_load(&l->run) != ticket->link_run)
        return;
    /* The encoded copy is given back at once: a value may be large. */
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct sv stored = cache_value_form(r, ctx->arena, key, value);
    /* A tier that went down since the miss must not be filled with what was read before. */
    bool same_life = ticket->life == atomic_load(&r->host->life);
    if (stored.n > 0 && same_life && !deadline_passed(ctx->deadline)) {
        struct cache_script_call call = {.script = SCRIPT_FILL,
                                         .key = key,
                                         .args = {cache_decimal(began, ticket->began_ms),
                                                  {stored.p, CACHE_CODEC_ORDER},
                                                  cache_value_life(px, value)},
                                         .n_args = 3,
                                         .stored = stored,
                                         .token = cache_token_text(token, r, cache_token_make(r))};
        const bool taken = fill_on(r, ctx, l, &call, &keep);
        if (r->slot)
            metrics_add(taken ? &r->slot->cache_fills : &r->slot->cache_fills_refused, 1);
    }
    arena_rewind(ctx->arena, mark);
    cache_pool_put(r, l, keep);
}

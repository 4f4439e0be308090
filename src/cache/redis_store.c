/* SPDX-License-Identifier: MIT */
/*
 * Redis behind the memory tier, for a host that is alone on its database: a store and nothing more.
 * One key a session, parley:{<tenant>:<id>}:one:v, whose value is a stamp and the form of
 * cache_codec.c:
 *
 *   16 bytes  the identity of the table, another one at each start of the service
 *   u64       the epoch of the key's bucket
 *   u64       that of all; both as whoever stored it had noted them before asking PostgreSQL
 *   i64       the monotonic time in us up to which it is good
 *   u64       a checksum of these and of the checksum behind the value
 *
 * Who may believe what is decided by the table alone (memory_internal.h). What is found here is
 * used if the table itself could have given it out: this table, the epochs that the reader noted
 * before it asked, and no bar. So nothing that becomes of Redis can make a reader see what is too
 * old: what comes late, comes back or was never taken away has another stamp. A writer raises its
 * bucket's epoch, as it does for the table, and has nothing to tell Redis.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <sodium.h>

#include "memory_internal.h"

struct stamp {
    unsigned char table[16];
    uint64_t epoch, all;
    int64_t until_us;
    unsigned char checksum[crypto_shorthash_BYTES];
};
_Static_assert(sizeof(struct stamp) == 48, "a stamp has no holes: it is stored as it is");

/* Binds the stamp to the value: its last bytes are a checksum of the rest. */
static void seal(const struct stamp *stamp, struct sv form, unsigned char out[])
{
    static const unsigned char key[crypto_shorthash_KEYBYTES];
    unsigned char text[offsetof(struct stamp, checksum) + crypto_shorthash_BYTES];
    const size_t n = sizeof text - crypto_shorthash_BYTES;
    memcpy(text, stamp, n);
    memcpy(text + n, form.p + form.n - crypto_shorthash_BYTES, crypto_shorthash_BYTES);
    crypto_shorthash(out, text, sizeof text, key);
}

struct store_call {
    struct cache_redis *redis;
    struct request_ctx *ctx;
    struct cache_key key;
    const struct cache_note *note;
    struct sv stored; /* what is to be stored, and its life in ms */
    struct sv life;
    struct cache_value value; /* what was found, if hit */
    bool hit;
};

/* A whole value of the key that the table would give out to whoever has this note. */
static enum link_result judge(struct cache_link *l, struct store_call *call, struct sv stored)
{
    struct cache_redis *r = call->redis;
    struct stamp stamp;
    unsigned char checksum[sizeof stamp.checksum];
    if (stored.n < sizeof stamp + sizeof checksum)
        return cache_value_foreign(r, l, call->key);
    memcpy(&stamp, stored.p, sizeof stamp);
    const struct sv form = {stored.p + sizeof stamp, stored.n - sizeof stamp};
    if (memcmp(stamp.table, r->table->id, sizeof stamp.table) != 0)
        return LINK_DONE;
    seal(&stamp, form, checksum);
    if (memcmp(checksum, stamp.checksum, sizeof checksum) != 0)
        return cache_value_foreign(r, l, call->key);
    const int64_t now = clock_mono_us();
    if (stamp.epoch != call->note->epoch || stamp.all != call->note->all || now >= stamp.until_us)
        return LINK_DONE;
    call->value.ttl_ms = (stamp.until_us - now) / 1000;
    enum link_result result = cache_value_take(r, l, call->ctx, call->key, form, &call->value);
    call->hit = result == LINK_DONE;
    return result;
}

static struct sv name_of(struct cache_name *name, struct cache_key key)
{
    return cache_name_make(name, key, "one", 'v');
}

static enum link_result get_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct store_call *call = arg;
    struct cache_name name;
    redisReply *reply;
    enum link_result result =
        cache_link_append(l, (struct sv[]){SV("GET"), name_of(&name, call->key)}, 2);
    if (result == LINK_DONE)
        result = cache_link_reply(l, until, &reply);
    if (result != LINK_DONE)
        return result;
    if (reply->type == REDIS_REPLY_STRING)
        result = judge(l, call, (struct sv){reply->str, reply->len});
    else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) != 0) {
        snprintf(l->why, sizeof l->why, "%s", reply->str);
        result = LINK_REFUSED;
    } else if (reply->type != REDIS_REPLY_NIL && reply->type != REDIS_REPLY_ERROR) {
        result = cache_value_foreign(call->redis, l, call->key);
    }
    freeReplyObject(reply);
    return result;
}

/* True if fn went through; opens the breaker if Redis is to blame that it did not. */
static bool attempt(struct store_call *call, cache_link_fn fn)
{
    struct cache_redis *r = call->redis;
    bool shortened;
    char why[128] = "";
    struct deadline until = cache_redis_deadline(r, call->ctx, &shortened);
    enum link_result result = cache_redis_attempt(r, until, fn, call, NULL, why, false);
    if (cache_redis_at_fault(result) && !(result == LINK_STALLED && shortened))
        cache_host_open(r, why);
    return result == LINK_DONE;
}

static bool is_usable(const struct cache_redis *r, const struct request_ctx *ctx,
                      struct cache_key key, const struct cache_note *note)
{
    return note->usable && (atomic_load(&r->host->life) & 1) && cache_key_fits(key) &&
           !deadline_passed(ctx->deadline);
}

/* Under the note that the memory tier, in front of this one, has taken. */
bool cache_store_read(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_value *out, struct cache_ticket *ticket)
{
    struct cache_redis *r = cache_redis_self(t);
    struct store_call call = {.redis = r, .ctx = ctx, .key = key, .note = &ticket->note};
    if (!is_usable(r, ctx, key, call.note) || !attempt(&call, get_on) || !call.hit)
        return false;
    *out = call.value;
    return true;
}

/* Nobody waits for the answer: whether it was stored matters to nobody but the one who counts. */
static enum link_result set_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct store_call *call = arg;
    struct cache_name name;
    const struct sv words[] = {SV("SET"), name_of(&name, call->key), call->stored, SV("PX"),
                               call->life};
    enum link_result result = cache_link_append(l, words, ARRAY_LEN(words));
    return result == LINK_DONE ? cache_link_post(l, until) : result;
}

static struct sv stamped(struct store_call *call, const struct cache_value *value)
{
    struct sv form = cache_value_form(call->redis, call->ctx->arena, call->key, value);
    struct stamp stamp = {.epoch = call->note->epoch, .all = call->note->all};
    char *p = form.n > 0 ? arena_alloc(call->ctx->arena, sizeof stamp + form.n) : NULL;
    if (!p)
        return SV("");
    memcpy(stamp.table, call->redis->table->id, sizeof stamp.table);
    stamp.until_us = clock_mono_us() + cache_value_life_ms(value) * 1000;
    seal(&stamp, form, stamp.checksum);
    memcpy(p, &stamp, sizeof stamp);
    memcpy(p + sizeof stamp, form.p, form.n);
    return (struct sv){p, sizeof stamp + form.n};
}

void cache_store_fill(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_ticket *ticket, const struct cache_value *value)
{
    char px[24];
    struct store_call call = {.redis = cache_redis_self(t),
                              .ctx = ctx,
                              .key = key,
                              .note = &ticket->note,
                              .life = cache_value_life(px, value)};
    if (!is_usable(call.redis, ctx, key, call.note))
        return;
    struct arena_mark mark = arena_get_mark(ctx->arena);
    call.stored = stamped(&call, value);
    if (call.stored.n > 0)
        (void)attempt(&call, set_on);
    arena_rewind(ctx->arena, mark);
}

void cache_store_fence(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                       struct cache_fence *fence)
{
    (void)t, (void)ctx, (void)key, (void)fence;
}

void cache_store_settle(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_fence *fence, const struct cache_value *value)
{
    (void)t, (void)ctx, (void)key, (void)fence, (void)value;
}

/* Also where all that is read is in memory, and Redis has not been asked for long. */
void cache_store_poll(struct cache_tier *t)
{
    cache_host_probe(cache_redis_self(t));
    cache_host_check(cache_redis_self(t));
}

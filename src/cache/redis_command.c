/* SPDX-License-Identifier: MIT */
/*
 * How the Redis tier speaks: the names of keys, a script on one key, values as text and back.
 */
#include "redis_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/obs/log.h"

static const int64_t life_max_ms = INT64_C(7) * 24 * 3600 * 1000;

bool cache_key_fits(struct cache_key key)
{
    return key.tenant.n > 0 && key.id.n > 0 && key.tenant.n + key.id.n <= CACHE_KEY_MAX;
}

static void name_put(struct cache_name *name, const char *p, size_t n)
{
    memcpy(name->text + name->n, p, n);
    name->n += n;
}

struct sv cache_name_make(struct cache_name *name, struct cache_key key, const char *epoch,
                          char kind)
{
    name->n = 0;
    name_put(name, "parley:{", 8);
    name_put(name, key.tenant.p, key.tenant.n);
    name_put(name, ":", 1);
    name_put(name, key.id.p, key.id.n);
    name_put(name, "}:", 2);
    name_put(name, epoch, strlen(epoch));
    name_put(name, ":", 1);
    name_put(name, &kind, 1);
    return (struct sv){name->text, name->n};
}

static enum link_result script_send(struct cache_link *l, const struct cache_script_call *call,
                                    bool by_name, struct deadline until, redisReply **out)
{
    struct cache_name value, fence;
    struct sv words[7 + CACHE_SCRIPT_ARGS] = {
        by_name ? SV("EVALSHA") : SV("EVAL"),
        by_name ? sv_from(l->sha[call->script]) : sv_from(cache_script_text(call->script)),
        SV("3"),
        cache_name_make(&value, call->key, l->epoch, 'v'),
        cache_name_make(&fence, call->key, l->epoch, 'f'),
        SV(CACHE_EPOCH_KEY),
        sv_from(l->marker),
    };
    memcpy(words + 7, call->args, (size_t)call->n_args * sizeof call->args[0]);
    enum link_result result = cache_link_append(l, words, 7 + call->n_args);
    return result == LINK_DONE ? cache_link_reply(l, until, out) : result;
}

enum link_result cache_script_run(struct cache_link *l, const struct cache_script_call *call,
                                  struct deadline until, redisReply **out)
{
    redisReply *reply = NULL;
    enum link_result result = script_send(l, call, true, until, &reply);
    if (result == LINK_DONE && reply->type == REDIS_REPLY_ERROR &&
        strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        /* SCRIPT FLUSH: a Redis that was restarted would have lost the link as well. */
        freeReplyObject(reply);
        result = script_send(l, call, false, until, &reply);
    }
    if (result != LINK_DONE)
        return result;
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(l->why, sizeof l->why, "%s", reply->str);
        result = LINK_REFUSED;
    } else if (reply->type == REDIS_REPLY_INTEGER && reply->integer == -1) {
        snprintf(l->why, sizeof l->why, "the marker is another one");
        result = LINK_EPOCH;
    }
    if (result == LINK_DONE)
        *out = reply;
    else
        freeReplyObject(reply);
    return result;
}

enum link_result cache_value_foreign(struct cache_redis *r, struct cache_link *l,
                                     struct cache_key key)
{
    cache_count_mismatch(&r->mismatches, "redis", key);
    snprintf(l->why, sizeof l->why, "a value that is not of the session asked for");
    return LINK_FOREIGN;
}

enum link_result cache_value_take(struct cache_redis *r, struct cache_link *l,
                                  struct request_ctx *ctx, struct cache_key key, struct sv stored,
                                  struct cache_value *out)
{
    struct cache_value value = *out;
    if (!cache_codec_decode(stored, key, &value) || value.bytes.n > r->value_max)
        return cache_value_foreign(r, l, key);
    value.bytes = arena_dup(ctx->arena, value.bytes);
    if (!value.bytes.p)
        return LINK_NONE;
    *out = value;
    return LINK_DONE;
}

struct sv cache_decimal(char out[24], int64_t v)
{
    return (struct sv){out, (size_t)snprintf(out, 24, "%" PRId64, v)};
}

struct sv cache_value_form(const struct cache_redis *r, struct arena *a, struct cache_key key,
                           const struct cache_value *value)
{
    struct sv stored;
    if (!value || value->ttl_ms <= 0 || value->bytes.n > r->value_max ||
        !cache_codec_encode(a, key, value, &stored))
        return SV("");
    return stored;
}

int64_t cache_value_life_ms(const struct cache_value *value)
{
    int64_t ms = value ? value->ttl_ms : 0;
    return ms < life_max_ms ? ms : life_max_ms;
}

struct sv cache_value_life(char out[24], const struct cache_value *value)
{
    return cache_decimal(out, cache_value_life_ms(value));
}

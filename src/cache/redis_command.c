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

uint64_t cache_token_make(struct cache_redis *r)
{
    return atomic_fetch_add(&r->tokens, 1);
}

struct sv cache_token_text(char out[CACHE_TOKEN_MAX], const struct cache_redis *r, uint64_t token)
{
    int n = snprintf(out, CACHE_TOKEN_MAX, "%016" PRIx64 ".%" PRIx64, r->seed, token);
    return (struct sv){out, (size_t)n};
}

/* Where a new value lies until its script puts it into its place. */
static struct sv name_beside(struct cache_name *name, const struct cache_link *l,
                             const struct cache_script_call *call)
{
    (void)cache_name_make(name, call->key, l->epoch, 'n');
    name_put(name, ":", 1);
    name_put(name, call->token.p, call->token.n);
    return (struct sv){name->text, name->n};
}

static enum link_result append_script(struct cache_link *l, const struct cache_script_call *call,
                                      bool by_name, struct sv value, struct sv beside)
{
    struct cache_name fence;
    struct sv words[8 + CACHE_SCRIPT_ARGS] = {
        by_name ? SV("EVALSHA") : SV("EVAL"),
        by_name ? sv_from(l->sha[call->script]) : sv_from(cache_script_text(call->script)),
        beside.n > 0 ? SV("4") : SV("3"),
        value,
        cache_name_make(&fence, call->key, l->epoch, 'f'),
        SV(CACHE_EPOCH_KEY),
    };
    int n = 6;
    if (beside.n > 0)
        words[n++] = beside;
    words[n++] = sv_from(l->marker);
    memcpy(words + n, call->args, (size_t)call->n_args * sizeof call->args[0]);
    return cache_link_append(l, words, n + call->n_args);
}

enum { REPLY_BESIDE, REPLY_OLD, REPLY_SCRIPT, REPLIES };

static void free_replies(redisReply *reply[REPLIES])
{
    for (int i = 0; i < REPLIES; i++) {
        if (reply[i])
            freeReplyObject(reply[i]);
        reply[i] = NULL;
    }
}

/* In one write: the new value, the question for the old one, the script. */
static enum link_result script_send(struct cache_link *l, const struct cache_script_call *call,
                                    bool by_name, struct deadline until, redisReply *reply[REPLIES])
{
    struct cache_name value_name, beside_name;
    char px[24];
    struct sv value = cache_name_make(&value_name, call->key, l->epoch, 'v'), beside = SV("");
    const bool is_sent[REPLIES] = {call->stored.n > 0, call->script == SCRIPT_FENCE, true};
    enum link_result result = LINK_DONE;
    if (is_sent[REPLY_BESIDE]) {
        beside = name_beside(&beside_name, l, call);
        const struct sv set[] = {SV("SET"), beside, call->stored, SV("PX"),
                                 cache_decimal(px, CACHE_BESIDE_MS)};
        result = cache_link_append(l, set, ARRAY_LEN(set));
    }
    if (result == LINK_DONE && is_sent[REPLY_OLD])
        result = cache_link_append(l, (struct sv[]){SV("GET"), value}, 2);
    if (result == LINK_DONE)
        result = append_script(l, call, by_name, value, beside);
    for (int i = 0; i < REPLIES && result == LINK_DONE; i++)
        if (is_sent[i])
            result = cache_link_reply(l, until, &reply[i]);
    if (result != LINK_DONE)
        free_replies(reply);
    return result;
}

/* A new value that was refused, by a full memory for one, is not stored, and nothing more. */
enum link_result cache_script_run(struct cache_link *l, const struct cache_script_call *call,
                                  struct deadline until, redisReply **old, redisReply **out)
{
    redisReply *reply[REPLIES] = {NULL};
    enum link_result result = script_send(l, call, true, until, reply);
    if (result == LINK_DONE && reply[REPLY_SCRIPT]->type == REDIS_REPLY_ERROR &&
        strncmp(reply[REPLY_SCRIPT]->str, "NOSCRIPT", 8) == 0) {
        /* SCRIPT FLUSH: a Redis that was restarted would have lost the link as well. */
        free_replies(reply);
        result = script_send(l, call, false, until, reply);
    }
    if (result != LINK_DONE)
        return result;
    const redisReply *told = reply[REPLY_SCRIPT];
    if (told->type == REDIS_REPLY_ERROR) {
        snprintf(l->why, sizeof l->why, "%s", told->str);
        result = LINK_REFUSED;
    } else if (told->type == REDIS_REPLY_INTEGER && told->integer == -1) {
        snprintf(l->why, sizeof l->why, "the marker is another one");
        result = LINK_EPOCH;
    } else {
        *out = reply[REPLY_SCRIPT];
        reply[REPLY_SCRIPT] = NULL;
        if (old) {
            *old = reply[REPLY_OLD];
            reply[REPLY_OLD] = NULL;
        }
    }
    free_replies(reply);
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

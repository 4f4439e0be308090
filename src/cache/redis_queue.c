/* SPDX-License-Identifier: MIT */
/*
 * Commands for Redis that no request waits for: values to store and to remove. The queue is
 * bounded, and one thread sends it in rounds and reads every reply. A full queue drops its oldest
 * entry. A value that Redis does not accept is lost. Either costs a miss.
 *
 * The thread also probes Redis while no request asks it.
 */
#include "memory_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/base/thread.h"

enum { ITEMS_MAX = 512, BYTES_MAX = 8 * 1024 * 1024, ROUND_MAX = 64 };
/* Between two rounds: values that arrive meanwhile are sent together, and each key once. */
static const int64_t round_us = 2 * 1000;
/* How soon the thread notices that Redis is away, or that a pause is over. */
static const int64_t tick_us = 100 * 1000;

struct item {
    struct item *next;
    struct cache_redis_key key;
    struct cache_snapshot snapshot; /* of a SET */
    int64_t at_us, ttl_ms;          /* queued at; life from then on */
    bool accepted;                  /* by Redis */
    bool must_clear; /* Redis may hold an old value of the key, which must go even if this value is
                      * lost */
    size_t n;        /* 0: DEL */
    char bytes[];
};

struct cache_queue {
    struct cache_redis *redis;
    struct memory_table *memory; /* NULL: none */
    struct metrics_slot *slot;   /* may be NULL */
    struct thread_loop loop;
    /* Under the lock: */
    struct item *first, **last;
    size_t n, bytes;
    bool idle; /* the thread waits for an item */
};

static void count_set(struct cache_queue *q, bool accepted)
{
    if (q->slot)
        metrics_add(accepted ? &q->slot->cache_sets : &q->slot->cache_sets_lost, 1);
}

static void lose_item(struct cache_queue *q, struct item *item)
{
    count_set(q, false);
    free(item);
}

/* ---- under the lock ---- */

static struct item *unlink_item(struct cache_queue *q, struct item **at)
{
    struct item *item = *at;
    *at = item->next;
    if (q->last == &item->next)
        q->last = at;
    q->n--;
    q->bytes -= item->n;
    return item;
}

/* The link to the item of the key; it is NULL if there is none. */
static struct item **link_of(struct cache_queue *q, const struct cache_redis_key *key)
{
    struct item **at = &q->first;
    while (*at && ((*at)->key.n != key->n || memcmp((*at)->key.text, key->text, key->n) != 0))
        at = &(*at)->next;
    return at;
}

static void append_item(struct cache_queue *q, struct item *item)
{
    *q->last = item;
    q->last = &item->next;
    q->n++;
    q->bytes += item->n;
    while (q->n > ITEMS_MAX || q->bytes > BYTES_MAX)
        lose_item(q, unlink_item(q, &q->first));
    if (q->idle)
        pthread_cond_signal(&q->loop.wake);
}

/* ---- callers ---- */

void cache_queue_push(struct cache_queue *q, const struct cache_redis_key *key,
                      const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms)
{
    struct item *item = key->n > 0 ? malloc(sizeof *item + stored.n) : NULL;
    if (item) {
        *item = (struct item){.key = *key, .at_us = clock_mono_us(), .ttl_ms = ttl_ms};
        item->n = stored.n;
        if (snapshot)
            item->snapshot = *snapshot;
        if (stored.n > 0)
            memcpy(item->bytes, stored.p, stored.n);
    }
    pthread_mutex_lock(&q->loop.lock);
    struct item **older = link_of(q, key);
    if (*older && item)
        item->must_clear = (*older)->must_clear || (*older)->n == 0;
    if (*older)
        free(unlink_item(q, older));
    if (item)
        append_item(q, item);
    pthread_mutex_unlock(&q->loop.lock);
    if (!item)
        count_set(q, false);
}

/* ---- the thread ---- */

/* Whether this host has neither written nor erased the session since it was read. Without memory
 * nobody knows, and it counts as true. */
static bool is_current(const struct cache_queue *q, const struct item *item)
{
    return !q->memory || memory_is_current(q->memory, &item->snapshot);
}

struct round {
    const struct cache_queue *queue;
    struct item *items;
};

static bool append_command(const struct cache_queue *q, struct cache_conn *conn, struct item *item)
{
    char px[24];
    if (!is_current(q, item))
        item->n = 0;
    const int64_t left = item->ttl_ms - (clock_mono_us() - item->at_us) / 1000;
    snprintf(px, sizeof px, "%lld", left > 0 ? (long long)left : 1);
    const struct sv key = {item->key.text, item->key.n};
    const struct sv set[] = {
        SV("SET"), key, {item->bytes, item->n}, SV("PX"), sv_from(px),
    };
    const struct sv del[] = {SV("DEL"), key};
    return item->n > 0 ? cache_conn_append(conn, set, ARRAY_LEN(set))
                       : cache_conn_append(conn, del, ARRAY_LEN(del));
}

/* Sends a round and reads every reply. */
static bool send_on(struct cache_conn *conn, struct deadline until, void *arg)
{
    const struct round *round = arg;
    bool ok = true;
    for (struct item *i = round->items; i; i = i->next)
        if (!append_command(round->queue, conn, i))
            return false;
    for (struct item *i = round->items; i; i = i->next) {
        redisReply *reply;
        if (!cache_conn_reply(conn, until, &reply))
            return false;
        i->accepted = reply->type != REDIS_REPLY_ERROR;
        /* "Out of memory" concerns this value alone: others may be smaller. */
        ok = ok && (i->accepted || strncmp(reply->str, "OOM", 3) == 0);
        freeReplyObject(reply);
    }
    return ok;
}

/* Takes the item and frees its value. A newer item of the key replaces or removes what Redis holds.
 * It is marked, so that this happens even if its own value is lost. */
static void requeue_as_delete(struct cache_queue *q, struct item *item)
{
    struct item *small = realloc(item, sizeof *item);
    item = small ? small : item;
    item->n = 0;
    item->next = NULL;
    item->accepted = false;
    pthread_mutex_lock(&q->loop.lock);
    struct item *newer = *link_of(q, &item->key);
    if (newer)
        newer->must_clear = true;
    else
        append_item(q, item);
    pthread_mutex_unlock(&q->loop.lock);
    if (newer)
        free(item);
}

static void send_round(struct cache_queue *q, struct item *items)
{
    struct round round = {q, items};
    /* More than the client's time-out, so that a failure is always that of Redis. */
    (void)cache_redis_call(q->redis, deadline_in_ms(2 * (int64_t)q->redis->timeout_ms), send_on,
                           &round);
    while (items) {
        struct item *item = items;
        items = item->next;
        if (item->n > 0 || item->accepted)
            count_set(q, item->accepted);
        /* If the session was erased while its value was sent, Redis may have run the erasure's DEL
         * first. A DEL without an answer is sent again. */
        if ((item->n > 0 && !is_current(q, item)) ||
            (!item->accepted && (item->n == 0 || item->must_clear)))
            requeue_as_delete(q, item);
        else
            free(item);
    }
}

/* Waits for us microseconds or, with until_item, for an item. With the lock held. */
static void wait_us(struct cache_queue *q, int64_t us, bool until_item)
{
    const int64_t at_us = clock_mono_us() + us;
    q->idle = until_item;
    while (!q->loop.stop && !(until_item && q->first) &&
           thread_cond_wait(&q->loop.wake, &q->loop.lock, at_us))
        continue;
    q->idle = false;
}

/* A SET that has waited for two time-outs is lost: others may have deleted the session. If it must
 * clear the key, it becomes a DEL. */
static struct item *take_round(struct cache_queue *q)
{
    struct item *items = NULL, **last = &items;
    const int64_t oldest = clock_mono_us() - 2000 * (int64_t)q->redis->timeout_ms;
    for (int n = 0; n < ROUND_MAX && q->first;) {
        struct item *item = unlink_item(q, &q->first);
        if (item->n > 0 && item->at_us < oldest && !item->must_clear) {
            lose_item(q, item);
            continue;
        }
        if (item->at_us < oldest)
            item->n = 0;
        *last = item;
        last = &item->next;
        n++;
    }
    *last = NULL;
    return items;
}

static void *queue_main(void *arg)
{
    struct cache_queue *q = arg;
    const struct cache_breaker *breaker = &q->redis->breaker;
    pthread_mutex_lock(&q->loop.lock);
    while (!q->loop.stop) {
        const bool due = cache_breaker_probe_is_due(breaker);
        if (!due)
            wait_us(q, tick_us, cache_breaker_is_closed(breaker));
        struct item *items =
            q->loop.stop || !cache_breaker_is_closed(breaker) ? NULL : take_round(q);
        pthread_mutex_unlock(&q->loop.lock);
        if (items)
            send_round(q, items);
        else if (due)
            cache_redis_probe(q->redis);
        pthread_mutex_lock(&q->loop.lock);
        if (items)
            wait_us(q, round_us, false);
    }
    pthread_mutex_unlock(&q->loop.lock);
    return NULL;
}

struct cache_queue *cache_queue_open(struct cache_redis *redis, struct memory_table *memory,
                                     struct metrics_slot *slot)
{
    struct cache_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->redis = redis;
    q->memory = memory;
    q->slot = slot;
    q->last = &q->first;
    if (thread_loop_start(&q->loop, queue_main, q))
        return q;
    free(q);
    return NULL;
}

void cache_queue_close(struct cache_queue *q)
{
    if (!q)
        return;
    thread_loop_stop(&q->loop);
    while (q->first)
        free(unlink_item(q, &q->first));
    free(q);
}

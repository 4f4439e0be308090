/* SPDX-License-Identifier: MIT */
/*
 * Values to be stored in Redis, or removed from it: a bounded queue and one thread, which reads
 * every reply. No request waits for it. When the queue is full the oldest is dropped. A value that
 * Redis does not accept is lost. Either costs a miss.
 *
 * The thread also checks whether Redis is there while no request asks it.
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
    int64_t at_us, ttl_ms;          /* from then */
    bool taken;                     /* by Redis */
    bool clears; /* what Redis may hold of the key must go, even if this value is lost */
    size_t n;    /* 0: DEL */
    char bytes[];
};

struct cache_queue {
    struct cache_redis *redis; /* borrowed */
    struct thread_loop loop;
    /* Under the lock: */
    struct item *first, **last;
    size_t n, bytes;
    bool idle; /* the thread waits for something to do */
};

static void count(struct cache_queue *q, bool taken)
{
    struct metrics_slot *slot = q->redis->slot;
    if (slot)
        metrics_add(taken ? &slot->cache_sets : &slot->cache_sets_lost, 1);
}

static void lose(struct cache_queue *q, struct item *item)
{
    count(q, false);
    free(item);
}

/* ---- under the lock ---- */

static struct item *take_at(struct cache_queue *q, struct item **at)
{
    struct item *item = *at;
    *at = item->next;
    if (q->last == &item->next)
        q->last = at;
    q->n--;
    q->bytes -= item->n;
    return item;
}

/* Where the item of the key is; at the end: there is none. */
static struct item **find(struct cache_queue *q, const struct cache_redis_key *key)
{
    struct item **at = &q->first;
    while (*at && ((*at)->key.n != key->n || memcmp((*at)->key.text, key->text, key->n) != 0))
        at = &(*at)->next;
    return at;
}

static void add(struct cache_queue *q, struct item *item)
{
    *q->last = item;
    q->last = &item->next;
    q->n++;
    q->bytes += item->n;
    while (q->n > ITEMS_MAX || q->bytes > BYTES_MAX)
        lose(q, take_at(q, &q->first));
    if (q->idle)
        pthread_cond_signal(&q->loop.wake);
}

/* ---- callers ---- */

void cache_queue_put(struct cache_queue *q, const struct cache_redis_key *key,
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
    struct item **older = find(q, key);
    if (*older && item)
        item->clears = (*older)->clears || (*older)->n == 0;
    if (*older)
        free(take_at(q, older));
    if (item)
        add(q, item);
    pthread_mutex_unlock(&q->loop.lock);
    if (!item)
        lose(q, NULL);
}

/* ---- the thread ---- */

/* Whether a session was neither written to nor erased on this host since it was read. Unknown
 * without memory. */
static bool is_current(const struct cache_redis *r, const struct item *item)
{
    return !r->memory || memory_is_current(r->memory, &item->snapshot);
}

static bool append(const struct cache_redis *r, struct cache_conn *conn, struct item *item)
{
    char px[24];
    if (!is_current(r, item))
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
static bool exchange(struct cache_redis *r, struct cache_conn *conn, struct deadline until,
                     void *arg)
{
    struct item *const items = arg;
    bool fine = true;
    for (struct item *i = items; i; i = i->next)
        if (!append(r, conn, i))
            return false;
    for (struct item *i = items; i; i = i->next) {
        redisReply *reply;
        if (!cache_conn_reply(conn, until, &reply))
            return false;
        i->taken = reply->type != REDIS_REPLY_ERROR;
        /* Out of memory is an answer about this value: others may be smaller. */
        fine = fine && (i->taken || strncmp(reply->str, "OOM", 3) == 0);
        freeReplyObject(reply);
    }
    return fine;
}

/* Takes the item, and frees its value. A newer entry in the queue replaces or deletes what Redis
 * holds: it is marked, so that it does so even if its own value is lost. */
static void requeue_as_delete(struct cache_queue *q, struct item *item)
{
    struct item *small = realloc(item, sizeof *item);
    item = small ? small : item;
    item->n = 0;
    item->next = NULL;
    item->taken = false;
    pthread_mutex_lock(&q->loop.lock);
    struct item *newer = *find(q, &item->key);
    if (newer)
        newer->clears = true;
    else
        add(q, item);
    pthread_mutex_unlock(&q->loop.lock);
    if (newer)
        free(item);
}

static void send_round(struct cache_queue *q, struct item *items)
{
    struct cache_redis *r = q->redis;
    /* The time that a request would have is not what may fail it. */
    (void)cache_redis_call(r, deadline_in_ms(2 * (int64_t)r->timeout_ms), exchange, items);
    while (items) {
        struct item *item = items;
        items = item->next;
        if (item->n > 0 || item->taken)
            count(q, item->taken);
        /* If the session was erased while its value was sent, Redis may have run the DEL first. A
         * DEL without an answer is sent again. */
        if ((item->n > 0 && !is_current(r, item)) ||
            (!item->taken && (item->n == 0 || item->clears)))
            requeue_as_delete(q, item);
        else
            free(item);
    }
}

/* Waits for something to send, or us microseconds. With the lock held. */
static void wait_us(struct cache_queue *q, int64_t us, bool until_work)
{
    const int64_t at_us = clock_mono_us() + us;
    q->idle = until_work;
    while (!q->loop.stop && !(until_work && q->first) &&
           thread_cond_wait(&q->loop.wake, &q->loop.lock, at_us))
        continue;
    q->idle = false;
}

/* A SET that has waited for two time-outs is lost: others may have deleted the session. If it has
 * to clear the key, it becomes a DEL. */
static struct item *take_round(struct cache_queue *q)
{
    struct item *items = NULL, **last = &items;
    const int64_t oldest = clock_mono_us() - 2000 * (int64_t)q->redis->timeout_ms;
    for (int n = 0; n < ROUND_MAX && q->first;) {
        struct item *item = take_at(q, &q->first);
        if (item->n > 0 && item->at_us < oldest && !item->clears) {
            lose(q, item);
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

static void *run(void *arg)
{
    struct cache_queue *q = arg;
    struct cache_redis *r = q->redis;
    pthread_mutex_lock(&q->loop.lock);
    while (!q->loop.stop) {
        const bool due = cache_redis_is_due(r);
        if (!due)
            wait_us(q, tick_us, cache_redis_is_usable(r));
        struct item *items = q->loop.stop || !cache_redis_is_usable(r) ? NULL : take_round(q);
        pthread_mutex_unlock(&q->loop.lock);
        if (items)
            send_round(q, items);
        else if (due)
            cache_redis_probe(r);
        pthread_mutex_lock(&q->loop.lock);
        if (items)
            wait_us(q, round_us, false);
    }
    pthread_mutex_unlock(&q->loop.lock);
    return NULL;
}

struct cache_queue *cache_queue_open(struct cache_redis *r)
{
    struct cache_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->redis = r;
    q->last = &q->first;
    if (thread_loop_start(&q->loop, run, q))
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
        free(take_at(q, &q->first));
    free(q);
}

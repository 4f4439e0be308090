/* SPDX-License-Identifier: MIT */
/*
 * Commands for Redis that no request waits for: values to store and to remove. The queue is
 * bounded, and one thread sends it in rounds and reads every reply. A full queue drops its oldest
 * entry. A value that Redis does not get is lost, and its key removed, since Redis may hold an
 * older value. Either costs a miss.
 *
 * The thread also probes Redis while no request asks it.
 */
#include "cache_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "parley/base/thread.h"

/* ROUND_PAUSE_MS is the time between two rounds: values that arrive meanwhile are sent together,
 * and each key once. TICK_MS is how soon the thread notices that a pause is over. */
enum {
    ITEMS_MAX = 512,
    BYTES_MAX = 8 * 1024 * 1024,
    ROUND_MAX = 64,
    ROUND_PAUSE_MS = 2,
    TICK_MS = 100
};

struct item {
    TAILQ_ENTRY(item) link;
    struct cache_redis_key key;
    struct cache_snapshot snapshot; /* of a SET */
    int64_t at_us, ttl_ms;          /* queued at; life from then on */
    size_t n;                       /* of bytes; 0: a DEL */
    char bytes[];                   /* to SET */
};

struct cache_queue {
    struct cache_redis *redis;
    struct cache_shared *memory; /* NULL: none */
    struct metrics_slot *slot;
    struct thread_loop loop;
    /* Under the lock: */
    TAILQ_HEAD(items, item) items;
    size_t n, bytes;
};

static void count_set(struct cache_queue *q, bool accepted)
{
    metrics_add(accepted ? &q->slot->cache_sets : &q->slot->cache_sets_lost, 1);
}

/* ---- under the lock ---- */

static struct item *unlink_item(struct cache_queue *q, struct item *item)
{
    TAILQ_REMOVE(&q->items, item, link);
    q->n--;
    q->bytes -= item->n;
    return item;
}

/* The item of the key; NULL: there is none. */
static struct item *item_of(struct cache_queue *q, const struct cache_redis_key *key)
{
    struct item *item = TAILQ_FIRST(&q->items);
    while (item && (item->key.n != key->n || memcmp(item->key.text, key->text, key->n) != 0))
        item = TAILQ_NEXT(item, link);
    return item;
}

static void append_item(struct cache_queue *q, struct item *item)
{
    TAILQ_INSERT_TAIL(&q->items, item, link);
    q->n++;
    q->bytes += item->n;
    while (q->n > ITEMS_MAX || q->bytes > BYTES_MAX) {
        struct item *oldest = unlink_item(q, TAILQ_FIRST(&q->items));
        if (oldest->n > 0)
            count_set(q, false);
        free(oldest);
    }
    pthread_cond_signal(&q->loop.wake);
}

/* ---- callers ---- */

void cache_queue_push(struct cache_queue *q, const struct cache_redis_key *key,
                      const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms)
{
    struct item *item = key->n > 0 ? malloc(sizeof *item + stored.n) : NULL;
    if (!item) {
        count_set(q, false);
        return;
    }
    *item = (struct item){.key = *key, .at_us = clock_mono_us(), .ttl_ms = ttl_ms, .n = stored.n};
    if (snapshot)
        item->snapshot = *snapshot;
    if (item->n > 0)
        memcpy(item->bytes, stored.p, stored.n);
    pthread_mutex_lock(&q->loop.lock);
    struct item *older = item_of(q, key);
    if (older)
        free(unlink_item(q, older));
    append_item(q, item);
    pthread_mutex_unlock(&q->loop.lock);
}

/* ---- the thread ---- */

/* Whether this host has neither written nor erased the session since it was read. Without memory
 * nobody knows, and it counts as true. */
static bool is_current(const struct cache_queue *q, const struct item *item)
{
    return !q->memory || memory_is_current(q->memory, &item->snapshot);
}

/* Takes the item, for another round. A newer one of the key serves as well. */
static void requeue(struct cache_queue *q, struct item *item)
{
    pthread_mutex_lock(&q->loop.lock);
    const bool newer = item_of(q, &item->key);
    if (!newer)
        append_item(q, item);
    pthread_mutex_unlock(&q->loop.lock);
    if (newer)
        free(item);
}

static struct cache_command command_of(const struct item *item, char px[24])
{
    const int64_t left_ms = item->ttl_ms - (clock_mono_us() - item->at_us) / 1000;
    const struct sv key = {item->key.text, item->key.n};
    snprintf(px, 24, "%lld", left_ms > 0 ? (long long)left_ms : 1);
    if (item->n > 0)
        return (struct cache_command){
            {SV("SET"), key, {item->bytes, item->n}, SV("PX"), sv_from(px)}, .n = 5};
    return (struct cache_command){{SV("DEL"), key}, .n = 2};
}

/* Sends items and takes them. */
static void send_round(struct cache_queue *q, struct item *const *items, size_t n)
{
    struct cache_command commands[ROUND_MAX];
    char px[ROUND_MAX][24];
    for (size_t i = 0; i < n; i++)
        commands[i] = command_of(items[i], px[i]);
    /* More than the client's time-out, so that a failure is always that of Redis. */
    (void)cache_redis_run(q->redis, deadline_in_ms(2 * (int64_t)q->redis->timeout_ms), commands, n);
    for (size_t i = 0; i < n; i++) {
        const bool was_set = items[i]->n > 0, accepted = commands[i].accepted;
        const bool current = !was_set || is_current(q, items[i]);
        if (was_set)
            count_set(q, accepted);
        items[i]->n = 0;
        /* If the session was erased while its value was sent, Redis may have run the erasure's DEL
         * first. */
        if (accepted && current)
            free(items[i]);
        else
            requeue(q, items[i]);
    }
}

/* Takes up to ROUND_MAX items. A SET that has waited for two time-outs becomes a DEL: others may
 * have deleted the session. */
static size_t take_round(struct cache_queue *q, struct item *items[ROUND_MAX])
{
    const int64_t oldest = clock_mono_us() - 2000 * (int64_t)q->redis->timeout_ms;
    size_t n = 0;
    pthread_mutex_lock(&q->loop.lock);
    while (n < ROUND_MAX && !TAILQ_EMPTY(&q->items))
        items[n++] = unlink_item(q, TAILQ_FIRST(&q->items));
    pthread_mutex_unlock(&q->loop.lock);
    for (size_t i = 0; i < n; i++)
        if (items[i]->n > 0 && (items[i]->at_us < oldest || !is_current(q, items[i]))) {
            items[i]->n = 0;
            count_set(q, false);
        }
    return n;
}

static bool has_work(const struct cache_queue *q)
{
    return cache_redis_probe_is_due(q->redis) ||
           (!TAILQ_EMPTY(&q->items) && cache_redis_is_in_use(q->redis));
}

/* Waits for work. False: the queue is closed. */
static bool await_work(struct cache_queue *q)
{
    const int64_t until_us = clock_mono_us() + TICK_MS * INT64_C(1000);
    pthread_mutex_lock(&q->loop.lock);
    while (!q->loop.stop && !has_work(q) &&
           thread_cond_wait(&q->loop.wake, &q->loop.lock, until_us))
        continue;
    const bool goes_on = !q->loop.stop;
    pthread_mutex_unlock(&q->loop.lock);
    return goes_on;
}

static void *queue_main(void *arg)
{
    struct cache_queue *q = arg;
    while (await_work(q)) {
        struct item *items[ROUND_MAX];
        const size_t n = cache_redis_is_in_use(q->redis) ? take_round(q, items) : 0;
        if (n > 0) {
            send_round(q, items, n);
            deadline_wait(deadline_in_ms(ROUND_PAUSE_MS));
        } else if (cache_redis_probe_is_due(q->redis)) {
            cache_redis_probe(q->redis);
        }
    }
    return NULL;
}

struct cache_queue *cache_queue_open(struct cache_redis *redis, struct cache_shared *memory,
                                     struct metrics_slot *slot)
{
    struct cache_queue *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->redis = redis;
    q->memory = memory;
    q->slot = slot;
    TAILQ_INIT(&q->items);
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
    while (!TAILQ_EMPTY(&q->items))
        free(unlink_item(q, TAILQ_FIRST(&q->items)));
    free(q);
}

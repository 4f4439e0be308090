/* SPDX-License-Identifier: MIT */
/*
 * The links of a process. A link is idle (open, in the pool), empty (closed, in the pool) or in a
 * thread's hands; its struct is freed with the tier only, so that a ticket can be compared with a
 * link that has long been somebody else's. Connecting and closing happen outside of the lock.
 */
#include "redis_internal.h"

#include <stdio.h>
#include <stdlib.h>

static struct cache_link *pop(struct cache_link **list)
{
    struct cache_link *l = *list;
    if (l)
        *list = l->next;
    return l;
}

static void push(struct cache_link **list, struct cache_link *l)
{
    l->next = *list;
    *list = l;
}

/* A closed link, of those there are or a new one; NULL at the limit or without memory. */
static struct cache_link *pop_empty(struct cache_redis *r)
{
    struct cache_link *l = pop(&r->empty);
    if (l || r->n_links >= CACHE_LINKS_MAX)
        return l;
    l = calloc(1, sizeof *l);
    if (l) {
        l->slot = r->slot;
        l->all = r->all;
        r->all = l;
        r->n_links++;
    }
    return l;
}

enum link_result cache_pool_take(struct cache_redis *r, bool fresh, struct deadline until,
                                 struct cache_link **out, char why[128])
{
    *out = NULL;
    uint64_t life = atomic_load(&r->host->life);
    pthread_mutex_lock(&r->lock);
    struct cache_link *l = fresh ? NULL : pop(&r->idle);
    if (!l)
        l = pop_empty(r);
    pthread_mutex_unlock(&r->lock);
    if (!l) {
        snprintf(why, 128, "too many connections");
        return LINK_NONE;
    }
    atomic_store(&l->run, atomic_fetch_add(&r->runs, 1) + 1);
    if (l->life != life)
        cache_link_close(l);
    if (!l->c) {
        l->life = life;
        enum link_result result = cache_link_open(l, &r->url, until);
        if (result != LINK_DONE) {
            snprintf(why, 128, "%s", l->why);
            cache_pool_put(r, l, false);
            return result;
        }
    }
    *out = l;
    return LINK_DONE;
}

void cache_pool_put(struct cache_redis *r, struct cache_link *l, bool keep)
{
    /* From here on no ticket is bound to it. */
    atomic_store(&l->run, atomic_fetch_add(&r->runs, 1) + 1);
    pthread_mutex_lock(&r->lock);
    if (keep)
        push(&r->idle, l);
    pthread_mutex_unlock(&r->lock);
    if (keep)
        return;
    cache_link_close(l);
    pthread_mutex_lock(&r->lock);
    push(&r->empty, l);
    pthread_mutex_unlock(&r->lock);
}

void cache_pool_flush(struct cache_redis *r)
{
    pthread_mutex_lock(&r->lock);
    struct cache_link *list = r->idle;
    r->idle = NULL;
    pthread_mutex_unlock(&r->lock);
    for (struct cache_link *l = pop(&list); l; l = pop(&list))
        cache_pool_put(r, l, false);
}

void cache_pool_free(struct cache_redis *r)
{
    while (r->all) {
        struct cache_link *l = r->all;
        r->all = l->all;
        cache_link_close(l);
        free(l);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * Threads that wait for a connection, and which of them may have one. They are served in order: the
 * thread that releases a connection hands it to the first that may have it.
 *
 * The caller of every function holds the pool's lock.
 */
#include "db_internal.h"

#include "parley/base/thread.h"

/* On the stack of its thread. */
struct db_waiter {
    pthread_cond_t wake;
    struct db_waiter *next;
    struct db_demand demand;
    struct db_conn *given; /* handed over while it waited */
    bool retry;            /* woken without a connection: it looks again */
};

static void waiter_enqueue(struct db *db, struct db_waiter *w, bool in_front)
{
    struct db_waiter **at = &db->first_waiter;
    while (*at && !in_front)
        at = &(*at)->next;
    w->next = *at;
    *at = w;
    db->waiting++;
    db_pool_publish(db);
}

static void waiter_remove(struct db *db, struct db_waiter *w)
{
    struct db_waiter **at = &db->first_waiter;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    db->waiting--;
    db_pool_publish(db);
}

/* Connections that only batched reads may have, so that writers that hang cannot stop reads. */
static int kept_for_reads(const struct db *db)
{
    return db->max >= 8 ? 2 : db->max >= 2 ? 1 : 0;
}

static void count_users(const struct db_conn_list *list, uint64_t contention_key, int *same_key,
                        int *not_reserved)
{
    for (const struct db_conn *c = list->first; c; c = c->next) {
        *same_key += c->demand.contention_key == contention_key;
        *not_reserved += !c->demand.reserve;
    }
}

/* Requests of one contention key wait for one row, which somebody may keep locked. They leave a
 * quarter of the pool to others, and, where the pool has two that are not kept for reads, at least
 * one of these. */
bool db_pool_is_full_for(const struct db *db, struct db_demand demand)
{
    const int usable = db->max - kept_for_reads(db);
    const int three_quarters = db->max - (db->max + 3) / 4;
    const int key_max = usable == 1 ? 1 : three_quarters < usable ? three_quarters : usable - 1;
    int same_key = 0, not_reserved = 0;
    if (demand.reserve)
        return false;
    count_users(&db->lists[CONN_BUSY], demand.contention_key, &same_key, &not_reserved);
    count_users(&db->lists[CONN_OPENING], demand.contention_key, &same_key, &not_reserved);
    return (demand.contention_key != 0 && same_key >= key_max) || not_reserved >= usable;
}

bool db_pool_wake(struct db *db, struct db_conn *given)
{
    struct db_waiter *w = db->first_waiter;
    while (w && db_pool_is_full_for(db, w->demand))
        w = w->next;
    if (!w)
        return false;
    waiter_remove(db, w);
    w->given = given;
    w->retry = !given;
    if (given)
        given->demand = w->demand;
    pthread_cond_signal(&w->wake);
    return true;
}

void db_pool_wake_for_room(struct db *db)
{
    /* There may be idle ones although somebody waits: those that wait may not have them. */
    if (db->first_waiter && (db->lists[CONN_IDLE].n > 0 || db_pool_may_open(db)))
        (void)db_pool_wake(db, NULL);
}

struct db_conn *db_pool_wait(struct db *db, struct db_demand demand, struct deadline limit,
                             bool in_front, bool *late)
{
    struct db_waiter w = {.demand = demand};
    bool more = true;
    pthread_cond_init(&w.wake, NULL);
    waiter_enqueue(db, &w, in_front);
    while (!w.given && !w.retry && more)
        more = thread_cond_wait(&w.wake, &db->lock, limit.at_us);
    if (!w.given && !w.retry) {
        waiter_remove(db, &w);
        *late = true;
    }
    pthread_cond_destroy(&w.wake);
    return w.given;
}

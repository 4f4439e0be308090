/* SPDX-License-Identifier: MIT */
/*
 * The states of connections and of the service. db_pool_move is the only function that changes a
 * connection's state, and db_pool_set_state the only one that changes the service's.
 *
 *             reserve            opened                  released, clean
 *   (nothing) ───────► OPENING ──────────► BUSY ◄──────────────────────► IDLE
 *                         │ failed           │ not clean, too old           │ dead, too old,
 *                         └──────────────────┴──────────► CLOSED ◄──────────┘ too many
 *
 * The caller of every function holds the pool's lock.
 */
#include "db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

static void list_remove(struct db_conn_list *l, struct db_conn *c)
{
    *(c->prev ? &c->prev->next : &l->first) = c->next;
    *(c->next ? &c->next->prev : &l->last) = c->prev;
    c->next = c->prev = NULL;
    l->n--;
}

static void list_push(struct db_conn_list *l, struct db_conn *c)
{
    c->next = l->first;
    *(l->first ? &l->first->prev : &l->last) = c;
    l->first = c;
    l->n++;
}

int db_pool_open_count(const struct db *db)
{
    return db->lists[CONN_IDLE].n + db->lists[CONN_BUSY].n;
}

void db_pool_publish(const struct db *db)
{
    struct metrics_slot *s = db->slot;
    if (!s)
        return;
    metrics_set(&s->pool_open, db_pool_open_count(db));
    metrics_set(&s->pool_idle, db->lists[CONN_IDLE].n);
    metrics_set(&s->pool_in_use, db->lists[CONN_BUSY].n);
    metrics_set(&s->pool_waiting, db->waiting);
    metrics_set(&s->pool_max, db->max);
}

void db_pool_move(struct db *db, struct db_conn *c, enum db_conn_state to)
{
    static const bool allowed[CONN_STATES + 1][CONN_STATES + 1] = {
        [CONN_CLOSED] = {[CONN_OPENING] = true}, /* a new one is in no list either */
        [CONN_OPENING] = {[CONN_BUSY] = true, [CONN_CLOSED] = true},
        [CONN_BUSY] = {[CONN_IDLE] = true, [CONN_CLOSED] = true},
        [CONN_IDLE] = {[CONN_BUSY] = true, [CONN_CLOSED] = true},
    };
    if (!allowed[c->state][to]) {
        log_say(LOG_ERROR, "bug", "db: a connection may not go from state %d to %d", c->state, to);
        abort();
    }
    if (c->state != CONN_CLOSED)
        list_remove(&db->lists[c->state], c);
    c->state = to;
    if (to == CONN_BUSY)
        c->busy_since_us = clock_mono_us();
    if (to != CONN_CLOSED)
        list_push(&db->lists[to], c);
    db_pool_publish(db);
}

void db_pool_set_state(struct db *db, enum db_state state, const char *reason)
{
    static const char *const events[] = {"db_starting", "db_up", "db_down", "db_misconfigured"};
    if (db->state == state && strncmp(db->reason, reason, sizeof(db->reason) - 1) == 0)
        return;
    bool news = db->state != state || state == DB_MISCONFIGURED;
    db->state = state;
    if (state == DB_UP)
        atomic_store(&db->away, false);
    db->away_since_us = clock_mono_us();
    snprintf(db->reason, sizeof(db->reason), "%s", reason);
    if (news && !db->set.owner)
        log_say(state == DB_UP ? LOG_INFO : LOG_ERROR, events[state], "%s",
                state == DB_UP ? "PostgreSQL answers" : db->reason);
}

bool db_pool_may_open(const struct db *db)
{
    int64_t now = clock_mono_us();
    if (db_pool_open_count(db) + db->lists[CONN_OPENING].n >= db->max)
        return false;
    if (now < db->full_until_us && db_pool_open_count(db) > 0)
        return false;
    /* While PostgreSQL is away, one connection at a time is tried. */
    return db->backoff_ms == 0 || (now >= db->retry_at_us && db->lists[CONN_OPENING].n == 0);
}

struct db_conn *db_pool_reserve(struct db *db)
{
    struct db_conn *c = db_pool_may_open(db) ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    c->state = CONN_CLOSED;
    db_pool_move(db, c, CONN_OPENING);
    return c;
}

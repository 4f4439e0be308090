/* SPDX-License-Identifier: MIT */
/* The maintenance thread: keeps the pool in order and its state correct while no request does. */
#include "db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* A tick costs no round trip while statements succeed. */
enum { TICK_MS = 250, PING_AFTER_MS = 700, PING_MS = 500 };

/* Closes connections that the server has closed, that are too old, or that were idle for too long.
 * The last used come first in the list, so those idle longest are at its end. */
static void close_unwanted(struct db *db)
{
    struct db_conn *closed = NULL;
    int64_t now = clock_mono_us();
    uint64_t dead = 0;
    pthread_mutex_lock(&db->lock);
    for (struct db_conn *c = db->lists[CONN_IDLE].last, *before; c; c = before) {
        before = c->prev;
        bool quiet = db_conn_quiet(c);
        bool idle = now - c->idle_since_us >= db->set.idle_s * INT64_C(1000000) &&
                    db_pool_open_count(db) > db->min;
        bool many = db_pool_open_count(db) > db->max;
        if (quiet && !idle && !many && now < c->retire_us)
            continue;
        dead += quiet ? 0 : 1;
        db_pool_move(db, c, CONN_CLOSED);
        c->next = closed;
        closed = c;
    }
    pthread_mutex_unlock(&db->lock);
    if (dead > 0 && db->slot)
        metrics_add(&db->slot->db_discarded, dead);
    while (closed) {
        struct db_conn *c = closed;
        closed = c->next;
        db_pool_reap(db, c);
    }
}

/* Opens connections up to the minimum; while there is none at all, one to see whether the server
 * is there. */
static void keep_minimum(struct db *db)
{
    for (;;) {
        pthread_mutex_lock(&db->lock);
        int open = db_pool_open_count(db);
        bool wanted =
            open + db->lists[CONN_OPENING].n < db->min || (db->state != DB_UP && open == 0);
        struct db_conn *c = wanted ? db_pool_reserve(db) : NULL;
        pthread_mutex_unlock(&db->lock);
        if (!c)
            return;
        struct db_attempt attempt = {deadline_in_ms(db->set.connect_ms), db->stop_fd, ""};
        if (db_pool_open_one(db, c, &attempt) != OPEN_OK)
            return;
        db_pool_release(db, c);
    }
}

static void set_hanging(struct db *db)
{
    pthread_mutex_lock(&db->lock);
    db_pool_set_state(db, DB_DOWN, "PostgreSQL is away: it does not answer");
    atomic_store(&db->away, true);
    pthread_mutex_unlock(&db->lock);
}

/* Takes a connection that is CONN_BUSY, and releases it. */
static void ping_on(struct db *db, struct db_conn *c)
{
    const int64_t sent_us = clock_mono_us();
    PGresult *res =
        db_conn_exec(c, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
                     deadline_in_ms(PING_MS), db->stop_fd);
    bool hangs = !res && errno != ECANCELED && PQstatus(c->pg) == CONNECTION_OK;
    c->answered = res && PQresultStatus(res) == PGRES_TUPLES_OK;
    if (c->answered)
        db_clock_note(db, strtoll(PQgetvalue(res, 0, 0), NULL, 10), sent_us);
    PQclear(res);
    if (hangs)
        set_hanging(db);
    db_pool_release(db, c);
}

/* Every connection is busy and none of them answers: a new one shows whether the server is there.
 */
static void ping_on_new(struct db *db, struct db_conn *c)
{
    struct db_attempt attempt = {deadline_in_ms(PING_MS), db->stop_fd, ""};
    enum db_open_result result = db_pool_open_one(db, c, &attempt);
    if (result == OPEN_OK)
        db_pool_release(db, c);
    else if (result == OPEN_LATE)
        set_hanging(db);
}

/* Notices a server that hangs, which no socket shows, before a request does. Only when nothing has
 * succeeded for a while: a pool in use needs no ping. */
static void ping(struct db *db)
{
    int64_t silence = PING_AFTER_MS * INT64_C(1000);
    struct db_conn *idle = NULL, *new = NULL;
    pthread_mutex_lock(&db->lock);
    if (clock_mono_us() - db->last_success_us >= silence) {
        idle = db->lists[CONN_IDLE].first;
        if (idle) {
            db_pool_move(db, idle, CONN_BUSY);
            idle->pinged = true;
        } else if (db->state == DB_UP) {
            new = db_pool_reserve(db);
        }
    }
    pthread_mutex_unlock(&db->lock);
    if (idle)
        ping_on(db, idle);
    if (new)
        ping_on_new(db, new);
}

void *db_maintain_main(void *arg)
{
    struct db *db = arg;
    do {
        close_unwanted(db);
        keep_minimum(db);
        ping(db);
        pthread_mutex_lock(&db->lock);
        db_pool_wake_for_room(db);
        pthread_mutex_unlock(&db->lock);
    } while (db_wait_fd(db->stop_fd, POLLIN, deadline_in_ms(TICK_MS), -1) == 0);
    return NULL;
}

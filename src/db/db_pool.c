/* SPDX-License-Identifier: MIT */
/*
 * The pool: the states of its connections and of the service, who gets which connection, and who
 * waits. The connection released last is used first, so that those above what is needed stay idle
 * and are closed. Those that wait are served in order: the thread that releases a connection hands
 * it to the first that may have it.
 *
 *             reserve            opened                  released, clean
 *   (nothing) ───────► OPENING ──────────► BUSY ◄──────────────────────► IDLE
 *                         │ failed           │ not clean, too old           │ dead, too old,
 *                         └──────────────────┴──────────► CLOSED ◄──────────┘ too many
 */
#include "db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* ---- states ---- */

int db_pool_open_count(const struct db *db)
{
    return db->counts[CONN_IDLE] + db->counts[CONN_BUSY];
}

void db_pool_publish(const struct db *db)
{
    struct metrics_slot *s = db->slot;
    if (!s)
        return;
    metrics_set(&s->pool_open, db_pool_open_count(db));
    metrics_set(&s->pool_idle, db->counts[CONN_IDLE]);
    metrics_set(&s->pool_in_use, db->counts[CONN_BUSY]);
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
    if (c->state != CONN_CLOSED) {
        TAILQ_REMOVE(&db->lists[c->state], c, link);
        db->counts[c->state]--;
    }
    c->state = to;
    if (to == CONN_BUSY)
        c->busy_since_us = clock_mono_us();
    if (to != CONN_CLOSED) {
        TAILQ_INSERT_HEAD(&db->lists[to], c, link);
        db->counts[to]++;
    }
    db_pool_publish(db);
}

void db_pool_set_state(struct db *db, enum db_state state, const char *why)
{
    static const char *const events[] = {"db_starting", "db_up", "db_down", "db_misconfigured"};
    char reason[DB_REASON_MAX];
    snprintf(reason, sizeof(reason), "%s%s", state == DB_DOWN ? "PostgreSQL is away: " : "", why);
    if (db->state == state && strcmp(db->reason, reason) == 0)
        return;
    bool news = db->state != state || state == DB_MISCONFIGURED;
    db->state = state;
    if (state == DB_UP)
        atomic_store(&db->away, false);
    db->away_since_us = clock_mono_us();
    memcpy(db->reason, reason, sizeof(reason));
    if (news && !db->set.owner)
        log_say(state == DB_UP ? LOG_INFO : LOG_ERROR, events[state], "%s",
                state == DB_UP ? "PostgreSQL answers" : reason);
}

static bool may_open(const struct db *db)
{
    const int opening = db->counts[CONN_OPENING];
    if (db_pool_open_count(db) + opening >= db->max || clock_mono_us() < db->retry_at_us)
        return false;
    /* While PostgreSQL is away, one connection at a time is tried. */
    return db->backoff_ms == 0 || opening == 0;
}

struct db_conn *db_pool_reserve(struct db *db)
{
    struct db_conn *c = may_open(db) ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    c->state = CONN_CLOSED;
    db_pool_move(db, c, CONN_OPENING);
    return c;
}

/* ---- those that wait; all under the lock ---- */

/* On the stack of its thread. */
struct db_waiter {
    pthread_cond_t wake;
    TAILQ_ENTRY(db_waiter) link;
    struct db_demand demand;
    bool woken;
    struct db_conn *given; /* NULL: it looks again */
};

/* Connections that only batched reads may have, so that writers that hang cannot stop reads. */
static int kept_for_reads(const struct db *db)
{
    return db->max >= 8 ? 2 : db->max >= 2 ? 1 : 0;
}

static void count_users(const struct db_conns *list, uint64_t contention_key, int *same_key,
                        int *not_reserved)
{
    const struct db_conn *c;
    TAILQ_FOREACH(c, list, link)
    {
        *same_key += c->demand.contention_key == contention_key;
        *not_reserved += !c->demand.reserve;
    }
}

/* True if a connection that is free must be left to requests of another kind. Requests of one
 * contention key wait for one row, which somebody may keep locked. They leave a quarter of the pool
 * to others, and, where the pool has two that are not kept for reads, at least one of these. */
static bool is_full_for(const struct db *db, struct db_demand demand)
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

static void stop_waiting(struct db *db, struct db_waiter *w)
{
    TAILQ_REMOVE(&db->waiters, w, link);
    db->waiting--;
    db_pool_publish(db);
}

bool db_pool_wake(struct db *db, struct db_conn *given)
{
    struct db_waiter *w = TAILQ_FIRST(&db->waiters);
    while (w && is_full_for(db, w->demand))
        w = TAILQ_NEXT(w, link);
    if (!w)
        return false;
    stop_waiting(db, w);
    w->woken = true;
    w->given = given;
    if (given)
        given->demand = w->demand;
    pthread_cond_signal(&w->wake);
    return true;
}

void db_pool_wake_for_room(struct db *db)
{
    /* There may be idle ones although somebody waits: those that wait may not have them. */
    if (db->waiting > 0 && (db->counts[CONN_IDLE] > 0 || may_open(db)))
        (void)db_pool_wake(db, NULL);
}

/* in_front: before those that wait already. *given is NULL if the caller is to look again. False:
 * the limit has passed. */
static bool wait_for_one(struct db *db, struct db_demand demand, struct deadline limit,
                         bool in_front, struct db_conn **given)
{
    struct db_waiter w = {.demand = demand};
    bool more = true;
    thread_cond_init(&w.wake);
    if (in_front)
        TAILQ_INSERT_HEAD(&db->waiters, &w, link);
    else
        TAILQ_INSERT_TAIL(&db->waiters, &w, link);
    db->waiting++;
    db_pool_publish(db);
    while (!w.woken && more)
        more = thread_cond_wait(&w.wake, &db->lock, limit.at_us);
    if (!w.woken)
        stop_waiting(db, &w);
    pthread_cond_destroy(&w.wake);
    *given = w.given;
    return w.woken;
}

/* ---- acquire and release ---- */

/* What a thread that wants a connection does next. */
enum next { NEXT_TAKE, NEXT_OPEN, NEXT_WAIT, NEXT_REFUSE };

/* Under the lock. */
static enum next choose(struct db *db, struct db_demand demand, struct db_conn **c)
{
    const bool full = is_full_for(db, demand);
    enum next next = NEXT_TAKE;
    *c = full ? NULL : TAILQ_FIRST(&db->lists[CONN_IDLE]);
    if (*c) {
        db_pool_move(db, *c, CONN_BUSY);
    } else {
        *c = full ? NULL : db_pool_reserve(db);
        next = *c ? NEXT_OPEN : db->backoff_ms > 0 ? NEXT_REFUSE : NEXT_WAIT;
    }
    if (*c)
        (*c)->demand = demand;
    return next;
}

static enum err acquire(struct db *db, struct request_ctx *ctx, struct deadline limit,
                        struct db_conn **out)
{
    const struct db_demand demand = {ctx->contention_key, ctx->reserve};
    bool in_front = ctx->urgent;
    for (;;) {
        struct db_conn *c;
        bool late = false;
        pthread_mutex_lock(&db->lock);
        enum next next = choose(db, demand, &c);
        if (next == NEXT_WAIT || next == NEXT_OPEN)
            ctx_will_wait(ctx);
        if (next == NEXT_WAIT) {
            late = !wait_for_one(db, demand, limit, in_front, &c);
            in_front = true; /* it has waited */
        } else if (next == NEXT_REFUSE) {
            ctx_fault(ctx, ERR_UNAVAILABLE, "%s", db->reason);
        }
        pthread_mutex_unlock(&db->lock);

        if (next == NEXT_REFUSE)
            return ERR_UNAVAILABLE;
        if (late)
            return ctx_fault(ctx, ERR_OVERLOAD, "no connection became free in time");
        if (next == NEXT_OPEN) {
            char why[DB_REASON_MAX];
            enum db_open_result opened = db_pool_open_one(db, ctx, c, limit, why);
            if (opened == OPEN_FULL)
                continue; /* to wait for another, or to be refused */
            if (opened != OPEN_OK)
                return ctx_fault(ctx, opened == OPEN_LATE ? ERR_OVERLOAD : ERR_UNAVAILABLE, "%s",
                                 why);
        }
        if (!c)
            continue;
        if (db_conn_quiet(c)) {
            *out = c;
            return ERR_NONE;
        }
        c->broken = true;
        db_pool_release(db, c);
    }
}

enum err db_pool_acquire(struct db *db, struct request_ctx *ctx, struct db_conn **out)
{
    int64_t began = clock_mono_us();
    struct deadline limit = deadline_in_ms(db->set.acquire_ms);
    /* Batched reads take less time than it takes to wake another thread: see exchange in
     * db_pipeline.c. */
    if (!ctx->reserve)
        ctx_will_wait(ctx);
    enum err e = acquire(db, ctx, deadline_earlier(limit, ctx->deadline), out);
    int64_t took = clock_mono_us() - began;
    ctx->trace.pool_us += took;
    if (db->slot && !ctx->urgent)
        metrics_observe(&db->slot->acquire, took);
    return e;
}

void db_pool_release(struct db *db, struct db_conn *c)
{
    bool clean = db_conn_clean(c);
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&db->lock);
    bool keep = clean && now < c->retire_us && db_pool_open_count(db) <= db->max;
    if (c->answered) {
        db->last_success_us = now;
        /* New connections may be refused while those that are open still work. */
        if (c->busy_since_us > db->away_since_us)
            atomic_store(&db->away, false);
        if (db->state == DB_DOWN && db->backoff_ms == 0)
            db_pool_set_state(db, DB_UP, "");
    }
    if (!c->pinged)
        c->idle_since_us = now;
    c->demand = (struct db_demand){.reserve = true}; /* counts for nobody until it is given */
    c->answered = c->pinged = false;
    if (!keep) {
        db_pool_move(db, c, CONN_CLOSED);
        db_pool_wake_for_room(db);
    } else if (!db_pool_wake(db, c)) { /* handed from thread to thread it stays CONN_BUSY */
        db_pool_move(db, c, CONN_IDLE);
    }
    pthread_mutex_unlock(&db->lock);
    if (keep)
        return;
    if (!clean && db->slot)
        metrics_add(&db->slot->db_discarded, 1);
    db_pool_reap(db, c);
}

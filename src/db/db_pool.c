/* SPDX-License-Identifier: MIT */
/*
 * Acquiring and releasing connections. The connection released last is used first, so that those
 * above what is needed stay idle and are closed.
 */
#include "db_internal.h"

/* What a thread that wants a connection does next. */
enum next { NEXT_TAKE, NEXT_OPEN, NEXT_WAIT, NEXT_REFUSE };

/* Under the lock. */
static enum next choose(struct db *db, struct db_demand demand, struct db_conn **c)
{
    const bool full = db_pool_is_full_for(db, demand);
    enum next next = NEXT_TAKE;
    *c = full ? NULL : db->lists[CONN_IDLE].first;
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
            c = db_pool_wait(db, demand, limit, in_front, &late);
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
            struct db_attempt attempt = {.deadline = limit, .stop_fd = -1};
            enum db_open_result opened = db_pool_open_one(db, c, &attempt);
            if (opened == OPEN_FULL)
                continue; /* to wait for another, or to be refused */
            if (opened != OPEN_OK)
                return ctx_fault(ctx, opened == OPEN_LATE ? ERR_OVERLOAD : ERR_UNAVAILABLE, "%s",
                                 attempt.why);
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
    if (e != ERR_NONE && ctx->err.retry_after_s == 0)
        ctx->err.retry_after_s = 1;
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

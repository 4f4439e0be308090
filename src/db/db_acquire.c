/* SPDX-License-Identifier: MIT */
/* Acquires and releases connections; opens them, and notes what an attempt says about the server.
 */
#include "db_internal.h"

#include "parley/base/uuid.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_LAST_MS = 1000, FULL_PAUSE_MS = 1000 };

/* Under the lock. The pause doubles, and is shortened at random by up to a half, so that many
 * workers do not come back at the same instant. */
static void back_off(struct db *db, enum db_state state, const char *why)
{
    int ms = db->backoff_ms * 2;
    ms = ms < BACKOFF_FIRST_MS ? BACKOFF_FIRST_MS : ms > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : ms;
    int64_t us = ms * INT64_C(1000);
    db->backoff_ms = ms;
    db->retry_at_us = clock_mono_us() + us - (int64_t)(random_u64() % (uint64_t)(us / 2));
    atomic_store(&db->checked, false);
    db_pool_set_state(db, state, why);
    if (db_pool_open_count(db) == 0)
        atomic_store(&db->away, true);
    /* No connection will be released: nobody needs to wait. */
    while (db->counts[CONN_BUSY] == 0 && db_pool_wake(db, NULL))
        ;
}

/* Under the lock. whole: the attempt was given the whole of connect_ms. */
static void finish_attempt(struct db *db, struct db_conn *c, enum db_open_result result, bool whole,
                           const char *why)
{
    db_pool_move(db, c, result == OPEN_OK ? CONN_BUSY : CONN_CLOSED);
    if (result == OPEN_OK) {
        int64_t life = db->set.lifetime_s * INT64_C(1000000);
        int64_t jitter = life >= 10 ? (int64_t)(random_u64() % (uint64_t)(life / 10)) : 0;
        db->last_success_us = clock_mono_us();
        c->retire_us = db->last_success_us + life - jitter;
        db->backoff_ms = 0;
        db->retry_at_us = 0;
        atomic_store(&db->checked, true);
        db->pooled = c->pooled;
        db_pool_set_state(db, DB_UP, "");
    } else if (result == OPEN_FULL && db_pool_open_count(db) > 0) {
        db->retry_at_us = clock_mono_us() + FULL_PAUSE_MS * INT64_C(1000);
    } else if (result == OPEN_WRONG) {
        back_off(db, DB_MISCONFIGURED, why);
    } else if (result == OPEN_REFUSED || result == OPEN_FULL || (result == OPEN_LATE && whole)) {
        back_off(db, DB_DOWN, why);
    }
    /* More may be opened now; or one that failed no longer counts for its contention key. */
    db_pool_wake_for_room(db);
}

enum db_open_result db_pool_open_one(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                     struct deadline limit, char why[DB_REASON_MAX])
{
    const struct deadline own = deadline_in_ms(db->set.connect_ms);
    const bool whole = own.at_us <= limit.at_us;
    const struct deadline of_request = ctx->deadline;
    ctx->deadline = deadline_earlier(limit, own);
    enum db_open_result result = db_servers_open(db, ctx, c, why);
    if (result == OPEN_OK && !atomic_load(&db->checked))
        result = db_check_server(db, ctx, c, why);
    ctx->deadline = of_request;
    if (c->pg) {
        metrics_add(&db->slot->db_opened, 1);
        atomic_fetch_add(&db->slot->pool_servers[c->server], 1);
    }
    pthread_mutex_lock(&db->lock);
    finish_attempt(db, c, result, whole, why);
    pthread_mutex_unlock(&db->lock);
    if (result != OPEN_OK)
        db_pool_reap(db, c);
    return result;
}

static enum err acquire(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                        struct deadline limit, struct db_conn **out)
{
    const struct db_demand demand = {ctx->contention_key, ctx->reserve, retry == DB_WRITE};
    bool in_front = ctx->urgent;
    for (;;) {
        bool late = false;
        pthread_mutex_lock(&db->lock);
        struct db_conn *c = db_pool_take(db, demand);
        const int abandoned = db->counts[CONN_ABANDONED];
        const bool opens = c && c->state == CONN_OPENING, away = !c && db->backoff_ms > 0;
        if (away)
            ctx_fault(ctx, ERR_UNAVAILABLE, "%s", db->reason);
        else if (!c || opens)
            ctx_will_wait(ctx);
        if (!c && !away) {
            late = !db_pool_wait(db, demand, limit, in_front, &c);
            in_front = true; /* it has waited */
        }
        pthread_mutex_unlock(&db->lock);

        if (away)
            return ERR_UNAVAILABLE;
        if (late)
            return ctx_fault(
                ctx, ERR_OVERLOAD,
                "no connection became free in time (%d connections wait for the answer to a write)",
                abandoned);
        if (opens) {
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
        if (db_conn_quiet(c) && !db_conn_is_outdated(db, c)) {
            *out = c;
            return ERR_NONE;
        }
        c->broken = true;
        db_pool_release(db, c);
    }
}

enum err db_pool_acquire(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                         struct db_conn **out)
{
    int64_t began = clock_mono_us();
    const struct deadline limit =
        ctx->acquire_by.at_us > 0 ? ctx->acquire_by : deadline_in_ms(db->set.acquire_ms);
    /* Batched reads take less time than it takes to wake another thread: see exchange in
     * db_pipeline.c. */
    if (!ctx->reserve)
        ctx_will_wait(ctx);
    enum err e = acquire(db, ctx, retry, deadline_earlier(limit, ctx->deadline), out);
    int64_t took = clock_mono_us() - began;
    ctx->trace.pool_us += took;
    if (!ctx->urgent)
        metrics_observe(&db->slot->acquire, took);
    return e;
}

void db_begin_request(struct request_ctx *ctx, struct arena *arena, int ms, const char *id)
{
    arena_reset(arena);
    ctx_init(ctx, arena, deadline_in_ms(ms), SV(""), sv_from(id));
    ctx->urgent = true;
}

void db_pool_release(struct db *db, struct db_conn *c)
{
    bool clean = db_conn_clean(c);
    /* The backend of a read ends by itself (client_connection_check_interval). */
    const bool abandon = c->unanswered && c->demand.writes;
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&db->lock);
    bool keep = clean && !db_conn_is_outdated(db, c) && now < c->retire_us &&
                db_pool_open_count(db) <= db->max && c->buffered <= DB_BUFFERED_MAX;
    c->buffered = 0;
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
    if (!abandon)
        c->demand = (struct db_demand){.reserve = true}; /* counts for nobody until it is given */
    c->answered = c->pinged = false;
    if (!keep) {
        c->abandoned_us = clock_boot_us();
        db_pool_move(db, c, abandon ? CONN_ABANDONED : CONN_CLOSED);
        db_pool_wake_for_room(db);
    } else if (!db_pool_wake(db, c)) { /* handed from thread to thread it stays CONN_BUSY */
        db_pool_move(db, c, CONN_IDLE);
    }
    pthread_mutex_unlock(&db->lock);
    if (keep)
        return;
    if (!clean)
        metrics_add(&db->slot->db_discarded, 1);
    if (!abandon)
        db_pool_reap(db, c);
}

/* SPDX-License-Identifier: MIT */
/* Opens and closes the pool's connections: what an attempt says about the server, and how many the
 * server allows. */
#include "db_internal.h"

#include "parley/base/uuid.h"
#include "parley/obs/log.h"

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
    db->checked = false;
    db_pool_set_state(db, state, why);
    if (db_pool_open_count(db) == 0)
        atomic_store(&db->away, true);
    /* No connection will be released: nobody needs to wait. */
    while (db->counts[CONN_BUSY] == 0 && db_pool_wake(db, NULL))
        ;
}

/* Under the lock. late: the whole of connect_ms has passed. */
static void finish_attempt(struct db *db, struct db_conn *c, enum db_open_result result, bool late,
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
        db->checked = true;
        db_pool_set_state(db, DB_UP, "");
    } else if (result == OPEN_FULL && db_pool_open_count(db) > 0) {
        db->retry_at_us = clock_mono_us() + FULL_PAUSE_MS * INT64_C(1000);
    } else if (result == OPEN_WRONG) {
        back_off(db, DB_MISCONFIGURED, why);
    } else if (result == OPEN_REFUSED || result == OPEN_FULL || (result == OPEN_LATE && late)) {
        back_off(db, DB_DOWN, why);
    }
    /* More may be opened now; or one that failed no longer counts for its contention key. */
    db_pool_wake_for_room(db);
}

enum db_open_result db_pool_open_one(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                     struct deadline limit, char why[DB_REASON_MAX])
{
    const struct deadline own = deadline_in_ms(db->set.connect_ms);
    limit = deadline_earlier(limit, own);
    pthread_mutex_lock(&db->lock);
    bool check = !db->checked;
    pthread_mutex_unlock(&db->lock);

    enum db_open_result result = db_conn_open(c, &db->set, limit, why);
    bool opened = result == OPEN_OK;
    if (opened && check)
        result = db_check_server(db, ctx, c, limit, why);

    pthread_mutex_lock(&db->lock);
    finish_attempt(db, c, result, deadline_passed(own), why);
    pthread_mutex_unlock(&db->lock);
    if (opened && db->slot)
        metrics_add(&db->slot->db_opened, 1);
    if (result != OPEN_OK && opened)
        db_pool_reap(db, c);
    else if (result != OPEN_OK)
        db_conn_close(c);
    return result;
}

void db_pool_reap(struct db *db, struct db_conn *c)
{
    db_conn_close(c);
    if (db->slot)
        metrics_add(&db->slot->db_closed, 1);
}

/* Under the lock. An idle connection that is closed by the server, too old, idle for too long or
 * one too many: it is CONN_CLOSED now. NULL: there is none. The last used come first in the list,
 * so those idle longest are at its end. */
static struct db_conn *take_unwanted(struct db *db)
{
    const int64_t now = clock_mono_us(), idle_us = db->set.idle_s * INT64_C(1000000);
    const int open = db_pool_open_count(db);
    struct db_conn *c;
    TAILQ_FOREACH_REVERSE(c, &db->lists[CONN_IDLE], db_conns, link)
    {
        const bool quiet = db_conn_quiet(c);
        const bool idle = now - c->idle_since_us >= idle_us && open > db->min;
        if (quiet && !idle && open <= db->max && now < c->retire_us)
            continue;
        if (!quiet && db->slot)
            metrics_add(&db->slot->db_discarded, 1);
        db_pool_move(db, c, CONN_CLOSED);
        return c;
    }
    return NULL;
}

void db_pool_close_unwanted(struct db *db)
{
    struct db_conn *c;
    do {
        pthread_mutex_lock(&db->lock);
        c = take_unwanted(db);
        pthread_mutex_unlock(&db->lock);
        if (c)
            db_pool_reap(db, c);
    } while (c);
}

void db_pool_retire(struct db *db)
{
    struct db_conn *c;
    pthread_mutex_lock(&db->lock);
    TAILQ_FOREACH(c, &db->lists[CONN_IDLE], link)
    c->retire_us = 0;
    TAILQ_FOREACH(c, &db->lists[CONN_BUSY], link)
    c->retire_us = 0;
    pthread_mutex_unlock(&db->lock);
    db_pool_close_unwanted(db);
}

static int at_least_one(int n)
{
    return n > 0 ? n : 1;
}

void db_pool_share(struct db *db, int capacity, int hosts)
{
    pthread_mutex_lock(&db->lock);
    db->capacity = capacity > 0 ? capacity : db->capacity;
    db->hosts = hosts > 0 ? hosts : db->hosts;
    capacity = db->capacity;
    hosts = at_least_one(db->hosts);
    const int most = at_least_one(db->set.pool_max), before = db->max;
    const int share = at_least_one(capacity / hosts / at_least_one(db->set.workers));
    const int max = capacity == 0 ? before : share < most ? share : most;
    if (max != before) {
        db->max = max;
        db->min = db->set.pool_min < max ? db->set.pool_min : max;
        db_pool_publish(db);
        /* If it has grown, those that wait may have one. */
        db_pool_wake_for_room(db);
    }
    pthread_mutex_unlock(&db->lock);
    if (max != before && max < db->set.pool_max)
        log_say(LOG_WARN, "pool_lowered",
                "%d connections a worker instead of %d: PostgreSQL has %d for %d workers on %d "
                "host%s",
                max, db->set.pool_max, capacity, db->set.workers, hosts, hosts > 1 ? "s" : "");
}

/* SPDX-License-Identifier: MIT */
/* Opening and closing the pool's connections, and what an attempt says about the server. */
#include "db_internal.h"

#include <stdio.h>

#include "parley/base/uuid.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_LAST_MS = 1000, FULL_PAUSE_MS = 1000 };

/* Under the lock. The pause doubles, and is shortened at random by up to a half, so that many
 * workers do not come back at the same instant. */
static void back_off(struct db *db, enum db_state state, const char *why)
{
    char reason[sizeof(db->reason)];
    int ms = db->backoff_ms * 2;
    ms = ms < BACKOFF_FIRST_MS ? BACKOFF_FIRST_MS : ms > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : ms;
    int64_t us = ms * INT64_C(1000);
    db->backoff_ms = ms;
    db->retry_at_us = clock_mono_us() + us - (int64_t)(random_u64() % (uint64_t)(us / 2));
    db->checked = false;
    snprintf(reason, sizeof(reason), "%s%s", state == DB_DOWN ? "PostgreSQL is away: " : "", why);
    db_pool_set_state(db, state, reason);
    if (db_pool_open_count(db) == 0)
        atomic_store(&db->away, true);
    /* No connection will be released: nobody needs to wait. */
    while (db->lists[CONN_BUSY].n == 0 && db_pool_wake(db, NULL))
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
        db->full_until_us = 0;
        db->checked = true;
        db_pool_set_state(db, DB_UP, "");
    } else if (result == OPEN_FULL && db_pool_open_count(db) > 0) {
        db->full_until_us = clock_mono_us() + FULL_PAUSE_MS * INT64_C(1000);
    } else if (result == OPEN_WRONG) {
        back_off(db, DB_MISCONFIGURED, why);
    } else if (result == OPEN_REFUSED || result == OPEN_FULL || (result == OPEN_LATE && late)) {
        back_off(db, DB_DOWN, why);
    }
    /* More may be opened now; or one that failed no longer counts for its contention key. */
    db_pool_wake_for_room(db);
}

enum db_open_result db_pool_open_one(struct db *db, struct db_conn *c, struct db_attempt *attempt)
{
    struct deadline own = deadline_in_ms(db->set.connect_ms);
    attempt->deadline = deadline_earlier(attempt->deadline, own);
    pthread_mutex_lock(&db->lock);
    bool check = !db->checked;
    pthread_mutex_unlock(&db->lock);

    enum db_open_result result = db_conn_open(c, &db->set, attempt);
    bool opened = result == OPEN_OK;
    if (opened && check)
        result = db_check_server(db, c, attempt);

    pthread_mutex_lock(&db->lock);
    finish_attempt(db, c, result, deadline_passed(own), attempt->why);
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

void db_pool_retire(struct db *db)
{
    for (;;) {
        pthread_mutex_lock(&db->lock);
        struct db_conn *c = db->lists[CONN_IDLE].first;
        for (struct db_conn *busy = db->lists[CONN_BUSY].first; busy; busy = busy->next)
            busy->retire_us = 0;
        if (c)
            db_pool_move(db, c, CONN_CLOSED);
        pthread_mutex_unlock(&db->lock);
        if (!c)
            return;
        db_pool_reap(db, c);
    }
}

/* SPDX-License-Identifier: MIT */
/* Opens and closes the service, and reports its state. Its thread keeps the pool in order, and its
 * state correct while no request does. */
#include "db_internal.h"
#include "hosts_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* A tick costs no round trip while statements succeed. */
enum { TICK_MS = 250, PING_AFTER_MS = 700, PING_MS = 500, ARENA_LIMIT = 256 * 1024 };

/* Opens connections up to the minimum. While there is none, opens one to see whether the server is
 * there. */
static void open_minimum(struct db *db)
{
    for (;;) {
        struct request_ctx ctx;
        char why[DB_REASON_MAX];
        pthread_mutex_lock(&db->lock);
        int open = db_pool_open_count(db);
        bool wanted =
            open + db->counts[CONN_OPENING] < db->min || (db->state != DB_UP && open == 0);
        struct db_conn *c = wanted ? db_pool_reserve(db, 0) : NULL;
        pthread_mutex_unlock(&db->lock);
        if (!c)
            return;
        /* The limit of the attempt ends it. */
        db_begin_request(&ctx, db->arena, db->set.connect_ms + PING_MS, "pool");
        if (db_pool_open_one(db, &ctx, c, ctx.deadline, why) != OPEN_OK)
            return;
        db_pool_release(db, c);
    }
}

/* True if nothing answers in time on a connection that is CONN_BUSY, or on a new one, which is
 * CONN_OPENING. Releases it. */
static bool hangs(struct db *db, struct db_conn *c)
{
    struct request_ctx ctx;
    db_begin_request(&ctx, db->arena, PING_MS, "pool");
    if (!c->pinged) {
        char why[DB_REASON_MAX];
        const enum db_open_result result = db_pool_open_one(db, &ctx, c, ctx.deadline, why);
        if (result == OPEN_OK)
            db_pool_release(db, c);
        return result == OPEN_LATE;
    }
    struct db_call step;
    struct db_param limits[DB_LIMITS_MAX];
    struct db_fault fault;
    db_limits_step(db, c, &ctx, limits, &step);
    db_pipeline_run(db, c, &ctx, &step, 1, &fault);
    db_pool_release(db, c);
    return fault.kind == FAULT_TIMEOUT;
}

/* Notices a server that hangs, which no socket shows, before a request does. Only when nothing has
 * succeeded for a while: a pool in use needs no ping. If every connection is busy and none of them
 * answers, a new one shows whether the server is there, or another one was promoted: one more than
 * the pool may have. */
static void ping(struct db *db)
{
    const int64_t silence_us = PING_AFTER_MS * INT64_C(1000);
    struct db_conn *c = NULL;
    pthread_mutex_lock(&db->lock);
    if (clock_mono_us() - db->last_success_us >= silence_us) {
        c = TAILQ_FIRST(&db->lists[CONN_IDLE]);
        if (c) {
            db_pool_move(db, c, CONN_BUSY);
            c->pinged = true;
        } else if (!db->set.owner) {
            c = db_pool_reserve(db, 1);
        }
    }
    pthread_mutex_unlock(&db->lock);
    if (!c || !hangs(db, c))
        return;
    pthread_mutex_lock(&db->lock);
    db_pool_set_state(db, DB_DOWN, "it does not answer");
    atomic_store(&db->away, true);
    pthread_mutex_unlock(&db->lock);
}

static void *maintain(void *arg)
{
    struct db *db = arg;
    struct request_ctx ctx;
    do {
        db_pool_close_unwanted(db);
        open_minimum(db);
        ping(db);
        db_begin_request(&ctx, db->arena, 0, "pool");
        if (!db->set.owner && db_is_up(db))
            db_servers_ask_others(db, &ctx);
        pthread_mutex_lock(&db->lock);
        db_pool_wake_for_room(db);
        pthread_mutex_unlock(&db->lock);
    } while (thread_loop_pause(&db->maintainer, deadline_in_ms(TICK_MS).at_us));
    return NULL;
}

static void dispose(struct db *db)
{
    PQconninfoFree(db->url.parsed);
    pthread_mutex_destroy(&db->lock);
    arena_destroy(db->arena);
    free(db);
}

struct db *db_open(const struct db_settings *settings, struct metrics_slot *slot)
{
    struct db *db = calloc(1, sizeof(*db));
    if (!db)
        return NULL;
    db->set = *settings;
    db->slot = slot ? slot : &db->own_slot;
    db->known = settings->hosts ? &settings->hosts->servers : &db->own;
    db->max = settings->pool_max > 0 ? settings->pool_max : 1;
    db->min = settings->pool_min < db->max ? settings->pool_min : db->max;
    db->state = DB_STARTING;
    snprintf(db->reason, sizeof(db->reason), "no connection has been opened yet");
    db->schema_version = -1;
    for (int i = 0; i < CONN_STATES; i++)
        TAILQ_INIT(&db->lists[i]);
    TAILQ_INIT(&db->waiters);
    pthread_mutex_init(&db->lock, NULL);
    db->arena = arena_create(ARENA_LIMIT);
    if (db_url_parse(&db->url, settings->url) && db->arena &&
        thread_loop_start(&db->maintainer, maintain, db))
        return db;
    dispose(db);
    return NULL;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    thread_loop_stop(&db->maintainer);
    atomic_store(&db->finished_us, INT64_MAX);
    db_pool_retire(db);
    if (db->counts[CONN_BUSY] > 0 || db->waiting > 0) {
        /* Their threads still use the memory that would be freed here. */
        log_say(LOG_ERROR, "bug", "db_close: %d connections are in use", db->counts[CONN_BUSY]);
        abort();
    }
    dispose(db);
}

bool db_is_up(const struct db *db)
{
    return !atomic_load_explicit(&db->away, memory_order_relaxed);
}

int64_t db_now_us(const struct db *db)
{
    const int64_t ahead_us = atomic_load_explicit(&db->clock_ahead_us, memory_order_relaxed);
    return ahead_us == 0 ? clock_wall_us() : clock_mono_us() + ahead_us;
}

void db_status(struct db *db, struct db_status *out)
{
    pthread_mutex_lock(&db->lock);
    *out = (struct db_status){
        .state = db->state,
        .schema_version = db->schema_version,
        .n_servers = db->url.fault ? 0 : db->url.n,
        .pooled = db->pooled,
    };
    for (int i = 0; i < out->n_servers; i++) {
        struct db_server *s = &out->servers[i];
        memcpy(s->name, db->url.name[i], sizeof(s->name));
        s->state = (enum db_server_state)atomic_load(&db->known->state[i]);
        s->timeline = atomic_load(&db->known->timeline[i]);
    }
    memcpy(out->reason, db->reason, sizeof(out->reason));
    pthread_mutex_unlock(&db->lock);
}

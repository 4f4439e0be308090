/* SPDX-License-Identifier: MIT */
/*
 * The pool: the states of its connections and of the service, who may have which connection, who
 * waits, and which connections are closed. The one released last is used first, so that those above
 * what is needed stay idle and are closed. Those that wait are served in order: the thread that
 * releases a connection hands it to the first that may have it.
 *
 *             reserve            opened                  released, clean
 *   (nothing) ───────► OPENING ──────────► BUSY ◄──────────────────────► IDLE
 *                         │ failed           │ not clean, too old           │ dead, too old,
 *                         └──────────────────┼──────────► CLOSED ◄──────────┘ too many
 *                 a write got no answer      └─► ABANDONED ──┘ answered, lost, server replaced
 *
 * A commit that waits for a synchronous standby ends neither by statement_timeout nor when its
 * connection is closed. To cancel it would make it visible although no standby has it. So its
 * connection keeps its place in the pool until the backend has ended: otherwise each write that
 * hangs would leave a backend, and the pool would open another one.
 */
#include "db_internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/net.h"
#include "parley/obs/log.h"

/* ---- states ---- */

int db_pool_open_count(const struct db *db)
{
    return db->counts[CONN_IDLE] + db->counts[CONN_BUSY];
}

static void publish(const struct db *db)
{
    struct metrics_slot *s = db->slot;
    metrics_set(&s->pool_open, db_pool_open_count(db));
    metrics_set(&s->pool_idle, db->counts[CONN_IDLE]);
    metrics_set(&s->pool_in_use, db->counts[CONN_BUSY]);
    metrics_set(&s->pool_abandoned, db->counts[CONN_ABANDONED]);
    metrics_set(&s->pool_waiting, db->waiting);
    metrics_set(&s->pool_max, db->max);
}

void db_pool_move(struct db *db, struct db_conn *c, enum db_conn_state to)
{
    static const bool allowed[CONN_STATES + 1][CONN_STATES + 1] = {
        [CONN_CLOSED] = {[CONN_OPENING] = true}, /* a new one is in no list either */
        [CONN_OPENING] = {[CONN_BUSY] = true, [CONN_CLOSED] = true},
        [CONN_BUSY] = {[CONN_IDLE] = true, [CONN_ABANDONED] = true, [CONN_CLOSED] = true},
        [CONN_ABANDONED] = {[CONN_CLOSED] = true},
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
    publish(db);
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

enum { OPENING_MAX = 4 };

/* ---- how many may have connections ---- */

static int at_least_one(int n)
{
    return n > 0 ? n : 1;
}

/* Rounded down, but one of one. */
static int three_quarters(int n)
{
    return n > 1 ? n - (n + 3) / 4 : n;
}

/* Connections that only batched reads may have, so that slow reads of other kinds do not stop
 * them. */
static int kept_for_batched_reads(const struct db *db)
{
    return db->max >= 8 ? 2 : db->max >= 4 ? 1 : 0;
}

/* With the abandoned ones: writes that hang leave the rest to reads. */
static int most_writes(const struct db *db)
{
    return three_quarters(db->max - kept_for_batched_reads(db));
}

/* Besides the abandoned ones; what is left to reads if the pool is made smaller. */
static int most_open(const struct db *db)
{
    const int rest = db->max - db->counts[CONN_ABANDONED];
    const int least = at_least_one(db->max - most_writes(db));
    return rest > least ? rest : least;
}

/* extra: above the maximum. */
static bool may_open(const struct db *db, int extra)
{
    const int opening = db->counts[CONN_OPENING];
    if (db_pool_open_count(db) + opening >= most_open(db) + extra)
        return false;
    /* The pause after a full server is for a pool that has a connection. */
    if (clock_mono_us() < db->retry_at_us && (db->backoff_ms > 0 || db_pool_open_count(db) > 0))
        return false;
    /* While PostgreSQL is away, one connection at a time is tried. A few at a time otherwise: after
     * a failover all workers open theirs at once. */
    return opening < (db->backoff_ms == 0 ? OPENING_MAX : 1);
}

struct db_conn *db_pool_reserve(struct db *db, int extra)
{
    struct db_conn *c = may_open(db, extra) ? calloc(1, sizeof(*c)) : NULL;
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

/* True if a connection that is free must be left to requests of another kind. Each kind leaves a
 * quarter, and at least one, to the next: writes to reads, and the writes of one contention key,
 * which wait for one row that somebody may keep locked, to other writes. */
static bool is_full_for(const struct db *db, struct db_demand demand)
{
    const int writes_max = most_writes(db);
    int same_key = 0, writes = 0, open = 0;
    const struct db_conn *c;
    if (demand.reserve)
        return false;
    for (int state = 0; state < CONN_STATES; state++) {
        TAILQ_FOREACH (c, &db->lists[state], link) {
            same_key += c->demand.contention_key == demand.contention_key;
            writes += c->demand.writes;
            open += !c->demand.reserve && state != CONN_ABANDONED;
        }
    }
    return (demand.writes && writes >= writes_max) ||
           (demand.contention_key != 0 && same_key >= three_quarters(writes_max)) ||
           open >= most_open(db) - kept_for_batched_reads(db);
}

static void stop_waiting(struct db *db, struct db_waiter *w)
{
    TAILQ_REMOVE(&db->waiters, w, link);
    db->waiting--;
    publish(db);
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
    if (db->waiting > 0 && (db->counts[CONN_IDLE] > 0 || may_open(db, 0)))
        (void)db_pool_wake(db, NULL);
}

struct db_conn *db_pool_take(struct db *db, struct db_demand demand)
{
    if (is_full_for(db, demand))
        return NULL;
    struct db_conn *c = TAILQ_FIRST(&db->lists[CONN_IDLE]);
    if (c)
        db_pool_move(db, c, CONN_BUSY);
    else
        c = db_pool_reserve(db, 0);
    if (c)
        c->demand = demand;
    return c;
}

bool db_pool_wait(struct db *db, struct db_demand demand, struct deadline limit, bool in_front,
                  struct db_conn **given)
{
    struct db_waiter w = {.demand = demand};
    /* To wait for writes that hang would take threads from reads. */
    bool more = !demand.writes || db->counts[CONN_ABANDONED] < most_writes(db);
    pthread_cond_init(&w.wake, NULL);
    if (in_front)
        TAILQ_INSERT_HEAD(&db->waiters, &w, link);
    else
        TAILQ_INSERT_TAIL(&db->waiters, &w, link);
    db->waiting++;
    publish(db);
    while (!w.woken && more)
        more = thread_cond_wait(&w.wake, &db->lock, limit.at_us);
    if (!w.woken)
        stop_waiting(db, &w);
    pthread_cond_destroy(&w.wake);
    *given = w.given;
    return w.woken;
}

/* ---- closing, and how many the server allows ---- */

void db_servers_saw(struct db *db, int server, int timeline)
{
    int highest = atomic_load(&db->known->highest);
    while (timeline > highest)
        if (atomic_compare_exchange_weak(&db->known->highest, &highest, timeline) && highest > 0)
            log_say(LOG_INFO, "new_timeline",
                    "%s is at timeline %d: connections to servers of lower timelines are closed",
                    db->url.name[server], timeline);
}

bool db_conn_quiet(const struct db_conn *c)
{
    return net_wait(PQsocket(c->pg), POLLIN, deadline_in_ms(0)) == 0;
}

bool db_conn_clean(struct db_conn *c)
{
    return c->pg && !c->broken && PQstatus(c->pg) == CONNECTION_OK &&
           PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
           PQtransactionStatus(c->pg) == PQTRANS_IDLE && !PQisBusy(c->pg) &&
           PQgetResult(c->pg) == NULL;
}

bool db_conn_is_outdated(const struct db *db, const struct db_conn *c)
{
    return c->timeline != 0 &&
           c->timeline < atomic_load_explicit(&db->known->highest, memory_order_relaxed);
}

void db_pool_reap(struct db *db, struct db_conn *c)
{
    if (c->pg) {
        metrics_add(&db->slot->db_closed, 1);
        atomic_fetch_sub(&db->slot->pool_servers[c->server], 1);
    }
    PQfinish(c->pg);
    free(c);
}

/* Under the lock. An idle connection that is closed by the server, too old, idle for too long or
 * one too many, or an abandoned one whose backend has ended: it is CONN_CLOSED now. NULL: there is
 * none. The last used come first in the list, so those idle longest are at its end. */
static struct db_conn *take_unwanted(struct db *db)
{
    const int64_t now = clock_mono_us(), idle_us = db->set.idle_s * INT64_C(1000000);
    const int open = db_pool_open_count(db);
    struct db_conn *c;
    TAILQ_FOREACH_REVERSE (c, &db->lists[CONN_IDLE], db_conns, link) {
        const bool quiet = db_conn_quiet(c);
        const bool idle = now - c->idle_since_us >= idle_us && open > db->min;
        if (quiet && !idle && open <= db->max && now < c->retire_us && !db_conn_is_outdated(db, c))
            continue;
        if (!quiet)
            metrics_add(&db->slot->db_discarded, 1);
        db_pool_move(db, c, CONN_CLOSED);
        return c;
    }
    TAILQ_FOREACH (c, &db->lists[CONN_ABANDONED], link) {
        if (c->abandoned_us >= atomic_load(&db->finished_us) && db_conn_quiet(c) &&
            !db_conn_is_outdated(db, c))
            continue;
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
    for (int state = CONN_IDLE; state <= CONN_BUSY; state++) {
        TAILQ_FOREACH (c, &db->lists[state], link) {
            c->retire_us = 0;
        }
    }
    pthread_mutex_unlock(&db->lock);
    db_pool_close_unwanted(db);
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
        publish(db);
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

/* SPDX-License-Identifier: MIT */
/*
 * The life of connections: db_pool_move is the only function that changes a connection's state, and
 * db_pool_set_state the only one that changes the service's.
 *
 *             reserve            opened                  released, clean
 *   (nothing) ───────► OPENING ──────────► BUSY ◄──────────────────────► IDLE
 *                         │ failed           │ not clean, or too old       │ dead, too old, too
 * many └──────────────────┴──────────► CLOSED ◄─────────┘
 *
 * Idle connections are lent last in, first out, so that those above what is needed fall idle and
 * can be closed. Threads that wait are served in their order: who returns a connection hands it to
 * the first of them.
 */
#include "db_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/thread.h"
#include "parley/base/uuid.h"
#include "parley/obs/log.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_LAST_MS = 1000, FULL_PAUSE_MS = 1000 };

/* ---- lists and states; all under the lock ---- */

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

static void publish(struct db *db)
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
        c->lent_us = clock_mono_us();
    if (to != CONN_CLOSED)
        list_push(&db->lists[to], c);
    publish(db);
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

/* ---- waiters; all under the lock ---- */

static void waiter_enqueue(struct db *db, struct db_waiter *w, bool in_front)
{
    struct db_waiter **at = &db->first_waiter;
    while (*at && !in_front)
        at = &(*at)->next;
    w->next = *at;
    *at = w;
    db->waiting++;
    publish(db);
}

static void waiter_remove(struct db *db, struct db_waiter *w)
{
    struct db_waiter **at = &db->first_waiter;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    db->waiting--;
    publish(db);
}

/* Connections that only reads in batches may have, so that writers that hang cannot stop them. */
static int kept_for_reads(const struct db *db)
{
    return db->max >= 8 ? 2 : db->max >= 2 ? 1 : 0;
}

static void count(const struct db_conn_list *list, uint64_t contention_key, int *of_lane,
                  int *others)
{
    for (const struct db_conn *c = list->first; c; c = c->next) {
        *of_lane += c->who.contention_key == contention_key;
        *others += !c->who.reserve;
    }
}

/* Whether what is there is for others. Requests that wait for one row, which somebody may keep
 * locked, leave a quarter of the pool, and at least one connection that is not kept for reads where
 * there are two. */
static bool is_full_for(const struct db *db, struct db_wants who)
{
    const int room = db->max - kept_for_reads(db);
    const int three_quarters = db->max - (db->max + 3) / 4;
    const int most = room == 1 ? 1 : three_quarters < room ? three_quarters : room - 1;
    int of_lane = 0, others = 0;
    if (who.reserve)
        return false;
    count(&db->lists[CONN_BUSY], who.contention_key, &of_lane, &others);
    count(&db->lists[CONN_OPENING], who.contention_key, &of_lane, &others);
    return (who.contention_key != 0 && of_lane >= most) || others >= room;
}

/* The first that may have a connection. False if there is none. */
static bool waiter_wake(struct db *db, struct db_conn *given)
{
    struct db_waiter *w = db->first_waiter;
    while (w && is_full_for(db, w->who))
        w = w->next;
    if (!w)
        return false;
    waiter_remove(db, w);
    w->given = given;
    w->room = !given;
    if (given)
        given->who = w->who;
    pthread_cond_signal(&w->wake);
    return true;
}

static bool may_open(const struct db *db)
{
    int64_t now = clock_mono_us();
    if (db_pool_open_count(db) + db->lists[CONN_OPENING].n >= db->max)
        return false;
    if (now < db->full_until_us && db_pool_open_count(db) > 0)
        return false;
    /* While PostgreSQL is away one connector at a time asks for it. */
    return db->backoff_ms == 0 || (now >= db->retry_at_us && db->lists[CONN_OPENING].n == 0);
}

void db_pool_wake_for_room(struct db *db)
{
    /* Idle ones are there beside waiters who may not have them. */
    if (db->first_waiter && (db->lists[CONN_IDLE].n > 0 || may_open(db)))
        (void)waiter_wake(db, NULL);
}

/* ---- opening ---- */

struct db_conn *db_pool_reserve(struct db *db)
{
    struct db_conn *c = may_open(db) ? calloc(1, sizeof(*c)) : NULL;
    if (!c)
        return NULL;
    c->state = CONN_CLOSED;
    db_pool_move(db, c, CONN_OPENING);
    return c;
}

/* Under the lock. The pause doubles, and is shortened by up to a half by chance so that many
 * workers do not all come back at the same instant. */
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
    /* There is nothing to wait for any more. */
    while (db->lists[CONN_BUSY].n == 0 && waiter_wake(db, NULL))
        ;
}

/* Under the lock: what came of an attempt. late: the whole of connect_ms was spent. */
static void note_opened(struct db *db, struct db_conn *c, enum db_open_result result, bool late,
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
    /* More may be opened now; or a place has become free, and with it one of a contention_key. */
    db_pool_wake_for_room(db);
}

enum db_open_result db_pool_open_one(struct db *db, struct deadline deadline, int stop_fd,
                                     struct db_conn *c, char *why, size_t why_n)
{
    struct deadline own = deadline_in_ms(db->set.connect_ms);
    struct deadline both = deadline_earlier(deadline, own);
    pthread_mutex_lock(&db->lock);
    bool check = !db->checked;
    pthread_mutex_unlock(&db->lock);

    enum db_open_result result = db_conn_open(c, &db->set, both, stop_fd, why, why_n);
    bool opened = result == OPEN_OK;
    if (opened && check)
        result = db_check_server(db, c, both, stop_fd, why, why_n);

    pthread_mutex_lock(&db->lock);
    note_opened(db, c, result, deadline_passed(own), why);
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

/* ---- lending ---- */

enum next { NEXT_TAKE, NEXT_OPEN, NEXT_WAIT, NEXT_REFUSE };

/* Under the lock: what a thread that wants a connection does. */
static enum next choose(struct db *db, struct db_wants who, struct db_conn **c)
{
    const bool full = is_full_for(db, who);
    *c = full ? NULL : db->lists[CONN_IDLE].first;
    if (*c) {
        (*c)->who = who;
        db_pool_move(db, *c, CONN_BUSY);
        return NEXT_TAKE;
    }
    *c = full ? NULL : db_pool_reserve(db);
    if (*c) {
        (*c)->who = who;
        return NEXT_OPEN;
    }
    return db->backoff_ms > 0 ? NEXT_REFUSE : NEXT_WAIT;
}

/* Under the lock. A connection handed over, or NULL: time is up (*late) or there is room. */
static struct db_conn *wait_turn(struct db *db, struct deadline limit, struct db_wants who,
                                 bool in_front, bool *late)
{
    struct db_waiter w = {.who = who};
    bool more = true;
    thread_cond_init(&w.wake);
    waiter_enqueue(db, &w, in_front);
    while (!w.given && !w.room && more)
        more = thread_cond_wait(&w.wake, &db->lock, limit.at_us);
    if (!w.given && !w.room) {
        waiter_remove(db, &w);
        *late = true;
    }
    pthread_cond_destroy(&w.wake);
    return w.given;
}

/* in_front: of those that wait already. */
static enum err acquire(struct db *db, struct request_ctx *ctx, struct deadline limit,
                        struct db_conn **out, char *why, size_t why_n)
{
    const struct db_wants who = {ctx->contention_key, ctx->reserve};
    bool in_front = ctx->urgent;
    for (;;) {
        struct db_conn *c;
        bool late = false;
        pthread_mutex_lock(&db->lock);
        enum next next = choose(db, who, &c);
        if (next == NEXT_WAIT || next == NEXT_OPEN)
            ctx_will_wait(ctx);
        if (next == NEXT_WAIT) {
            c = wait_turn(db, limit, who, in_front, &late);
            in_front = true; /* it has waited */
        } else if (next == NEXT_REFUSE) {
            snprintf(why, why_n, "%s", db->reason);
        }
        pthread_mutex_unlock(&db->lock);

        if (next == NEXT_REFUSE)
            return ERR_UNAVAILABLE;
        if (late) {
            snprintf(why, why_n, "no connection became free in time");
            return ERR_OVERLOAD;
        }
        if (next == NEXT_OPEN) {
            enum db_open_result opened = db_pool_open_one(db, limit, -1, c, why, why_n);
            if (opened == OPEN_REFUSED || opened == OPEN_WRONG)
                return ERR_UNAVAILABLE;
            if (opened == OPEN_LATE)
                return ERR_OVERLOAD;
            if (opened == OPEN_FULL)
                continue; /* to wait for another, or to be refused */
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

enum err db_pool_acquire(struct db *db, struct request_ctx *ctx, const void *owner,
                         struct db_conn **out)
{
    char why[200] = "";
    int64_t began = clock_mono_us();
    struct deadline limit = deadline_in_ms(db->set.acquire_ms);
    /* Reads by key take less time than it takes to wake another thread: see exchange(). */
    if (!ctx->reserve)
        ctx_will_wait(ctx);
    enum err rc = acquire(db, ctx, deadline_earlier(limit, ctx->deadline), out, why, sizeof(why));
    int64_t took = clock_mono_us() - began;
    ctx->trace.pool_us += took;
    if (db->slot && !ctx->urgent)
        metrics_observe(&db->slot->acquire, took);
    if (rc != ERR_NONE) {
        ctx_fault(ctx, rc, "%s", why);
        if (ctx->err.retry_after_s == 0)
            ctx->err.retry_after_s = 1;
        return rc;
    }
    pthread_mutex_lock(&db->lock);
    (*out)->owner = owner;
    pthread_mutex_unlock(&db->lock);
    return ERR_NONE;
}

void db_pool_release(struct db *db, struct db_conn *c)
{
    bool clean = db_conn_clean(c);
    int64_t now = clock_mono_us();
    pthread_mutex_lock(&db->lock);
    bool keep = clean && now < c->retire_us && db_pool_open_count(db) <= db->max;
    if (c->answered) {
        db->last_success_us = now;
        /* New connections may be refused while those that are open go on. */
        if (c->lent_us > db->away_since_us)
            atomic_store(&db->away, false);
        if (db->state == DB_DOWN && db->backoff_ms == 0)
            db_pool_set_state(db, DB_UP, "");
    }
    if (!c->pinged)
        c->idle_since_us = now;
    c->owner = NULL;
    c->who = (struct db_wants){.reserve = true}; /* counts for nobody until it is given */
    c->answered = c->pinged = false;
    if (!keep) {
        db_pool_move(db, c, CONN_CLOSED);
        db_pool_wake_for_room(db);
    } else if (!waiter_wake(db, c)) { /* else it stays CONN_BUSY: from one thread to the next */
        db_pool_move(db, c, CONN_IDLE);
    }
    pthread_mutex_unlock(&db->lock);
    if (keep)
        return;
    if (!clean && db->slot)
        metrics_add(&db->slot->db_discarded, 1);
    db_pool_reap(db, c);
}

bool db_pool_owns(struct db *db, const void *owner)
{
    bool found = false;
    pthread_mutex_lock(&db->lock);
    for (struct db_conn *c = db->lists[CONN_BUSY].first; c && !found; c = c->next)
        found = c->owner == owner;
    pthread_mutex_unlock(&db->lock);
    return found;
}

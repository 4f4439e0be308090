/* SPDX-License-Identifier: MIT */
/* Who leads a batch, who is in it, and who waits. What a batch does is in session/sql/. */
#include "parley/db/batcher.h"

#include <stdlib.h>
#include <time.h>

#include "db_internal.h"

/* A statement that takes longer no longer counts as under way: one that hangs must stop nobody. */
enum { SLOW_US = 50000 };
/* A batch ends at the earliest deadline of its members, so their deadlines differ by no more. */
enum { DEADLINES_US = 250000 };
enum { APART_SLOTS = 256 };

/* DONE is for C's memory order: ThreadSanitizer does not know sem_clockwait. */
enum { MEMBER_WAITING, MEMBER_TAKEN, MEMBER_LEADING, MEMBER_DONE };

TAILQ_HEAD(db_members, db_member);

struct db_batcher {
    struct db *db; /* borrowed */
    const struct db_batcher_kind *kind;
    void *service;
    struct metrics_batches *counts, own_counts;
    pthread_mutex_t lock;      /* of what follows; never held around a statement */
    struct db_members waiting; /* in the order of arrival */
    struct db_members leading; /* their statements or batches are under way */
    /* Statements that run apart now, by contention key. They may wait for a locked row. Batches
     * skip that row, so they could overtake them for ever. So others of the key run apart, too. */
    unsigned apart[APART_SLOTS];
};

struct db_batcher *db_batcher_create(struct db *db, const struct db_batcher_kind *kind,
                                     void *service, struct metrics_batches *counts)
{
    struct db_batcher *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    *b = (struct db_batcher){.db = db,
                             .kind = kind,
                             .service = service,
                             .counts = counts ? counts : &b->own_counts,
                             .lock = PTHREAD_MUTEX_INITIALIZER,
                             .waiting = TAILQ_HEAD_INITIALIZER(b->waiting),
                             .leading = TAILQ_HEAD_INITIALIZER(b->leading)};
    return b;
}

void db_batcher_destroy(struct db_batcher *b)
{
    free(b);
}

/* ---- under the lock ---- */

/* One run of a tenant at a time: with two, batches are half as large and cost more (measured,
 * docs/internals/performance.md). Tenants share no batch, so they do not wait for each other. */
static bool may_start(const struct db_batcher *b, struct sv tenant)
{
    const int64_t slow = clock_mono_us() - SLOW_US;
    const struct db_member *m = TAILQ_FIRST(&b->leading);
    while (m && (m->began_us <= slow || !sv_eq(m->ctx->tenant, tenant)))
        m = TAILQ_NEXT(m, link);
    return !m;
}

static void start(struct db_batcher *b, struct db_member *m)
{
    m->began_us = clock_mono_us();
    TAILQ_INSERT_HEAD(&b->leading, m, link);
    atomic_store(&m->state, MEMBER_LEADING);
}

static struct db_member *first_of(const struct db_batcher *b, struct sv tenant)
{
    struct db_member *m;
    TAILQ_FOREACH (m, &b->waiting, link) {
        if (sv_eq(m->ctx->tenant, tenant))
            return m;
    }
    return NULL;
}

/* Makes the tenant's first request that waits a leader, unless a run of the tenant is under way. */
static void start_next(struct db_batcher *b, struct sv tenant)
{
    struct db_member *m = first_of(b, tenant);
    if (!m || !may_start(b, tenant))
        return;
    TAILQ_REMOVE(&b->waiting, m, link);
    start(b, m);
    (void)sem_post(&m->wake);
}

static bool may_join(const struct db_batcher *b, struct db_member *const *members, size_t n,
                     const struct db_member *m)
{
    bool may = sv_eq(m->ctx->tenant, members[0]->ctx->tenant);
    for (size_t i = 0; may && i < n; i++) {
        const int64_t later_us = m->ctx->deadline.at_us - members[i]->ctx->deadline.at_us;
        may = later_us >= -DEADLINES_US && later_us <= DEADLINES_US;
    }
    return may && b->kind->fits(members, n, m);
}

/* Takes the members of a batch from the queue; members[0] is the leader. */
static size_t take_members(struct db_batcher *b, struct db_member *members[DB_BATCHER_MAX])
{
    size_t n = 1;
    struct db_member *m = TAILQ_FIRST(&b->waiting);
    while (m && n < DB_BATCHER_MAX) {
        struct db_member *next = TAILQ_NEXT(m, link);
        if (may_join(b, members, n, m)) {
            TAILQ_REMOVE(&b->waiting, m, link);
            atomic_store(&m->state, MEMBER_TAKEN);
            members[n++] = m;
        }
        m = next;
    }
    return n;
}

/* ---- a batch ---- */

static void run_batch(struct db_batcher *b, struct db_member *const *members, size_t n)
{
    struct request_ctx *leader = members[0]->ctx, ctx;
    ctx_init(&ctx, leader->arena, leader->deadline, leader->tenant, leader->request_id);
    for (size_t i = 1; i < n; i++)
        ctx.deadline = deadline_earlier(ctx.deadline, members[i]->ctx->deadline);
    ctx.before_wait = leader->before_wait;
    ctx.acquire_by = leader->acquire_by;
    const enum err e = b->kind->run_batch(b->service, &ctx, members, n);
    for (size_t i = 0; i < n; i++) {
        struct request_ctx *own = members[i]->ctx;
        if (e != ERR_NONE) {
            members[i]->err = e;
            own->err = ctx.err;
        }
        own->trace.pool_us += ctx.trace.pool_us;
        own->trace.sql_us += ctx.trace.sql_us;
        own->trace.round_trips += ctx.trace.round_trips;
        own->trace.batch = (uint32_t)n;
    }
    metrics_batch(b->counts, n);
}

static enum err run_apart(struct db_batcher *b, struct db_member *m)
{
    const size_t slot = m->ctx->contention_key % APART_SLOTS;
    metrics_add(&b->counts->apart[m->apart - 1], 1);
    m->ctx->acquire_by = (struct deadline){0}; /* the batch that left it out was no wait */
    pthread_mutex_lock(&b->lock);
    b->apart[slot]++;
    pthread_mutex_unlock(&b->lock);
    const enum err e = b->kind->run_alone(b->service, m);
    pthread_mutex_lock(&b->lock);
    b->apart[slot]--;
    pthread_mutex_unlock(&b->lock);
    return e;
}

static enum err lead(struct db_batcher *b, struct db_member *m)
{
    struct db_member *members[DB_BATCHER_MAX] = {m};
    pthread_mutex_lock(&b->lock);
    const size_t n = take_members(b, members);
    pthread_mutex_unlock(&b->lock);
    if (n == 1)
        m->err = b->kind->run_alone(b->service, m);
    else
        run_batch(b, members, n);
    pthread_mutex_lock(&b->lock);
    TAILQ_REMOVE(&b->leading, m, link);
    start_next(b, m->ctx->tenant);
    pthread_mutex_unlock(&b->lock);
    for (size_t i = 1; i < n; i++) {
        atomic_store(&members[i]->state, MEMBER_DONE);
        (void)sem_post(&members[i]->wake);
    }
    return m->err;
}

/* ---- a member ---- */

static bool wait_until(sem_t *wake, int64_t at_us)
{
    const struct timespec at = {.tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000};
    return sem_clockwait(wake, CLOCK_MONOTONIC, &at) == 0;
}

/* Returns when the member leads, when a leader has answered it, or, with an error, when it has
 * waited for too long. A member that was taken waits for the post: its leader uses it till then. */
static void wait_for_turn(struct db_batcher *b, struct db_member *m)
{
    struct deadline limit = deadline_earlier(m->ctx->deadline, m->ctx->acquire_by);
    bool gone = false;
    ctx_will_wait(m->ctx);
    while (!gone &&
           !wait_until(&m->wake, deadline_earlier(limit, deadline_in_ms(SLOW_US / 1000)).at_us)) {
        pthread_mutex_lock(&b->lock);
        if (atomic_load(&m->state) == MEMBER_WAITING) {
            gone = deadline_passed(limit);
            if (gone)
                TAILQ_REMOVE(&b->waiting, m, link);
            else
                start_next(b, m->ctx->tenant);
        } else {
            limit.at_us = INT64_MAX; /* its leader has one: with its own it would not sleep */
        }
        pthread_mutex_unlock(&b->lock);
    }
    if (gone)
        m->err = ctx_fault(m->ctx, ERR_OVERLOAD, "the statements before this one took too long");
}

enum err db_batcher_run(struct db_batcher *b, struct db_member *m)
{
    const struct sv tenant = m->ctx->tenant;
    const uint64_t key = m->ctx->contention_key;
    if (m->apart == DB_APART_UNFIT) {
        metrics_add(&b->counts->apart[m->apart - 1], 1);
        return b->kind->run_alone(b->service, m);
    }
    /* One limit for both waits: here and for a connection. */
    m->ctx->acquire_by = deadline_in_ms(b->db->set.acquire_ms);
    pthread_mutex_lock(&b->lock);
    const bool apart = key != 0 && b->apart[key % APART_SLOTS] > 0;
    if (apart) {
        m->apart = DB_APART_CONTENDED;
    } else if (may_start(b, tenant) && !first_of(b, tenant)) {
        start(b, m);
    } else {
        (void)sem_init(&m->wake, 0, 0);
        atomic_store(&m->state, MEMBER_WAITING);
        TAILQ_INSERT_TAIL(&b->waiting, m, link);
        start_next(b, tenant);
    }
    pthread_mutex_unlock(&b->lock);
    if (!apart && atomic_load(&m->state) != MEMBER_LEADING)
        wait_for_turn(b, m);
    if (!apart && atomic_load(&m->state) == MEMBER_LEADING)
        m->err = lead(b, m);
    const enum err e = m->apart ? run_apart(b, m) : m->err;
    m->ctx->acquire_by = (struct deadline){0};
    return e;
}

/* SPDX-License-Identifier: MIT */
/* Statements in one round trip and one transaction, and the rules for repeating them. */
#include <string.h>
#include <time.h>

#include "db_internal.h"

#include "parley/base/uuid.h"

enum { CONFLICT_REPEATS = 3, FRESH_REPEATS = 1 };

struct repeats {
    int conflicts, stale, lost;
};

/* Random, so that two transactions that collided do not collide again. */
static void pause_before(int attempt)
{
    uint64_t most_us = UINT64_C(4000) << attempt;
    struct timespec t = {.tv_nsec = 1000 * (500 + (int64_t)(random_u64() % most_us))};
    nanosleep(&t, NULL);
}

/* Whether work may be done again; after the pause that it needs. */
static bool may_repeat(struct db *db, struct request_ctx *ctx, const struct db_fault *f,
                       enum db_retry retry, struct repeats *r)
{
    bool again = false;
    if (f->kind == FAULT_SERVER && (f->flags & SQLSTATE_CONFLICT)) {
        again = r->conflicts++ < CONFLICT_REPEATS;
        if (again)
            pause_before(r->conflicts);
    } else if (f->kind == FAULT_SERVER && f->flags != 0) {
        again = r->stale++ < FRESH_REPEATS;
    } else if (f->kind == FAULT_LOST && (retry == DB_READ || !f->sent)) {
        again = r->lost++ < FRESH_REPEATS;
    }
    again = again && !deadline_passed(ctx->deadline);
    if (again)
        metrics_add(&db->slot->db_retries, 1);
    return again;
}

/* Without an answer, nobody knows whether the server has committed. */
static bool is_outcome_unknown(const struct db_fault *f)
{
    return (f->kind == FAULT_LOST || f->kind == FAULT_TIMEOUT) && f->sent;
}

enum err db_batch(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                  struct db_call *calls, size_t n_calls, struct db_failure *failure)
{
    struct repeats repeats = {0};
    struct db_fault f = {0};
    if (failure)
        *failure = (struct db_failure){0};
    struct db_call *steps = arena_array(ctx->arena, n_calls + 1, sizeof(*steps));
    if (!steps)
        return ctx_nomem(ctx);
    memcpy(steps + 1, calls, n_calls * sizeof(*calls));
    struct arena_mark mark = arena_get_mark(ctx->arena);
    for (;;) {
        struct db_conn *c;
        struct db_param limits[DB_LIMITS_MAX];
        TRY(db_pool_acquire(db, ctx, retry, &c));
        db_limits_step(db, c, ctx, limits, &steps[0]);
        db_pipeline_run(db, c, ctx, steps, (int)n_calls + 1, &f);
        db_pool_release(db, c);
        if (f.kind == FAULT_NONE)
            break;
        if (retry == DB_WRITE && is_outcome_unknown(&f))
            f.err = ERR_OUTCOME_UNKNOWN;
        if (!may_repeat(db, ctx, &f, retry, &repeats))
            return db_fault_report(ctx, &f, failure);
        arena_rewind(ctx->arena, mark);
    }
    memcpy(calls, steps + 1, n_calls * sizeof(*calls));
    return ERR_NONE;
}

enum err db_query(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                  const struct db_stmt *stmt, const struct db_param *params, int n_params,
                  struct db_rows *out, struct db_failure *failure)
{
    struct db_call call = {.stmt = stmt, .params = params, .n_params = n_params};
    TRY(db_batch(db, ctx, retry, &call, 1, failure));
    if (out)
        *out = call.rows;
    return ERR_NONE;
}

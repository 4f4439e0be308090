/* SPDX-License-Identifier: MIT */
/* Statements in one round trip and one transaction, transactions of several round trips, and the
 * rules for repeating them. */
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
    if (again && db->slot)
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
    struct db_step *steps = arena_array(ctx->arena, n_calls + 1, sizeof(*steps));
    if (!steps)
        return ctx_nomem(ctx);
    struct arena_mark mark = arena_get_mark(ctx->arena);
    ctx->trace.statements += (uint32_t)n_calls;
    for (;;) {
        struct db_conn *c;
        struct db_param limits[DB_LIMITS_MAX];
        TRY(db_pool_acquire(db, ctx, retry, &c));
        db_limits_step(db, c, ctx, limits, &steps[0]);
        for (size_t i = 0; i < n_calls; i++)
            steps[i + 1] = (struct db_step){
                .stmt = calls[i].stmt, .params = calls[i].params, .n_params = calls[i].n_params};
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
    for (size_t i = 0; i < n_calls; i++)
        calls[i].rows = steps[i + 1].rows;
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

/* ---- transactions of several round trips; BEGIN is sent with the first statement ---- */

struct db_tx {
    struct db *db;
    struct db_conn *c; /* acquired for the whole transaction */
    bool begun;
    bool failed;           /* a statement failed: only ROLLBACK is left */
    struct db_fault fault; /* of that statement, or of COMMIT */
};

static const struct db_stmt begin_stmt = {"parley_begin", "BEGIN ISOLATION LEVEL READ COMMITTED"};
static const struct db_stmt commit_stmt = {"parley_commit", "COMMIT"};
static const struct db_stmt rollback_stmt = {"parley_rollback", "ROLLBACK"};

enum err db_tx_query(struct db_tx *tx, struct request_ctx *ctx, const struct db_stmt *stmt,
                     const struct db_param *params, int n_params, struct db_rows *out,
                     struct db_failure *failure)
{
    if (failure)
        *failure = (struct db_failure){0};
    if (tx->failed)
        return ctx_fault(ctx, ERR_INTERNAL, "%s: a statement in a transaction that has failed",
                         stmt->name ? stmt->name : "statement");
    struct db_step steps[3];
    struct db_param limits[DB_LIMITS_MAX];
    int n = 0;
    if (!tx->begun)
        steps[n++] = (struct db_step){.stmt = &begin_stmt};
    db_limits_step(tx->db, tx->c, ctx, limits, &steps[n++]);
    steps[n++] = (struct db_step){.stmt = stmt, .params = params, .n_params = n_params};
    ctx->trace.statements++;
    tx->begun = true;
    if (db_pipeline_run(tx->db, tx->c, ctx, steps, n, &tx->fault) != FAULT_NONE) {
        tx->failed = true;
        return db_fault_report(ctx, &tx->fault, failure);
    }
    if (out)
        *out = steps[n - 1].rows;
    return ERR_NONE;
}

static enum err commit(struct db_tx *tx, struct request_ctx *ctx)
{
    struct db_step step = {.stmt = &commit_stmt};
    struct db_fault *f = &tx->fault;
    enum db_fault_kind kind = db_pipeline_run(tx->db, tx->c, ctx, &step, 1, f);
    /* After an error the server answers COMMIT with ROLLBACK. */
    if (kind == FAULT_NONE && strcmp(PQcmdStatus(step.rows.result), "COMMIT") == 0)
        return ERR_NONE;
    tx->failed = true;
    if (kind == FAULT_NONE)
        db_fault_set(f, FAULT_SERVER, ERR_INTERNAL, "COMMIT was answered with ROLLBACK");
    if (is_outcome_unknown(f))
        f->err = ERR_OUTCOME_UNKNOWN;
    return db_fault_report(ctx, f, NULL);
}

/* Ends the server's transaction. If that fails, the connection is closed. */
static void roll_back(struct db_tx *tx, struct request_ctx *ctx)
{
    if (!tx->begun || tx->c->broken || PQtransactionStatus(tx->c->pg) == PQTRANS_IDLE)
        return;
    /* The request's own deadline may have passed. */
    struct deadline own = ctx->deadline;
    struct db_step step = {.stmt = &rollback_stmt};
    struct db_fault ignored;
    ctx->deadline = deadline_in_ms(500);
    if (db_pipeline_run(tx->db, tx->c, ctx, &step, 1, &ignored) != FAULT_NONE)
        tx->c->broken = true;
    ctx->deadline = own;
}

static enum err run_once(struct db_tx *tx, struct request_ctx *ctx, db_tx_fn fn, void *arg)
{
    enum err rc = fn(tx, ctx, arg);
    if (rc == ERR_NONE && tx->failed)
        rc = tx->fault.err; /* fn has ignored it, but nothing can be committed */
    if (rc == ERR_NONE && tx->begun)
        rc = commit(tx, ctx);
    if (rc != ERR_NONE)
        roll_back(tx, ctx);
    return rc;
}

/* Repeats the whole while that is allowed. */
static enum err run_with_repeats(struct db *db, struct request_ctx *ctx, db_tx_fn fn, void *arg)
{
    struct repeats repeats = {0};
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct err_info before = ctx->err;
    for (;;) {
        struct db_tx tx = {.db = db};
        TRY(db_pool_acquire(db, ctx, DB_WRITE, &tx.c));
        enum err rc = run_once(&tx, ctx, fn, arg);
        db_pool_release(db, tx.c);
        /* Before COMMIT is sent nothing can have been committed: a repeat is as safe as a read's.
         */
        bool unknown = tx.fault.err == ERR_OUTCOME_UNKNOWN;
        if (rc == ERR_NONE || !tx.failed || unknown ||
            !may_repeat(db, ctx, &tx.fault, DB_READ, &repeats))
            return rc;
        arena_rewind(ctx->arena, mark);
        ctx->err = before;
    }
}

enum err db_transaction(struct db *db, struct request_ctx *ctx, db_tx_fn fn, void *arg)
{
    if (ctx->in_transaction)
        return ctx_fault(ctx, ERR_INTERNAL, "db_transaction inside a transaction");
    ctx->in_transaction = true;
    const enum err rc = run_with_repeats(db, ctx, fn, arg);
    ctx->in_transaction = false;
    return rc;
}

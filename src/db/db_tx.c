/* SPDX-License-Identifier: MIT */
/* Transactions of several round trips. BEGIN is sent with the first statement. */
#include "parley/db/transaction.h"

#include <string.h>

#include "db_internal.h"

struct db_tx {
    struct db *db;
    struct db_conn *c; /* acquired for the whole transaction */
    enum db_isolation level;
    bool begun;
    bool failed;           /* a statement failed: only ROLLBACK is left */
    struct db_fault fault; /* of that statement, or of COMMIT */
};

static const struct db_stmt begin_stmts[] = {
    [DB_READ_COMMITTED] = {"parley_begin_rc", "BEGIN ISOLATION LEVEL READ COMMITTED"},
    [DB_REPEATABLE_READ] = {"parley_begin_rr", "BEGIN ISOLATION LEVEL REPEATABLE READ"},
    [DB_SERIALIZABLE] = {"parley_begin_s", "BEGIN ISOLATION LEVEL SERIALIZABLE"},
};
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
    struct db_limits limits;
    int n = 0;
    if (!tx->begun)
        steps[n++] = (struct db_step){.stmt = &begin_stmts[tx->level]};
    db_limits_step(tx->db, ctx, &limits, &steps[n++]);
    steps[n++] = (struct db_step){.stmt = stmt, .params = params, .n_params = n_params};
    ctx->trace.statements++;
    tx->begun = true;
    if (db_pipeline_run(tx->db, tx->c, ctx, steps, n, &tx->fault) != FAULT_NONE) {
        tx->failed = true;
        return db_fault_report(ctx, &tx->fault, failure);
    }
    if (out)
        db_rows_from(out, steps[n - 1].result);
    return ERR_NONE;
}

static enum err commit(struct db_tx *tx, struct request_ctx *ctx)
{
    struct db_step step = {.stmt = &commit_stmt};
    struct db_fault *f = &tx->fault;
    enum db_fault_kind kind = db_pipeline_run(tx->db, tx->c, ctx, &step, 1, f);
    /* After an error the server answers COMMIT with ROLLBACK. */
    if (kind == FAULT_NONE && strcmp(PQcmdStatus(step.result), "COMMIT") == 0)
        return ERR_NONE;
    tx->failed = true;
    if (kind == FAULT_NONE)
        db_fault_set(f, FAULT_SERVER, ERR_INTERNAL, "COMMIT was answered with ROLLBACK");
    if ((kind == FAULT_LOST || kind == FAULT_TIMEOUT) && f->sent)
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
static enum err run_with_repeats(struct db *db, struct request_ctx *ctx, enum db_isolation level,
                                 db_tx_fn fn, void *arg)
{
    struct db_repeats repeats = {0};
    struct arena_mark mark = arena_get_mark(ctx->arena);
    struct err_info before = ctx->err;
    for (;;) {
        struct db_tx tx = {.db = db, .level = level};
        TRY(db_pool_acquire(db, ctx, &tx.c));
        enum err rc = run_once(&tx, ctx, fn, arg);
        db_pool_release(db, tx.c);
        /* Before COMMIT is sent nothing can have been committed: a repeat is as safe as a read's.
         */
        bool unknown = tx.fault.err == ERR_OUTCOME_UNKNOWN;
        if (rc == ERR_NONE || !tx.failed || unknown ||
            !db_may_repeat(db, ctx, &tx.fault, DB_READ, &repeats))
            return rc;
        arena_rewind(ctx->arena, mark);
        ctx->err = before;
    }
}

enum err db_transaction(struct db *db, struct request_ctx *ctx, enum db_isolation level,
                        db_tx_fn fn, void *arg)
{
    if (ctx->in_transaction)
        return ctx_fault(ctx, ERR_INTERNAL, "db_transaction inside a transaction");
    ctx->in_transaction = true;
    const enum err rc = run_with_repeats(db, ctx, level, fn, arg);
    ctx->in_transaction = false;
    return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * One round trip: statements and a Sync go out in libpq's pipeline mode, all answers come in, under
 * one deadline. Everything up to the Sync is one transaction of the server's. Reading goes on while
 * writing, because a server whose answers are not taken stops reading (a large bulk insert would
 * wait for ever).
 */
#include "db_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The results of one run, owned by the arena from before anything is sent: when the answer to a
 * commit arrives there must be nothing left that can fail for want of memory. */
struct results {
    int n;
    PGresult *v[];
};

static void results_clear(void *arg)
{
    struct results *r = arg;
    for (int i = 0; i < r->n; i++)
        PQclear(r->v[i]);
}

static const char limits_sql[] = "SELECT set_config('parley.tenant', $1, true), "
                                 "set_config('statement_timeout', $2, true), "
                                 "set_config('lock_timeout', $3, true), clock_timestamp()";
static const struct db_stmt limits_stmt = {"parley_limits", limits_sql};

void db_limits_step(const struct db *db, const struct request_ctx *ctx, struct db_limits *limits,
                    struct db_step *step)
{
    /* The server gives up a little earlier than this side: its answer says that nothing was
     * changed, while a silence would leave a write unknown. */
    int left = deadline_left_ms(ctx->deadline);
    int ms = left - (left / 4 < 25 ? left / 4 : 25);
    if (ms > db->set.statement_ms)
        ms = db->set.statement_ms;
    if (ms < 1)
        ms = 1; /* 0 would mean no limit */
    int n = snprintf(limits->statement_ms, sizeof(limits->statement_ms), "%d", ms);
    limits->params[0] = db_text(ctx->tenant.p ? ctx->tenant : SV(""));
    limits->params[1] = db_text((struct sv){limits->statement_ms, (size_t)n});
    limits->params[2] = db_text(SV("1000"));
    *step =
        (struct db_step){.stmt = &limits_stmt, .params = limits->params, .n_params = 3, .call = -1};
}

/* Whether the server will know the statement when it gets to steps[at]. */
static bool is_prepared(const struct db_conn *c, const struct db_step *steps, int at)
{
    const struct db_stmt *stmt = steps[at].stmt;
    for (int i = 0; i < c->n_prepared; i++)
        if (c->prepared[i] == stmt)
            return true;
    /* By an earlier step of the same pipeline: if its Parse fails, this one is not run either. */
    for (int i = 0; i < at; i++)
        if (steps[i].stmt == stmt && steps[i].parse_sent)
            return true;
    return false;
}

static bool send_step(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                      struct db_step *steps, int at)
{
    struct db_step *step = &steps[at];
    size_t n = (size_t)step->n_params;
    Oid *types = arena_array(ctx->arena, n, sizeof(*types));
    const char **values = arena_array(ctx->arena, n, sizeof(*values));
    int *lengths = arena_array(ctx->arena, n, sizeof(*lengths));
    int *formats = arena_array(ctx->arena, n, sizeof(*formats));
    if (!types || !values || !lengths || !formats)
        return false;
    for (size_t i = 0; i < n; i++) {
        types[i] = step->params[i].type;
        formats[i] = 1;
        if (!db_param_encode(ctx, &step->params[i], &values[i], &lengths[i]))
            return false;
    }
    const struct db_stmt *stmt = step->stmt;
    bool known = is_prepared(c, steps, at);
    bool room = c->n_prepared + at < DB_PREPARED_MAX; /* counts every step before as a new one */
    bool prepare = db->set.prepare && stmt->name && (known || room);
    if (!known && db_sql_leaves_state(stmt->sql))
        c->dirty = true;
    if (!prepare)
        return PQsendQueryParams(c->pg, stmt->sql, step->n_params, types, values, lengths, formats,
                                 1) != 0;
    step->parse_sent = !known;
    if (!known && !PQsendPrepare(c->pg, stmt->name, stmt->sql, step->n_params, types))
        return false;
    return PQsendQueryPrepared(c->pg, stmt->name, step->n_params, values, lengths, formats, 1) != 0;
}

/* Where the reading of the answers has got to. Answers come in the order of the sending: for each
 * step that of its Parse, if it had one, and that of its execution, each with a NULL behind it. */
struct reading {
    struct db_conn *c;
    struct db_step *steps;
    int n_steps, at;
    bool parse_done; /* the Parse of steps[at] was answered */
    bool synced;
    struct results *results;
    struct db_fault *fault;
};

static void take_execution(struct reading *r, PGresult *res)
{
    if (db_tag_leaves_state(PQcmdStatus(res)))
        r->c->dirty = true;
    r->steps[r->at].result = res;
    r->results->v[r->results->n++] = res;
}

/* One answer. False when the server broke the order. */
static bool take(struct reading *r, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    bool keep = false, fine = true;
    if (status == PGRES_PIPELINE_SYNC) {
        r->synced = true;
    } else if (status == PGRES_FATAL_ERROR) {
        if (r->fault->kind == FAULT_NONE) {
            r->fault->call = r->at < r->n_steps ? r->steps[r->at].call : -1;
            db_fault_from_result(r->fault, res);
        }
    } else if (r->at >= r->n_steps) {
        fine = false;
    } else if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        keep = !(r->steps[r->at].parse_sent && !r->parse_done);
        if (keep)
            take_execution(r, res);
        else
            r->c->prepared[r->c->n_prepared++] = r->steps[r->at].stmt;
    } else {
        fine = status == PGRES_PIPELINE_ABORTED;
    }
    if (!keep)
        PQclear(res);
    return fine;
}

/* The end of one answer. */
static void advance(struct reading *r)
{
    if (r->at < r->n_steps && r->steps[r->at].parse_sent && !r->parse_done) {
        r->parse_done = true;
        return;
    }
    r->at++;
    r->parse_done = false;
}

/* Takes everything that has arrived. False when the connection is lost or out of step. */
static bool take_arrived(struct reading *r)
{
    while (!r->synced && !PQisBusy(r->c->pg)) {
        PGresult *res = PQgetResult(r->c->pg);
        if (res) {
            if (!take(r, res))
                return false;
            continue;
        }
        if (r->at >= r->n_steps)
            return false;
        advance(r);
    }
    return true;
}

/* A fault that the server has named stays: after an error it commits nothing. */
static void lose(struct reading *r, enum db_fault_kind kind, enum err e, const char *text)
{
    if (r->fault->kind == FAULT_NONE)
        db_fault_set(r->fault, kind, e, text);
    r->c->broken = true;
}

/* Sends what is buffered and reads until the Sync is answered. */
static void exchange(struct reading *r, struct request_ctx *ctx)
{
    PGconn *pg = r->c->pg;
    int unsent = PQflush(pg);
    while (!r->synced) {
        int got = unsent < 0 ? -1
                             : db_wait_fd(PQsocket(pg), unsent > 0 ? POLLIN | POLLOUT : POLLIN,
                                          ctx->deadline, -1);
        if (got == 0) {
            lose(r, FAULT_TIMEOUT, ERR_TIMEOUT, "no answer before the deadline");
            return;
        }
        /* What came before the end is still read: it says why. */
        bool open = got > 0 && (!(got & ~POLLOUT) || PQconsumeInput(pg));
        if (!take_arrived(r) || (!open && !r->synced)) {
            lose(r, FAULT_LOST, ERR_UNAVAILABLE, "the connection was lost");
            return;
        }
        if (unsent > 0)
            unsent = PQflush(pg);
    }
}

static struct results *results_reserve(struct request_ctx *ctx, int n)
{
    size_t bytes = sizeof(struct results) + (size_t)n * sizeof(PGresult *);
    struct results *r = arena_zalloc(ctx->arena, bytes);
    return r && arena_defer(ctx->arena, results_clear, r) == ERR_NONE ? r : NULL;
}

static bool send_steps(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                       struct db_step *steps, int n_steps)
{
    if (!PQenterPipelineMode(c->pg))
        return false;
    for (int i = 0; i < n_steps; i++)
        if (!send_step(db, c, ctx, steps, i))
            return false;
    return true;
}

static void note_clock(struct db *db, const struct db_step *steps, int n_steps, int64_t sent_us)
{
    for (int i = 0; i < n_steps; i++)
        if (steps[i].stmt == &limits_stmt && steps[i].result) {
            struct db_rows rows;
            db_rows_from(&rows, steps[i].result);
            db_clock_note(db, db_get_time(&rows, 0, 3), sent_us);
        }
}

enum db_fault_kind db_pipeline_run(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                                   struct db_step *steps, int n_steps, struct db_fault *f)
{
    *f = (struct db_fault){.kind = FAULT_NONE, .call = -1};
    if (deadline_passed(ctx->deadline)) {
        db_fault_set(f, FAULT_LOCAL, ERR_TIMEOUT, "the deadline had passed before the statement");
        return f->kind;
    }
    struct reading r = {.c = c, .steps = steps, .n_steps = n_steps, .fault = f};
    r.results = results_reserve(ctx, n_steps);
    if (!r.results) {
        db_fault_set(f, FAULT_LOCAL, ERR_NOMEM, "no memory for the results");
        return f->kind;
    }
    int64_t began = clock_mono_us();
    if (!send_steps(db, c, ctx, steps, n_steps)) {
        /* Without a Sync the server commits nothing, and now it will not get one. */
        bool lost = PQstatus(c->pg) != CONNECTION_OK;
        c->broken = true;
        db_fault_set(f, lost ? FAULT_LOST : FAULT_LOCAL, lost ? ERR_UNAVAILABLE : ERR_NOMEM,
                     lost ? "the connection was lost" : "no memory to send a statement");
        return f->kind;
    }
    f->sent = true;
    if (!PQpipelineSync(c->pg))
        lose(&r, FAULT_LOST, ERR_UNAVAILABLE, "the connection was lost");
    else
        exchange(&r, ctx);
    if (r.synced && !PQexitPipelineMode(c->pg))
        c->broken = true;
    if (f->kind == FAULT_LOST || f->stale)
        c->broken = true;
    /* Those opened beside a lost connection have most likely lost their server too, and a repeated
     * read must not meet with one of them. */
    if (f->suspect || f->kind == FAULT_LOST)
        db_pool_retire(db);
    c->answered = c->answered || r.synced;

    note_clock(db, steps, n_steps, began);
    int64_t took = clock_mono_us() - began;
    ctx->trace.sql_us += took;
    ctx->trace.round_trips++;
    if (db->slot)
        metrics_observe(&db->slot->statement, took);
    return f->kind;
}

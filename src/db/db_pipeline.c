/* SPDX-License-Identifier: MIT */
/*
 * One round trip within one deadline: sends groups of statements in libpq's pipeline mode, each
 * followed by a Sync, and reads all answers. A group is one transaction: a fault in one changes
 * nothing for the others. It reads while it writes, because a server whose answers nobody reads
 * stops reading (a large bulk insert would wait for ever).
 */
#include "db_internal.h"

#include <poll.h>
#include <stdlib.h>

#include "parley/base/net.h"

enum { MOMENT_MS = 2, RECHECK_MS = 250 };

/* The results of one run. The arena owns them before anything is sent: once the answer to a commit
 * arrives, nothing may fail for want of memory. */
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

enum { LIMITS_CLOCK = 3, LIMITS_TIMELINE = 4, LIMITS_DIRECT = 3 };
#define LIMITS                                                  \
    "SELECT set_config('parley.tenant', $1, true),"             \
    " set_config('statement_timeout', $2::bigint::text, true)," \
    " set_config('lock_timeout', $3::bigint::text, true), clock_timestamp()"
static const char limits_sql[] = LIMITS;
/* On a standby DB_TIMELINE fails with 55000. With a timeline that is too low the division fails
 * with 22012. Both end the transaction before its other statements. */
static const char pooled_limits_sql[] =
    LIMITS ", " DB_TIMELINE ", 1 / (" DB_TIMELINE " >= $4)::int, " DB_SETTINGS("true");
static const struct db_stmt limits_stmt = {"parley_limits", limits_sql};
static const struct db_stmt pooled_limits_stmt = {NULL, pooled_limits_sql};

void db_limits_step(const struct db *db, const struct db_conn *c, const struct request_ctx *ctx,
                    struct db_param limits[DB_LIMITS_MAX], struct db_call *step)
{
    /* The server's limit is a little earlier than this side's: its answer says that nothing was
     * changed, while silence would leave the outcome of a write unknown. */
    int left = deadline_left_ms(ctx->deadline);
    int ms = left - (left / 4 < 25 ? left / 4 : 25);
    if (ms > db->set.statement_ms)
        ms = db->set.statement_ms;
    if (ms < 1)
        ms = 1; /* 0 would mean no limit */
    limits[0] = db_text(ctx->tenant.p ? ctx->tenant : SV(""));
    limits[1] = db_i64(ms);
    limits[2] = db_i64(ctx->lock_ms > 0 ? ctx->lock_ms : 1000);
    limits[3] = db_i32(atomic_load_explicit(&db->known->highest, memory_order_relaxed));
    *step = (struct db_call){.stmt = c->pooled ? &pooled_limits_stmt : &limits_stmt,
                             .params = limits,
                             .n_params = c->pooled ? DB_LIMITS_MAX : LIMITS_DIRECT};
}

/* Whether it is one of the first n that the connection has. */
static bool is_prepared(const struct db_conn *c, const struct db_stmt *stmt, int n)
{
    int i = 0;
    while (i < n && c->prepared[i] != stmt)
        i++;
    return i < n;
}

/* later: in a group after the first. If the first one fails, the statements that it prepares do not
 * exist, so a later one uses only those that the connection had before. The steps of the first one
 * are not run either if a Parse before them fails. */
static bool send_step(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                      const struct db_call *step, bool later)
{
    Oid types[DB_PARAMS_MAX];
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];
    if (step->n_params > DB_PARAMS_MAX)
        abort();
    for (int i = 0; i < step->n_params; i++) {
        types[i] = step->params[i].type;
        formats[i] = 1;
        if (!db_param_encode(ctx, &step->params[i], &values[i], &lengths[i]))
            return false;
        c->buffered += (size_t)lengths[i];
    }
    const struct db_stmt *stmt = step->stmt;
    bool known = is_prepared(c, stmt, later ? c->n_prepared : c->n_parsed);
    bool room = c->n_parsed < DB_PREPARED_MAX;
    bool prepare = db->set.prepare && !c->pooled && stmt->name && (known || (room && !later));
    if (!prepare)
        return PQsendQueryParams(c->pg, stmt->sql, step->n_params, types, values, lengths, formats,
                                 1) != 0;
    if (!known) {
        if (!PQsendPrepare(c->pg, stmt->name, stmt->sql, step->n_params, types))
            return false;
        c->prepared[c->n_parsed++] = stmt;
    }
    return PQsendQueryPrepared(c->pg, stmt->name, step->n_params, values, lengths, formats, 1) != 0;
}

/* How far the answers have been read. They come in the order of sending: for each step that of its
 * Parse, if it had one, and that of its execution, each followed by a NULL. */
struct reader {
    struct db_conn *c;
    struct db_group *group, *end; /* the one whose answers come now; all of them are read at end */
    int at;
    int parses; /* which of c->prepared has its Parse answered next */
    struct results *results;
};

static bool is_read(const struct reader *r)
{
    return r->group == r->end;
}

/* Whether the answer to the Parse of steps[at] comes next. */
static bool in_parse(const struct reader *r)
{
    return r->at < r->group->n_steps && r->parses < r->c->n_parsed &&
           r->c->prepared[r->parses] == r->group->steps[r->at].stmt;
}

/* A large row makes libpq's buffer grow. Many small rows do not: they pass through it. */
static void note_rows(struct db_conn *c, const PGresult *res)
{
    if (PQresultMemorySize(res) <= DB_BUFFERED_MAX)
        return;
    for (int row = 0; row < PQntuples(res); row++) {
        size_t n = 0;
        for (int i = 0; i < PQnfields(res); i++)
            n += (size_t)PQgetlength(res, row, i);
        c->buffered = n > c->buffered ? n : c->buffered;
    }
}

/* False if the answer is out of order. */
static bool read_result(struct reader *r, PGresult *res)
{
    const ExecStatusType status = PQresultStatus(res);
    struct db_group *g = r->group;
    const bool inside = r->at < g->n_steps;
    const bool succeeded = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (inside && succeeded && !in_parse(r)) {
        note_rows(r->c, res);
        const int n =
            status == PGRES_TUPLES_OK ? PQntuples(res) : (int)strtol(PQcmdTuples(res), NULL, 10);
        g->steps[r->at].rows = (struct db_rows){res, n};
        r->results->v[r->results->n++] = res;
        return true;
    }
    if (inside && succeeded) {
        r->c->n_prepared++;
    } else if (status == PGRES_PIPELINE_SYNC) {
        r->c->answered = true;
        r->group++;
        r->at = 0;
    } else if (status == PGRES_FATAL_ERROR && g->fault.kind == FAULT_NONE) {
        db_fault_from_result(&g->fault, res);
    }
    PQclear(res);
    return status == PGRES_PIPELINE_SYNC || status == PGRES_FATAL_ERROR ||
           (inside && (succeeded || status == PGRES_PIPELINE_ABORTED));
}

/* Reads everything that has arrived. False if the connection is lost or an answer out of order. */
static bool read_arrived(struct reader *r)
{
    while (!is_read(r) && !PQisBusy(r->c->pg)) {
        PGresult *res = PQgetResult(r->c->pg);
        if (res) {
            if (!read_result(r, res))
                return false;
            continue;
        }
        /* The end of one answer. */
        if (r->at >= r->group->n_steps)
            return false;
        if (in_parse(r))
            r->parses++;
        else
            r->at++;
    }
    return true;
}

/* For the groups not yet read. A fault that the server named stays: after it nothing is committed.
 */
static void fail_unread(struct reader *r, enum db_fault_kind kind, enum err e, const char *text)
{
    for (struct db_group *g = r->group; g < r->end; g++)
        if (g->fault.kind == FAULT_NONE)
            db_fault_set(&g->fault, kind, e, text);
}

/* Sends what is buffered and reads until the last Sync is answered. A thread that also polls for
 * requests (before_wait) keeps that duty for MOMENT_MS: most answers arrive within it, and the
 * requests that come meanwhile form one batch. Every
 * RECHECK_MS a thread that waits for a server that hangs checks whether another one was promoted.
 * Then no answer of the first one counts. */
static void exchange(const struct db *db, struct reader *r, struct request_ctx *ctx)
{
    PGconn *pg = r->c->pg;
    int unsent = PQflush(pg);
    struct deadline moment = deadline_earlier(deadline_in_ms(MOMENT_MS), ctx->deadline);
    while (!is_read(r)) {
        const bool polls = ctx->before_wait.fn != NULL;
        const struct deadline recheck = deadline_earlier(deadline_in_ms(RECHECK_MS), ctx->deadline);
        int got = unsent < 0 ? -1
                             : net_wait(PQsocket(pg), unsent > 0 ? POLLIN | POLLOUT : POLLIN,
                                        polls ? moment : recheck);
        if (got == 0 && polls) {
            ctx_will_wait(ctx);
            continue;
        }
        if (got == 0 && db_conn_is_outdated(db, r->c)) {
            fail_unread(r, FAULT_LOST, ERR_UNAVAILABLE, "another server was promoted");
            return;
        }
        if (got == 0 && !deadline_passed(ctx->deadline))
            continue;
        if (got == 0) {
            fail_unread(r, FAULT_TIMEOUT, ERR_TIMEOUT, "no answer before the deadline");
            r->c->unanswered = true;
            return;
        }
        /* What came before the end is still read: it holds the reason. */
        bool open = got > 0 && (!(got & ~POLLOUT) || PQconsumeInput(pg));
        if (!read_arrived(r) || (!open && !is_read(r))) {
            fail_unread(r, FAULT_LOST, ERR_UNAVAILABLE, "the connection was lost");
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

/* False: not all of it could be sent. sent is set on each group whose Sync may reach the server. */
static bool send_groups(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                        struct db_group *groups, int n)
{
    c->n_parsed = c->n_prepared;
    if (!PQenterPipelineMode(c->pg))
        return false;
    for (int g = 0; g < n; g++) {
        for (int i = 0; i < groups[g].n_steps; i++)
            if (!send_step(db, c, ctx, &groups[g].steps[i], g > 0))
                return false;
        groups[g].fault.sent = true;
        if (!PQpipelineSync(c->pg))
            return false;
    }
    return true;
}

/* Records what the statement of db_limits_step returned. */
static void note_limits(struct db *db, struct db_conn *c, const struct db_call *step,
                        int64_t sent_us)
{
    const struct db_rows *rows = &step->rows;
    const bool pooled = step->stmt == &pooled_limits_stmt;
    if ((step->stmt != &limits_stmt && !pooled) || !rows->result)
        return;
    atomic_store_explicit(&db->clock_ahead_us, db_get_time(rows, 0, LIMITS_CLOCK) - sent_us,
                          memory_order_relaxed);
    if (!pooled)
        return;
    c->timeline = (int)db_get_i64(rows, 0, LIMITS_TIMELINE);
    db_servers_saw(db, c->server, c->timeline);
}

/* What the faults say about the connection, and about those that were opened with it. */
static void mark_connection(struct db *db, struct db_conn *c, const struct db_group *groups, int n)
{
    bool suspect = false;
    for (int g = 0; g < n; g++) {
        const struct db_fault *f = &groups[g].fault;
        c->broken =
            c->broken || f->kind == FAULT_LOST || (f->flags & (SQLSTATE_STALE | SQLSTATE_SUSPECT));
        suspect = suspect || (f->flags & SQLSTATE_SUSPECT) || f->kind == FAULT_LOST;
    }
    /* Other connections have most likely lost their server too, and a repeated read must not get
     * one of them. Those to a server that was promoted since are good. */
    if (suspect && !db_conn_is_outdated(db, c))
        db_pool_retire(db);
}

void db_pipeline_run_groups(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                            struct db_group *groups, int n)
{
    int n_steps = 0;
    for (int g = 0; g < n; g++) {
        groups[g].fault = (struct db_fault){.kind = FAULT_NONE};
        n_steps += groups[g].n_steps;
    }
    struct reader r = {.c = c, .group = groups, .end = groups + n, .parses = c->n_prepared};
    if (deadline_passed(ctx->deadline)) {
        fail_unread(&r, FAULT_LOCAL, ERR_TIMEOUT, "the deadline had passed before the statement");
        return;
    }
    r.results = results_reserve(ctx, n_steps);
    if (!r.results) {
        fail_unread(&r, FAULT_LOCAL, ERR_NOMEM, "no memory for the results");
        return;
    }
    const int64_t began = clock_mono_us();
    if (send_groups(db, c, ctx, groups, n)) {
        exchange(db, &r, ctx);
    } else {
        /* The server commits no group without its Sync, and the last group gets none now. */
        const bool lost = PQstatus(c->pg) != CONNECTION_OK;
        fail_unread(&r, lost ? FAULT_LOST : FAULT_LOCAL, lost ? ERR_UNAVAILABLE : ERR_NOMEM,
                    lost ? "the connection was lost" : "no memory to send a statement");
    }
    /* An answer may still come, and nobody may ever read it. */
    if (!is_read(&r) || !PQexitPipelineMode(c->pg))
        c->broken = true;
    mark_connection(db, c, groups, n);
    for (int g = 0; g < n; g++)
        for (int i = 0; i < groups[g].n_steps; i++)
            note_limits(db, c, &groups[g].steps[i], began);
    const int64_t took = clock_mono_us() - began;
    ctx->trace.sql_us += took;
    ctx->trace.round_trips++;
    /* Polls are not requests. */
    if (!ctx->urgent)
        metrics_observe(&db->slot->statement, took);
}

enum db_fault_kind db_pipeline_run(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                                   struct db_call *steps, int n_steps, struct db_fault *f)
{
    struct db_group group = {.steps = steps, .n_steps = n_steps};
    db_pipeline_run_groups(db, c, ctx, &group, 1);
    *f = group.fault;
    return f->kind;
}

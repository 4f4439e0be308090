/* SPDX-License-Identifier: MIT */
/* What each connection and each transaction asks of its server. tests/hosts has failovers and a
 * pooler; here a connection only believes that it goes through one. */
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "fixture.h"

/* Runs one statement in a transaction of a connection. */
static enum db_fault_kind run_on(struct fx *fx, struct db_conn *c, const char *sql,
                                 struct db_rows *rows, struct db_fault *f)
{
    const struct db_stmt stmt = {"named", sql};
    struct db_param limits[DB_LIMITS_MAX];
    struct db_call steps[2];
    db_limits_step(fx->db, c, &fx->ctx, limits, &steps[0]);
    steps[1] = (struct db_call){.stmt = &stmt};
    if (db_pipeline_run(fx->db, c, &fx->ctx, steps, 2, f) == FAULT_NONE)
        *rows = steps[1].rows;
    return f->kind;
}

/* The answer of the server; "" after a fault. */
static const char *value_of(struct fx *fx, struct db_conn *c, const char *sql)
{
    struct db_rows rows;
    struct db_fault f;
    if (run_on(fx, c, sql, &rows, &f) != FAULT_NONE)
        return "";
    const struct sv v = db_get_text(&rows, 0, 0);
    return text_of("%.*s", (int)v.n, v.p);
}

TEST(connections_know_their_server)
{
    struct fx *fx = fx_open(NULL);
    struct db_conn *c;
    CU_ASSERT_EQUAL_FATAL(db_pool_acquire(fx->db, &fx->ctx, DB_WRITE, &c), ERR_NONE);
    CU_ASSERT_FALSE(c->pooled);
    CU_ASSERT_EQUAL(c->timeline, 1);
    const struct db_status s = fx_status(fx);
    CU_ASSERT_EQUAL(s.n_servers, 1);
    CU_ASSERT_EQUAL(s.servers[0].state, DB_SERVER_PRIMARY);
    CU_ASSERT_EQUAL(s.servers[0].timeline, 1);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->pool_servers[0]), fx_pool(fx->db).open);
    /* Settings of the session: they stay after a transaction. */
    CU_ASSERT_STRING_EQUAL(value_of(fx, c, "SELECT current_setting('jit')"), "off");
    PGresult *res = fx_exec(c, "SELECT current_setting('jit'), current_setting('enable_seqscan'),"
                               " current_setting('synchronous_commit')");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 0), "off");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 1), "off");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 2), "on");
    PQclear(res);
    db_pool_release(fx->db, c);
    fx_close(fx);
}

/* Through a pooler nothing is prepared, and a server of a lower timeline than one that was seen
 * runs nothing of the transaction: the fault says to repeat it elsewhere. Fails if the statement of
 * a direct connection is sent: tried. */
TEST(a_pooled_transaction_checks_its_server)
{
    struct fx *fx = fx_open(NULL);
    struct db_conn *c;
    struct db_rows rows;
    struct db_fault f;
    fx_admin("CREATE TABLE runs (n int); GRANT ALL ON runs TO " FX_ROLE);
    CU_ASSERT_EQUAL_FATAL(db_pool_acquire(fx->db, &fx->ctx, DB_WRITE, &c), ERR_NONE);
    PQclear(fx_exec(c, "DEALLOCATE ALL; RESET ALL"));
    c->n_prepared = 0;
    c->pooled = true;
    CU_ASSERT_STRING_EQUAL(value_of(fx, c, "SELECT current_setting('enable_seqscan')"), "off");
    CU_ASSERT_STRING_EQUAL(value_of(fx, c, "SELECT current_setting('parley.tenant')"), "t1");
    CU_ASSERT_STRING_EQUAL(value_of(fx, c, "SELECT count(*)::text FROM pg_prepared_statements"),
                           "0");
    CU_ASSERT_EQUAL(c->n_prepared, 0);
    PGresult *res = fx_exec(c, "SHOW enable_seqscan");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 0), "on");
    PQclear(res);
    CU_ASSERT_EQUAL(run_on(fx, c, "INSERT INTO runs VALUES (1)", &rows, &f), FAULT_NONE);
    /* Another connection has seen a new primary. */
    atomic_store(&fx->db->known->highest, 2);
    CU_ASSERT_EQUAL(run_on(fx, c, "INSERT INTO runs VALUES (2)", &rows, &f), FAULT_SERVER);
    CU_ASSERT_STRING_EQUAL(f.failure.sqlstate, "22012");
    CU_ASSERT_EQUAL(f.flags, SQLSTATE_SUSPECT);
    CU_ASSERT_EQUAL(f.err, ERR_UNAVAILABLE);
    CU_ASSERT_TRUE(c->broken);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM runs"), 1);
    db_pool_release(fx->db, c);
    /* And no new connection to it is used. */
    EVENTUALLY(fx_status(fx).state == DB_DOWN && fx_pool(fx->db).open == 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(fx_status(fx).reason, "it is at timeline 1, lower than 2"));
    CU_ASSERT_EQUAL(fx_status(fx).servers[0].state, DB_SERVER_FORMER_PRIMARY);
    CU_ASSERT_EQUAL(fx_run(fx, DB_READ, "SELECT 1", NULL), ERR_UNAVAILABLE);
    fx_close(fx);
    fx_admin("DROP TABLE runs");
}

/* Others wait until one of these is open. Fails if OPENING_MAX is the size of the pool: tried. */
TEST(few_are_opened_at_once)
{
    enum { FEW = 4 };
    char why[DB_REASON_MAX];
    struct db_settings settings = fx_settings(NULL);
    settings.pool_min = 0;
    struct fx *fx = fx_open(&settings);
    struct db_conn *c[FEW], *more;
    pthread_mutex_lock(&fx->db->lock);
    for (int i = 0; i < FEW; i++) {
        c[i] = db_pool_reserve(fx->db, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(c[i]);
    }
    CU_ASSERT_PTR_NULL(db_pool_reserve(fx->db, 0));
    pthread_mutex_unlock(&fx->db->lock);
    CU_ASSERT_EQUAL(db_pool_open_one(fx->db, &fx->ctx, c[0], fx->ctx.deadline, why), OPEN_OK);
    pthread_mutex_lock(&fx->db->lock);
    more = db_pool_reserve(fx->db, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(more);
    pthread_mutex_unlock(&fx->db->lock);
    CU_ASSERT_EQUAL(db_pool_open_one(fx->db, &fx->ctx, more, fx->ctx.deadline, why), OPEN_OK);
    for (int i = 1; i < FEW; i++)
        CU_ASSERT_EQUAL(db_pool_open_one(fx->db, &fx->ctx, c[i], fx->ctx.deadline, why), OPEN_OK);
    for (int i = 0; i < FEW; i++)
        db_pool_release(fx->db, c[i]);
    db_pool_release(fx->db, more);
    fx_close(fx);
}

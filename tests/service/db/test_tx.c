/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <string.h>

#include "../../unit/suite.h"

static const struct db_stmt insert = {"tx_insert", "INSERT INTO items (id, n) VALUES ($1, $2)"};

struct statements {
    int fail_at;  /* the statement that fails, from 0; -1: none */
    bool ignore;  /* fn goes on after a failure */
    enum err own; /* fn's own result */
    int runs;
};

enum { STATEMENTS = 4 };

static enum err run_statements(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    struct statements *s = arg;
    s->runs++;
    for (int i = 0; i < STATEMENTS; i++) {
        struct db_param p[] = {db_i64(i), db_i32(i == s->fail_at ? -1 : i)};
        struct db_failure failure;
        enum err rc = db_tx_query(tx, ctx, &insert, p, 2, NULL, &failure);
        if (rc != ERR_NONE && !s->ignore)
            return rc;
    }
    return s->own;
}

/* Fails if roll_back does nothing (release then closes the connection, which is counted), or if a
 * failure that fn ignored is committed and the answer to COMMIT is not checked: tried. */
TEST(failure_at_each_statement_leaves_nothing)
{
    struct fx *fx = fx_open(NULL);
    for (int at = 0; at < STATEMENTS; at++) {
        for (int ignore = 0; ignore < 2; ignore++) {
            struct statements s = {.fail_at = at, .ignore = ignore};
            fx_admin("TRUNCATE items");
            fx_request(fx, SV("t1"), 5000);
            CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, run_statements, &s), ERR_INTERNAL);
            CU_ASSERT_EQUAL(s.runs, 1);
            CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
        }
    }
    struct statements own = {.fail_at = -1, .own = ERR_PRECONDITION};
    fx_request(fx, SV("t1"), 5000);
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, run_statements, &own), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    struct statements good = {.fail_at = -1};
    fx_request(fx, SV("t1"), 5000);
    OK(db_transaction(fx->db, &fx->ctx, run_statements, &good));
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), STATEMENTS);
    /* BEGIN travels with the first statement. */
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, STATEMENTS + 1);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 0);
    fx_close(fx);
}

static enum err nest(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    struct fx *fx = arg;
    struct statements inner = {.fail_at = -1};
    struct db_param p[] = {db_i64(100), db_i32(1)};
    TRY(db_tx_query(tx, ctx, &insert, p, 2, NULL, NULL));
    return db_transaction(fx->db, ctx, run_statements, &inner);
}

/* Fails if db_transaction does not look at in_transaction. Afterwards another one may begin. */
TEST(nested_is_an_error)
{
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, nest, fx), ERR_INTERNAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(fx->ctx.err.cause, "inside a transaction"));
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    struct statements next = {.fail_at = -1};
    OK(db_transaction(fx->db, &fx->ctx, run_statements, &next));
    fx_close(fx);
}

static enum err do_nothing(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    (void)tx;
    (void)ctx;
    return *(enum err *)arg;
}

TEST(without_statements_nothing_is_sent)
{
    enum err own = ERR_NONE;
    struct fx *fx = fx_open(NULL);
    OK(db_transaction(fx->db, &fx->ctx, do_nothing, &own));
    own = ERR_NOT_FOUND;
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, do_nothing, &own), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 0);
    fx_close(fx);
}

struct race {
    int runs, lost; /* so many runs end with a serialization failure */
    size_t used[8];
};

static enum err race(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    static const struct db_stmt read = {"race_read", "SELECT n FROM items"};
    static const struct db_stmt write = {"race_write", "UPDATE items SET n = n + loses($1)"};
    struct race *r = arg;
    r->used[r->runs] = arena_used(ctx->arena);
    TRY(db_tx_query(tx, ctx, &read, NULL, 0, NULL, NULL));
    struct db_param p = db_bool(r->runs++ < r->lost);
    return db_tx_query(tx, ctx, &write, &p, 1, NULL, NULL);
}

/* Fails if the table of SQLSTATEs does not mark 40001, or the arena is not rewound: tried. */
TEST(serialization_failure_is_repeated)
{
    struct race r = {.lost = 2}, always = {.lost = 100};
    fx_admin("TRUNCATE items; INSERT INTO items (id, n) VALUES (1, 0);"
             "CREATE FUNCTION loses(bool) RETURNS int LANGUAGE plpgsql AS 'BEGIN IF $1 "
             "THEN RAISE EXCEPTION USING ERRCODE = ''40001''; END IF; RETURN 1; END'");
    struct fx *fx = fx_open(NULL);
    OK(db_transaction(fx->db, &fx->ctx, race, &r));
    CU_ASSERT_EQUAL(r.runs, 3);
    CU_ASSERT_EQUAL(r.used[2], r.used[0]);
    OK(fx->ctx.err.err);
    CU_ASSERT_EQUAL(fx_admin("SELECT n FROM items WHERE id = 1"), 1);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_retries), 2);
    /* Not for ever. */
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, race, &always), ERR_BUSY);
    CU_ASSERT_EQUAL(always.runs, 4);
    fx_close(fx);
    fx_admin("DROP FUNCTION loses(bool)");
}

struct killing {
    struct fx *fx;
    int runs, kills;
};

static enum err be_killed(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    struct killing *k = arg;
    struct db_param p[] = {db_i64(1), db_i32(1)};
    TRY(db_tx_query(tx, ctx, &insert, p, 2, NULL, NULL));
    if (k->runs++ < k->kills)
        fx_admin("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE state "
                 "= 'idle in transaction' AND application_name = 'db_test'");
    p[0] = db_i64(2);
    return db_tx_query(tx, ctx, &insert, p, 2, NULL, NULL);
}

/* Before COMMIT is sent a lost connection has changed nothing, so the whole is repeated once. Fails
 * if the transaction counts as DB_WRITE: tried. */
TEST(lost_before_commit_is_repeated)
{
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(NULL);
    struct killing once = {.fx = fx, .kills = 1};
    OK(db_transaction(fx->db, &fx->ctx, be_killed, &once));
    CU_ASSERT_EQUAL(once.runs, 2);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 2);
    struct killing twice = {.fx = fx, .kills = 2};
    fx_admin("TRUNCATE items");
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, be_killed, &twice), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    fx_close(fx);
}

static enum err insert_one(struct db_tx *tx, struct request_ctx *ctx, void *arg)
{
    struct db_param p[] = {db_i64(1), db_i32(1)};
    (*(int *)arg)++;
    return db_tx_query(tx, ctx, &insert, p, 2, NULL, NULL);
}

/* A deferred trigger kills the backend in the middle of COMMIT. Fails if COMMIT's fault is not
 * turned into ERR_OUTCOME_UNKNOWN (the transaction is then repeated): tried. */
TEST(lost_in_commit_is_unknown)
{
    int runs = 0;
    fx_admin("TRUNCATE items; CREATE OR REPLACE FUNCTION die() RETURNS trigger LANGUAGE plpgsql "
             "SECURITY DEFINER AS "
             "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';"
             "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED "
             "FOR EACH ROW EXECUTE FUNCTION die()");
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(db_transaction(fx->db, &fx->ctx, insert_one, &runs), ERR_OUTCOME_UNKNOWN);
    CU_ASSERT_EQUAL(runs, 1);
    /* The same for a single write; a read would be repeated. */
    fx_request(fx, SV("t1"), 5000);
    CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE, "INSERT INTO items (id) VALUES (9)", NULL),
                    ERR_OUTCOME_UNKNOWN);
    fx_close(fx);
    fx_admin("DROP TRIGGER die ON items; DROP FUNCTION die()");
}

/* One statement is repeated too: a function that fails with a deadlock until its third call. Fails
 * if may_repeat does not repeat conflicts: tried. */
TEST(single_statement_is_repeated)
{
    fx_admin("CREATE SEQUENCE calls; GRANT ALL ON calls TO " FX_ROLE ";"
             "CREATE FUNCTION third() RETURNS int LANGUAGE plpgsql AS 'BEGIN IF nextval(''calls'') "
             "< 3 THEN RAISE EXCEPTION USING ERRCODE = ''40P01''; END IF; RETURN 1; END'");
    struct fx *fx = fx_open(NULL);
    OK(fx_run(fx, DB_WRITE, "SELECT third()", NULL));
    OK(fx->ctx.err.err);
    fx_admin("ALTER SEQUENCE calls RESTART START 1 MINVALUE -100; SELECT setval('calls', -50)");
    CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE, "SELECT third()", NULL), ERR_BUSY);
    CU_ASSERT_EQUAL(fx_admin("SELECT last_value FROM calls"), -46); /* once and three times more */
    fx_close(fx);
    fx_admin("DROP FUNCTION third(); DROP SEQUENCE calls");
}

/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"

static const struct db_stmt see_tenant = {
    "see_tenant",
    "SELECT current_setting('parley.tenant', true) AS tenant, pg_backend_pid() AS pid"};

static bool text_is(const struct db_rows *r, int row, const char *column, const char *expected)
{
    return sv_eq(db_get_text(r, row, db_column(r, column)), sv_from(expected));
}

/* Fails if the tenant is not set, or if its set_config is not local: tried. */
TEST(tenant_is_seen_and_gone_after)
{
    struct db_rows rows;
    struct db_conn *c;
    struct fx *fx = fx_open(NULL);
    fx_request(fx, SV("tenant-a"), 5000);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &see_tenant, NULL, 0, &rows, NULL));
    CU_ASSERT_TRUE(text_is(&rows, 0, "tenant", "tenant-a"));
    int64_t pid = db_get_i64(&rows, 0, db_column(&rows, "pid"));
    /* Two statements went, one of them the caller's, in one round trip. */
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 1);
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c));
    CU_ASSERT_EQUAL(fx_pid(c), pid);
    PGresult *res = fx_exec(c, "SELECT coalesce(current_setting('parley.tenant', true), ''), "
                               "current_setting('statement_timeout'),"
                               "current_setting('lock_timeout'), current_setting('TimeZone'),"
                               "current_setting('plan_cache_mode'), session_user");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 0), "");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 1), "0");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 2), "0");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 3), "UTC");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 4), "force_generic_plan");
    CU_ASSERT_STRING_EQUAL(PQgetvalue(res, 0, 5), FX_ROLE);
    PQclear(res);
    db_pool_release(fx->db, c);
    fx_request(fx, SV_NONE, 5000);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &see_tenant, NULL, 0, &rows, NULL));
    CU_ASSERT_TRUE(text_is(&rows, 0, "tenant", ""));
    fx_close(fx);
}

/* Fails if the tenant of the request before is kept on the connection: tried. */
TEST(one_tenant_sees_nothing_of_another)
{
    static const struct db_stmt put = {"put_note", "INSERT INTO notes VALUES ($1, $2)"};
    static const struct db_stmt all = {"all_notes", "SELECT body FROM notes"};
    struct db_rows rows;
    struct db_param p[2] = {db_text(SV("a")), db_text(SV("of a"))};
    struct fx *fx = fx_open(NULL);
    fx_admin("TRUNCATE notes");
    fx_request(fx, SV("a"), 5000);
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &put, p, 2, &rows, NULL));
    CU_ASSERT_EQUAL(rows.count, 1);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &all, NULL, 0, &rows, NULL));
    CU_ASSERT_EQUAL(rows.count, 1);
    fx_request(fx, SV("b"), 5000);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &all, NULL, 0, &rows, NULL));
    CU_ASSERT_EQUAL(rows.count, 0);
    /* b may not write as a. */
    CU_ASSERT_EQUAL(db_query(fx->db, &fx->ctx, DB_WRITE, &put, p, 2, &rows, NULL), ERR_INTERNAL);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM notes"), 1);
    fx_close(fx);
}

TEST(every_type_arrives)
{
    static const struct db_stmt stmt = {
        "every_type",
        "SELECT $1::int8 AS big, $2::int4 AS mid, (-3)::int2 AS small, $3::bool AS yes,"
        " $4::text AS t, $5::jsonb AS doc, $6::bytea AS bytes, $7::int8 AS none,"
        " '{\"a\": 1.0}'::json AS js,"
        " timestamptz '2026-11-23 21:50:00.000001+00' AS at, timestamptz 'infinity' AS ever"};
    struct db_rows rows;
    struct db_param p[] = {db_i64(INT64_MIN),
                           db_i32(-7),
                           db_bool(true),
                           db_text(SV("q\"\\\n\xc3\xa9")),
                           db_jsonb(SV("{\"k\": [1, null]}")),
                           db_bytes((struct sv){"\0\1\xff", 3}),
                           db_null_i64()};
    struct fx *fx = fx_open(NULL);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &stmt, p, 7, &rows, NULL));
    CU_ASSERT_EQUAL(rows.count, 1);
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "big")), INT64_MIN);
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "mid")), -7);
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "small")), -3);
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "none")), 0);
    CU_ASSERT_TRUE(db_is_null(&rows, 0, db_column(&rows, "none")));
    CU_ASSERT_TRUE(db_get_bool(&rows, 0, db_column(&rows, "yes")));
    CU_ASSERT_TRUE(text_is(&rows, 0, "t", "q\"\\\n\xc3\xa9"));
    CU_ASSERT_TRUE(text_is(&rows, 0, "js", "{\"a\": 1.0}"));
    CU_ASSERT_TRUE(text_is(&rows, 0, "doc", "{\"k\": [1, null]}"));
    struct sv bytes = db_get_text(&rows, 0, db_column(&rows, "bytes"));
    CU_ASSERT_TRUE(sv_eq(bytes, (struct sv){"\0\1\xff", 3}));
    CU_ASSERT_EQUAL(db_get_time(&rows, 0, db_column(&rows, "at")), INT64_C(1795470600000001));
    CU_ASSERT_EQUAL(db_get_time(&rows, 0, db_column(&rows, "ever")), INT64_MAX);
    fx_close(fx);
}

TEST(arrays_arrive_whole)
{
    static const struct db_stmt stmt = {
        "arrays", "SELECT array_to_string($1::text[], ',', 'NULL') AS t, cardinality($2::text[])"
                  " AS none, (SELECT sum(x)::int8 FROM unnest($3::int8[]) x) AS total"};
    struct db_rows rows;
    struct db_param p[3];
    struct sv words[] = {SV("a,b"), SV_NONE, SV(""), SV("{\"}")};
    int64_t numbers[] = {INT64_C(1) << 40, -1};
    struct fx *fx = fx_open(NULL);
    OK(db_text_array(&fx->ctx, words, 4, &p[0]));
    OK(db_text_array(&fx->ctx, words, 0, &p[1]));
    OK(db_i64_array(&fx->ctx, numbers, 2, &p[2]));
    OK(db_query(fx->db, &fx->ctx, DB_READ, &stmt, p, 3, &rows, NULL));
    CU_ASSERT_TRUE(text_is(&rows, 0, "t", "a,b,NULL,,{\"}"));
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "none")), 0);
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "total")), (INT64_C(1) << 40) - 1);
    fx_close(fx);
}

/* Fails if a statement counts as prepared when its Parse is sent, or never does: tried. */
TEST(prepared_once_a_connection)
{
    static const struct db_stmt twice = {"twice", "SELECT $1::int8 * 2 AS n"};
    static const struct db_stmt later = {"later", "SELECT a FROM not_yet"};
    struct db_rows rows;
    struct db_param p = db_i64(21);
    struct fx *fx = fx_open(NULL);
    for (int i = 0; i < 3; i++) {
        OK(db_query(fx->db, &fx->ctx, DB_READ, &twice, &p, 1, &rows, NULL));
        CU_ASSERT_EQUAL(db_get_i64(&rows, 0, 0), 42);
    }
    CU_ASSERT_EQUAL(db_query(fx->db, &fx->ctx, DB_READ, &later, NULL, 0, &rows, NULL),
                    ERR_INTERNAL);
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 4);
    fx_request(fx, SV("t1"), 5000);
    OK(fx_run(fx, DB_READ,
              "SELECT string_agg(name, ',' ORDER BY name) AS n FROM "
              "pg_prepared_statements",
              &rows));
    CU_ASSERT_TRUE(text_is(&rows, 0, "n", "parley_limits,twice"));
    fx_admin("CREATE TABLE not_yet (a int); GRANT SELECT ON not_yet TO " FX_ROLE);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &later, NULL, 0, &rows, NULL));
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 0);
    fx_close(fx);
    /* A pooler that knows no prepared statements. */
    struct db_settings settings = fx_settings(NULL);
    settings.prepare = false;
    fx = fx_open(&settings);
    OK(db_query(fx->db, &fx->ctx, DB_READ, &twice, &p, 1, &rows, NULL));
    OK(fx_run(fx, DB_READ, "SELECT count(*) AS n FROM pg_prepared_statements", &rows));
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, 0), 0);
    fx_close(fx);
    fx_admin("DROP TABLE not_yet");
}

/* After a change of the schema, or with a pooler, statements are prepared again. Fails if 0A000
 * and 26000 are not in the table of SQLSTATEs: tried. */
TEST(stale_statements_are_repeated)
{
    static const struct db_stmt star = {"star", "SELECT * FROM changing"};
    struct db_rows rows;
    fx_admin("DROP TABLE IF EXISTS changing; CREATE TABLE changing (a int);"
             "INSERT INTO changing VALUES (1); GRANT ALL ON changing TO " FX_ROLE);
    struct fx *fx = fx_open(NULL);
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &star, NULL, 0, &rows, NULL));
    fx_admin("ALTER TABLE changing ADD b text DEFAULT 'new'");
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &star, NULL, 0, &rows, NULL));
    CU_ASSERT_TRUE(text_is(&rows, 0, "b", "new"));
    OK(fx->ctx.err.err);
    struct db_conn *c;
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c));
    PQclear(fx_exec(c, "DEALLOCATE ALL"));
    db_pool_release(fx->db, c);
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &star, NULL, 0, &rows, NULL));
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_retries), 2);
    fx_close(fx);
}

/* A backend whose files were replaced or cannot be read fails, and others need not: its connection
 * is closed, and the work, of which nothing was done, is done once more. Fails if class 58 leaves
 * the connection in the pool: tried. */
TEST(a_backend_with_a_broken_file_is_left)
{
    static const struct db_stmt broken = {"broken", "SELECT broken_here()"};
    struct db_rows rows;
    struct db_conn *c;
    fx_admin(
        "CREATE OR REPLACE FUNCTION broken_here() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN "
        "IF current_setting('fx.broken', true) = '1' THEN RAISE 'no such file' USING ERRCODE = "
        "'58P01'; END IF; RETURN 1; END $$");
    struct fx *fx = fx_open(NULL);
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &broken, NULL, 0, &rows, NULL));
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c));
    PQclear(fx_exec(c, "SET fx.broken = '1'"));
    db_pool_release(fx->db, c);
    OK(db_query(fx->db, &fx->ctx, DB_WRITE, &broken, NULL, 0, &rows, NULL));
    CU_ASSERT_EQUAL(db_get_i64(&rows, 0, 0), 1);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_retries), 1);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 1);
    fx_close(fx);
    fx_admin("DROP FUNCTION broken_here()");
}

/* Fails if each statement of a batch has its own Sync: tried. */
TEST(batch_is_all_or_nothing)
{
    static const struct db_stmt insert = {"batch_insert", "INSERT INTO items (id, name) VALUES "
                                                          "($1, $2)"};
    static const struct db_stmt count = {"batch_count", "SELECT count(*) AS n FROM items"};
    struct db_failure failure;
    struct db_param a[] = {db_i64(1), db_text(SV("one"))};
    struct db_param b[] = {db_i64(2), db_text(SV("two"))};
    struct db_param same[] = {db_i64(3), db_text(SV("one"))};
    struct db_call good[] = {{.stmt = &insert, .params = a, .n_params = 2},
                             {.stmt = &insert, .params = b, .n_params = 2},
                             {.stmt = &count}};
    struct db_call bad[] = {
        good[0], good[1], {.stmt = &insert, .params = same, .n_params = 2}, good[2]};
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(db_batch(fx->db, &fx->ctx, DB_WRITE, bad, 4, &failure), ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(failure.sqlstate, "23505");
    CU_ASSERT_STRING_EQUAL(failure.constraint, "items_name");
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    fx_request(fx, SV("t1"), 5000);
    OK(db_batch(fx->db, &fx->ctx, DB_WRITE, good, 3, &failure));
    CU_ASSERT_EQUAL(good[0].rows.count, 1);
    CU_ASSERT_EQUAL(db_get_i64(&good[2].rows, 0, 0), 2);
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 1);
    /* An error is no reason to close a connection. */
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 0);
    fx_close(fx);
}

static enum err run_new_request(struct fx *fx, const char *sql)
{
    fx_request(fx, SV("t1"), 5000);
    return fx_run(fx, DB_WRITE, sql, NULL);
}

TEST(errors_are_classified)
{
    struct db_conn *c;
    fx_admin("TRUNCATE items; INSERT INTO items (id) VALUES (1)");
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(run_new_request(fx, "SELECT 'secret words'::text::int"), ERR_INVALID);
    /* What the client sent never reaches the log. Fails if copy_message does not cut: tried. */
    CU_ASSERT_PTR_NOT_NULL(strstr(fx->ctx.err.cause, "22P02"));
    CU_ASSERT_PTR_NULL(strstr(fx->ctx.err.cause, "secret"));
    CU_ASSERT_EQUAL(run_new_request(fx, "INSERT INTO items (id) VALUES (1)"), ERR_CONFLICT);
    CU_ASSERT_EQUAL(run_new_request(fx, "INSERT INTO items (id, n) VALUES (2, -1)"), ERR_INTERNAL);
    CU_ASSERT_EQUAL(run_new_request(fx, "SELEKT"), ERR_INTERNAL);
    CU_ASSERT_EQUAL(run_new_request(fx, "SELECT * FROM pg_authid"), ERR_INTERNAL);
    /* A row that somebody else has locked: lock_timeout. */
    OK(db_pool_acquire(fx->db, &fx->ctx, DB_READ, &c));
    PQclear(fx_exec(c, "BEGIN; UPDATE items SET n = 1"));
    CU_ASSERT_EQUAL(run_new_request(fx, "UPDATE items SET n = 2"), ERR_BUSY);
    PQclear(fx_exec(c, "ROLLBACK"));
    db_pool_release(fx->db, c);
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 0);
    fx_close(fx);
}

/* Fails if the limits step has no statement_timeout: tried. */
TEST(statement_timeout_changes_nothing)
{
    struct db_settings settings = fx_settings(NULL);
    settings.statement_ms = 100;
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(&settings);
    CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE,
                           "WITH i AS (INSERT INTO items (id) VALUES (1) RETURNING id) "
                           "SELECT pg_sleep(8) FROM i",
                           NULL),
                    ERR_TIMEOUT);
    CU_ASSERT_PTR_NOT_NULL(strstr(fx->ctx.err.cause, "57014"));
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    /* The server has said that it is over: the connection is in order. */
    CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), 0);
    fx_close(fx);
}

/* The first statement removes the server's own limit, so that only this side ends the second. Two
 * checks protect this: it fails if neither the time-out marks the connection broken nor
 * db_conn_clean looks at its transaction and results: tried. */
TEST(deadline_closes_the_connection)
{
    static const struct db_stmt unlimited = {NULL,
                                             "SELECT set_config('statement_timeout', '0', true)"};
    static const struct db_stmt slow = {NULL, "SELECT 'late answer' AS a, pg_sleep(1)"};
    static const enum db_retry kinds[] = {DB_READ, DB_WRITE};
    static const enum err expected[] = {ERR_TIMEOUT, ERR_OUTCOME_UNKNOWN};
    struct db_rows rows;
    struct fx *fx = fx_open(NULL);
    for (size_t i = 0; i < 2; i++) {
        struct db_call calls[] = {{.stmt = &unlimited}, {.stmt = &slow}};
        const int pid = fx_next_pid(fx);
        fx_request(fx, SV("t1"), 200);
        CU_ASSERT_EQUAL(db_batch(fx->db, &fx->ctx, kinds[i], calls, 2, NULL), expected[i]);
        CU_ASSERT_EQUAL(atomic_load(&fx->slot->db_discarded), i + 1);
        /* The pool is right again at once, and nobody reads the late answer. */
        fx_request(fx, SV("t1"), 5000);
        OK(db_query(fx->db, &fx->ctx, DB_READ, &see_tenant, NULL, 0, &rows, NULL));
        CU_ASSERT_TRUE(text_is(&rows, 0, "tenant", "t1"));
        CU_ASSERT_NOT_EQUAL(db_get_i64(&rows, 0, db_column(&rows, "pid")), pid);
    }
    fx_request(fx, SV("t1"), 0);
    CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE, "SELECT 1", NULL), ERR_TIMEOUT);
    fx_close(fx);
}

/* A megabyte each way at once. Fails if exchange only writes until all is sent: it would end at the
 * deadline, tried. */
TEST(writing_does_not_wait_for_reading)
{
    static const struct db_stmt echo = {"echo", "SELECT repeat($1, 2) AS t"};
    enum { CALLS = 8, BYTES = 1 << 20 };
    struct db_call calls[CALLS];
    char *text = malloc(BYTES);
    memset(text, 'x', BYTES);
    struct db_param p = db_text((struct sv){text, BYTES});
    struct fx *fx = fx_open(NULL);
    for (int i = 0; i < CALLS; i++)
        calls[i] = (struct db_call){.stmt = &echo, .params = &p, .n_params = 1};
    OK(db_batch(fx->db, &fx->ctx, DB_READ, calls, CALLS, NULL));
    for (int i = 0; i < CALLS && fx->ctx.err.err == ERR_NONE; i++)
        CU_ASSERT_EQUAL(db_get_text(&calls[i].rows, 0, 0).n, 2 * BYTES);
    fx_close(fx);
    free(text);
}

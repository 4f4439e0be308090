/* SPDX-License-Identifier: MIT */
/* Which statements are repeated after a failure, and which are not. */
#include "fixture.h"

#include "../../unit/suite.h"

/* A deferred trigger kills the backend in the middle of COMMIT. A read would be repeated. Fails if
 * the fault is not turned into ERR_OUTCOME_UNKNOWN: tests/mutants/unknown-failed. */
TEST(lost_in_commit_is_unknown)
{
    fx_admin("TRUNCATE items; CREATE OR REPLACE FUNCTION die() RETURNS trigger LANGUAGE plpgsql "
             "SECURITY DEFINER AS "
             "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';"
             "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED "
             "FOR EACH ROW EXECUTE FUNCTION die()");
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(fx_run(fx, DB_WRITE, "INSERT INTO items (id) VALUES (9)", NULL),
                    ERR_OUTCOME_UNKNOWN);
    fx_close(fx);
    fx_admin("DROP TRIGGER die ON items; DROP FUNCTION die()");
}

/* A function that fails with a deadlock until its third call. Fails
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

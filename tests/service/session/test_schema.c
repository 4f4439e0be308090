/* SPDX-License-Identifier: MIT */
/* What the schema itself enforces, whatever the statements do. */

#include "../../unit/suite.h"
#include "fixture.h"

/* Without a foreign key. Mutant: sessions-leave-messages. */
static void messages_go_with_a_session(void)
{
    struct fixture *w = fixture_open(false);
    fixture_make(w, "t1", "gone", "anna", 2, "1", &nobody);
    fixture_make(w, "t1", "stays", "anna", 2, "1", &nobody);
    const int64_t gone = fixture_count("SELECT generation FROM sessions WHERE session_id = 'gone'");
    fixture_exec("DELETE FROM sessions WHERE session_id = 'gone'");
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE generation = %lld", (long long)gone), 0);
    CU_ASSERT_EQUAL(fixture_rows("messages m JOIN sessions s"
                                 " USING (tenant, generation) WHERE session_id = 'stays'"),
                    2);
    fixture_close(w);
}

/* As the role that serves: 42501 of a policy. */
static void expect_refused(const char *change)
{
    fixture_exec("DO $do$ BEGIN SET LOCAL ROLE parley_app; SET LOCAL parley.tenant = 't1'; %s;"
                 " RAISE EXCEPTION USING ERRCODE = 'PLOK0';"
                 " EXCEPTION WHEN insufficient_privilege THEN NULL; END $do$",
                 change);
}

/* The policies do the work of CHECK constraints. Mutant: rows-unchecked. */
static void invalid_rows(void)
{
    static const char *const changes[] = {
        "UPDATE messages SET seq = 0 WHERE seq = 1", "UPDATE messages SET role = NULL",
        "UPDATE messages SET content = NULL",        "UPDATE sessions SET ttl_seconds = 0",
        "UPDATE sessions SET tenant = 't2'",         "UPDATE messages SET tenant = 't2'",
    };
    struct fixture *w = fixture_open(false);
    fixture_make(w, "t1", "checked", "anna", 2, "1", &nobody);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        expect_refused(changes[i]);
    CU_ASSERT_EQUAL(fixture_rows("messages m JOIN sessions s USING (tenant,"
                                 " generation) WHERE session_id = 'checked' AND seq > 0 AND role IS"
                                 " NOT NULL AND content IS NOT NULL AND ttl_seconds > 0"),
                    2);
    fixture_close(w);
}

SUITE(session_schema, "session/schema", {"messages go with a session", messages_go_with_a_session},
      {"invalid rows", invalid_rows})

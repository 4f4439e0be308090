/* SPDX-License-Identifier: MIT */
/* The generic plans of the conditional read: with any statistics they use the primary key of
 * sessions and read no message. That of the read of a message: it names each message that it reads.
 * Those of batches of writes, and of a window: they name each session, each key and each session's
 * messages; a window's newest messages of a role by their index. That of a patch of a message: it
 * reads this one alone. Those of lists: they read sessions one by one, in the order of an index. */
#include "../../../src/session/session_internal.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <libpq-fe.h>

#include "../../unit/suite.h"
#include "fixture.h"

enum { TEXT_MAX = 16384, SESSIONS = 20000, FEW = 200 };
static const char dbname[] = "parley_sessions_plans";

/* All rows of the answer, a line each. */
static void query_text(PGconn *c, const char *sql, char *out, size_t n)
{
    PGresult *r = PQexec(c, sql);
    size_t used = 0;
    const bool ok = PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK;
    CU_ASSERT_TRUE(ok);
    if (!ok)
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(c));
    out[0] = '\0';
    for (int i = 0; i < PQntuples(r) && used < n; i++)
        used += (size_t)snprintf(out + used, n - used, i > 0 ? "\n%s" : "%s", PQgetvalue(r, i, 0));
    PQclear(r);
}

static bool has_one_of(const char *line, const char *const *parts)
{
    while (*parts && !strstr(line, *parts))
        parts++;
    return *parts;
}

/* The plan has one scan of sessions, by the primary key with tenant and session_id, and so many
 * lookups of a message. */
static bool is_good(const char *plan, int messages)
{
    static const char *const keys[] = {"(session_id ", "(seq = ", "(message_id = ", NULL};
    int scans = 0;
    for (struct sv rest = sv_from(plan); rest.p;) {
        const struct sv line = sv_cut(&rest, '\n');
        char copy[512];
        snprintf(copy, sizeof(copy), "%.*s", SV_ARG(line));
        if (strstr(copy, "Index Cond:") && !has_one_of(copy, keys))
            return false;
        if (strstr(copy, " on messages"))
            messages -= strstr(copy, " using messages_") ? 1 : INT_MAX / 2;
        if (!strstr(copy, " on sessions"))
            continue;
        if (!strstr(copy, " using sessions_pkey"))
            return false;
        scans++;
    }
    return scans == 1 && messages == 0;
}

struct batch_stmt {
    const struct db_stmt *stmt;
    int n_params;
};

static const struct batch_stmt batch_stmts[] = {{&sql_append_batch_stmt, 17},
                                                {&sql_append_plain_batch_stmt, 7},
                                                {&sql_create_batch_stmt, 22},
                                                {&sql_window_stmt, 6},
                                                {&sql_message_patch_stmt, 16}};

/* The scans of tables without all that names a session, its messages or a key; INT_MAX: there is a
 * sequential one. */
static int wide_scans(const char *plan)
{
    static const char *const tables[] = {" on sessions", " on messages", " on idempotency_keys",
                                         " on summaries", NULL};
    static const char *const others[] = {"Insert on", "Update on", "Bitmap Heap Scan", NULL};
    static const char *const keys[] = {
        "(session_id >= ", "generation = ", "(key >= ", "(key = ", NULL};
    int wide = 0;
    for (struct sv rest = sv_from(plan); rest.p;) {
        const struct sv line = sv_cut(&rest, '\n');
        char copy[512];
        snprintf(copy, sizeof(copy), "%.*s", SV_ARG(line));
        if (strstr(copy, "Seq Scan"))
            return INT_MAX;
        wide += has_one_of(copy, tables) && !has_one_of(copy, others);
        wide -= strstr(copy, "Index Cond: ((tenant = ") && has_one_of(copy, keys);
    }
    return wide;
}

/* A plan that is made on an empty schema stays until the next ANALYZE. An UPDATE with a join would
 * read all sessions of the tenant there: tried, and the mutant batch-reads-a-tenant. */
static void expect_batch_plan(PGconn *c, const struct batch_stmt *b, const char *schema)
{
    static char prepare[TEXT_MAX];
    char plan[TEXT_MAX], sql[512];
    snprintf(prepare, sizeof(prepare), "PREPARE %s AS %s", b->stmt->name, b->stmt->sql);
    query_text(c, prepare, plan, sizeof(plan));
    int n = snprintf(sql, sizeof(sql), "EXPLAIN (COSTS OFF) EXECUTE %s('t1'", b->stmt->name);
    for (int i = 1; i < b->n_params; i++)
        n += snprintf(sql + n, sizeof(sql) - (size_t)n, ", NULL");
    snprintf(sql + n, sizeof(sql) - (size_t)n, ")");
    query_text(c, sql, plan, sizeof(plan));
    int by_role = 0;
    for (const char *at = plan; (at = strstr(at, " using messages_role")); at++)
        by_role++;
    const bool good =
        plan[0] && wide_scans(plan) == 0 && by_role == (b->stmt == &sql_window_stmt ? 4 : 0) &&
        (b->stmt != &sql_message_patch_stmt || strstr(plan, "generation = $8) AND (seq = $11)"));
    CU_ASSERT_TRUE(good);
    if (!good)
        fprintf(stderr, "%s, %s:\n%s\n", schema, b->stmt->name, plan);
}

static void expect_plan(PGconn *c, const char *execute, int messages, bool analyze,
                        const char *schema)
{
    char sql[1024], plan[TEXT_MAX];
    snprintf(sql, sizeof(sql), "EXPLAIN (COSTS OFF%s) EXECUTE %s",
             analyze ? ", ANALYZE, TIMING OFF, SUMMARY OFF" : "", execute);
    query_text(c, sql, plan, sizeof(plan));
    CU_ASSERT_TRUE(is_good(plan, messages));
    if (!is_good(plan, messages))
        fprintf(stderr, "%s, %s:\n%s\n", schema, execute, plan);
}

/* How often part occurs in text. */
static int count_of(const char *text, const char *part)
{
    int n = 0;
    while ((text = strstr(text, part)) != NULL && ++n)
        text += strlen(part);
    return n;
}

/* The last two plans are those of exports. On an empty schema with statistics it makes no
 * difference which index a user's list takes, so PostgreSQL takes any, until the next ANALYZE. */
static void expect_list_plans(PGconn *c, int sessions, const char *schema)
{
    static const char *const indexes[] = {"sessions_created", "sessions_of_user",
                                          "sessions_created", "sessions_of_user"};
    static char prepare[TEXT_MAX];
    char plan[TEXT_MAX], sql[512];
    query_text(c, "BEGIN", plan, sizeof(plan)); /* the statement sets it for a transaction */
    query_text(c, sql_list_plan_stmt.sql, plan, sizeof(plan));
    for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
        const char *name = sql_list_stmts[i].name;
        snprintf(prepare, sizeof(prepare), "PREPARE %s AS %s", name, sql_list_stmts[i].sql);
        query_text(c, prepare, plan, sizeof(plan));
        snprintf(sql, sizeof(sql),
                 "EXPLAIN (COSTS OFF) EXECUTE %s('t1', %s, 0, 0, 20, 1000, NULL, 5000, 1000, 0)",
                 name, i % 2 == 0 ? "NULL" : "'u1'");
        query_text(c, sql, plan, sizeof(plan));
        snprintf(sql, sizeof(sql), " using %s on sessions", indexes[i]);
        const bool any = i % 2 == 1 && strcmp(schema, "empty after VACUUM") == 0;
        const bool good = count_of(plan, " on sessions") == 1 && count_of(plan, "Sort ") == 0 &&
                          count_of(plan, any ? " using sessions_" : sql) == 1 &&
                          count_of(plan, "Index Cond: ((tenant = $1) AND ") == 1;
        CU_ASSERT_TRUE(good);
        if (!good)
            fprintf(stderr, "%s, %s:\n%s\n", schema, name, plan);
    }
    /* The sessions read: all of the tenant; up to the seventh; none after the first one, since no
     * time is left, but a row for each of those that follow, up to the limit. */
    static const struct {
        const char *bounds;
        int rows;
    } bounds[] = {{"5000, 100000", 0}, {"7, 100000", 1}, {"5000, 0", 20}};
    for (size_t i = 0; sessions == FEW && i < ARRAY_LEN(bounds); i++) {
        snprintf(sql, sizeof(sql),
                 "EXECUTE tenant_list_newest('t1', NULL, 253402300800000000, 0, 20, 1000,"
                 " '{\"a\":\"b\"}', %s, 0)",
                 bounds[i].bounds);
        query_text(c, sql, plan, sizeof(plan));
        CU_ASSERT_EQUAL(count_of(plan, "\n") + (plan[0] != '\0'), bounds[i].rows);
    }
    query_text(c, "COMMIT", plan, sizeof(plan));
}

/* As the serving role, with its row-level security. */
static void expect_plans(const char *schema, int sessions)
{
    const bool filled = sessions > 0;
    static char prepare[TEXT_MAX];
    char out[TEXT_MAX];
    PGconn *c = fixture_connect(dbname);
    query_text(c,
               "SET ROLE parley_app; SET plan_cache_mode = force_generic_plan;"
               " SET enable_seqscan = off;" /* as src/db/db_conn.c begins a session */
               " SELECT set_config('parley.tenant', 't1', false)",
               out, sizeof(out));
    snprintf(prepare, sizeof(prepare), "PREPARE one(text, text) AS %s", sql_stamp_stmt.sql);
    query_text(c, prepare, out, sizeof(out));
    snprintf(prepare, sizeof(prepare), "PREPARE many(text, text[]) AS %s", sql_stamps_stmt.sql);
    query_text(c, prepare, out, sizeof(out));
    snprintf(prepare, sizeof(prepare),
             "PREPARE message(text, text, text, text, bigint, bigint) AS %s", sql_message_stmt.sql);
    query_text(c, prepare, out, sizeof(out));
    expect_plan(c, "one('t1', 'p:17')", 0, filled, schema);
    expect_plan(c, "many('t1', '{p:17,p:18}')", 0, filled, schema);
    if (filled)
        expect_plan(c, "message('t1', 'p:17', NULL, '2', 0, 2)", 3, true, schema);
    for (size_t i = 0; i < ARRAY_LEN(batch_stmts); i++)
        expect_batch_plan(c, &batch_stmts[i], schema);
    expect_list_plans(c, sessions, schema);
    PQfinish(c);
}

static const char fill[] =
    "INSERT INTO sessions (generation, tenant, session_id, user_id, ttl_seconds, expires_at,"
    " expiry_hour, last_seq, message_count, mark, state_mark)"
    " SELECT n, 't' || mod(n, 3), 'p:' || n, 'u' || mod(n, 100), 60,"
    " now() + interval '1 hour', 999999, 3, 3, n * 7, n * 7 FROM generate_series(1, %d) n;"
    "UPDATE sessions SET tenant = 't1' WHERE session_id IN ('p:17', 'p:18');"
    "INSERT INTO messages (tenant, generation, seq, created_at, size, role, content)"
    " SELECT tenant, generation, n, now(), 3, 'user', '1' FROM sessions, generate_series(1, 3) n;"
    "INSERT INTO idempotency_keys (tenant, key, fingerprint, status, session_id, generation, "
    "version,"
    " state_version, first_seq, last_seq, message_count, at, expires_at, session_at, mark, "
    "state_mark)"
    " SELECT tenant, 'k' || generation, '', 201, session_id, generation, 1, 1, 1, 3, 3, now(), "
    "now(),"
    " now(), mark, mark FROM sessions";

/* Fails if the statement does not ask for the order of session_id, or compares it with =, or if the
 * name of a message is not resolved in a query of its own; if a patch of a message names no seq
 * that an index has; if a list is planned with sorts, or sorted by something else than an index, or
 * has no bound: tried. */
static void by_keys_alone(void)
{
    char out[64], sql[2048];
    struct fixture *w = fixture_open_in(dbname, NULL);
    fixture_close(w);
    PGconn *c = fixture_connect(dbname);
    query_text(c,
               "ALTER TABLE sessions SET (autovacuum_enabled = false);"
               "ALTER TABLE messages SET (autovacuum_enabled = false);"
               "ALTER TABLE idempotency_keys SET (autovacuum_enabled = false)",
               out, sizeof(out));
    expect_plans("empty", 0);
    query_text(c, "VACUUM sessions, messages, idempotency_keys", out, sizeof(out));
    query_text(c, "ANALYZE sessions, messages, idempotency_keys", out, sizeof(out));
    expect_plans("empty after VACUUM", 0);
    snprintf(sql, sizeof(sql), fill, SESSIONS);
    query_text(c, sql, out, sizeof(out));
    expect_plans("filled after VACUUM", SESSIONS);
    query_text(c, "VACUUM sessions, messages, idempotency_keys", out, sizeof(out));
    query_text(c, "ANALYZE sessions, messages, idempotency_keys", out, sizeof(out));
    expect_plans("large", SESSIONS);
    query_text(c, "TRUNCATE sessions, messages, idempotency_keys CASCADE", out, sizeof(out));
    snprintf(sql, sizeof(sql), fill, FEW);
    query_text(c, sql, out, sizeof(out));
    expect_plans("never analysed", FEW);
    query_text(c, "TRUNCATE sessions, messages, idempotency_keys CASCADE", out, sizeof(out));
    PQfinish(c);
}

SUITE(session_plans, "session/plans", {"by keys alone", by_keys_alone})

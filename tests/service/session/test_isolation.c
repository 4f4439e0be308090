/* SPDX-License-Identifier: MIT */
/* No service, tenant, session or generation gets anything of another. */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "../../unit/suite.h"

/* Two services in one process, on two databases and two databases of Redis. Fails if sessions_open
 * returns the same struct twice: tried. */
static void two_services(void)
{
    char second[512];
    const char *url = getenv("TEST_REDIS_URL");
    snprintf(second, sizeof(second), "%s?db=1", url ? url : "");
    struct fixture *a = fixture_open(true), *b = fixture_open_in("parley_sessions_2", second);
    fixture_make(a, "t1", "i:module", NULL, 1, "\"of a\"", &nobody);
    expect_only(a, "t1", "i:module", "\"of a\"");
    expect_nothing(b, "t1", "i:module");
    fixture_make(b, "t1", "i:module", NULL, 1, "\"of b\"", &nobody);
    expect_only(a, "t1", "i:module", "\"of a\"");
    expect_only(b, "t1", "i:module", "\"of b\"");
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE content = '\"of b\"'"), 0);
    /* The end of one does not affect the other. */
    fixture_close(a);
    expect_only(b, "t1", "i:module", "\"of b\"");
    fixture_make(b, "t1", "i:module-after", NULL, 1, "\"after\"", &nobody);
    expect_only(b, "t1", "i:module-after", "\"after\"");
    fixture_close(b);
}

/* Two services over one database and one pool; the cache of one keeps nothing. Fails if
 * sessions_open keeps a cache that it was not given: tried. */
static void two_services_on_one_pool(void)
{
    struct fixture *w = fixture_open(true);
    const struct sessions_settings settings = w->sessions->settings;
    struct cache *none = fixture_cache(NULL, NULL);
    struct sessions *plain = sessions_open(&settings, w->db, none, NULL);
    fixture_make(w, "t1", "i:pool", NULL, 1, "\"of pool\"", &nobody);
    expect_only(w, "t1", "i:pool", "\"of pool\"");
    OK(session_get(plain, fixture_request(w, "t1"), SV("i:pool"), SV_NONE, 20, &w->s));
    CU_ASSERT_TRUE(fixture_was_from(w, "postgres"));
    sessions_close(plain);
    cache_close(none);
    expect_only(w, "t1", "i:pool", "\"of pool\"");
    fixture_close(w);
}

/* What a statement without a tenant condition returns; -1 if it fails. */
static int64_t count_as(struct fixture *w, const char *tenant, const struct db_stmt *stmt)
{
    struct db_rows rows;
    enum err e = db_query(w->db, fixture_request(w, tenant), DB_READ, stmt, NULL, 0, &rows, NULL);
    if (e != ERR_NONE)
        return -1;
    return rows.count > 0 ? db_get_i64(&rows, 0, 0) : 0;
}

/* Fails if row-level security is left out of the migration for one of the tables: tried. */
static void row_level_security(void)
{
    static const struct db_stmt read[] = {
        {"rls_sessions", "SELECT count(*) FROM sessions WHERE session_id = 'i:rls'"},
        {"rls_messages", "SELECT count(*) FROM messages WHERE content = '\"rls\"'"},
        {"rls_keys", "SELECT count(*) FROM idempotency_keys WHERE key = 'k-rls'"}};
    static const struct db_stmt change[] = {
        {"rls_update",
         "WITH c AS (UPDATE sessions SET context = '{\"stolen\":1}' WHERE session_id = 'i:rls'"
         " RETURNING 1) SELECT count(*) FROM c"},
        {"rls_delete_messages",
         "WITH c AS (DELETE FROM messages WHERE content = '\"rls\"' RETURNING 1)"
         " SELECT count(*) FROM c"},
        {"rls_delete_keys",
         "WITH c AS (DELETE FROM idempotency_keys WHERE key = 'k-rls' RETURNING 1)"
         " SELECT count(*) FROM c"},
        {"rls_delete", "WITH c AS (DELETE FROM sessions WHERE session_id = 'i:rls' RETURNING 1)"
                       " SELECT count(*) FROM c"}};
    static const struct db_stmt insert = {
        "rls_insert",
        "INSERT INTO sessions (generation, tenant, session_id, ttl_seconds, expires_at,"
        " expiry_hour) VALUES (1, 't1', 'i:rls-foreign', 60, now() + '1 hour', 999999)"
        " RETURNING 1"};
    const struct session_precondition with_key = keyed("k-rls");
    struct fixture *w = fixture_open(false);
    fixture_make(w, "t1", "i:rls", NULL, 1, "\"rls\"", &with_key);
    for (size_t i = 0; i < ARRAY_LEN(read); i++) {
        CU_ASSERT_EQUAL(count_as(w, "t1", &read[i]), 1);
        CU_ASSERT_EQUAL(count_as(w, "t2", &read[i]), 0);
        CU_ASSERT_EQUAL(count_as(w, "", &read[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(change); i++)
        CU_ASSERT_EQUAL(count_as(w, "t2", &change[i]), 0);
    CU_ASSERT_EQUAL(count_as(w, "t2", &insert), -1);
    CU_ASSERT_EQUAL(fixture_rows("sessions WHERE session_id = 'i:rls-foreign'"), 0);
    expect_only(w, "t1", "i:rls", "\"rls\"");
    fixture_close(w);
}

/* The owner of the tables is no exception. Fails if FORCE is left out of the migration: tried. */
static void row_level_security_of_the_owner(void)
{
    struct fixture *w = fixture_open(false);
    fixture_make(w, "t1", "i:owner", NULL, 1, "\"owner\"", &nobody);
    fixture_close(w);
    static const char *const tables[] = {"sessions WHERE session_id = 'i:owner'",
                                         "messages WHERE content = '\"owner\"'"};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        CU_ASSERT_EQUAL(
            fixture_count(
                "SET ROLE parley_owner; SET parley.tenant = 't1'; SELECT count(*) FROM %s",
                tables[i]),
            1);
        CU_ASSERT_EQUAL(
            fixture_count(
                "SET ROLE parley_owner; SET parley.tenant = 't2'; SELECT count(*) FROM %s",
                tables[i]),
            0);
    }
}

/* Fails if the key of the cache has no tenant: tried. (In the statements row-level security is a
 * second condition; without both: tried.) */
static void equal_ids_in_two_tenants(void)
{
    const struct session_precondition with_key = keyed("k-equal");
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "i:equal", NULL, 1, "\"of t1\"", &with_key);
    expect_nothing(w, "t2", "i:equal");
    /* The same key in another tenant is another key. */
    fixture_make(w, "t2", "i:equal", NULL, 1, "\"of t2\"", &with_key);
    expect_only(w, "t1", "i:equal", "\"of t1\"");
    expect_only(w, "t2", "i:equal", "\"of t2\"");
    OK(fixture_delete(w, "t1", "i:equal", &nobody));
    expect_nothing(w, "t1", "i:equal");
    expect_only(w, "t2", "i:equal", "\"of t2\"");
    fixture_close(w);
}

/* ---- wrong values in the caches ---- */

/* Fails if decode does not compare the session's id, or the generation: tried. */
static void value_of_another_session(void)
{
    struct session s;
    struct hosts *c = hosts_open();
    struct fixture *w = c->a, *keeper = fixture_share(c->plain);
    (void)fixture_request(keeper, "t1");
    fixture_make(w, "t1", "i:mine", NULL, 1, "\"mine\"", &nobody);
    fixture_make(w, "t1", "i:other", NULL, 1, "\"other\"", &nobody);
    struct cache_value value = hosts_value(c, keeper, "t1", "i:other", &s);
    hosts_put(c, "t1", "i:mine", &value);
    expect_only(w, "t1", "i:mine", "\"mine\"");
    /* The session's own bytes under another stamp than theirs. */
    value = hosts_value(c, keeper, "t1", "i:mine", &s);
    s.messages[0].content = SV("\"changed\"");
    OK(session_codec_encode(&keeper->ctx, &s, &value.bytes));
    const struct cache_stamp own = value.stamp;
    const struct cache_stamp others[] = {{own.generation + 1, own.version, own.mark},
                                         {own.generation, own.version + 1, own.mark},
                                         {own.generation, own.version, own.mark + 1}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        value.stamp = others[i];
        hosts_put(c, "t1", "i:mine", &value);
        expect_only(w, "t1", "i:mine", "\"mine\"");
    }
    /* Under its own stamp the changed value is read, so the caches were asked above. */
    value.stamp = own;
    hosts_put(c, "t1", "i:mine", &value);
    OK(fixture_get(w, "t1", "i:mine"));
    CU_ASSERT_TRUE(w->s.n_messages == 1 && sv_eq(w->s.messages[0].content, SV("\"changed\"")));
    fixture_close(keeper);
    hosts_close(c);
}

/* The value of a key in Redis, stored under the key of another tenant and of another session.
 * Fails if cache_codec_decode compares neither tenant nor id, and decode_value not the id: tried.
 */
static void moved_value(void)
{
    const char *url = getenv("TEST_REDIS_URL");
    if (!url || strncmp(url, "unix://", 7) != 0)
        return;
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "i:moved", NULL, 1, "\"of t1\"", &nobody);
    fixture_make(w, "t2", "i:moved", NULL, 1, "\"of t2\"", &nobody);
    fixture_make(w, "t1", "i:moved-2", NULL, 1, "\"second\"", &nobody);
    redisContext *redis = redisConnectUnix(url + 7);
    redisReply *bytes = NULL;
    for (int i = 0; i < 1000 && !(bytes && bytes->type == REDIS_REPLY_STRING); i++) {
        service_sleep_ms(2); /* values get there a little later */
        freeReplyObject(bytes);
        bytes = redisCommand(redis, "GET parley:1.2:t1:i:moved");
    }
    CU_ASSERT_TRUE_FATAL(bytes && bytes->type == REDIS_REPLY_STRING);
    static const char *const to[] = {"t2:i:moved", "t1:i:moved-2"};
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        freeReplyObject(
            redisCommand(redis, "SET parley:1.2:%s %b PX 60000", to[i], bytes->str, bytes->len));
    freeReplyObject(bytes);
    const struct cache_key keys[] = {{SV("t2"), SV("i:moved")}, {SV("t1"), SV("i:moved-2")}};
    struct cache *memory = fixture_cache(w->shared, NULL); /* without Redis */
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        cache_remove(memory, keys[i], true);
    cache_close(memory);
    redisFree(redis);
    expect_only(w, "t2", "i:moved", "\"of t2\"");
    expect_only(w, "t1", "i:moved-2", "\"second\"");
    expect_only(w, "t1", "i:moved", "\"of t1\"");
    fixture_close(w);
}

static void overwrite(struct sv text)
{
    memset((void *)(uintptr_t)text.p, '#', text.n);
}

/* A caller may change what it got: the next one gets what was stored. Fails if a read returns bytes
 * that it keeps for the next one: tried. */
static void expect_copies(struct fixture *w, const char *id)
{
    struct fixture *other = fixture_share(w);
    fixture_make(w, "t1", id, NULL, 1, "\"of copy\"", &nobody);
    for (int i = 0; i < 3; i++) {
        struct session mine, theirs;
        struct request_ctx *ctx = fixture_request(w, "t1");
        enum err e = session_get(w->sessions, ctx, sv_from(id), SV_NONE, 20, &mine);
        CU_ASSERT_TRUE(e == ERR_NONE && mine.n_messages == 1);
        if (e != ERR_NONE || mine.n_messages != 1)
            break;
        overwrite(mine.context);
        overwrite(mine.messages[0].content);
        memset(mine.messages, '#', sizeof mine.messages[0]);
        ctx = fixture_request(other, "t1");
        e = session_get(w->sessions, ctx, sv_from(id), SV_NONE, 20, &theirs);
        CU_ASSERT_TRUE(e == ERR_NONE && theirs.n_messages == 1 &&
                       sv_eq(theirs.messages[0].content, SV("\"of copy\"")));
        CU_ASSERT_TRUE(sv_eq(theirs.session_id, sv_from(id)));
        CU_ASSERT_TRUE(sv_eq(theirs.context, SV("{}")));
    }
    fixture_close(other);
    expect_only(w, "t1", id, "\"of copy\"");
}

static void copies(void)
{
    for (int redis = 0; redis < 2; redis++) {
        struct fixture *w = fixture_open(redis == 1);
        expect_copies(w, redis ? "i:copy" : "i:copy-plain");
        fixture_close(w);
    }
}

SUITE(session_isolation, "session/isolation", {"two services", two_services}, {"copies", copies},
      {"two services on one pool", two_services_on_one_pool},
      {"row-level security", row_level_security},
      {"row-level security of the owner", row_level_security_of_the_owner},
      {"equal ids in two tenants", equal_ids_in_two_tenants},
      {"a value of another session", value_of_another_session}, {"a moved value", moved_value})

/* SPDX-License-Identifier: MIT */
/* Tombstones: nobody sees one; an erasure, the sweeper and the deletion of a tenant find each. */
#include "../../unit/suite.h"
#include "hosts.h"

static const struct form {
    const char *mark;
    bool erased; /* its idempotency records go, too */
} forms[] = {{"E'\\001'", false}, {"E'\\001\\001'", true}};
enum { MESSAGES = 3 };

static int64_t rows_of(const char *tenant)
{
    return fixture_count("SELECT (SELECT count(*) FROM sessions WHERE tenant = '%s')"
                         " + (SELECT count(*) FROM messages WHERE tenant = '%s')"
                         " + (SELECT count(*) FROM idempotency_keys WHERE tenant = '%s')",
                         tenant, tenant, tenant);
}

static void make(struct fixture *w, const char *tenant, const char *id)
{
    const struct session_precondition precondition = keyed(id);
    fixture_make(w, tenant, id, "tom", MESSAGES, "\"x\"", &precondition);
}

/* Makes a tombstone of a session, which another worker's caches still hold. Its own id looks like a
 * tombstone's without its mark. */
static void make_tombstone(struct fixture *w, const char *tenant, const struct form *form)
{
    make(w, tenant, "12~34");
    for (int i = 0; i < 2; i++)
        OK(fixture_get(w, tenant, "12~34"));
    CU_ASSERT_TRUE(fixture_was_from(w, "memory"));
    fixture_exec("UPDATE sessions SET session_id = %s || generation || '~' || session_id,"
                 " expires_at = now() + interval '1 hour', expiry_hour = 0 WHERE tenant = '%s'",
                 form->mark, tenant);
}

/* Also while PostgreSQL's clock is set back to before its expiry. */
static void expect_unseen(struct fixture *w, const char *tenant)
{
    struct session_list list;
    struct session_export x = {.user = SV("tom")};
    struct session_export_part part;
    const struct session_query q = {.limit = 10};
    const struct session_list_query lists[] = {
        {.created_before = SESSION_ANY_TIME, .limit = 10},
        {.user = SV("tom"), .created_before = SESSION_ANY_TIME, .limit = 10}};
    int64_t n = -1;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        OK(session_list(w->sessions, fixture_request(w, tenant), &lists[i], &list));
        CU_ASSERT_EQUAL(list.n, 0);
    }
    OK(session_export_next(w->sessions, fixture_request(w, tenant), &x, &part));
    CU_ASSERT_TRUE(part.end);
    OK(session_search(w->sessions, fixture_request(w, tenant), &q, &list));
    CU_ASSERT_EQUAL(list.n, 0);
    OK(session_count(w->sessions, fixture_request(w, tenant), &q, &n));
    CU_ASSERT_EQUAL(n, 0);
    CU_ASSERT_EQUAL(fixture_get(w, tenant, "12~34"), ERR_NOT_FOUND);
    fixture_exec("UPDATE sessions SET expires_at = now() WHERE tenant = '%s'", tenant);
}

static bool is_in_memory(struct fixture *w, const char *tenant)
{
    struct request_ctx *ctx = fixture_request(w, tenant);
    const struct cache_key key = {ctx->tenant, SV("12~34")};
    const struct cache_snapshot now = cache_snapshot(w->cache, key);
    struct cache_found found;
    return cache_find(w->cache, ctx, key, &now, false, &found);
}

/* Fails with the mutants ids-tombstones, ids-own-id and ids-erased. */
static void deleted_and_erased(void)
{
    struct session_erasure done;
    struct fixture *w = fixture_open(true);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char erased[16], swept[16];
        snprintf(erased, sizeof(erased), "tomb-e%zu", i);
        snprintf(swept, sizeof(swept), "tomb-s%zu", i);
        make_tombstone(w, erased, &forms[i]);
        CU_ASSERT_TRUE(is_in_memory(w, erased));
        fixture_exec("UPDATE sessions SET expires_at = now() WHERE tenant = '%s'", erased);
        OK(session_erase_user(w->sessions, fixture_request(w, erased), SV("tom"), &done));
        CU_ASSERT_TRUE(done.messages == MESSAGES && !done.has_more && rows_of(erased) == 0);
        CU_ASSERT_EQUAL(done.sessions, 0); /* it was one before */
        CU_ASSERT_FALSE(is_in_memory(w, erased));
        make_tombstone(w, swept, &forms[i]);
        expect_unseen(w, swept);
        hosts_sweep(w);
        CU_ASSERT_EQUAL(rows_of(swept), forms[i].erased ? 0 : 1);
    }
    fixture_close(w);
}

/* Ids on both sides of the tombstones in the order of the primary key. Fails with the mutants
 * ids-tenant-live and ids-tenant-tombstones. */
static void of_a_tenant(void)
{
    static const char *const ids[] = {" ",
                                      "0",
                                      "a",
                                      "}",
                                      "~5",
                                      "a~",
                                      "\xc2\x85",
                                      "\xc3\xa9",
                                      "\xf0\x9f\x98\x80",
                                      "\xf4\x8f\xbf\xbf"};
    struct session_erasure done = {.sessions = 0};
    struct fixture *w = fixture_open(false);
    make(w, "tomb-other", "\xc3\xa9");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        make(w, "tomb-all", "12~34");
        fixture_exec("UPDATE sessions SET session_id = %s || generation || '~' || session_id,"
                     " expires_at = now() WHERE tenant = 'tomb-all' AND session_id = '12~34';"
                     "DELETE FROM idempotency_keys WHERE tenant = 'tomb-all'",
                     forms[i].mark);
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        make(w, "tomb-all", ids[i]);
    for (int i = 0; i < 3; i++)
        OK(session_tenant_erase(w->sessions, fixture_request(w, "tomb-all"), &done));
    CU_ASSERT_EQUAL(done.sessions, (int64_t)(ARRAY_LEN(ids) + ARRAY_LEN(forms)));
    CU_ASSERT_EQUAL(rows_of("tomb-all"), 0);
    CU_ASSERT_EQUAL(rows_of("tomb-other"), 1 + MESSAGES + 1);
    fixture_close(w);
}

/* Those of before migration 16 begin with "~". A migration renames them, of all tenants, also where
 * the owner of the tables is no superuser, and beside a transaction that has changed a session.
 * Fails with the mutant ids-old-tombstones, and if the migration asks for a lock that writes wait
 * for: tried. */
static void of_an_older_schema(void)
{
    static const char *const tenants[] = {"tomb-o1", "tomb-o2"};
    struct fixture *w = fixture_open(false);
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        make(w, tenants[i], "a~b");
        make(w, tenants[i], "12~34");
        make(w, tenants[i], "~");
    }
    const struct fixture was = *w;
    fixture_close(w); /* it would not serve that schema */
    fixture_migrate(&was, 19);
    fixture_exec("UPDATE sessions SET session_id = CASE session_id WHEN '~' THEN '~~' ELSE '~' END"
                 " || generation || '~' || session_id, expires_at = now(), expiry_hour = 0"
                 " WHERE tenant LIKE 'tomb-o%%' AND session_id <> 'a~b'");
    struct held_transaction *writer =
        transaction_hold("BEGIN; UPDATE sessions SET language = 'xx' WHERE session_id = 'a~b'");
    fixture_migrate(&was, 20);
    transaction_release(writer);
    fixture_migrate(&was, -1);
    CU_ASSERT_EQUAL(fixture_count("SELECT count(*) FROM sessions WHERE tenant LIKE 'tomb-o%%' AND"
                                  " session_id IN ('a~b', E'\\001' || generation || '~12~34',"
                                  " E'\\001\\001' || generation || '~~')"),
                    3 * (int64_t)ARRAY_LEN(tenants));
    w = fixture_open(false);
    hosts_sweep(w);
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++)
        CU_ASSERT_EQUAL(rows_of(tenants[i]), 1 + MESSAGES + 2);
    fixture_close(w);
}

SUITE(session_tombstones, "session/tombstones", {"deleted and erased", deleted_and_erased},
      {"of a tenant", of_a_tenant}, {"of an older schema", of_an_older_schema})

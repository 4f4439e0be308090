/* SPDX-License-Identifier: MIT */
/* Imports: a session is stored wholly or not at all, once, under its own times, and for its tenant.
 */
#include "../../unit/suite.h"
#include "hosts.h"
#include "parley/session/import.h"

#include <stdio.h>

enum { MESSAGES = 4, HALF = 2 };
#define CREATED INT64_C(1600000000000000)

static struct session_message messages[MESSAGES];

static struct session_import item_of(const char *id, size_t first, size_t n)
{
    for (size_t i = 0; i < MESSAGES; i++) {
        messages[i] = message_of("user", "\"imported\"");
        messages[i].seq = (int64_t)i + 1;
    }
    return (struct session_import){.session = {.session_id = sv_from(id),
                                               .user_id = SV("tom"),
                                               .language = SV("de"),
                                               .context = SV("{\"a\": 1.0}"),
                                               .metadata = SV("{}"),
                                               .created_at = CREATED,
                                               .expires_at = SESSION_ANY_TIME,
                                               .sliding = true,
                                               .last_seq = (int64_t)(first + n),
                                               .message_count = (int64_t)(first + n),
                                               .messages = messages + first,
                                               .n_messages = n},
                                   .is_last = first + n == MESSAGES};
}

static enum err import(struct fixture *w, const char *tenant, struct session_import *items,
                       size_t n)
{
    return session_import(w->sessions, fixture_request(w, tenant), items, n);
}

/* Imports the rest of what item_of(id, 0, HALF) began. */
static void go_on(struct fixture *w, const char *tenant, struct session_import *item)
{
    item->session.messages = messages + HALF;
    item->session.n_messages = MESSAGES - HALF;
    item->session.last_seq = item->session.message_count = MESSAGES;
    item->is_last = true;
    OK(import(w, tenant, item, 1));
}

static int64_t rows_of(const char *tenant)
{
    return fixture_count("SELECT (SELECT count(*) FROM sessions WHERE tenant = '%s')"
                         " + (SELECT count(*) FROM messages WHERE tenant = '%s')",
                         tenant, tenant);
}

static void whole(void)
{
    struct fixture *w = fixture_open(false);
    struct session_import item = item_of("a", 0, MESSAGES);
    OK(import(w, "imp-1", &item, 1));
    CU_ASSERT_EQUAL(item.state, SESSION_IMPORT_STORED);
    OK(fixture_get(w, "imp-1", "a"));
    CU_ASSERT_EQUAL(w->s.n_messages, MESSAGES);
    CU_ASSERT_EQUAL(w->s.created_at, CREATED);
    CU_ASSERT_EQUAL(w->s.messages[MESSAGES - 1].created_at, CREATED);
    CU_ASSERT_EQUAL(w->s.message_count, MESSAGES);
    CU_ASSERT_TRUE(sv_eq(w->s.context, SV("{\"a\": 1.0}")) && sv_eq(w->s.language, SV("de")));
    OK(fixture_append_one(w, "imp-1", "a", false, "\"more\"", &nobody));
    CU_ASSERT_EQUAL(w->r.first_seq, MESSAGES + 1);
    expect_nothing(w, "imp-2", "a");
    fixture_close(w);
}

/* Fails with the mutants import-not-hidden and import-hidden-language. */
static void in_parts(void)
{
    struct session_list list;
    const struct session_list_query q = {.created_before = SESSION_ANY_TIME, .limit = 10};
    struct fixture *w = fixture_open(true);
    struct session_import item = item_of("a", 0, HALF);
    OK(import(w, "imp-part", &item, 1));
    CU_ASSERT_EQUAL(item.state, SESSION_IMPORT_PART);
    expect_nothing(w, "imp-part", "a");
    OK(session_list(w->sessions, fixture_request(w, "imp-part"), &q, &list));
    CU_ASSERT_EQUAL(list.n, 0);
    go_on(w, "imp-part", &item);
    CU_ASSERT_EQUAL(item.state, SESSION_IMPORT_STORED);
    OK(fixture_get(w, "imp-part", "a"));
    CU_ASSERT_EQUAL(w->s.n_messages, MESSAGES);
    CU_ASSERT_TRUE(sv_eq(w->s.language, SV("de")));
    CU_ASSERT_TRUE(w->s.expires_at > w->s.created_at);
    fixture_close(w);
}

/* No client sees what a killed import has left, and the sweeper deletes it. A repeated import does
 * not wait for that. */
static void abandoned(void)
{
    struct fixture *w = fixture_open(false);
    struct session_import first = item_of("a", 0, HALF), again = item_of("a", 0, MESSAGES);
    OK(import(w, "imp-left", &first, 1));
    OK(import(w, "imp-left", &again, 1));
    CU_ASSERT_EQUAL(again.state, SESSION_IMPORT_STORED);
    CU_ASSERT_EQUAL(rows_of("imp-left"), 1 + HALF + 1 + MESSAGES);
    fixture_exec("UPDATE sessions SET expires_at = now(), expiry_hour = 0 WHERE tenant = 'imp-left'"
                 " AND session_id < ' '");
    hosts_sweep(w);
    CU_ASSERT_EQUAL(rows_of("imp-left"), 1 + MESSAGES);
    OK(fixture_get(w, "imp-left", "a"));
    fixture_close(w);
}

/* Fails with the mutants import-after-erasure,
 * import-not-erased and import-not-erased-tenant. */
static void erased_half_way(void)
{
    struct fixture *w = fixture_open(false);
    for (int of_tenant = 0; of_tenant < 2; of_tenant++) {
        struct session_erasure done = {.sessions = 0};
        struct session_import item = item_of("a", 0, HALF);
        OK(import(w, "imp-erase", &item, 1));
        CU_ASSERT_EQUAL(rows_of("imp-erase"), 1 + HALF);
        struct request_ctx *ctx = fixture_request(w, "imp-erase");
        OK(of_tenant ? session_tenant_erase(w->sessions, ctx, &done)
                     : session_erase_user(w->sessions, ctx, SV("tom"), &done));
        CU_ASSERT_EQUAL(rows_of("imp-erase"), 0);
        go_on(w, "imp-erase", &item);
        CU_ASSERT_EQUAL(item.state, SESSION_IMPORT_REFUSED);
        CU_ASSERT_STRING_EQUAL(item.why, "it was erased while it was imported");
        CU_ASSERT_EQUAL(rows_of("imp-erase"), 0);
    }
    fixture_close(w);
}

/* Fails if a session with another created_at is THERE: tried. */
static void what_is_there(void)
{
    static const struct {
        int64_t created_at;
        enum session_import_state state;
    } rows[] = {{CREATED, SESSION_IMPORT_THERE},
                {0, SESSION_IMPORT_THERE},
                {CREATED + 1, SESSION_IMPORT_REFUSED}};
    struct fixture *w = fixture_open(false);
    struct session_import item = item_of("a", 0, 1);
    item.is_last = true;
    OK(import(w, "imp-there", &item, 1));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct session_import again[] = {item_of("a", 0, MESSAGES), item_of("b", 0, 0)};
        again[0].session.created_at = rows[i].created_at;
        again[1].is_last = true;
        OK(import(w, "imp-there", again, 2));
        CU_ASSERT_EQUAL(again[0].state, rows[i].state);
        OK(fixture_get(w, "imp-there", "a"));
        CU_ASSERT_EQUAL(w->s.n_messages, 1);
        OK(fixture_get(w, "imp-there", "b"));
        fixture_exec("DELETE FROM sessions WHERE tenant = 'imp-there' AND session_id = 'b'");
    }
    fixture_expire("a");
    struct session_import item2 = item_of("a", 0, MESSAGES);
    OK(import(w, "imp-there", &item2, 1));
    CU_ASSERT_EQUAL(item2.state, SESSION_IMPORT_STORED);
    OK(fixture_get(w, "imp-there", "a"));
    CU_ASSERT_EQUAL(w->s.n_messages, MESSAGES);
    fixture_close(w);
}

/* Two imports of one session at once: the one that ends first stores it. Fails if a created_at that
 * was made for one of them decides whether it is there: tried. */
static void two_at_once(void)
{
    struct fixture *w = fixture_open(false);
    for (int is_dated = 0; is_dated < 2; is_dated++) {
        const char *id = is_dated ? "dated" : "undated";
        struct session_import first = item_of(id, 0, HALF), second = item_of(id, 0, HALF);
        first.session.created_at = second.session.created_at = is_dated ? CREATED : 0;
        OK(import(w, "imp-two", &first, 1));
        OK(import(w, "imp-two", &second, 1));
        go_on(w, "imp-two", &second);
        CU_ASSERT_EQUAL(second.state, SESSION_IMPORT_STORED);
        go_on(w, "imp-two", &first);
        CU_ASSERT_EQUAL(first.state, SESSION_IMPORT_THERE);
        OK(fixture_get(w, "imp-two", id));
        CU_ASSERT_EQUAL(w->s.message_count, MESSAGES);
    }
    fixture_close(w);
}

/* If PostgreSQL refuses one session, the others are stored all the same. */
static void one_is_refused(void)
{
    static const struct {
        const char *metadata, *id, *why;
    } rows[] = {{"{}", "m", "two of its messages have the same message_id"},
                {"{\"n\": 1e400000}", NULL, "PostgreSQL refuses it: SQLSTATE 22003"}};
    struct fixture *w = fixture_open(false);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct session_message bad[2] = {message_of("user", "\"x\""), message_of("user", "\"y\"")};
        struct session_import items[] = {item_of("a", 0, MESSAGES), item_of("b", 0, 0),
                                         item_of("c", 0, MESSAGES)};
        bad[0].seq = 1;
        bad[1].seq = 2;
        bad[0].message_id = bad[1].message_id = sv_from(rows[i].id);
        items[1].session.messages = bad;
        items[1].session.n_messages = 2;
        items[1].session.metadata = sv_from(rows[i].metadata);
        items[1].is_last = true;
        fixture_exec("DELETE FROM sessions WHERE tenant = 'imp-bad'");
        OK(import(w, "imp-bad", items, 3));
        CU_ASSERT_EQUAL(items[0].state, SESSION_IMPORT_STORED);
        CU_ASSERT_EQUAL(items[1].state, SESSION_IMPORT_REFUSED);
        CU_ASSERT_STRING_EQUAL(items[1].why, rows[i].why);
        CU_ASSERT_EQUAL(items[2].state, SESSION_IMPORT_STORED);
        CU_ASSERT_EQUAL(rows_of("imp-bad"), 2 * (1 + MESSAGES));
    }
    fixture_close(w);
}

static void user_state(void)
{
    struct session got;
    bool stored = false;
    struct fixture *w = fixture_open(false);
    const struct session state = {.user_id = SV("tom"),
                                  .context = SV("{\"a\":1.0}"),
                                  .created_at = CREATED,
                                  .expires_at = SESSION_ANY_TIME};
    for (int i = 0; i < 2; i++) {
        OK(session_import_user_state(w->sessions, fixture_request(w, "imp-state"), &state,
                                     &stored));
        CU_ASSERT_EQUAL(stored, i == 0);
    }
    OK(session_user_state_get(w->sessions, fixture_request(w, "imp-state"), SV("tom"), 0, &got));
    CU_ASSERT_TRUE(sv_eq(got.context, SV("{\"a\":1.0}")) && got.created_at == CREATED);
    CU_ASSERT_EQUAL(
        session_user_state_get(w->sessions, fixture_request(w, "imp-state-2"), SV("tom"), 0, &got),
        ERR_NOT_FOUND);
    fixture_close(w);
}

SUITE(session_import_suite, "session/import", {"whole", whole}, {"in parts", in_parts},
      {"abandoned", abandoned}, {"erased half way", erased_half_way},
      {"what is there", what_is_there}, {"two at once", two_at_once},
      {"one is refused", one_is_refused}, {"user state", user_state})

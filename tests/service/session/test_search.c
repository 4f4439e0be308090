/* SPDX-License-Identifier: MIT */
/* Searches and counts: what is found, in which order, and what is never found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "fixture.h"
#include "parley/json/doc.h"

/* Each test has a tenant of its own: a search looks at all of one. */
static void make(struct fixture *w, const char *tenant, const char *id, const char *user,
                 const char *metadata, const char *context)
{
    struct session_draft d = draft_of(id, user);
    d.metadata = sv_from(metadata);
    d.context = sv_from(context);
    OK(fixture_create(w, tenant, &d, &nobody));
}

/* Expects these ids in this order, and the same number from a count. */
static void expect(struct fixture *w, const char *tenant, struct session_query q, const char *want)
{
    char got[512] = "";
    size_t len = 0;
    struct session_list list = {.n = 0};
    int64_t n = -1;
    OK(session_search(w->sessions, fixture_request(w, tenant), &q, &list));
    for (size_t i = 0; i < list.n && len < sizeof(got); i++)
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%.*s", i ? " " : "",
                                SV_ARG(list.sessions[i].session_id));
    CU_ASSERT_STRING_EQUAL(got, want);
    if (strcmp(got, want) != 0)
        fprintf(stderr, "%s, and not %s\n", got, want);
    const size_t found = list.n;
    OK(session_count(w->sessions, fixture_request(w, tenant), &q, &n));
    if (q.limit >= 1000 && q.offset == 0)
        CU_ASSERT_EQUAL(n, (int64_t)found);
}

static struct session_query all(void)
{
    return (struct session_query){.limit = 1000, .with_context = true, .with_metadata = true};
}

/* Fails if a filter is left out of the statement, for each of them: tried. */
static void filters(void)
{
    static const struct sv ids[] = {SV_INIT("c"), SV_INIT("a"), SV_INIT("absent"), SV_INIT("~1")};
    static const struct {
        const char *user, *metadata, *context, *want;
    } rows[] = {{NULL, NULL, NULL, "c b a"},
                {"u1", NULL, NULL, "c a"},
                {"u1", "{\"k\":1}", NULL, "a"},
                {NULL, "{\"k\":1}", NULL, "b a"},
                {NULL, "{\"deep\":{\"x\":[2]}}", NULL, "a"},
                {NULL, NULL, "{\"topic\":\"tea\"}", "b a"},
                {NULL, NULL, "{\"n\":1}", "c b"}};
    struct session_query q = all();
    struct fixture *w = fixture_open(true);
    make(w, "s1", "a", "u1", "{\"k\":1,\"deep\":{\"x\":[1,2]}}", "{\"topic\":\"tea\"}");
    make(w, "s1", "b", "u2", "{\"k\":1}", "{\"topic\":\"tea\",\"n\":1.0}");
    make(w, "s1", "c", "u1", "{\"k\":2}", "{\"n\":1}");
    make(w, "s2", "foreign", "u1", "{\"k\":1}", "{\"topic\":\"tea\"}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        q.user = sv_from(rows[i].user);
        q.metadata = sv_from(rows[i].metadata);
        q.context = sv_from(rows[i].context);
        expect(w, "s1", q, rows[i].want);
    }
    q = all();
    q.ids = ids;
    q.n_ids = ARRAY_LEN(ids);
    expect(w, "s1", q, "c a");
    q.n_ids = 0;
    expect(w, "s1", q, "");
    fixture_close(w);
}

/* Fails if the order is another one, or if ids are sorted by the rules of a language: tried. */
static void orders(void)
{
    struct session_query q = all();
    struct fixture *w = fixture_open(true);
    make(w, "s3", "b", NULL, "{}", "{}");
    make(w, "s3", "C", NULL, "{}", "{}");
    make(w, "s3", "a", NULL, "{}", "{}");
    OK(fixture_append_one(w, "s3", "b", false, "1", &nobody));
    static const char *const want[3][2] = {
        [SESSION_BY_CREATION] = {"a C b", "b C a"},
        [SESSION_BY_UPDATE] = {"b a C", "C a b"},
        [SESSION_BY_ID] = {"b a C", "C a b"},
    };
    for (int sort = 0; sort < 3; sort++) {
        for (int ascending = 0; ascending < 2; ascending++) {
            q.sort = (enum session_sort)sort;
            q.ascending = ascending;
            q.limit = 1000;
            q.offset = 0;
            expect(w, "s3", q, want[sort][ascending]);
            q.limit = 1;
            q.offset = 1;
            expect(w, "s3", q, sort == SESSION_BY_CREATION ? "C" : "a");
            q.offset = 3;
            expect(w, "s3", q, "");
        }
    }
    fixture_close(w);
}

/* Fails if expiry is no condition of either statement: tried. */
static void the_expired_and_the_deleted(void)
{
    struct session_erasure erased;
    struct fixture *w = fixture_open(true);
    make(w, "s4", "lives", "u1", "{}", "{}");
    make(w, "s4", "expired", "u1", "{}", "{}");
    make(w, "s4", "deleted", "u1", "{}", "{}");
    make(w, "s4", "erased", "u2", "{}", "{}");
    fixture_exec("UPDATE sessions SET expires_at = now() - interval '1 second'"
                 " WHERE tenant = 's4' AND session_id = 'expired'");
    OK(fixture_delete(w, "s4", "deleted", &nobody));
    OK(session_erase_user(w->sessions, fixture_request(w, "s4"), SV("u2"), &erased));
    expect(w, "s4", all(), "lives");
    fixture_close(w);
}

/* ---- contexts ---- */

/* jsonb accepts what the JSON validator accepts, at every limit: a stored value must not fail a
 * search. */
static void contexts_at_the_ends(void)
{
    static const char *const values[] = {
        "1.7976931348623157e308",
        "-1e308",
        "4.9e-324",
        "-2.2250738585072014e-308",
        "0e999",
        "-0",
        "18446744073709551615",
        "-9223372036854775808",
        "1E+2",
        "0.1e-10",
        "\"\\ud83d\\ude00\\u00e9\\u0001\\b\\\"\\/\"",
        "\"\xf0\x9f\x98\x80 \xed\x9f\xbf\"",
        "\"\x7f\"",
        "{\"\":{\"\":[]}}",
        "{\"\\u0001\":1,\"a\\/b\":2}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        "0e100000",
        "-0.00E+100000",
        "0e-324",
        "\"\\u0000\\\\\\u0000\"",
        "1e9999"};
    static const char *const leads[] = {"1", "11", ""};
    struct session_query q = all();
    char text[2048], zeros[900];
    struct fixture *w = fixture_open(true);
    memset(zeros, '0', sizeof(zeros) - 1);
    zeros[sizeof(zeros) - 1] = '\0';
    const size_t n = ARRAY_LEN(values);
    for (size_t i = 0; i < n + 3; i++) {
        const char *id = text_of("end-%zu", i);
        if (i < n)
            snprintf(text, sizeof(text), "{\"v\":%s,\"mark\":1}", values[i]);
        else
            snprintf(text, sizeof(text), "{\"v\":0.%s%s%s,\"mark\":1}", leads[i - n], zeros,
                     i == n + 2 ? "e-324" : "");
        struct json_doc doc;
        OK(json_doc_parse(fixture_request(w, "s5"), sv_from(text), json_everything, &doc));
        make(w, "s5", id, NULL, "{}", text);
    }
    struct session_list list = {.n = 0};
    int64_t count = 0;
    q.context = SV("{\"mark\":1}");
    OK(session_search(w->sessions, fixture_request(w, "s5"), &q, &list));
    CU_ASSERT_EQUAL(list.n, n + 3);
    OK(session_count(w->sessions, fixture_request(w, "s5"), &q, &count));
    CU_ASSERT_EQUAL(count, (int64_t)n + 3);
    q.context = SV("{\"v\":100}");
    expect(w, "s5", q, "end-8");
    fixture_close(w);
}

/* Fails if a zero may have any exponent: tried. */
static void exponents_at_the_ends(void)
{
    static const char *const numbers[] = {"0", "-0", "0.0", "-0.000", "1", "-9.9", "0.01"};
    struct sv exponents = SV("0 308 309 324 325 16383 16384 99999 100000 100001 9999999 1073741822"
                             " 1073741823 2147483647 2147483648 00000000000000000000001"
                             " 99999999999999999999");
    char sql[8192] = "SELECT count(v::jsonb) FROM unnest(ARRAY['0'", got[16] = "";
    int taken = 1, refused = 0;
    struct fixture *w = fixture_open(true);
    while (exponents.n > 0) {
        const struct sv exponent = sv_cut(&exponents, ' ');
        for (size_t i = 0; i < ARRAY_LEN(numbers) * 2; i++) {
            struct json_doc doc;
            const char *text =
                text_of("%se%c%.*s", numbers[i / 2], i % 2 ? '-' : '+', SV_ARG(exponent));
            struct request_ctx *ctx = fixture_request(w, "s7");
            OK(json_doc_parse(ctx, sv_from(text), json_everything, &doc));
            if (json_doc_check(ctx, &doc, doc.nodes, JSON_RULES_JSONB, "") != ERR_NONE) {
                refused++;
                continue;
            }
            taken++;
            snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql), ",'%s'", text);
        }
    }
    snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql), "]) v");
    CU_ASSERT_TRUE(taken > 50 && refused > 50);
    CU_ASSERT_TRUE(fixture_sql(sql, got, sizeof(got)));
    CU_ASSERT_EQUAL(atoi(got), taken);
    fixture_close(w);
}

/* A context that jsonb refuses for its numbers is not found; all others are. Fails if the search is
 * not repeated with parley_jsonb: tried. */
static void a_context_that_is_no_json(void)
{
    struct session_query q = all();
    int64_t count = 0;
    struct fixture *w = fixture_open(true);
    make(w, "s8", "good", NULL, "{}", "{\"mark\":1}");
    make(w, "s8", "bad", NULL, "{}", "{\"mark\":1}");
    fixture_exec("UPDATE sessions SET context = '{\"mark\":1,\"v\":0e2147483647}'"
                 " WHERE tenant = 's8' AND session_id = 'bad'");
    expect(w, "s8", q, "bad good");
    q.context = SV("{\"mark\":1}");
    for (int sort = SESSION_BY_CREATION; sort <= SESSION_BY_ID; sort++)
        for (int ascending = 0; ascending < 2; ascending++) {
            q.sort = (enum session_sort)sort;
            q.ascending = ascending;
            expect(w, "s8", q, "good");
        }
    OK(session_count(w->sessions, fixture_request(w, "s8"), &q, &count));
    CU_ASSERT_EQUAL(count, 1);
    /* The query itself is no JSON: */
    q.context = SV("{\"v\":0e2147483647}");
    CU_ASSERT_EQUAL(session_count(w->sessions, fixture_request(w, "s8"), &q, &count), ERR_INVALID);
    fixture_close(w);
}

/* An answer that would be too large is refused, since a part would look like the end. Fails if the
 * bytes are not added up, or if columns count that the query does not want: tried. */
static void too_large(void)
{
    static char large[1 << 20];
    struct session_query q = all();
    struct session_list list;
    struct fixture *w = fixture_open(true);
    memset(large, 'x', sizeof(large) - 1);
    memcpy(large, "{\"l\":\"", 6);
    memcpy(large + sizeof(large) - 3, "\"}", 2);
    for (int i = 0; i < 9; i++) {
        const char *id = text_of("large-%d", i);
        make(w, "s6", id, NULL, "{}", large);
    }
    CU_ASSERT_EQUAL(session_search(w->sessions, fixture_request(w, "s6"), &q, &list),
                    ERR_TOO_LARGE);
    CU_ASSERT_STRING_EQUAL(w->ctx.err.field, "limit");
    q.limit = 7;
    OK(session_search(w->sessions, fixture_request(w, "s6"), &q, &list));
    CU_ASSERT_TRUE(list.n == 7 && list.sessions[6].context.n == sizeof(large) - 1);
    q.limit = 1000;
    q.with_context = false;
    OK(session_search(w->sessions, fixture_request(w, "s6"), &q, &list));
    CU_ASSERT_TRUE(list.n == 9 && !list.sessions[0].context.p);
    CU_ASSERT_TRUE(sv_eq(list.sessions[0].metadata, SV("{}")));
    q.with_metadata = false;
    OK(session_search(w->sessions, fixture_request(w, "s6"), &q, &list));
    CU_ASSERT_TRUE(list.n == 9 && !list.sessions[0].metadata.p);
    fixture_close(w);
}

SUITE(session_search, "session/search", {"filters", filters}, {"orders", orders},
      {"the expired and the deleted", the_expired_and_the_deleted},
      {"contexts at the ends", contexts_at_the_ends},
      {"exponents at the ends", exponents_at_the_ends},
      {"a context that is no JSON", a_context_that_is_no_json}, {"too large", too_large})

/* SPDX-License-Identifier: MIT */
/* The list and the export of one user's sessions, while they come and go. */
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "hosts.h"

/* Sessions <prefix>0 … of a user, each with so many messages. */
static void make(struct fixture *w, const char *tenant, const char *user, const char *prefix, int n,
                 size_t messages)
{
    for (int i = 0; i < n; i++)
        fixture_make(w, tenant, text_of("%s%d", prefix, i), user, messages, "\"exported\"",
                     &nobody);
}

static void drop(struct fixture *w, const char *tenant, const char *id)
{
    OK(fixture_delete(w, tenant, id, &nobody));
}

/* The sessions of all pages. */
struct walk {
    char ids[200][64];
    int n, pages;
    struct session_position at;
    bool more;
};

static void next_page(struct fixture *w, const char *tenant, const char *user, size_t limit,
                      struct walk *walk)
{
    struct session_list list = {.n = 0};
    const struct session_list_query q = {.user = sv_from(user),
                                         .created_before = SESSION_ANY_TIME,
                                         .after = walk->pages > 0 ? &walk->at : NULL,
                                         .limit = limit};
    enum err e = session_list(w->sessions, fixture_request(w, tenant), &q, &list);
    OK(e);
    CU_ASSERT_TRUE(list.n <= limit && (list.n == limit || !list.has_more));
    for (size_t i = 0; e == ERR_NONE && i < list.n && walk->n < 200; i++) {
        const struct session *s = &list.sessions[i];
        snprintf(walk->ids[walk->n++], sizeof(walk->ids[0]), "%.*s", SV_ARG(s->session_id));
        CU_ASSERT_TRUE(sv_eq(s->user_id, sv_from(user)) && !s->context.p && s->n_messages == 0);
        walk->at = (struct session_position){s->created_at, s->generation};
    }
    walk->more = list.has_more;
    walk->pages++;
}

static struct walk walk_all(struct fixture *w, const char *tenant, const char *user, size_t limit)
{
    struct walk walk = {.n = 0};
    do
        next_page(w, tenant, user, limit, &walk);
    while (walk.more && walk.pages < 1000);
    return walk;
}

static bool has(const struct walk *walk, const char *id)
{
    int found = 0;
    for (int i = 0; i < walk->n; i++)
        found += strcmp(walk->ids[i], id) == 0;
    CU_ASSERT_TRUE(found <= 1);
    return found == 1;
}

/* Newest first, each once, at every size of page, with has_more false at the end; also if all were
 * created in the same microsecond. Fails if the position is the time alone: tried. */
static void pages(void)
{
    static const size_t limits[] = {1, 4, 10, 11, 12, 100};
    struct fixture *w = fixture_open(false);
    make(w, "u1", "anna", "u:p", 11, 1);
    make(w, "u1", "bert", "u:b", 3, 1);
    make(w, "u2", "anna", "u:p", 2, 1);
    for (int same = 0; same < 2; same++) {
        for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
            const struct walk walk = walk_all(w, "u1", "anna", limits[k]);
            CU_ASSERT_EQUAL(walk.n, 11);
            CU_ASSERT_EQUAL((size_t)walk.pages, (11 + limits[k] - 1) / limits[k]);
            for (int i = 0; i < walk.n; i++) {
                const char *id = text_of("u:p%d", 10 - i);
                CU_ASSERT_TRUE(same ? has(&walk, id) : strcmp(walk.ids[i], id) == 0);
            }
        }
        fixture_exec("UPDATE sessions SET created_at = '2026-01-01 00:00:00.123456Z'"
                     " WHERE session_id LIKE 'u:p%%'");
    }
    CU_ASSERT_EQUAL(walk_all(w, "u2", "anna", 5).n, 2);
    CU_ASSERT_EQUAL(walk_all(w, "u3", "anna", 5).n, 0);
    CU_ASSERT_EQUAL(walk_all(w, "u1", "Anna", 5).n, 0);
    fixture_close(w);
}

/* Sessions that stay come once, whatever happens to others between pages. */
static void changes_between_pages(void)
{
    struct walk walk = {.n = 0};
    struct fixture *w = fixture_open(false);
    make(w, "u1", "carl", "u:c", 20, 1);
    for (int i = 0; i == 0 || walk.more; i++) {
        next_page(w, "u1", "carl", 3, &walk);
        make(w, "u1", "carl", text_of("u:cnew%d-", i), 2, 0);
        drop(w, "u1",
             text_of("u:c%d", 19 - i * 3)); /* one that came before, also the position itself */
    }
    for (int i = 0; i < 20; i++)
        CU_ASSERT_TRUE(has(&walk, text_of("u:c%d", i)));
    fixture_expire("u:c2");
    walk = walk_all(w, "u1", "carl", 7);
    CU_ASSERT_FALSE(has(&walk, "u:c2"));
    CU_ASSERT_TRUE(has(&walk, "u:c3") && has(&walk, "u:cnew0-1"));
    fixture_close(w);
}

/* Measured in rows and not in time: a page of 10,000 sessions reads one row more than it returns.
 * Fails without the index, or if the position is a filter (created_at + '0' …): tried. */
static void a_page_reads_its_own_rows(void)
{
    enum { PAGES = 8, LIMIT = 10 };
    static const char stats[] =
        "SELECT %s FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid)"
        " WHERE t.relname = 'sessions' AND i.indexrelname = 'sessions_of_user'";
    char scans[512], rows[512], seq[512];
    snprintf(scans, sizeof(scans), stats, "i.idx_scan");
    snprintf(rows, sizeof(rows), stats, "i.idx_tup_read");
    snprintf(seq, sizeof(seq), stats, "coalesce(t.seq_tup_read, 0)");
    fixture_close(fixture_open(false)); /* made the schema */
    fixture_exec("INSERT INTO sessions (generation, tenant, session_id, user_id,"
                 " ttl_seconds, expires_at, expiry_hour, created_at)"
                 " SELECT i, 'u-many', 'u:m' || i,"
                 " 'dora', 60, now() + interval '1 day', 9999999,"
                 " now() - i * interval '1 second' FROM generate_series(1, 10000) i;"
                 " ANALYZE sessions; SELECT pg_stat_force_next_flush()");
    /* A connection reports its statistics at its end at the latest. */
    int64_t before = -1, now = 0;
    while (now != before) {
        before = now;
        service_sleep_ms(300);
        now = fixture_count("%s", scans) + fixture_count("%s", rows) + fixture_count("%s", seq);
    }
    const int64_t scans0 = fixture_count("%s", scans), rows0 = fixture_count("%s", rows),
                  seq0 = fixture_count("%s", seq);
    struct walk walk = {.pages = 0};
    struct fixture *w = fixture_open(false);
    for (int i = 0; i < PAGES; i++)
        next_page(w, "u-many", "dora", LIMIT, &walk);
    CU_ASSERT_EQUAL(walk.n, PAGES * LIMIT);
    fixture_close(w);
    EVENTUALLY(fixture_count("%s", scans) >= scans0 + PAGES);
    CU_ASSERT_EQUAL(fixture_count("%s", scans), scans0 + PAGES);
    CU_ASSERT_TRUE(fixture_count("%s", rows) - rows0 <= PAGES * (LIMIT + 1));
    CU_ASSERT_EQUAL(fixture_count("%s", seq), seq0);
    fixture_sql("DELETE FROM sessions WHERE tenant = 'u-many'", NULL, 0);
}

/* ---- export ---- */

struct export
{
    struct session_export x;
    struct walk sessions;
    int messages, parts;
    bool end;
};

static void export_step(struct fixture *w, const char *tenant, struct export *e)
{
    struct session_export_part part;
    enum err rc = session_export_next(w->sessions, fixture_request(w, tenant), &e->x, &part);
    OK(rc);
    if (rc != ERR_NONE || part.end) {
        e->end = true;
        return;
    }
    e->parts++;
    if (part.session && e->sessions.n < 200)
        snprintf(e->sessions.ids[e->sessions.n++], sizeof(e->sessions.ids[0]), "%.*s",
                 SV_ARG(part.session_id));
    for (size_t i = 0; i < part.n; i++)
        CU_ASSERT_TRUE(sv_eq(part.messages[i].content, SV("\"exported\"")));
    e->messages += (int)part.n;
}

static void export_rest(struct fixture *w, const char *tenant, struct export *e)
{
    while (!e->end && e->parts < 1000)
        export_step(w, tenant, e);
    CU_ASSERT_EQUAL(e->x.sessions, e->sessions.n);
    CU_ASSERT_EQUAL(e->x.messages, e->messages);
}

/* No tombstone comes, also when PostgreSQL's clock was set back to before its expiry: tried. */
static void whole_export(void)
{
    struct export e = {.x = {.user = SV("emil")}};
    struct fixture *w = fixture_open(true);
    make(w, "u1", "emil", "u:e", 5, 40);
    make(w, "u1", "emil", "u:e-none", 2, 0);
    make(w, "u1", "other", "u:eo", 2, 3);
    make(w, "u2", "emil", "u:e", 1, 3);
    drop(w, "u1", "u:e3");
    fixture_exec("UPDATE sessions SET expires_at = now() WHERE session_id = 'u:e4';"
                 "UPDATE sessions SET expires_at = now() + interval '1 hour' WHERE session_id LIKE"
                 " E'\\001%%u:e3'");
    export_rest(w, "u1", &e);
    CU_ASSERT_EQUAL(e.sessions.n, 5);
    CU_ASSERT_EQUAL(e.messages, 120);
    CU_ASSERT_TRUE(has(&e.sessions, "u:e0") && has(&e.sessions, "u:e-none1"));
    fixture_close(w);
}

/* Fails if an export goes on to sessions that were made after it began, or takes messages of a
 * session that was made again under the id: tried. */
static void export_under_writes(void)
{
    struct export e = {.x = {.user = SV("fred")}};
    struct fixture *w = fixture_open(true);
    make(w, "u1", "fred", "u:f", 5, 10);
    export_step(w, "u1", &e); /* session u:f0, its messages yet to come */
    OK(fixture_append_one(w, "u1", "u:f0", false, "\"late\"", &nobody));
    make(w, "u1", "fred", "u:f-late", 3, 1);
    drop(w, "u1", "u:f1");
    export_step(w, "u1", &e); /* messages of u:f0 */
    CU_ASSERT_EQUAL(e.messages, 10);
    export_step(w, "u1", &e); /* session u:f2 */
    drop(w, "u1", "u:f2");
    fixture_make(w, "u1", "u:f2", "fred", 1, "\"late\"", &nobody);
    const struct session_patch moved = {.has_user_id = true, .user_id = SV("gerd")};
    OK(fixture_patch(w, "u1", "u:f3", &moved, &nobody));
    export_rest(w, "u1", &e);
    CU_ASSERT_EQUAL(e.sessions.n, 3);
    CU_ASSERT_TRUE(has(&e.sessions, "u:f0") && has(&e.sessions, "u:f2") &&
                   has(&e.sessions, "u:f4"));
    CU_ASSERT_EQUAL(e.messages, 20); /* of u:f0 and u:f4 */
    fixture_close(w);
}

SUITE(session_users, "session/users", {"pages", pages},
      {"changes between pages", changes_between_pages},
      {"a page reads its own rows", a_page_reads_its_own_rows}, {"whole export", whole_export},
      {"export under writes", export_under_writes})

/* SPDX-License-Identifier: MIT */
/* Copies of sessions: equal in all but id and times, and of one snapshot. */
#include <stdio.h>

#include "../../../src/session/sql/sql_fragments.h"
#include "../../unit/suite.h"
#include "hosts.h"
#include "threads.h"

/* Of every type, with and without an id; the last has one that was made for another session. */
static void make(struct fixture *w, const char *id, const char *brought)
{
    struct session_message m[4] = {message_of("user", "1"), message_of("user", "[2.0]"),
                                   message_of("user", "3"), message_of("user", "4")};
    struct session_draft d = draft_with(id, "u1", m, 4);
    m[0].message_id = SV("a");
    m[1].metadata = SV("{\"k\": 1}");
    m[2].type = SV("note");
    m[2].role = m[2].content = SV_NONE;
    m[2].extra = SV("{\"x\": 1.0}");
    m[3].message_id = sv_from(brought);
    d.language = SV("de");
    d.context = SV("{\"topic\": 1.0}");
    d.metadata = SV("{\"m\": 1}");
    d.ttl_seconds = 100;
    d.sliding = false;
    OK(fixture_create(w, "t1", &d, &nobody));
}

static void expect_same(const struct session *a, const struct session *b)
{
    CU_ASSERT_TRUE(a->generation != b->generation && !sv_eq(a->session_id, b->session_id));
    CU_ASSERT_TRUE(same_content(a, b));
}

/* Fails if made ids are not stored, if a column is left out, or if a deleted number is given again:
 * tried. */
static void all_but_the_name(void)
{
    struct session first = {.version = 0}, read = {.version = 0};
    struct fixture *w = fixture_open(true);
    const struct session *second = &w->s;
    struct fixture *c = fixture_share(w);
    make(w, "cp:all", "00000100-0000-8000-8000-000000000007");
    OK(fixture_delete_message(w, "t1", "cp:all", "4", &nobody));
    OK(session_get(w->sessions, fixture_request(c, "t1"), SV("cp:all"), SV_NONE, 20, &first));
    OK(fixture_copy(w, "t1", "cp:all", &nobody));
    expect_same(&first, second);
    CU_ASSERT_TRUE(second->version == 1 && second->state_version == 1);
    CU_ASSERT_EQUAL(second->expires_at - second->created_at, INT64_C(100000000));
    CU_ASSERT_TRUE(second->created_at > first.created_at);
    CU_ASSERT_TRUE(w->r.created && !w->r.replayed && sv_eq(w->r.session_id, second->session_id) &&
                   w->r.generation == second->generation && w->r.message_count == 3);
    /* What is read is what was answered; the next message has a number and an id of its own. */
    const char *id = text_of("%.*s", SV_ARG(second->session_id));
    struct session_message m = message_of("user", "5");
    const struct session_append a = {&m, 1, false};
    OK(fixture_append(w, "t1", id, &a, &nobody));
    CU_ASSERT_EQUAL(w->r.first_seq, 5);
    OK(fixture_get(w, "t1", id));
    CU_ASSERT_TRUE(w->s.n_messages == 4 &&
                   !sv_eq(w->s.messages[2].message_id, w->s.messages[3].message_id));
    OK(fixture_copy(w, "t1", id, &nobody));
    OK(session_get(w->sessions, fixture_request(c, "t1"), sv_from(id), SV_NONE, 20, &read));
    expect_same(&read, second);
    fixture_close(c);
    fixture_close(w);
}

/* PostgreSQL makes the ids that uuid_v8_pack makes. */
static void made_ids(void)
{
    static const struct {
        const char *generation, *seq;
    } t[] = {{"1", "1"},
             {"65535", "288230376151711743"},
             {"65536", "15"},
             {"81985529216486895", "81985529216486895"},
             {"9223372036854775807", "288230376151711743"}};
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char want[UUID_LEN + 1], got[64], sql[512];
        uint64_t generation = 0, seq = 0;
        CU_ASSERT_TRUE(sv_to_u64(sv_from(t[i].generation), &generation) &&
                       sv_to_u64(sv_from(t[i].seq), &seq));
        uuid_v8_pack(generation, seq, want);
        snprintf(sql, sizeof(sql),
                 "SELECT" SQL_MADE_ID("g", "s") "FROM (SELECT %s::bigint AS g, %s::bigint AS s) n",
                 t[i].generation, t[i].seq);
        CU_ASSERT_TRUE(fixture_sql(sql, got, sizeof(got)));
        CU_ASSERT_STRING_EQUAL(got, want);
    }
}

static void conditions(void)
{
    static const struct session_precondition u2 = {.user = SV_INIT("u2")},
                                             u1 = {.user = SV_INIT("u1")};
    struct fixture *w = fixture_open(true);
    make(w, "cp:conditions", "x");
    struct sv now[HOSTS_TAGS];
    struct arena *tags = arena_create(1 << 16);
    hosts_tags(tags, &w->s, now);
    const struct sv old = SV("1.v1.0");
    const struct session_precondition stale = {.if_match = &old, .n_if_match = 1},
                                      holds = {.if_match = now, .n_if_match = 1};
    const int64_t before = fixture_rows("sessions");
    CU_ASSERT_EQUAL(fixture_copy(w, "t1", "cp:conditions", &stale), ERR_PRECONDITION);
    CU_ASSERT_EQUAL(fixture_copy(w, "t1", "cp:conditions", &u2), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_copy(w, "t1", "cp:absent", &nobody), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_copy(w, "t2", "cp:conditions", &nobody), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_rows("sessions"), before);
    OK(fixture_copy(w, "t1", "cp:conditions", &holds));
    OK(fixture_copy(w, "t1", "cp:conditions", &u1));
    fixture_expire("cp:conditions");
    CU_ASSERT_EQUAL(fixture_copy(w, "t1", "cp:conditions", &nobody), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_rows("sessions"), before + 2);
    arena_destroy(tags);
    fixture_close(w);
}

/* ---- at once ---- */

static void work_keyed(struct threads *threads, struct fixture *c, int me)
{
    const struct session_precondition precondition = keyed(threads->id);
    enum err e;
    UNTIL_DONE(e, fixture_copy(c, "t1", threads->id, &precondition));
    const size_t n = c->r.replayed ? 0 : 4;
    threads->failed += e != ERR_NONE || c->s.message_count != 4 || c->s.n_messages != n ||
                       c->s.last_seq != 4 || !sv_eq(c->s.context, SV("{\"topic\": 1.0}"));
    threads->created += e == ERR_NONE && !c->r.replayed;
    c->r.generation = c->s.generation;
    (void)me;
}

/* Under one key there is one copy. Fails if the key is not stored with it: tried. */
static void one_key(void)
{
    struct fixture *w = fixture_open(true);
    make(w, "cp:key", "x");
    const int64_t before = fixture_rows("sessions");
    struct threads threads = threads_at(w, "cp:key");
    threads_run(&threads, 16, work_keyed);
    CU_ASSERT_EQUAL(threads.failed, 0);
    CU_ASSERT_EQUAL(threads.created, 1);
    for (int i = 1; i < 16; i++)
        CU_ASSERT_EQUAL(threads.receipts[i].generation, threads.receipts[0].generation);
    CU_ASSERT_EQUAL(fixture_rows("sessions"), before + 1);
    fixture_close(w);
}

/* Half of them append two messages at a time, the others copy. */
static void work_both(struct threads *threads, struct fixture *c, int me)
{
    for (int i = 0; i < 20; i++) {
        if (me % 2) {
            threads->failed += threads_append(threads, c, 2, false, &nobody) != ERR_NONE;
            continue;
        }
        enum err e;
        UNTIL_DONE(e, fixture_copy(c, "t1", threads->id, &nobody));
        const struct session *s = &c->s;
        const int64_t n = s->message_count < SESSION_NEWEST ? s->message_count : SESSION_NEWEST;
        threads->failed += e != ERR_NONE || s->last_seq % 2 || s->last_seq != s->message_count ||
                           s->n_messages != (size_t)n ||
                           (s->n_messages && s->messages[s->n_messages - 1].seq != s->last_seq);
    }
}

/* Every copy is of one snapshot. Fails if the session is read by a statement of its own: tried. */
static void of_one_moment(void)
{
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "cp:moment", NULL, 0, "", &nobody);
    struct threads threads = threads_at(w, "cp:moment");
    threads_run(&threads, 8, work_both);
    CU_ASSERT_EQUAL(threads.failed, 0);
    fixture_close(w);
}

SUITE(session_copy, "session/copy", {"all but the name", all_but_the_name}, {"made ids", made_ids},
      {"conditions", conditions}, {"one key", one_key}, {"of one moment", of_one_moment})

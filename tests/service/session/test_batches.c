/* SPDX-License-Identifier: MIT */
/* Writes that meet in a batch: each is answered and stored as if it had come alone. */
#include <stdio.h>
#include <string.h>

#include "../../../src/db/hosts_internal.h"
#include "../../unit/suite.h"
#include "batches.h"

enum { WRITERS = 8 };

/* ---- several appends to one session ---- */

static size_t messages_of(int me)
{
    return (size_t)me % 3 + 1;
}

/* The messages of a writer have its number and their place as content. */
static void append_in_order(struct batches *b, struct fixture *c, int me)
{
    struct session_message m[3];
    const struct session_append a = {m, messages_of(me), false};
    for (size_t i = 0; i < a.n_messages; i++)
        m[i] = message_of("user", text_of("\"%d-%zu\"", me, i));
    service_sleep_ms(3 * me);
    batches_wrote(b, c, me, fixture_append(c, "t1", "b:order", &a, &nobody));
    /* The whole batch is stored before any of its members is answered. */
    if (b->err[me] == ERR_NONE && c->r.superseded) {
        const int64_t own = c->r.version;
        const struct session_receipt r = c->r;
        OK(fixture_get(c, "t1", "b:order"));
        b->threads.failed += c->s.version <= own;
        c->r = r;
    }
}

static void expect_stored(struct fixture *w, const struct session_receipt *r, int me)
{
    for (size_t i = 0; i < messages_of(me); i++) {
        OK(fixture_message(w, "t1", "b:order", NULL,
                           text_of("%lld", (long long)r->first_seq + (long long)i)));
        CU_ASSERT_TRUE(sv_eq(w->m.content, sv_from(text_of("\"%d-%zu\"", me, i))));
    }
}

/* The size of the batch if the numbers are in the order of arrival. */
static uint32_t meet_in_order(struct batches *b)
{
    struct fixture *w = b->threads.w;
    fixture_exec("DELETE FROM sessions WHERE session_id = 'b:order'");
    fixture_make(w, "t1", "b:order", NULL, 0, "", &nobody);
    OK(fixture_get(w, "t1", "b:order"));
    const uint32_t size = batches_meet(b, WRITERS, append_in_order);
    int64_t version = 1, count = 0, last = 0;
    bool ordered = true;
    for (int me = 0; me < WRITERS; me++) {
        const struct session_receipt *r = &b->threads.receipts[me];
        const int64_t n = (int64_t)messages_of(me);
        CU_ASSERT_EQUAL(b->err[me], ERR_NONE);
        CU_ASSERT_EQUAL(r->last_seq - r->first_seq + 1, n);
        CU_ASSERT_EQUAL(r->message_count, r->last_seq);
        expect_stored(w, r, me);
        ordered = ordered && r->version == ++version && r->message_count == (count += n);
        last = r->last_seq > last ? r->last_seq : last;
    }
    for (int me = 0; size == WRITERS && me < WRITERS; me++) {
        const struct session_receipt *r = &b->threads.receipts[me];
        CU_ASSERT_EQUAL(r->superseded, r->last_seq != last);
    }
    return ordered ? size : 0;
}

/* Fails if the members of a session are numbered in another order, or have the count after the
 * batch: tests/mutants/batch-not-in-order, batch-count-of-the-last. */
static void consecutive_numbers_in_the_order_of_arrival(void)
{
    struct batches *b = batches_open(false);
    BATCHES_UNTIL(WRITERS, meet_in_order(b));
    batches_close(b);
}

/* Fails if the receipt of a superseded member is not marked, which keeps its session out of memory:
 * tests/mutants/batch-superseded-is-current. */
static void memory_has_the_last_one(void)
{
    struct db_hosts_shared *alone = db_hosts_shared_map(true, "test");
    CU_ASSERT_PTR_NOT_NULL_FATAL(alone);
    atomic_store(&alone->write_from_us, 1);
    for (int mode_one = 0; mode_one < 2; mode_one++) {
        struct batches *b = batches_open(true);
        atomic_store(&alone->alone_until_us, mode_one ? INT64_MAX : 0);
        b->threads.w->sessions->settings.hosts = alone;
        for (int round = 0; round < 20; round++)
            (void)meet_in_order(b);
        CU_ASSERT_TRUE(batches_count(&b->slot.appends) > 0);
        batches_close(b);
    }
}

/* ---- keys ---- */

/* Writers 0 and 1 have one key. */
static void append_with_key(struct batches *b, struct fixture *c, int me)
{
    const int pair = me < 2 ? 0 : me;
    const struct session_precondition p = keyed(text_of("%s-%d", b->threads.id, pair));
    struct session_message m[2] = {message_of("user", "\"x\""), message_of("user", "\"y\"")};
    const struct session_append a = {m, (size_t)pair % 2 + 1, false};
    batches_wrote(b, c, me, fixture_append(c, "t1", text_of("b:key-%d", pair), &a, &p));
}

static int64_t stored(void)
{
    return fixture_rows("messages m JOIN sessions s USING (tenant, generation)"
                        " WHERE s.session_id LIKE 'b:key-%%'");
}

/* Two meetings: the second one repeats all of the first. */
static uint32_t meet_with_keys(struct batches *b, int round)
{
    struct session_receipt first[WRITERS];
    char id[32];
    const int64_t before = stored();
    snprintf(id, sizeof(id), "k%d", round);
    b->threads.id = id;
    const uint32_t size = batches_meet(b, WRITERS, append_with_key);
    memcpy(first, b->threads.receipts, sizeof(first));
    CU_ASSERT_EQUAL(first[0].replayed + first[1].replayed, 1);
    CU_ASSERT_TRUE(batches_same_receipt(&first[0], &first[1]));
    CU_ASSERT_EQUAL(stored() - before, 10);
    (void)batches_meet(b, WRITERS, append_with_key);
    for (int me = 0; me < WRITERS; me++) {
        CU_ASSERT_EQUAL(b->err[me], ERR_NONE);
        CU_ASSERT_TRUE(b->threads.receipts[me].replayed);
        CU_ASSERT_TRUE(batches_same_receipt(&first[me], &b->threads.receipts[me]));
    }
    CU_ASSERT_EQUAL(stored() - before, 10);
    return size;
}

/* Fails if a batch may have two members with one key: tests/mutants/batch-one-key-twice. */
static void one_key_has_one_effect(void)
{
    struct batches *b = batches_open(true);
    const int before = batches_logged("duplicate key value");
    int round = 0;
    for (int me = 0; me < WRITERS; me++)
        if (me != 1)
            fixture_make(b->threads.w, "t1", text_of("b:key-%d", me), NULL, 2, "\"z\"", &nobody);
    BATCHES_UNTIL(WRITERS - 1, meet_with_keys(b, round++));
    CU_ASSERT_EQUAL(batches_logged("duplicate key value"), before);
    CU_ASSERT_EQUAL(b->slot.appends.apart[DB_APART_FAILED - 1], 0);
    batches_close(b);
}

/* Writer 0 repeats the write that is under way. */
static void repeat_the_first(struct batches *b, struct fixture *c, int me)
{
    const struct session_precondition p = keyed(b->key);
    const char *id = me == 0 ? "b:gate" : text_of("b:retry-%d", me);
    enum err e;
    UNTIL_DONE(e, fixture_append_one(c, "t1", id, false, "\"gate\"", me == 0 ? &p : &nobody));
    batches_wrote(b, c, me, e);
}

static uint32_t meet_the_first(struct batches *b)
{
    const int64_t before = fixture_rows("messages WHERE content = '\"gate\"'");
    const uint32_t size = batches_meet(b, WRITERS, repeat_the_first);
    const struct session_receipt *r = b->threads.receipts;
    for (int me = 0; me < WRITERS; me++)
        CU_ASSERT_EQUAL(b->err[me], ERR_NONE);
    CU_ASSERT_EQUAL(r[0].replayed + r[WRITERS].replayed, 1);
    CU_ASSERT_TRUE(batches_same_receipt(&r[0], &r[WRITERS]));
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE content = '\"gate\"'"), before + WRITERS);
    return size;
}

/* Fails if a member that a batch skipped is not sent alone:
 * tests/mutants/batch-skipped-is-answered. */
static void a_retry_meets_its_first_attempt(void)
{
    struct batches *b = batches_open(true);
    b->n_late = 1;
    for (int me = 1; me < WRITERS; me++)
        fixture_make(b->threads.w, "t1", text_of("b:retry-%d", me), NULL, 0, "", &nobody);
    BATCHES_UNTIL(WRITERS, meet_the_first(b));
    batches_close(b);
}

/* ---- every write with a key ---- */

static enum err write_append(struct fixture *w, const struct session_precondition *p)
{
    return fixture_append_one(w, "t1", "b:each", false, "1", p);
}

static enum err write_append_or_make(struct fixture *w, const struct session_precondition *p)
{
    return fixture_append_one(w, "t1", "b:made", true, "1", p);
}

static enum err write_create(struct fixture *w, const struct session_precondition *p)
{
    const struct session_draft d = draft_of(NULL, NULL);
    return fixture_create(w, "t1", &d, p);
}

static enum err write_create_by_id(struct fixture *w, const struct session_precondition *p)
{
    const struct session_draft d = draft_of("b:id", NULL);
    return fixture_create(w, "t1", &d, p);
}

static enum err write_ensure(struct fixture *w, const struct session_precondition *p)
{
    const struct session_draft d = draft_of("b:put", NULL);
    return fixture_ensure(w, "t1", &d, p);
}

static enum err write_patch(struct fixture *w, const struct session_precondition *p)
{
    const struct session_patch patch = {.context = SV("{\"a\":1}")};
    return fixture_patch(w, "t1", "b:each", &patch, p);
}

static enum err write_copy(struct fixture *w, const struct session_precondition *p)
{
    return fixture_copy(w, "t1", "b:each", p);
}

static enum err write_delete_message(struct fixture *w, const struct session_precondition *p)
{
    return fixture_delete_message(w, "t1", "b:each", "1", p);
}

static enum err write_delete(struct fixture *w, const struct session_precondition *p)
{
    return fixture_delete(w, "t1", "b:each", p);
}

/* A known key is no ERROR in PostgreSQL's log. It makes no session, not even where that of the
 * first attempt is gone. Fails if the statements insert the key without SQL_KEY_IS_NEW:
 * tests/mutants/key-known-is-an-error. */
static void a_known_key_is_no_error(void)
{
    static const struct {
        enum err (*write)(struct fixture *, const struct session_precondition *);
        const char *id; /* of the session that it makes, which is deleted before the repeat */
    } rows[] = {
        {write_append, NULL},         {write_append_or_make, "b:made"}, {write_create, NULL},
        {write_create_by_id, "b:id"}, {write_ensure, "b:put"},          {write_patch, NULL},
        {write_copy, NULL},           {write_delete_message, NULL},     {write_delete, NULL}};
    struct fixture *w = fixture_open(true);
    fixture_make(w, "t1", "b:each", NULL, 1, "\"x\"", &nobody);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct session_precondition p = keyed(text_of("each-%zu", i));
        OK(rows[i].write(w, &p));
        const struct session_receipt first = w->r;
        CU_ASSERT_FALSE(first.replayed);
        if (rows[i].id)
            OK(fixture_delete(w, "t1", rows[i].id, &nobody));
        const int64_t sessions = fixture_rows("sessions");
        const int errors = batches_logged("ERROR:");
        OK(rows[i].write(w, &p));
        CU_ASSERT_TRUE(w->r.replayed && batches_same_receipt(&first, &w->r));
        CU_ASSERT_EQUAL(fixture_rows("sessions"), sessions);
        CU_ASSERT_EQUAL(batches_logged("ERROR:"), errors);
    }
    fixture_close(w);
}

SUITE(session_batches, "session/batches",
      {"consecutive numbers in the order of arrival", consecutive_numbers_in_the_order_of_arrival},
      {"memory has the last one", memory_has_the_last_one},
      {"one key has one effect", one_key_has_one_effect},
      {"a retry meets its first attempt", a_retry_meets_its_first_attempt},
      {"a known key is no ERROR", a_known_key_is_no_error})

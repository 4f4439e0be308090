/* SPDX-License-Identifier: MIT */
/* Many threads write through two workers' batchers. What was acknowledged is stored, once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "batches.h"

enum { APPENDERS = 64, SESSIONS_MAX = 1000 };

struct load {
    struct threads threads; /* the first member */
    struct fixture *other;  /* of another worker; odd threads use it */
    int sessions, rounds;
    _Atomic int64_t sum;                  /* of all receipts, see checksum */
    _Atomic int unexpected, stored, made; /* errors; messages acknowledged; sessions made */
};

/* The whole with FAULTS=long, as in tests/faults; else a tenth. */
static int rounds_of(int whole)
{
    const char *form = getenv("FAULTS");
    return form && strcmp(form, "long") == 0 ? whole : whole / 10;
}

static struct load *load_of(struct threads *threads)
{
    return (struct load *)(void *)threads;
}

static void load_run(struct load *l, struct batches *b, int n,
                     void (*work)(struct threads *threads, struct fixture *c, int me))
{
    l->threads = threads_at(b->threads.w, NULL);
    threads_run(&l->threads, n, work);
}

/* ---- numbers ---- */

/* Of the sums over all messages, that of the receipts and that of the rows are equal. A number that
 * belongs to another message makes them differ. */
static int64_t checksum(int64_t content, int64_t seq, int64_t session)
{
    return content * seq * (session + 1);
}

static void append_numbered(struct threads *threads, struct fixture *c, int me)
{
    struct load *l = load_of(threads);
    int64_t last[SESSIONS_MAX] = {0};
    for (int i = 0; i < l->rounds; i++) {
        const int at = (me * 17 + i * 7) % l->sessions, content = me * l->rounds + i + 1;
        const struct session_precondition p =
            i % 4 == 0 ? keyed(text_of("n%d-%d", l->sessions, content)) : nobody;
        const struct session_receipt *r = &c->r;
        enum err e;
        UNTIL_DONE(e, fixture_append_one(c, "t1", text_of("n%d-%d", l->sessions, at), false,
                                         text_of("%d", content), &p));
        l->unexpected += e != ERR_NONE || r->replayed || r->first_seq != r->last_seq ||
                         r->version != r->last_seq + 1 || r->message_count != r->last_seq ||
                         r->last_seq <= last[at];
        last[at] = r->last_seq;
        l->sum += checksum(content, r->last_seq, at);
    }
}

static void expect_numbers(int sessions, int64_t total, int64_t sum)
{
    const char *of = text_of("sessions s WHERE s.session_id LIKE 'n%d-%%'", sessions);
    const char *messages = text_of("messages m JOIN sessions s USING (tenant, generation)"
                                   " WHERE s.session_id LIKE 'n%d-%%'",
                                   sessions);
    CU_ASSERT_EQUAL(fixture_count("SELECT count(DISTINCT m.content) FROM %s", messages), total);
    CU_ASSERT_EQUAL(fixture_rows("%s", messages), total);
    CU_ASSERT_EQUAL(fixture_rows("%s AND (last_seq <> message_count OR version <> last_seq + 1"
                                 " OR last_seq <> (SELECT coalesce(max(seq), 0) FROM messages m"
                                 " WHERE m.tenant = s.tenant AND m.generation = s.generation))",
                                 of),
                    0);
    CU_ASSERT_EQUAL(fixture_count("SELECT sum(m.content::bigint * m.seq * (1 +"
                                  " split_part(s.session_id, '-', 2)::bigint)) FROM %s",
                                  messages),
                    sum);
}

/* 64 appenders, 100,000 appends with FAULTS=long, a fourth of them with a key. Fails if a member
 * gets the count of the last member of its session: tests/mutants/batch-count-of-the-last. */
static void numbers(void)
{
    static const struct {
        int sessions, rounds;
    } rows[] = {{1, 500}, {10, 500}, {1000, 563}};
    struct batches *b = batches_open(true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct load l = {.sessions = rows[i].sessions, .rounds = rounds_of(rows[i].rounds)};
        const uint64_t batches = batches_count(&b->slot.appends);
        fixture_exec("INSERT INTO sessions (generation, tenant, session_id, ttl_seconds,"
                     " expires_at, expiry_hour) SELECT %d000 + i, 't1', 'n%d-' || i, 3600,"
                     " now() + interval '1 hour', 999999 FROM generate_series(0, %d) i",
                     l.sessions, l.sessions, l.sessions - 1);
        load_run(&l, b, APPENDERS, append_numbered);
        CU_ASSERT_EQUAL(l.unexpected, 0);
        expect_numbers(l.sessions, (int64_t)APPENDERS * l.rounds, l.sum);
        CU_ASSERT_TRUE(batches_count(&b->slot.appends) > batches);
    }
    batches_close(b);
}

/* ---- all writes at once ---- */

enum { HOT = 4 };

static enum err write_any(struct fixture *c, const char *id, int me, int i)
{
    /* Few keys, which all threads use at about the same time. */
    const struct session_precondition key = keyed(text_of("m%d-%d", i / 4, (me + i) % 8));
    const struct sv tag = SV("\"1.v1.0\"");
    const struct session_precondition match = {.if_match = &tag, .n_if_match = 1};
    const struct session_patch patch = {.context = SV("{\"a\":1}")};
    const struct session_draft d = draft_of(NULL, "m-user");
    struct session_erasure erasure;
    bool more;
    switch ((me * 7 + i) % 32) {
    case 0:
        return fixture_patch(c, "t3", id, &patch, &key);
    case 1:
        return fixture_append_one(c, "t3", id, false, "1", &match);
    case 2:
        return fixture_delete(c, "t3", id, &nobody);
    case 3:
        return session_erase_user(c->sessions, fixture_request(c, "t3"), SV("m-user"), &erasure);
    case 4:
        return sql_sweep(c->sessions, fixture_request(c, ""), &more);
    case 5:
        return fixture_delete_message(c, "t3", id, "1", &nobody);
    case 6:
    case 7:
    case 8:
    case 9:
        return fixture_append_one(c, "t3", id, true, "1", &nobody);
    case 10:
    case 11:
    case 12:
    case 13:
        return fixture_create(c, "t3", &d, &key);
    default:
        return fixture_append_one(c, "t3", id, false, "1", (me + i) % 2 ? &key : &nobody);
    }
}

static void write_all_kinds(struct threads *threads, struct fixture *c, int me)
{
    struct load *l = load_of(threads);
    struct sessions *const own = c->sessions;
    if (me % 2)
        c->sessions = l->other->sessions;
    for (int i = 0; i < l->rounds; i++) {
        const enum err e = write_any(c, text_of("m-%d", (me + i / 3) % HOT), me, i);
        l->unexpected += e != ERR_NONE && e != ERR_NOT_FOUND && e != ERR_PRECONDITION &&
                         e != ERR_KEY_REUSED && e != ERR_CONFLICT && !threads_try_again(e);
        if (me == 0 && i % 4 == 0) /* old, so that it is swept or used again */
            fixture_exec("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'"
                         " WHERE tenant = 't3' AND key = 'm%d-%d'",
                         i / 4, i % 8);
    }
    c->sessions = own;
}

enum { KEYS = 16 };

static struct held_transaction *hold_key(const char *key)
{
    return transaction_hold(
        text_of("BEGIN; INSERT INTO idempotency_keys SELECT 't3', '%s', 'f', now(), 201, 'x', 1, 1,"
                " 1, 1, 1, 1, now(), now(), now()",
                key));
}

/* Each key is used by one thread of each worker at the same time. One more thread holds a key for a
 * while, so that the batches of both workers wait with some keys inserted. */
static void create_with_equal_keys(struct threads *threads, struct fixture *c, int me)
{
    struct load *l = load_of(threads);
    struct sessions *const own = c->sessions;
    const struct session_draft d = draft_of(NULL, NULL);
    if (me % 2)
        c->sessions = l->other->sessions;
    for (int i = 0; i < l->rounds; i++) {
        const char *key = text_of("equal-key-%d-%d", i, me < 2 * KEYS ? me / 2 : KEYS / 2);
        const struct session_precondition p = keyed(key);
        struct held_transaction *held = me == 2 * KEYS ? hold_key(key) : NULL;
        pthread_barrier_wait(&threads->start);
        enum err e = ERR_NONE;
        if (held) {
            service_sleep_ms(8);
            transaction_release(held);
        } else {
            UNTIL_DONE(e, fixture_create(c, "t3", &d, &p));
            l->made += !c->r.replayed;
        }
        l->unexpected += e != ERR_NONE;
    }
    c->sessions = own;
}

/* PostgreSQL looks for a deadlock after 5 ms, before a batch gives up a key. Fails if a batch
 * inserts its keys in another order than that of the keys, or if an edit does not lock the session
 * that it found: tests/mutants/batch-keys-unsorted, edit-without-lock. */
static void no_deadlock(void)
{
    fixture_close(fixture_open(false)); /* makes the database */
    fixture_exec("ALTER DATABASE parley_sessions SET deadlock_timeout = '5ms'");
    struct batches *b = batches_open(true);
    struct batches *other = batches_open(true);
    struct load l = {.other = other->threads.w, .rounds = rounds_of(1000)};
    struct load keys = {.other = other->threads.w, .rounds = rounds_of(200)};
    const int before = batches_logged("deadlock detected");
    load_run(&l, b, 32, write_all_kinds);
    CU_ASSERT_EQUAL(l.unexpected, 0);
    load_run(&keys, b, 2 * KEYS + 1, create_with_equal_keys);
    CU_ASSERT_TRUE(keys.unexpected == 0 && keys.made == KEYS * keys.rounds);
    CU_ASSERT_EQUAL(batches_logged("deadlock detected"), before);
    CU_ASSERT_EQUAL(fixture_rows("sessions s WHERE tenant = 't3' AND (last_seq < message_count OR"
                                 " (session_id NOT LIKE E'\\001%%' AND message_count <>"
                                 " (SELECT count(*) FROM messages m WHERE m.tenant = s.tenant"
                                 " AND m.generation = s.generation)))"),
                    0);
    CU_ASSERT_TRUE(batches_count(&b->slot.appends) > 0 && batches_count(&b->slot.creates) > 0);
    CU_ASSERT_TRUE(batches_count(&other->slot.appends) > 0);
    batches_close(other);
    batches_close(b);
    fixture_exec("ALTER DATABASE parley_sessions RESET deadlock_timeout");
}

/* ---- two tenants ---- */

enum { EQUAL = 8 };

static bool is_foreign(const struct session_message *m, size_t n, const char *own)
{
    for (size_t i = 0; i < n; i++)
        if (!sv_eq(m[i].content, sv_from(own)))
            return true;
    return false;
}

/* Threads 2n and 2n + 1 use the same ids and keys, each in a tenant of its own. */
static void write_equal_ids(struct threads *threads, struct fixture *c, int me)
{
    struct load *l = load_of(threads);
    const char *const tenant = me % 2 ? "t4" : "t5";
    char own[8];
    snprintf(own, sizeof(own), "\"%s\"", tenant);
    struct session_message m = message_of("user", own);
    struct session_draft d = draft_with(NULL, NULL, &m, 1);
    for (int i = 0; i < l->rounds; i++) {
        const char *id = text_of("equal-%d", (me / 2 + i) % EQUAL);
        const struct session_precondition key = keyed(text_of("equal-%d-%d", me / 2, i));
        const struct session_append a = {&m, 1, false};
        enum err e;
        if (i % 8 == 7) {
            UNTIL_DONE(e, fixture_create(c, tenant, &d, i % 16 == 7 ? &key : &nobody));
            l->made += e == ERR_NONE;
        } else {
            UNTIL_DONE(e, fixture_append(c, tenant, id, &a, i % 2 ? &key : &nobody));
        }
        l->stored += e == ERR_NONE;
        l->unexpected += e != ERR_NONE || c->r.replayed;
        if (i % 4 == 1)
            l->unexpected += fixture_get(c, tenant, id) != ERR_NONE ||
                             is_foreign(c->s.messages, c->s.n_messages, own);
    }
}

/* 100,000 requests with FAULTS=long. Fails if a batch may have members of two tenants:
 * tests/mutants/batch-two-tenants. */
static void two_tenants(void)
{
    struct batches *b = batches_open(true);
    struct load l = {.rounds = rounds_of(1250)};
    for (int i = 0; i < EQUAL; i++) {
        fixture_make(b->threads.w, "t4", text_of("equal-%d", i), NULL, 0, "", &nobody);
        fixture_make(b->threads.w, "t5", text_of("equal-%d", i), NULL, 0, "", &nobody);
    }
    load_run(&l, b, APPENDERS, write_equal_ids);
    CU_ASSERT_EQUAL(l.unexpected, 0);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE tenant IN ('t4', 't5')"
                                 " AND content = '\"' || tenant || '\"'"),
                    l.stored);
    CU_ASSERT_EQUAL(fixture_rows("messages WHERE tenant IN ('t4', 't5')"), l.stored);
    CU_ASSERT_EQUAL(fixture_rows("sessions WHERE tenant IN ('t4', 't5')"), l.made + 2 * EQUAL);
    CU_ASSERT_TRUE(batches_count(&b->slot.appends) > 0 && batches_count(&b->slot.creates) > 0);
    batches_close(b);
}

SUITE(session_write_load, "session/write_load", {"no deadlock", no_deadlock}, {"numbers", numbers},
      {"two tenants", two_tenants})

/* SPDX-License-Identifier: MIT */
/* A host that is alone on its database: memory answers without PostgreSQL, but only with what no
 * worker of the host has changed since. */
#include "hosts.h"

#include "../../../src/db/hosts_internal.h"
#include "../../unit/suite.h"
#include "edits.h"

/* Two workers of one host. */
struct host {
    struct fixture *a, *b;
    struct db_hosts_shared *shared;
};

static void set_alone(struct host *h, bool alone)
{
    atomic_store(&h->shared->alone_until_us, alone ? INT64_MAX : 0);
}

static void host_open(struct host *h)
{
    h->shared = db_hosts_shared_map(true, "test");
    CU_ASSERT_PTR_NOT_NULL_FATAL(h->shared);
    atomic_store(&h->shared->write_from_us, 1);
    set_alone(h, true);
    h->a = fixture_open(true);
    h->b = fixture_open(false);
    cache_close(h->a->cache);
    struct fixture *const workers[] = {h->a, h->b};
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        struct sessions *s = workers[i]->sessions;
        s->cache = workers[i]->cache = fixture_cache(h->a->shared, NULL);
        s->settings.hosts = h->shared;
        CU_ASSERT_PTR_NOT_NULL(s->cache);
    }
}

/* b uses the memory of a. */
static void host_close(struct host *h)
{
    fixture_close(h->b);
    fixture_close(h->a);
}

/* A read returns this version. asks: it asks PostgreSQL. */
static void expect_read(struct fixture *w, const char *id, int64_t version, bool asks)
{
    OK(fixture_get(w, "t1", id));
    CU_ASSERT_EQUAL(w->s.version, version);
    CU_ASSERT_EQUAL(w->ctx.trace.round_trips > 0, asks);
}

enum step { READ, APPEND, PATCH, UPDATE, DELETE_MESSAGE, RECREATE, OUTDATE, NOT_ALONE, ALONE };

static enum err run_step(struct host *h, struct fixture *w, const char *id, enum step step)
{
    const struct session_patch p = {.context = SV("{\"a\":1}")};
    switch (step) {
    case APPEND:
        return hosts_append(w, id, 1);
    case PATCH:
        return fixture_patch(w, "t1", id, &p, &nobody);
    case UPDATE:
        return edits_run(w, id, "+a=1", NULL, &nobody);
    case DELETE_MESSAGE:
        return fixture_delete_message(w, "t1", id, "1", &nobody);
    case RECREATE:
        OK(fixture_delete(w, "t1", id, &nobody));
        hosts_make(w, id);
        return ERR_NONE;
    case OUTDATE:
        cache_shared_outdate(h->a->shared);
        return ERR_NONE;
    case NOT_ALONE:
    case ALONE:
        set_alone(h, step == ALONE);
        return ERR_NONE;
    case READ:
        break;
    }
    return ERR_NONE;
}

/* Fails if memory answers without asking while the host is not alone, or with what is not current:
 * tests/mutants/alone-not-current. */
static void answers_while_current(void)
{
    static const struct {
        enum step step; /* of worker b; then worker a reads, twice */
        int64_t version;
        bool asks, asks_again;
    } steps[] = {
        {READ, 1, false, false},    {APPEND, 2, false, false},   {APPEND, 3, false, false},
        {PATCH, 4, true, false},    {APPEND, 5, false, false},   {UPDATE, 6, true, false},
        {NOT_ALONE, 6, true, true}, {ALONE, 6, false, false},    {DELETE_MESSAGE, 7, true, false},
        {OUTDATE, 7, true, false},  {RECREATE, 1, false, false},
    };
    struct host h;
    host_open(&h);
    hosts_make(h.b, "al:current");
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        OK(run_step(&h, h.b, "al:current", steps[i].step));
        expect_read(h.a, "al:current", steps[i].version, steps[i].asks);
        expect_read(h.a, "al:current", steps[i].version, steps[i].asks_again);
    }
    fixture_expire("al:current");
    host_close(&h);
}

/* ---- two writers, step by step ---- */

struct writer {
    struct fixture *w;
    struct fixture *mine; /* its requests */
    struct fresh_write write;
    struct session now;
    bool known;
};

static void writer_begin(struct writer *x, struct fixture *w, const char *id)
{
    *x = (struct writer){.w = w};
    x->mine = fixture_share(w);
    OK(fresh_write_begin(w->sessions, fixture_request(x->mine, "t1"), sv_from(id), &x->write));
}

/* The statement and its commit, and a read of the session after it. */
static void writer_commit(struct writer *x, const char *id)
{
    struct session_message m = message_of("user", "\"of a writer\"");
    const struct session_append a = {&m, 1, false};
    struct session_receipt r;
    struct session_write w = {.id = sv_from(id),
                              .append = &a,
                              .drafts = {a.messages, a.n_messages},
                              .precondition = &nobody,
                              .receipt = &r};
    struct request_ctx *ctx = &x->mine->ctx;
    OK(sql_message_append(x->w->sessions, ctx, &w));
    CU_ASSERT_TRUE(w.done);
    x->known = sql_session_read(x->w->sessions, ctx, sv_from(id), SV_NONE, SESSION_NEWEST,
                                &x->now) == ERR_NONE;
}

static void writer_end(struct writer *x, enum err result)
{
    fresh_write_end(x->w->sessions, &x->mine->ctx, &x->write, result, x->known ? &x->now : NULL);
    fixture_close(x->mine);
}

static void expect_at_least(struct host *h, const char *id, int64_t version)
{
    struct fixture *const workers[] = {h->a, h->b};
    for (size_t i = 0; i < ARRAY_LEN(workers); i++) {
        OK(fixture_get(workers[i], "t1", id));
        CU_ASSERT_TRUE(workers[i]->s.version >= version);
    }
}

/* The orders of two writers' begins, commits and ends. After each end a write is acknowledged, and
 * no read may be older than it. Fails if a writer that another one came between stores its value as
 * current: tests/mutants/alone-two-writers. */
static void two_writers(void)
{
    static const char *const orders[] = {
        /* b begins, c commits, e ends; capitals: the other one; r: a reader fills the memory */
        "bBcCeE", "bBcCEe", "bBCceE",   "bBCcEe",   "bBceCE",   "bcBeCE",
        "bcBCeE", "bcBCEe", "bBcreCrE", "bBcrCreE", "bBcrCEre", "bcrBeCrE",
    };
    struct host h;
    host_open(&h);
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        struct writer x[2];
        int64_t acknowledged = 1;
        const char *id = text_of("al:two-%zu", i);
        hosts_make(h.a, id);
        for (const char *o = orders[i]; *o; o++) {
            const int other = *o < 'a';
            struct writer *now = &x[other];
            if (*o == 'b' || *o == 'B')
                writer_begin(now, other ? h.b : h.a, id);
            else if (*o == 'c' || *o == 'C')
                writer_commit(now, id);
            else if (*o == 'e' || *o == 'E') {
                if (now->now.version > acknowledged)
                    acknowledged = now->now.version;
                writer_end(now, ERR_NONE);
            }
            if (*o != 'b' && *o != 'B' && *o != 'c' && *o != 'C')
                expect_at_least(&h, id, acknowledged);
        }
        CU_ASSERT_EQUAL(acknowledged, 3);
        OK(hosts_append(h.a, id, 1));
        expect_at_least(&h, id, 4);
    }
    host_close(&h);
}

/* A writer that does not know the outcome leaves its key in quarantine: the commit may come later.
 * Fails if the quarantine does not begin: tests/mutants/alone-doubt. */
static void in_doubt(void)
{
    struct host h;
    struct writer x;
    host_open(&h);
    hosts_make(h.b, "al:doubt");
    expect_read(h.a, "al:doubt", 1, false);
    writer_begin(&x, h.b, "al:doubt");
    fresh_write_end(h.b->sessions, &x.mine->ctx, &x.write, ERR_OUTCOME_UNKNOWN, NULL);
    expect_read(h.a, "al:doubt", 1, true);
    expect_read(h.a, "al:doubt", 1, true);
    writer_commit(&x, "al:doubt");
    expect_read(h.a, "al:doubt", 2, true);
    fixture_close(x.mine);
    host_close(&h);
}

/* Only what was committed is stored. Fails if a value is stored whatever the result: tried. */
static void failed_write_stores_nothing(void)
{
    static const enum err results[] = {ERR_TIMEOUT, ERR_OVERLOAD, ERR_UNAVAILABLE, ERR_CONFLICT,
                                       ERR_BUSY,    ERR_NOMEM,    ERR_INTERNAL,    ERR_NOT_FOUND};
    struct host h;
    struct writer x;
    host_open(&h);
    hosts_make(h.b, "al:failed");
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        writer_begin(&x, h.b, "al:failed");
        x.known = sql_session_read(h.b->sessions, &x.mine->ctx, SV("al:failed"), SV_NONE,
                                   SESSION_NEWEST, &x.now) == ERR_NONE;
        x.now.version++;
        writer_end(&x, results[i]);
        CU_ASSERT_EQUAL(hosts_in_memory(h.a, "al:failed"), 1);
    }
    host_close(&h);
}

/* ---- a reader that is slow ---- */

struct reader {
    struct fixture *w;
    const char *id;
    int64_t version;
};

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    struct session s = {.version = 0};
    struct fixture *c = fixture_share(r->w);
    OK(session_get(r->w->sessions, fixture_request(c, "t1"), sv_from(r->id), SV_NONE, 20, &s));
    r->version = s.version;
    fixture_close(c);
    return NULL;
}

/* Reads of rows wait, after their snapshot, for an advisory lock. */
static const char slow_reads[] =
    "CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
    " IF current_query() LIKE '%m.total > m.size%' THEN PERFORM pg_advisory_xact_lock_shared(77); "
    "END IF;"
    " RETURN true; END $$;"
    "CREATE POLICY slow ON messages AS RESTRICTIVE FOR SELECT USING (slow())";

/* A read begins before a write and ends after the write's answer: its value is not current. Fails
 * if the snapshot is taken after the statement: tests/mutants/alone-late-epoch. */
static void epoch_is_of_the_beginning(void)
{
    struct host h;
    pthread_t thread;
    host_open(&h);
    struct reader r = {h.a, "al:slow", 0};
    hosts_make(h.b, "al:slow");
    OK(hosts_append(h.b, "al:slow", 3));
    cache_remove(h.b->cache, (struct cache_key){SV("t1"), SV("al:slow")}, true);
    CU_ASSERT_TRUE(fixture_sql(slow_reads, NULL, 0));
    struct held_transaction *held = transaction_hold("BEGIN; SELECT pg_advisory_xact_lock(77)");
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, reader_main, &r), 0);
    CU_ASSERT_TRUE(wait_for_backends("wait_event = 'advisory'", 1));
    OK(hosts_append(h.b, "al:slow", 1));
    transaction_release(held);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(r.version, 2);
    fixture_exec("DROP POLICY slow ON messages; DROP FUNCTION slow()");
    expect_read(h.a, "al:slow", 3, true);
    host_close(&h);
}

/* Two reads look into memory, and ask PostgreSQL ahead. Then the host becomes alone. Another host
 * has written meanwhile, so memory does not answer. Fails if a read decides whether its host is
 * alone after it has looked: tests/mutants/alone-decided-late. */
static void alone_since_the_look(void)
{
    static const char *const ids[] = {"al:since-0", "al:since-1"};
    struct host h;
    struct fixture *c[2];
    struct session_ahead *ahead[2];
    struct session s;
    host_open(&h);
    struct fixture *other = fixture_open(false), *shared = fixture_share(h.a);
    set_alone(&h, false);
    for (size_t i = 0; i < 2; i++) {
        hosts_make(h.a, ids[i]);
        OK(hosts_append(other, ids[i], 1));
        c[i] = fixture_share(h.a);
        ahead[i] = session_ahead_new(fixture_request(c[i], "t1"), sv_from(ids[i]));
    }
    session_ahead_read(h.a->sessions, fixture_request(shared, "")->arena, ahead, 2);
    cache_shared_outdate(h.a->shared);
    set_alone(&h, true);
    for (size_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(session_ahead_is_done(&c[i]->ctx));
        OK(session_get(h.a->sessions, &c[i]->ctx, sv_from(ids[i]), SV_NONE, 20, &s));
        CU_ASSERT_EQUAL(s.version, 2);
        fixture_close(c[i]);
    }
    fixture_close(shared);
    fixture_close(other);
    host_close(&h);
}

SUITE(session_alone, "session/alone", {"memory answers while current", answers_while_current},
      {"two writers", two_writers}, {"in doubt", in_doubt},
      {"a failed write stores nothing", failed_write_stores_nothing},
      {"the epoch is of the beginning", epoch_is_of_the_beginning},
      {"alone since the look", alone_since_the_look})

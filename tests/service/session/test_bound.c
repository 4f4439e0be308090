/* SPDX-License-Identifier: MIT */
/* The limit of open sessions of a tenant: exact, for every way to make a session, and for many
 * requests at once. */

#include "../../unit/suite.h"
#include "threads.h"

enum way { CREATE, ENSURE, APPEND, WAYS };

static enum err try(struct fixture *w, const char *tenant, int64_t most, enum way way,
                    const char *id, const struct session_precondition *precondition)
{
    struct session_message m = message_of("user", "\"x\"");
    const struct session_append a = {&m, 1, true};
    struct session_draft d = draft_with(id, NULL, &m, 1);
    w->sessions_max = most;
    switch (way) {
    case CREATE:
        return fixture_create(w, tenant, &d, precondition);
    case ENSURE:
        return fixture_ensure(w, tenant, &d, precondition);
    default:
        return fixture_append(w, tenant, id, &a, precondition);
    }
}

static void expect_limited(struct fixture *w, const char *tenant, int64_t most, enum way way,
                           const char *id, const struct session_precondition *precondition)
{
    CU_ASSERT_EQUAL(try(w, tenant, most, way, id, precondition), ERR_LIMITED);
    CU_ASSERT_STRING_EQUAL(w->ctx.err.slug ? w->ctx.err.slug : "", "tenant_sessions");
    CU_ASSERT_EQUAL(w->ctx.err.retry_after_s, 30);
    CU_ASSERT_EQUAL(fixture_rows("sessions WHERE tenant = '%s' AND session_id = '%s'", tenant, id),
                    0);
}

/* Makes the stored count of a tenant older. */
static void pass_time(const char *tenant, const char *interval)
{
    fixture_exec(
        "UPDATE tenant_sessions SET counted_at = counted_at - interval '%s' WHERE tenant = '%s'",
        interval, tenant);
}

static void delete_count(const char *tenant)
{
    fixture_exec("DELETE FROM tenant_sessions WHERE tenant = '%s'", tenant);
}

static int64_t at_most(const char *tenant)
{
    return fixture_count("SELECT at_most FROM tenant_sessions WHERE tenant = '%s'", tenant);
}

static int64_t counted_us(const char *tenant)
{
    return fixture_count("SELECT (extract(epoch FROM counted_at) * 1000000)::bigint"
                         " FROM tenant_sessions WHERE tenant = '%s'",
                         tenant);
}

/* Fails if one of the four ways to make a session ignores the limit, if a write to an existing
 * session or a replay is refused, or if a session that is over is counted: tried. */
static void each_way(void)
{
    const struct session_precondition with_key = keyed("k-bound"), new_key = keyed("k-new");
    struct fixture *w = fixture_open(true);
    OK(try(w, "b1", 3, CREATE, "b:0", &nobody));
    OK(try(w, "b1", 3, ENSURE, "b:1", &nobody));
    OK(try(w, "b1", 3, APPEND, "b:2", &with_key));
    for (int way = 0; way < WAYS; way++)
        expect_limited(w, "b1", 3, (enum way)way, "b:one-too-many", &nobody);
    CU_ASSERT_EQUAL(fixture_copy(w, "b1", "b:0", &nobody), ERR_LIMITED);
    expect_limited(w, "b1", 3, CREATE, "b:one-too-many", &new_key);
    OK(try(w, "b1", 3, APPEND, "b:2", &with_key)); /* a replay */
    CU_ASSERT_EQUAL(try(w, "b1", 3, CREATE, "b:0", &nobody), ERR_CONFLICT);
    OK(try(w, "b1", 3, ENSURE, "b:0", &nobody));
    OK(try(w, "b1", 3, APPEND, "b:0", &nobody));
    OK(try(w, "b2", 3, CREATE, "b:0", &nobody));
    OK(try(w, "b1", 0, CREATE, "b:unbounded", &nobody));
    /* Deleted and expired sessions are not open, and their ids are free. */
    OK(fixture_delete(w, "b1", "b:unbounded", &nobody));
    OK(fixture_delete(w, "b1", "b:2", &nobody));
    pass_time("b1", "1 s");
    /* The session of that key is gone; the replay is not. */
    OK(try(w, "b1", 2, APPEND, "b:2", &with_key));
    fixture_exec("UPDATE sessions SET expires_at = now() WHERE tenant = 'b1'"
                 " AND session_id = 'b:1'");
    OK(try(w, "b1", 3, APPEND, "b:1", &nobody));
    OK(try(w, "b1", 3, ENSURE, "b:3", &nobody));
    expect_limited(w, "b1", 3, ENSURE, "b:4", &nobody);
    /* A limit below the present number admits nothing more, and deletes nothing. */
    expect_limited(w, "b1", 1, ENSURE, "b:4", &nobody);
    OK(try(w, "b1", 1, APPEND, "b:3", &nobody));
    fixture_close(w);
}

/* ---- at once ---- */

enum { MEMBERS = 32, MOST = 10 };

struct with_other {
    struct threads threads;
    struct fixture *other; /* another worker */
    _Atomic int limited;
};

static void work(struct threads *threads, struct fixture *c, int me)
{
    struct with_other *both = (struct with_other *)threads;
    enum err e;
    const char *id = text_of("%s-%d", threads->id, me);
    if (me % 2)
        c->sessions = both->other->sessions;
    UNTIL_DONE(e, try(c, "b3", MOST, (enum way)(me % WAYS), id, &nobody));
    threads->created += e == ERR_NONE;
    both->limited += e == ERR_LIMITED;
}

/* Fails if creates do not wait for each other, or if the count is one from before the wait: tried.
 */
static void at_once(void)
{
    struct fixture *a = fixture_open(true), *b = fixture_open(true);
    for (int round = 0; round < 5; round++) {
        const char *id = text_of("b:threads%d", round);
        struct with_other both = {.threads = threads_at(a, id), .other = b};
        fixture_exec("DELETE FROM sessions WHERE tenant = 'b3'");
        delete_count("b3");
        threads_run(&both.threads, MEMBERS, work);
        CU_ASSERT_EQUAL(both.threads.created, MOST);
        CU_ASSERT_EQUAL(both.limited, MEMBERS - MOST);
        CU_ASSERT_EQUAL(fixture_rows("sessions WHERE tenant = 'b3'"), MOST);
    }
    fixture_close(b);
    fixture_close(a);
}

/* One more session is allowed, and many requests want the same one: one makes it, all get it. Fails
 * if it is not looked up again after the wait for the lock, before the count: tried. */
static void work_same(struct threads *threads, struct fixture *c, int me)
{
    struct with_other *both = (struct with_other *)threads;
    enum err e;
    if (me % 2)
        c->sessions = both->other->sessions;
    UNTIL_DONE(e, try(c, "b4", 1, me % 3 ? ENSURE : APPEND, threads->id, &nobody));
    threads->created += e == ERR_NONE;
}

static void the_same_at_once(void)
{
    struct fixture *a = fixture_open(true), *b = fixture_open(true);
    for (int round = 0; round < 5; round++) {
        struct with_other both = {.threads = threads_at(a, "b:same"), .other = b};
        fixture_exec("UPDATE sessions SET expires_at = now() WHERE tenant = 'b4'");
        delete_count("b4");
        threads_run(&both.threads, MEMBERS, work_same);
        CU_ASSERT_EQUAL(both.threads.created, MEMBERS);
    }
    fixture_close(b);
    fixture_close(a);
}

/* ---- stored counts ---- */

/* Fails if every create counts the sessions, or if a create that fails is counted: tried. */
static void not_counted_again(void)
{
    struct fixture *w = fixture_open(true);
    OK(try(w, "b5", 1000, CREATE, "b:0", &nobody));
    const int64_t counted = counted_us("b5");
    for (int i = 1; i < 12; i++) {
        const char *id = text_of("b:%d", i);
        OK(try(w, "b5", 1000, (enum way)(i % WAYS), id, &nobody));
        OK(try(w, "b5", 1000, ENSURE, id, &nobody)); /* makes none */
    }
    CU_ASSERT_EQUAL(at_most("b5"), 12);
    CU_ASSERT_EQUAL(counted_us("b5"), counted);
    struct session_message twice[] = {message_of("user", "1"), message_of("user", "2")};
    twice[0].message_id = twice[1].message_id = SV("the-same");
    struct session_draft d = draft_with("b:fails", NULL, twice, 2);
    CU_ASSERT_EQUAL(fixture_create(w, "b5", &d, &nobody), ERR_CONFLICT);
    CU_ASSERT_EQUAL(at_most("b5"), 12);
    fixture_close(w);
}

/* A count is valid for 10 us a session that was counted, but at most 30 s. Fails if a count stays
 * valid for ever, or if one with a time in the future is valid: tried. */
static void counted_again(void)
{
    struct fixture *w = fixture_open(true);
    OK(try(w, "b6", 2000000, CREATE, "b:0", &nobody));
    fixture_exec("UPDATE tenant_sessions SET at_most = 2000000, counted = 2000000,"
                 " counted_at = clock_timestamp() WHERE tenant = 'b6'");
    expect_limited(w, "b6", 2000000, CREATE, "b:1", &nobody);
    pass_time("b6", "20 s");
    OK(try(w, "b6", 2000000, CREATE, "b:1", &nobody));
    CU_ASSERT_EQUAL(at_most("b6"), 2);
    OK(try(w, "b6", 0, CREATE, "b:2", &nobody)); /* without a limit */
    CU_ASSERT_EQUAL(at_most("b6"), 2);
    pass_time("b6", "30 s");
    expect_limited(w, "b6", 3, CREATE, "b:3", &nobody);
    CU_ASSERT_EQUAL(at_most("b6"), 3);
    fixture_exec("UPDATE sessions SET expires_at = now() WHERE tenant = 'b6'"
                 " AND session_id = 'b:0'");
    pass_time("b6", "-1 hour");
    OK(try(w, "b6", 3, CREATE, "b:3", &nobody));
    fixture_close(w);
}

/* Fails if a count that ended at the limit is taken for the number: tried. */
static void another_limit(void)
{
    struct fixture *w = fixture_open(true);
    const char *const ids[] = {"b:0", "b:1", "b:2", "b:3"};
    for (int i = 0; i < 4; i++)
        OK(try(w, "b7", 4, ENSURE, ids[i], &nobody));
    expect_limited(w, "b7", 4, ENSURE, "b:4", &nobody);
    OK(try(w, "b7", 5, ENSURE, "b:4", &nobody)); /* at once */
    pass_time("b7", "1 s");
    expect_limited(w, "b7", 2, ENSURE, "b:5", &nobody);
    expect_limited(w, "b7", 4, ENSURE, "b:5", &nobody);
    pass_time("b7", "1 s");
    OK(try(w, "b7", 6, ENSURE, "b:5", &nobody));
    expect_limited(w, "b7", 6, ENSURE, "b:6", &nobody);
    fixture_close(w);
}

/* ---- without waiting ---- */

/* Another create hangs. Fails if a request waits that is refused or makes no session, or if one
 * waits for longer than 250 ms (then its deadline ends it), or if a count does not wait: tried. */
static void while_another_create_hangs(void)
{
    enum err e = ERR_INTERNAL;
    struct fixture *w = fixture_open(true);
    OK(try(w, "b8", 3000000, CREATE, "b:0", &nobody));
    struct held_transaction *held =
        transaction_hold("BEGIN; SELECT pg_advisory_xact_lock(1349676628, hashtext('b8'))");
    w->ms = 900;
    for (int i = 0; i < 5 && e != ERR_BUSY; i++)
        e = try(w, "b8", 3000000, CREATE, "b:1", &nobody);
    w->ms = 10000;
    CU_ASSERT_EQUAL(e, ERR_BUSY);
    OK(try(w, "b8", 3000000, ENSURE, "b:0", &nobody));
    fixture_exec("UPDATE tenant_sessions SET at_most = 3000000, counted = 3000000,"
                 " counted_at = clock_timestamp() WHERE tenant = 'b8'");
    expect_limited(w, "b8", 3000000, CREATE, "b:1", &nobody);
    /* Nothing is counted while a create is under way. */
    delete_count("b8");
    CU_ASSERT_EQUAL(try(w, "b8", 3000000, CREATE, "b:1", &nobody), ERR_BUSY);
    CU_ASSERT_EQUAL(fixture_rows("tenant_sessions WHERE tenant = 'b8'"), 0);
    transaction_release(held);
    OK(try(w, "b8", 3000000, CREATE, "b:1", &nobody));
    fixture_close(w);
}

SUITE(session_bound, "session/bound", {"each way", each_way}, {"at once", at_once},
      {"the same at once", the_same_at_once}, {"not counted again", not_counted_again},
      {"counted again", counted_again}, {"another limit", another_limit},
      {"while another create hangs", while_another_create_hangs})

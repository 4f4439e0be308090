/* SPDX-License-Identifier: MIT */
/* The limit of messages of a session: exact, for every way to add messages, and for many requests
 * at once. */
#include "../../../src/session/session_internal.h"
#include "../../unit/suite.h"
#include "batches.h"
#include "edits.h"

enum { MOST = 4, MANY = 8 };

static struct fixture *open_bounded(int64_t most)
{
    struct fixture *w = fixture_open(true);
    fixture_exec("DELETE FROM idempotency_keys; DELETE FROM sessions");
    w->sessions->settings.messages_max = most;
    return w;
}

static int64_t stored(const char *id)
{
    const int64_t n = fixture_rows(
        "messages m JOIN sessions s USING (tenant, generation) WHERE s.session_id = '%s'", id);
    CU_ASSERT_EQUAL(fixture_count("SELECT coalesce(max(message_count), 0) FROM sessions"
                                  " WHERE session_id = '%s'",
                                  id),
                    n);
    return n;
}

static void expect_full(struct fixture *w, enum err e)
{
    CU_ASSERT_EQUAL(e, ERR_LIMITED);
    CU_ASSERT_STRING_EQUAL(w->ctx.err.slug ? w->ctx.err.slug : "", "session_messages");
    CU_ASSERT_EQUAL(w->ctx.err.retry_after_s, 30);
}

enum way { APPEND, PLAIN, WITH_ID, OR_CREATE, CREATE, CREATE_NAMED, ENSURE, EDIT, FORK, WAYS };

/* Adds n messages: to the session id, or to one that it makes. */
static enum err add(struct fixture *w, enum way way, const char *id, size_t n,
                    const struct session_precondition *p)
{
    static const char *const puts[] = {"", "+x=1", "+x=1 +y=2", "+x=1 +y=2 +z=3"};
    struct session_message m[MANY];
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", "1");
    if (way == WITH_ID)
        m[0].message_id = SV("given");
    if (way == APPEND)
        m[0].metadata = SV("{\"a\": 1}");
    const struct session_append a = {m, n, way == OR_CREATE};
    struct session_draft d = draft_with(way == CREATE ? NULL : id, NULL, m, n);
    const struct session_fork fork = {.last_seq = -1};
    switch (way) {
    case CREATE:
    case CREATE_NAMED:
        return fixture_create(w, "t1", &d, p);
    case ENSURE:
        return fixture_ensure(w, "t1", &d, p);
    case EDIT:
        return edits_run(w, id, puts[n], "{\"c\": 1}", p);
    case FORK:
        return fixture_fork(w, id, &fork, p);
    default:
        return fixture_append(w, "t1", id, &a, p);
    }
}

/* Appends and edits of a session of two messages: what fits is done, what passes the limit by one
 * is refused and changes nothing, and a replay gets its old answer. Fails if a statement of one of
 * the ways does not compare, or compares with < for <=, or if a refusal leaves a key or a context:
 * tried. */
static void each_way(void)
{
    static const enum way ways[] = {APPEND, PLAIN, WITH_ID, OR_CREATE, EDIT};
    for (size_t i = 0; i < ARRAY_LEN(ways) * 2; i++) {
        const enum way way = ways[i / 2];
        const struct session_precondition of_fit = keyed("fit"), of_full = keyed("full");
        const struct session_precondition *fit = i % 2 ? &of_fit : &nobody,
                                          *full = i % 2 ? &of_full : &nobody;
        struct fixture *w = open_bounded(MOST);
        fixture_make(w, "t1", "f", NULL, way == PLAIN ? 3 : 2, "\"old\"", &nobody);
        OK(add(w, way, "f", way == PLAIN ? 1 : 2, fit));
        CU_ASSERT_EQUAL(stored("f"), MOST);
        const struct session_receipt before = w->r;
        fixture_exec(
            "UPDATE messages SET message_id = 'another' WHERE message_id IN ('x', 'given')");
        expect_full(w, add(w, way, "f", 1, full));
        CU_ASSERT_EQUAL(stored("f"), MOST);
        OK(fixture_get(w, "t1", "f"));
        CU_ASSERT_EQUAL(w->s.version, before.version);
        CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'full'"), 0);
        if (i % 2) {
            OK(add(w, way, "f", way == PLAIN ? 1 : 2, fit));
            CU_ASSERT_TRUE(w->r.replayed && w->r.version == before.version);
        }
        OK(fixture_truncate(w, "f", 3, &nobody));
        OK(add(w, way, "f", 1, full));
        CU_ASSERT_EQUAL(stored("f"), MOST);
        fixture_close(w);
    }
}

/* Sessions that would begin with too many messages are not made. Fails if one of the ways makes it,
 * or makes it empty, or if a replay or a session that is there is refused: tried. */
static void new_sessions(void)
{
    static const enum way ways[] = {CREATE, CREATE_NAMED, ENSURE, OR_CREATE};
    for (size_t i = 0; i < ARRAY_LEN(ways) * 2; i++) {
        const struct session_precondition of_fit = keyed("fit"), of_full = keyed("full");
        const struct session_precondition *fit = i % 2 ? &of_fit : &nobody,
                                          *full = i % 2 ? &of_full : &nobody;
        struct fixture *w = open_bounded(MOST);
        OK(add(w, ways[i / 2], "f", MOST, fit));
        const int64_t generation = w->r.generation;
        expect_full(w, add(w, ways[i / 2], "g", MOST + 1, full));
        expect_full(w, add(w, ways[i / 2], "g", MANY, full));
        CU_ASSERT_EQUAL(fixture_rows("sessions"), 1);
        CU_ASSERT_EQUAL(fixture_rows("messages"), MOST);
        CU_ASSERT_EQUAL(fixture_rows("idempotency_keys WHERE key = 'full'"), 0);
        w->sessions->settings.messages_max = 1;
        if (i % 2) {
            OK(add(w, ways[i / 2], "f", MOST, fit));
            CU_ASSERT_TRUE(w->r.replayed && w->r.generation == generation);
        }
        if (ways[i / 2] == ENSURE) /* it is there, so none is made */
            OK(add(w, ENSURE, "f", MOST, &nobody));
        fixture_close(w);
    }
}

/* Fails if a copy counts the messages that it leaves out, or does not count: tried. */
static void forks(void)
{
    const struct session_precondition key = keyed("fork");
    const struct session_fork two = {.last_seq = 2};
    struct fixture *w = open_bounded(MOST);
    fixture_make(w, "t1", "f", NULL, MOST, "\"old\"", &nobody);
    OK(add(w, FORK, "f", 0, &key));
    w->sessions->settings.messages_max = 2;
    expect_full(w, add(w, FORK, "f", 0, &nobody));
    expect_full(w, fixture_copy(w, "t1", "f", &nobody));
    CU_ASSERT_EQUAL(fixture_rows("sessions"), 2);
    OK(add(w, FORK, "f", 0, &key));
    CU_ASSERT_TRUE(w->r.replayed);
    OK(fixture_fork(w, "f", &two, &nobody));
    CU_ASSERT_EQUAL(w->r.message_count, 2);
    fixture_close(w);
}

/* Updates of a session that has as many messages as it may, or more: those that add no more than
 * they remove are done. Fails if the removed ones are not counted, or if messages that are not
 * there count as removed: tried. */
static void updates(void)
{
    static const struct {
        const char *text;
        bool is_full;
        int64_t left;
    } rows[] = {{"+a=2", false, 4},
                {"+x=1", true, 4},
                {"-a +x=1", false, 4},
                {"-a -b +x=1", false, 3},
                {"-a +x=1 +y=1", true, 4},
                {"?no +x=1", true, 4},
                {"! +x=1 +y=1", false, 2},
                {"! +v=1 +w=1 +x=1 +y=1 +z=1", true, 4},
                {"+a=2 -b +x=1", false, 4},
                {"-a", false, 3},
                {"! +x=1 +y=1 +z=1 +v=1", false, 4}};
    for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
        const bool over = i % 2 == 1; /* the limit was lowered since */
        struct fixture *w = open_bounded(MOST);
        fixture_make(w, "t1", "f", NULL, 0, "", &nobody);
        OK(edits_run(w, "f", "+a=1 +b=1 +c=1 +d=1", NULL, &nobody));
        w->sessions->settings.messages_max = over ? MOST - 1 : MOST;
        const enum err e = edits_run(w, "f", rows[i / 2].text, NULL, &nobody);
        if (rows[i / 2].is_full)
            expect_full(w, e);
        else
            CU_ASSERT_EQUAL(e, ERR_NONE);
        CU_ASSERT_EQUAL(stored("f"), rows[i / 2].left);
        fixture_close(w);
    }
}

/* A refusal tells nobody else that the session is there. Fails if it does: tried. */
static void of_others(void)
{
    const struct session_precondition other = {.user = SV_INIT("u2")};
    struct fixture *w = open_bounded(MOST);
    fixture_make(w, "t1", "f", "u1", MOST, "\"old\"", &nobody);
    for (int way = APPEND; way <= OR_CREATE; way++)
        CU_ASSERT_EQUAL(add(w, (enum way)way, "f", 1, &other), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(add(w, EDIT, "f", 1, &other), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(add(w, FORK, "f", 1, &other), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(add(w, APPEND, "nobody's", 1, &nobody), ERR_NOT_FOUND);
    /* More than any session may have: whether this one is there does not matter. */
    expect_full(w, add(w, APPEND, "f", MANY, &other));
    expect_full(w, add(w, APPEND, "nobody's", MANY, &other));
    w->sessions->settings.messages_max = INT64_MAX;
    OK(add(w, APPEND, "f", MANY, &nobody));
    fixture_close(w);
}

/* ---- at once ---- */

enum { THREADS = 16, ROUNDS = 8, ROOM = 61 };

struct counted {
    struct threads threads;
    struct fixture *other; /* another worker */
    bool plain;
    _Atomic int added, full;
};

static void work(struct threads *threads, struct fixture *c, int me)
{
    struct counted *all = (struct counted *)(void *)threads;
    if (me % 2)
        c->sessions = all->other->sessions;
    for (int i = 0; i < ROUNDS; i++) {
        static const enum way ways[] = {PLAIN, APPEND, OR_CREATE};
        const size_t n = all->plain ? 1 : (size_t)(me + i) % 3 + 1;
        enum err e;
        UNTIL_DONE(e, add(c, all->plain ? PLAIN : ways[i % 3], threads->id, n, &nobody));
        all->added += e == ERR_NONE ? (int)n : 0;
        all->full += e == ERR_LIMITED;
        CU_ASSERT_TRUE(e == ERR_NONE || e == ERR_LIMITED);
    }
}

/* Clients of two workers, in batches and alone, want to add more than there is room for. Fails if
 * one of the four statements compares with the count of its snapshot: tried. */
static void at_once(void)
{
    for (int round = 0; round < 4; round++) {
        struct fixture *a = open_bounded(ROOM), *b = fixture_open(true);
        struct counted all = {
            .threads = threads_at(a, "full"), .other = b, .plain = round % 2 == 0};
        b->sessions->settings.messages_max = ROOM;
        fixture_make(a, "t1", "full", NULL, 0, "", &nobody);
        threads_run(&all.threads, THREADS, work);
        const int64_t n = stored("full");
        CU_ASSERT_TRUE(n <= ROOM && n >= ROOM - 2 && all.full > 0);
        CU_ASSERT_EQUAL(n, all.added);
        for (int64_t i = n; i < ROOM; i++)
            OK(add(a, PLAIN, "full", 1, &nobody));
        expect_full(a, add(a, PLAIN, "full", 1, &nobody));
        fixture_close(b);
        fixture_close(a);
    }
}

static void create(struct batches *b, struct fixture *c, int me)
{
    batches_wrote(b, c, me, add(c, CREATE, NULL, me % 2 ? MOST : MOST + 1, &nobody));
}

/* Creates that come while another one is under way. Fails if one that has too many messages may be
 * in a batch: tried, without the check in session_write_idempotent. */
static void creates_at_once(void)
{
    struct batches *b = batches_open(false);
    b->creates = true;
    b->threads.w->sessions->settings.messages_max = MOST;
    for (int round = 0; round < 3; round++) {
        (void)batches_meet(b, 8, create);
        for (int i = 0; i < 8; i++)
            CU_ASSERT_EQUAL(b->err[i], i % 2 ? ERR_NONE : ERR_LIMITED);
    }
    batches_close(b);
}

SUITE(session_full, "session/full", {"each way", each_way}, {"new sessions", new_sessions},
      {"forks", forks}, {"updates", updates}, {"of others", of_others}, {"at once", at_once},
      {"creates at once", creates_at_once})

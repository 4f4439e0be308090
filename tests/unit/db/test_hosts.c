/* SPDX-License-Identifier: MIT */
/* What a host concludes from its polls, by a clock that the tests set. */
#include "../../../src/db/hosts_internal.h"

#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "parley/base/clock.h"

#define MS INT64_C(1000)

struct bench {
    struct db_hosts_shared *s;
    struct db_hosts_found f; /* what the next poll finds */
    int64_t now_us;
    int raised;
    bool on_while_raised;
};

static bool may_write_at(const struct db_hosts_shared *s, int64_t at_us)
{
    const int64_t from_us = atomic_load(&s->write_from_us);
    return from_us != 0 && at_us >= from_us;
}

static void raise_all(void *arg)
{
    struct bench *b = arg;
    b->raised++;
    b->on_while_raised |= hosts_alone_at(b->s, b->now_us);
}

static void begin(struct bench *b, bool alone)
{
    memset(b, 0, sizeof(*b));
    b->s = db_hosts_shared_map(alone, "1.2.3");
    b->now_us = 1000000 * MS;
    b->f = (struct db_hosts_found){.self = true, .live = 1, .pg_started_us = 5, .keys_version = 7};
}

/* A poll that is sent ms later and takes 10 ms. */
static void poll_after(struct bench *b, int64_t ms)
{
    b->f.sent_us = b->now_us + ms * MS;
    b->now_us = b->f.sent_us + 10 * MS;
    hosts_apply(b->s, &b->f, b->now_us, raise_all, b);
}

static bool is_on(const struct bench *b)
{
    return hosts_alone_at(b->s, b->now_us);
}

/* Registered, and alone for so long that the shortcut is on. */
static void begin_on(struct bench *b)
{
    begin(b, true);
    poll_after(b, 0);
    for (int i = 0; i < 12; i++)
        poll_after(b, 190);
    CU_ASSERT_TRUE(is_on(b));
    CU_ASSERT_EQUAL(b->raised, 1);
}

/* Fails if it is on within 2 s of the registration, if it is on for longer than 1 s or counts that
 * from the answer, or if each poll calls before_alone: tried. */
TEST(on_for_a_second)
{
    struct bench b;
    begin(&b, true);
    poll_after(&b, 0);
    const int64_t registered_us = b.now_us;
    while (!is_on(&b) && b.now_us < registered_us + 5000 * MS)
        poll_after(&b, 190);
    CU_ASSERT_TRUE(b.now_us >= registered_us + 2000 * MS);
    CU_ASSERT_TRUE(b.now_us < registered_us + 2400 * MS);
    for (int i = 0; i < 5; i++)
        poll_after(&b, 190);
    CU_ASSERT_TRUE(hosts_alone_at(b.s, b.f.sent_us + 1000 * MS - 1));
    CU_ASSERT_FALSE(hosts_alone_at(b.s, b.f.sent_us + 1000 * MS));
    CU_ASSERT_EQUAL(b.raised, 1);
    /* An answer that comes too late does not turn it on. */
    b.f.sent_us = b.now_us + 900 * MS;
    b.now_us = b.f.sent_us + 1000 * MS;
    hosts_apply(b.s, &b.f, b.now_us, raise_all, &b);
    CU_ASSERT_FALSE(is_on(&b));
    CU_ASSERT_EQUAL(b.raised, 1);
    CU_ASSERT_FALSE(b.on_while_raised);
}

/* A promoted server was met: off at once, and a poll that was sent before does not turn it on.
 * Fails without the timeline in hosts_alone_at, and if the timeline is read when the answer comes:
 * tried.
 */
TEST(off_when_another_was_promoted)
{
    struct bench b;
    begin_on(&b);
    atomic_store(&b.s->servers.highest, 2);
    CU_ASSERT_FALSE(is_on(&b));
    poll_after(&b, 190);
    CU_ASSERT_FALSE(is_on(&b));
    b.f.timeline = 2;
    poll_after(&b, 190);
    CU_ASSERT_TRUE(is_on(&b));
    CU_ASSERT_TRUE(b.raised > 1);
}

enum cause { OTHERS, SILENCE, FAILOVER, LOST, COMMITS, COMMITS_END };

/* The cause begins, or ends. */
static void happen(struct bench *b, enum cause cause, bool begins)
{
    if (cause == OTHERS)
        b->f.others = begins;
    if (cause == SILENCE && begins)
        b->now_us += 900 * MS;
    if (cause == FAILOVER && begins)
        b->f.pg_started_us++;
    if (cause == LOST)
        b->f.self = !begins;
    if (cause == COMMITS || cause == COMMITS_END) {
        b->f.replication.commits_waiting = begins;
        b->f.replication.overdue = begins;
    }
}

/* Whatever turned it off, before_alone is called before it is on again; if registrations may have
 * been lost, it takes 2 s. Each row fails without its line in hosts_shared.c: tried. */
TEST(off_and_on)
{
    static const struct {
        const char *what;
        enum cause cause;
        bool off_after_poll;
        int64_t wait_ms;
    } rows[] = {
        {"another is registered", OTHERS, true, 0},
        {"no poll for a second", SILENCE, false, 0},
        {"another PostgreSQL answers", FAILOVER, true, 2000},
        {"the registration is lost", LOST, true, 2000},
        {"commits wait for a standby", COMMITS, true, 0},
        {"they wait no more, but have not ended", COMMITS_END, true, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        begin_on(&b);
        happen(&b, rows[i].cause, true);
        const int64_t since_us = b.now_us;
        if (rows[i].off_after_poll) {
            for (int n = 0; n < 3; n++) {
                poll_after(&b, 190);
                CU_ASSERT_FALSE(is_on(&b));
            }
            CU_ASSERT_EQUAL(b.raised, 1);
        }
        b.f.replication.commits_waiting = 0;
        if (rows[i].cause == COMMITS_END) {
            poll_after(&b, 190);
            CU_ASSERT_FALSE(is_on(&b));
        }
        happen(&b, rows[i].cause, false);
        poll_after(&b, 190);
        while (!is_on(&b) && b.now_us < since_us + 9000 * MS)
            poll_after(&b, 190);
        const bool right = b.raised == 2 && !b.on_while_raised && is_on(&b) &&
                           b.now_us >= since_us + rows[i].wait_ms * MS;
        CU_ASSERT_TRUE(right);
        if (!right)
            printf("\n    %s: raised %d times", rows[i].what, b.raised);
    }
}

/* Fails if it does not wait for a host that is alone, waits for those that ask PostgreSQL, or
 * writes on after its registration was lost: tried. */
TEST(writes_after_registration)
{
    static const struct {
        bool alone, others_alone;
        int64_t others, wait_ms;
    } rows[] = {{false, false, 0, 0}, {false, false, 3, 0},   {false, true, 3, 2000},
                {true, false, 0, 0},  {true, false, 1, 2000}, {true, true, 1, 2000}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        begin(&b, rows[i].alone);
        b.f.others = rows[i].others;
        b.f.others_alone = rows[i].others_alone;
        for (int round = 0; round < 2; round++) {
            CU_ASSERT_FALSE(may_write_at(b.s, b.now_us + 9000 * MS));
            poll_after(&b, 0);
            const int64_t at_us = b.now_us;
            CU_ASSERT_TRUE(may_write_at(b.s, at_us + rows[i].wait_ms * MS));
            CU_ASSERT_FALSE(may_write_at(b.s, at_us + rows[i].wait_ms * MS - 1));
            /* A host that comes later waits for this one. */
            b.f.others++;
            b.f.others_alone = true;
            poll_after(&b, 3000);
            CU_ASSERT_TRUE(may_write_at(b.s, b.now_us));
            b.f.others--;
            b.f.others_alone = rows[i].others_alone;
            b.f.self = false;
            poll_after(&b, 100);
            b.f.self = true;
        }
    }
}

/* Fails if a host is ever alone without PARLEY_HOSTS=one: tried. */
TEST(many_are_never_alone)
{
    struct bench b;
    char why[160];
    begin(&b, false);
    for (int i = 0; i < 30; i++) {
        poll_after(&b, 190);
        CU_ASSERT_FALSE(is_on(&b));
    }
    CU_ASSERT_EQUAL(b.raised, 0);
    CU_ASSERT_EQUAL(db_hosts_shortcut(b.s, why, sizeof(why)), DB_HOSTS_MANY);
    CU_ASSERT_EQUAL(db_hosts_shortcut(NULL, why, sizeof(why)), DB_HOSTS_MANY);
    CU_ASSERT_FALSE(db_hosts_is_alone(NULL));
    CU_ASSERT_TRUE(db_hosts_may_write(NULL));
}

TEST(says_why)
{
    struct bench b;
    char why[160];
    begin_on(&b);
    atomic_store(&b.s->alone_until_us, INT64_MAX);
    CU_ASSERT_EQUAL(db_hosts_shortcut(b.s, why, sizeof(why)), DB_HOSTS_ON);
    CU_ASSERT_STRING_EQUAL(why, "");
    atomic_store(&b.s->alone_until_us, b.now_us);
    CU_ASSERT_EQUAL(atomic_load(&b.s->state), DB_HOSTS_ON);
    hosts_note_silence(b.s, b.now_us);
    CU_ASSERT_EQUAL(atomic_load(&b.s->state), DB_HOSTS_SILENT);
    atomic_store(&b.s->alone_until_us, 0);
    CU_ASSERT_EQUAL(db_hosts_shortcut(b.s, why, sizeof(why)), DB_HOSTS_SILENT);
    b.f.others = 2;
    poll_after(&b, 190);
    CU_ASSERT_EQUAL(db_hosts_shortcut(b.s, why, sizeof(why)), DB_HOSTS_OTHERS);
    CU_ASSERT_STRING_EQUAL(why, "2 other hosts are registered: see parley host list");
}

/* Fails if the table or the version that is being written can be read: tried. */
TEST(a_writer_that_stopped_halfway)
{
    struct bench b;
    struct db_hosts_found found;
    begin(&b, true);
    db_hosts_last_poll(b.s, &found);
    CU_ASSERT_EQUAL(found.sent_us, 0);
    b.f.n = 1;
    b.f.registered = 1;
    b.f.table[0] = (struct db_host){.id = "abc", .self = true, .workers = 3};
    poll_after(&b, 190);
    db_hosts_last_poll(b.s, &found);
    CU_ASSERT_TRUE(found.keys_version == 7 && found.sent_us == b.f.sent_us && found.n == 1);
    for (size_t i = 0; i < HOSTS_FOUND_WORDS / 2; i++)
        atomic_store(&b.s->found[(atomic_load(&b.s->turn) + 1) % 2][i], ~UINT64_C(0));
    for (int i = 0; i < 2; i++) {
        memset(&found, 0, sizeof(found));
        db_hosts_last_poll(b.s, &found);
        CU_ASSERT_TRUE(found.registered == 1 && found.n == 1 && found.keys_version == 7);
        CU_ASSERT_EQUAL(found.sent_us, b.f.sent_us);
        CU_ASSERT_TRUE(strcmp(found.table[0].id, "abc") == 0 && found.table[0].workers == 3);
        poll_after(&b, 190);
    }
    db_hosts_last_poll(NULL, &found);
    CU_ASSERT_TRUE(found.sent_us == 0 && found.n == 0);
}

/* Fails if a killed worker counts for ever, if its end frees the slot of another one, or if the
 * slot is free before unclean_us is set: tried. */
TEST(the_last_worker)
{
    struct bench b;
    begin(&b, true);
    atomic_store(&b.s->workers[0], 100);
    atomic_store(&b.s->workers[DB_HOSTS_SLOTS_MAX - 1], 101);
    db_hosts_worker_ended(b.s, 0, 100, true);
    CU_ASSERT_TRUE(hosts_any_worker(b.s));
    CU_ASSERT_EQUAL(atomic_load(&b.s->unclean_us), 0);
    db_hosts_worker_ended(b.s, DB_HOSTS_SLOTS_MAX - 1, 99, true);
    CU_ASSERT_TRUE(hosts_any_worker(b.s));
    db_hosts_worker_ended(b.s, DB_HOSTS_SLOTS_MAX - 1, 101, false);
    CU_ASSERT_FALSE(hosts_any_worker(b.s));
    CU_ASSERT_TRUE(atomic_load(&b.s->unclean_us) > 0);
}

/* SPDX-License-Identifier: MIT */
/* Who shares a statement with whom, who waits, and what each one is answered. */
#include <stdio.h>
#include <time.h>

#include "../../unit/suite.h"
#include "callers.h"
#include "parley/base/uuid.h"

/* ---- alone and together ---- */

/* One that finds nothing under way does not wait, and is no batch of one. */
TEST(alone_at_once)
{
    struct callers *x = callers_open(5000);
    struct caller c = caller_make(x, "t1", "a");
    for (int i = 0; i < 3; i++) {
        caller_ready(&c);
        caller_run(&c);
        CU_ASSERT_TRUE(c.e == ERR_NONE && c.at_once);
        caller_check(&c);
    }
    CU_ASSERT_EQUAL(x->batches, 0);
    callers_close(x);
}

/* Fails if a batch has more than fit (under AddressSanitizer), or if the newest is the first:
 * tried.
 */
TEST(in_order_of_arrival)
{
    enum { CALLERS = DB_BATCHER_MAX + 4 };
    static char ids[CALLERS][8];
    struct callers *x = callers_open(5000);
    struct caller all[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "c%zu", i);
        all[i] = caller_make(x, "t1", ids[i]);
    }
    callers_run(x, all, CALLERS);
    for (size_t i = 0; i < CALLERS; i++) {
        CU_ASSERT_EQUAL(all[i].e, ERR_NONE);
        CU_ASSERT_EQUAL(all[i].batch, i / DB_BATCHER_MAX);
        CU_ASSERT_EQUAL(all[i].place, i % DB_BATCHER_MAX);
        CU_ASSERT_EQUAL(all[i].n, i < DB_BATCHER_MAX ? DB_BATCHER_MAX : 4);
    }
    CU_ASSERT_EQUAL(fx_admin("SELECT count(DISTINCT id) FROM batch_calls WHERE id <> 'gate'"),
                    CALLERS);
    callers_close(x);
}

/* Fails if a batch has members of two tenants, or if a tenant waits for another: the mutants
 * batcher-tenants-share and batcher-tenants-wait. */
TEST(tenants_apart)
{
    struct callers *x = callers_open(5000);
    struct caller all[6], other = caller_make(x, "t0", "a");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = caller_make(x, i % 2 ? "t1" : "t2", text_of("c%zu", i));
    callers_gather(x, all, ARRAY_LEN(all));
    caller_ready(&other);
    caller_run(&other);
    CU_ASSERT_TRUE(other.e == ERR_NONE && other.at_once);
    caller_check(&other);
    callers_release(x, all, ARRAY_LEN(all));
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        CU_ASSERT_TRUE(all[i].e == ERR_NONE && all[i].n == 3 && all[i].place == i / 2);
    callers_close(x);
}

/* What decides who is in a batch, and how many are in that of each; 0: it runs alone. A batch whose
 * deadline is later than that of a member counts in x->wrong. Fails if deadlines are not compared,
 * or only with the leader's, if that of one counts for all, or if the kind is not asked: the
 * mutants batcher-deadlines-far, batcher-deadline-of-one and batcher-unfit-member. */
TEST(who_shares)
{
    static const struct {
        const char *ids[5];
        int later_ms[5];
        size_t n[5];
    } rows[] = {
        {{"a", "b", "c"}, {0, 200, 100}, {3, 3, 3}},
        {{"a", "b", "c"}, {0, -200, -100}, {3, 3, 3}},
        {{"a", "b", "c"}, {0, 300, 100}, {2, 0, 2}},
        {{"a", "b", "c"}, {0, -300, -100}, {2, 0, 2}},
        {{"a", "b", "c"}, {0, -200, 200}, {2, 2, 0}},
        {{"a", "b", "c"}, {0, 200, -200}, {2, 2, 0}},
        {{"a", "b", "c", "d"}, {0, 5000, 0, 5000}, {2, 2, 2, 2}},
        {{"one", "a", "one", "b", "one"}, {0}, {3, 3, 0, 3, 0}},
        {{"a", "one", "b", "one"}, {0}, {3, 3, 3, 0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct callers *x = callers_open(5000);
        struct caller all[5];
        size_t n = 0;
        for (; n < ARRAY_LEN(all) && rows[i].ids[n]; n++) {
            all[n] = caller_make(x, "t1", rows[i].ids[n]);
            all[n].later_ms = rows[i].later_ms[n];
        }
        callers_run(x, all, n);
        for (size_t k = 0; k < n; k++) {
            CU_ASSERT_TRUE(all[k].e == ERR_NONE && all[k].n == rows[i].n[k]);
            if (all[k].n != rows[i].n[k])
                printf("row %zu, %s: %zu\n", i, all[k].id, all[k].n);
        }
        callers_close(x);
    }
}

/* ---- failures ---- */

/* Fails if a member has no error, not its text, or runs again: the mutants batcher-error-lost and
 * batcher-repeats. */
TEST(all_fail)
{
    static const enum err errors[] = {ERR_OUTCOME_UNKNOWN, ERR_TIMEOUT, ERR_OVERLOAD, ERR_INTERNAL};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct callers *x = callers_open(5000);
        struct caller all[4];
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            all[k] = caller_make(x, "t1", text_of("c%zu", k));
        x->fails = errors[i];
        callers_run(x, all, ARRAY_LEN(all));
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            CU_ASSERT_TRUE(all[k].e == errors[i] && all[k].ctx.err.err == errors[i]);
            CU_ASSERT_STRING_EQUAL(all[k].ctx.err.cause, "the batch of 4 fails");
            CU_ASSERT_TRUE(all[k].runs == 1 && !all[k].alone);
        }
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM batch_calls WHERE id <> 'gate'"), 4);
        callers_close(x);
    }
}

/* The leader and others are left out of their batch. Fails if they do not run, or if the others run
 * again: the mutant batcher-apart-lost. */
TEST(left_out)
{
    static const char *const ids[] = {"apart 1", "a", "apart 2", "b", "c", "apart 3"};
    for (size_t from = 0; from < 4; from++) {
        struct callers *x = callers_open(5000);
        struct caller all[3];
        uint64_t apart = 0;
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            all[k] = caller_make(x, "t1", ids[from + k]);
        callers_run(x, all, ARRAY_LEN(all));
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            CU_ASSERT_TRUE(all[k].e == ERR_NONE && all[k].n == 3);
            CU_ASSERT_EQUAL(all[k].alone, caller_is(&all[k], "apart"));
            apart += all[k].alone;
        }
        CU_ASSERT_EQUAL(x->fx->slot->appends.apart[DB_APART_SKIPPED - 1], apart);
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM batch_calls WHERE id <> 'gate'"), 3);
        callers_close(x);
    }
}

/* While one of a contention key runs apart, the next of that key does not wait for a batch, one of
 * another key does. Fails if it waits, or if it never waits again: the mutant batcher-overtakes. */
TEST(contended)
{
    struct callers *x = callers_open(5000);
    struct caller all[2] = {caller_make(x, "t1", "apart gate"), caller_make(x, "t1", "a")};
    struct caller same = caller_make(x, "t1", "same"), other = caller_make(x, "t1", "other");
    all[0].key = same.key = 5;
    other.key = 6;
    callers_gather(x, all, ARRAY_LEN(all));
    callers_release(x, all, ARRAY_LEN(all));
    callers_gather(x, &other, 1);
    caller_ready(&same);
    caller_run(&same);
    CU_ASSERT_TRUE(same.e == ERR_NONE && same.at_once && same.m.apart == DB_APART_CONTENDED);
    caller_check(&same);
    (void)sem_post(&all[0].go);
    caller_join(&all[0]);
    callers_release(x, &other, 1);
    CU_ASSERT_EQUAL(other.m.apart, DB_TOGETHER);
    callers_run(x, &same, 1);
    CU_ASSERT_EQUAL(same.m.apart, DB_TOGETHER);
    callers_close(x);
}

/* ---- time ---- */

/* Fails if a slow statement stops the next one: the mutant batcher-slow-stops. */
TEST(slow_stops_nobody)
{
    struct callers *x = callers_open(5000);
    struct caller c = caller_make(x, "t1", "a"), gate;
    gate_begin(&gate, x, "t1");
    caller_ready(&c);
    caller_run(&c);
    CU_ASSERT_TRUE(c.e == ERR_NONE && c.alone && !c.at_once);
    caller_check(&c);
    gate_end(&gate);
    callers_close(x);
}

/* None fits to another, and each that starts hangs, so that one starts each 50 ms. Fails if those
 * that have waited for acquire_ms wait on, or run later: the mutant batcher-waits-on. */
TEST(overload)
{
    enum { CALLERS = 16 };
    struct callers *x = callers_open(200);
    struct caller all[CALLERS];
    int refused = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        all[i] = caller_make(x, "t1", "gate");
        all[i].later_ms = (int)i * 1000; /* no two share a batch */
        caller_begin(&all[i], false);
    }
    service_sleep_ms(500);
    for (size_t i = 0; i < CALLERS; i++)
        (void)sem_post(&all[i].go);
    for (size_t i = 0; i < CALLERS; i++) {
        caller_join(&all[i]);
        CU_ASSERT_TRUE(all[i].e == ERR_NONE || (all[i].e == ERR_OVERLOAD && all[i].runs == 0));
        refused += all[i].e == ERR_OVERLOAD;
    }
    CU_ASSERT_TRUE(refused > 0 && refused < CALLERS);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM batch_calls"), CALLERS - refused);
    callers_close(x);
}

static int64_t cpu_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A batch takes longer than acquire_ms, and leaves its members out. Fails if they do not sleep
 * until it ends, or are refused because a connection must be opened: without the lines that set
 * their limits aside. */
TEST(slow_batch)
{
    struct callers *x = callers_open(200);
    struct caller all[8], gate;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = caller_make(x, "t1", text_of("apart %zu", i));
    x->batch_ms = 1500;
    gate_begin(&gate, x, "t1");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        caller_begin(&all[i], false);
    gate_end(&gate);
    const int64_t before_ms = cpu_ms();
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        caller_join(&all[i]);
        CU_ASSERT_EQUAL(all[i].e, ERR_NONE);
    }
    CU_ASSERT_TRUE(cpu_ms() - before_ms < 500);
    callers_close(x);
}

/* ---- many ---- */

enum { THREADS = 64, CALLS = 60 };

static void *call_often(void *arg)
{
    static const char *const tenants[] = {"t0", "t1", "t2"};
    static const char *const ids[] = {"a", "b", "one 1", "one 2", "apart"};
    struct callers *x = arg;
    for (int i = 0; i < CALLS; i++) {
        const uint64_t dice = random_u64();
        struct caller c = caller_make(x, tenants[dice % 3], ids[dice / 3 % 5]);
        c.later_ms = (int)(dice / 15 % 4) * 150;
        c.key = dice / 60 % 4;
        caller_ready(&c);
        caller_run(&c);
        x->wrong += c.e != ERR_NONE;
        caller_check(&c);
    }
    return NULL;
}

/* Each call has its own answer of one statement, and nobody is left in the queue. Fails if
 * one that was left out is not run: the mutant batcher-apart-lost. */
TEST(sixty_four_threads)
{
    pthread_t threads[THREADS];
    struct callers *x = callers_open(10000);
    x->deadline = deadline_in_ms(60000);
    for (size_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, call_often, x), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_TRUE(x->batches > 0);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM batch_calls"), THREADS * CALLS);
    for (size_t i = 0; i < 3; i++) {
        struct caller last = caller_make(x, text_of("t%zu", i), "a");
        caller_ready(&last);
        caller_run(&last);
        CU_ASSERT_TRUE(last.e == ERR_NONE && last.at_once && last.m.apart == DB_TOGETHER);
        caller_check(&last);
    }
    callers_close(x);
}

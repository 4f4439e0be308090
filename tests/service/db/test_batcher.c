/* SPDX-License-Identifier: MIT */
/* Who shares a statement with whom, who waits, and what each one is answered. */
#include "parley/db/batcher.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../unit/suite.h"
#include "fixture.h"
#include "parley/base/uuid.h"

/* Each call stores its id and is answered "TENANT ID". What its id begins with says more:
 * "apart": the batch leaves it out. "one": a batch has one of these. "gate": its own statement
 * waits for go. "apart gate": both. The rows come in another order than the members. */
static const struct db_stmt one = {"call_one", "INSERT INTO calls VALUES ($1, $2)"
                                               " RETURNING tenant || ' ' || id AS answer"};
static const struct db_stmt many = {
    "call_many", "WITH q AS (SELECT * FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n)),"
                 " s AS (INSERT INTO calls SELECT $1, id FROM q RETURNING 1)"
                 " SELECT q.n, $1::text || ' ' || q.id AS answer FROM q ORDER BY q.n DESC"};

struct bench;

struct caller {
    struct db_member m; /* first, so that the kind finds its caller */
    struct bench *x;
    const char *tenant, *id;
    int later_ms; /* its deadline, compared with the bench's */
    uint64_t key;
    struct request_ctx ctx;
    pthread_t thread;
    sem_t there, go;
    /* What came of it. */
    enum err e;
    char answer[64];
    int runs, batch;
    size_t place, n;     /* in its batch; n 0: in none */
    bool alone, at_once; /* at_once: it was not in the queue before */
};

struct bench {
    struct fx *fx;
    struct db_batcher *b;
    struct deadline deadline;
    struct caller gates[2]; /* of t1 and t2 */
    _Atomic enum err fails; /* what each batch returns after its statement */
    atomic_int batches, wrong;
};

static bool is(const struct caller *c, const char *what)
{
    return strncmp(c->id, what, strlen(what)) == 0;
}

static struct caller *caller_of(struct db_member *m)
{
    return (struct caller *)(void *)m;
}

/* Waits for a post, at most 10 s. */
static void await(sem_t *sem)
{
    const int64_t at_us = deadline_in_ms(10000).at_us;
    const struct timespec at = {at_us / 1000000, at_us % 1000000 * 1000};
    const int done = sem_clockwait(sem, CLOCK_MONOTONIC, &at);
    if (done != 0)
        printf("nobody came\n");
}

/* ---- the kind ---- */

static bool fits(struct db_member *const *members, size_t n, const struct db_member *m)
{
    const struct caller *next = (const struct caller *)(const void *)m;
    for (size_t i = 0; i < n; i++)
        if (is(next, "one") && is(caller_of(members[i]), "one"))
            return false;
    return true;
}

static void take_answer(struct caller *c, const struct db_rows *rows, int row)
{
    const struct sv answer = db_get_text(rows, row, db_column(rows, "answer"));
    snprintf(c->answer, sizeof(c->answer), "%.*s", SV_ARG(answer));
}

static enum err run_batch(void *service, struct request_ctx *ctx, struct db_member *const *members,
                          size_t n)
{
    struct bench *x = service;
    struct caller *stored[DB_BATCHER_MAX];
    struct sv ids[DB_BATCHER_MAX];
    struct db_rows rows;
    size_t k = 0;
    const int batch = atomic_fetch_add(&x->batches, 1);
    for (size_t i = 0; i < n; i++) {
        struct caller *c = caller_of(members[i]);
        c->batch = batch;
        c->place = i;
        c->n = n;
        x->wrong += !sv_eq(ctx->tenant, c->ctx.tenant);
        x->wrong += ctx->deadline.at_us > c->ctx.deadline.at_us;
        c->m.apart = is(c, "apart") ? DB_APART_SKIPPED : DB_TOGETHER;
        if (c->m.apart)
            continue;
        c->runs++;
        ids[k] = sv_from(c->id);
        stored[k++] = c;
    }
    struct db_param p[2] = {db_text(ctx->tenant)};
    TRY(db_text_array(ctx, ids, k, &p[1]));
    TRY(db_query(x->fx->db, ctx, DB_WRITE, &many, p, ARRAY_LEN(p), &rows, NULL));
    for (int row = 0; row < rows.count; row++)
        take_answer(stored[db_get_i64(&rows, row, db_column(&rows, "n")) - 1], &rows, row);
    return x->fails ? ctx_fault(ctx, x->fails, "the batch of %zu fails", n) : ERR_NONE;
}

static enum err run_alone(void *service, struct db_member *m)
{
    struct bench *x = service;
    struct caller *c = caller_of(m);
    struct db_rows rows;
    c->runs++;
    c->alone = true;
    c->at_once = c->ctx.before_wait.fn != NULL; /* ctx_will_wait removes it */
    if (is(c, "gate") || is(c, "apart gate")) {
        (void)sem_post(&c->there);
        await(&c->go);
    }
    const struct db_param p[] = {db_text(c->ctx.tenant), db_text(sv_from(c->id))};
    TRY(db_query(x->fx->db, &c->ctx, DB_WRITE, &one, p, ARRAY_LEN(p), &rows, NULL));
    take_answer(c, &rows, 0);
    return ERR_NONE;
}

static const struct db_batcher_kind kind = {fits, run_batch, run_alone};

/* ---- callers ---- */

static struct bench *bench_open(int acquire_ms)
{
    static struct bench x;
    struct db_settings s = fx_settings(NULL);
    if (fx_admin("SELECT count(*) FROM pg_class WHERE relname = 'calls'") == 0)
        fx_admin("CREATE TABLE calls (tenant text, id text);"
                 "ALTER TABLE calls ENABLE ROW LEVEL SECURITY;"
                 "CREATE POLICY t ON calls USING (tenant = current_setting('parley.tenant'));"
                 "GRANT ALL ON calls TO " FX_ROLE);
    fx_admin("DELETE FROM calls");
    s.acquire_ms = acquire_ms;
    x = (struct bench){.fx = fx_open(&s), .deadline = deadline_in_ms(10000)};
    x.b = db_batcher_create(x.fx->db, &kind, &x, &x.fx->slot->appends);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x.b);
    return &x;
}

static void bench_close(struct bench *x)
{
    CU_ASSERT_EQUAL(x->wrong, 0);
    db_batcher_destroy(x->b);
    fx_close(x->fx);
}

static struct caller caller(struct bench *x, const char *tenant, const char *id)
{
    return (struct caller){.x = x, .tenant = tenant, .id = id};
}

static void *call(void *arg)
{
    struct caller *c = arg;
    c->e = db_batcher_run(c->x->b, &c->m);
    return NULL;
}

/* It is in the queue, and waits there for go. Until then it neither leads nor makes one lead. */
static void in_queue(void *arg)
{
    struct caller *c = arg;
    (void)sem_post(&c->there);
    await(&c->go);
}

static void go_on(void *arg)
{
    (void)arg;
}

static void make_ready(struct caller *c)
{
    const struct deadline at = {c->x->deadline.at_us + c->later_ms * INT64_C(1000)};
    *c = (struct caller){
        .x = c->x, .tenant = c->tenant, .id = c->id, .later_ms = c->later_ms, .key = c->key};
    ctx_init(&c->ctx, arena_create(1 << 20), at, sv_from(c->tenant), SV("r"));
    c->ctx.contention_key = c->key;
    c->ctx.before_wait.fn = go_on;
    c->m.ctx = &c->ctx;
    (void)sem_init(&c->there, 0, 0);
    (void)sem_init(&c->go, 0, 0);
}

static void begin(struct caller *c, bool gathered)
{
    make_ready(c);
    if (gathered)
        c->ctx.before_wait = (struct ctx_hook){in_queue, c};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&c->thread, NULL, call, c), 0);
}

/* Whoever succeeds has its own answer, of one statement. */
static void check(struct caller *c)
{
    char want[64];
    snprintf(want, sizeof(want), "%s %s", c->tenant, c->id);
    if (c->e == ERR_NONE) {
        CU_ASSERT_STRING_EQUAL(c->answer, want);
        CU_ASSERT_EQUAL(c->runs, 1);
    }
    CU_ASSERT_EQUAL(c->ctx.trace.batch, c->n);
    arena_destroy(c->ctx.arena);
}

static void join(struct caller *c)
{
    pthread_join(c->thread, NULL);
    check(c);
}

static void begin_gate(struct caller *gate, struct bench *x, const char *tenant)
{
    *gate = caller(x, tenant, "gate");
    begin(gate, false);
    await(&gate->there);
}

static void end_gate(struct caller *gate)
{
    (void)sem_post(&gate->go);
    join(gate);
}

static void release(struct bench *x, struct caller *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)sem_post(&all[i].go);
    for (size_t i = 0; i < ARRAY_LEN(x->gates); i++)
        end_gate(&x->gates[i]);
}

static void join_all(struct caller *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        join(&all[i]);
}

/* Lets them wait in this order, while a statement of each tenant is under way. It begins anew if
 * that took so long that a second one of them may lead (SLOW_US). */
static void gather(struct bench *x, struct caller *all, size_t n)
{
    for (;;) {
        fx_admin("DELETE FROM calls");
        x->batches = 0;
        const int64_t began = clock_mono_us();
        begin_gate(&x->gates[0], x, "t1");
        begin_gate(&x->gates[1], x, "t2");
        for (size_t i = 0; i < n; i++) {
            begin(&all[i], true);
            await(&all[i].there);
        }
        if (clock_mono_us() - began < 80000)
            return;
        release(x, all, n);
        for (size_t i = 0; i < n; i++) /* it may pass two gates */
            (void)sem_post(&all[i].go);
        join_all(all, n);
    }
}

static void run_gathered(struct bench *x, struct caller *all, size_t n)
{
    gather(x, all, n);
    release(x, all, n);
    join_all(all, n);
}

/* ---- alone and together ---- */

/* Fails if one that finds nothing under way waits, or becomes a batch of one: tried. */
TEST(alone_at_once)
{
    struct bench *x = bench_open(5000);
    struct caller c = caller(x, "t1", "a");
    for (int i = 0; i < 3; i++) {
        make_ready(&c);
        call(&c);
        CU_ASSERT_TRUE(c.e == ERR_NONE && c.at_once);
        check(&c);
    }
    CU_ASSERT_EQUAL(x->batches, 0);
    bench_close(x);
}

/* Fails if a batch has more than fit (under AddressSanitizer), or if the newest is the first:
 * tried.
 */
TEST(in_order_of_arrival)
{
    enum { CALLERS = DB_BATCHER_MAX + 4 };
    static char ids[CALLERS][8];
    struct bench *x = bench_open(5000);
    struct caller all[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "c%zu", i);
        all[i] = caller(x, "t1", ids[i]);
    }
    run_gathered(x, all, CALLERS);
    for (size_t i = 0; i < CALLERS; i++) {
        CU_ASSERT_EQUAL(all[i].e, ERR_NONE);
        CU_ASSERT_EQUAL(all[i].batch, i / DB_BATCHER_MAX);
        CU_ASSERT_EQUAL(all[i].place, i % DB_BATCHER_MAX);
        CU_ASSERT_EQUAL(all[i].n, i < DB_BATCHER_MAX ? DB_BATCHER_MAX : 4);
    }
    CU_ASSERT_EQUAL(fx_admin("SELECT count(DISTINCT id) FROM calls WHERE id <> 'gate'"), CALLERS);
    bench_close(x);
}

/* Fails if a batch has members of two tenants, or if a tenant waits for another: the mutants
 * batcher-tenants-share and batcher-tenants-wait. */
TEST(tenants_apart)
{
    struct bench *x = bench_open(5000);
    struct caller all[6], other = caller(x, "t0", "a");
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = caller(x, i % 2 ? "t1" : "t2", text_of("c%zu", i));
    gather(x, all, ARRAY_LEN(all));
    make_ready(&other);
    call(&other);
    CU_ASSERT_TRUE(other.e == ERR_NONE && other.at_once);
    check(&other);
    release(x, all, ARRAY_LEN(all));
    join_all(all, ARRAY_LEN(all));
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        CU_ASSERT_TRUE(all[i].e == ERR_NONE && all[i].n == 3 && all[i].place == i / 2);
    bench_close(x);
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
        struct bench *x = bench_open(5000);
        struct caller all[5];
        size_t n = 0;
        for (; n < ARRAY_LEN(all) && rows[i].ids[n]; n++) {
            all[n] = caller(x, "t1", rows[i].ids[n]);
            all[n].later_ms = rows[i].later_ms[n];
        }
        run_gathered(x, all, n);
        for (size_t k = 0; k < n; k++) {
            CU_ASSERT_TRUE(all[k].e == ERR_NONE && all[k].n == rows[i].n[k]);
            if (all[k].n != rows[i].n[k])
                printf("row %zu, %s: %zu\n", i, all[k].id, all[k].n);
        }
        bench_close(x);
    }
}

/* ---- failures ---- */

/* Fails if a member has no error, not its text, or runs again: the mutants batcher-error-lost and
 * batcher-repeats. */
TEST(all_fail)
{
    static const enum err errors[] = {ERR_OUTCOME_UNKNOWN, ERR_TIMEOUT, ERR_OVERLOAD, ERR_INTERNAL};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        struct bench *x = bench_open(5000);
        struct caller all[4];
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            all[k] = caller(x, "t1", text_of("c%zu", k));
        x->fails = errors[i];
        run_gathered(x, all, ARRAY_LEN(all));
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            CU_ASSERT_TRUE(all[k].e == errors[i] && all[k].ctx.err.err == errors[i]);
            CU_ASSERT_STRING_EQUAL(all[k].ctx.err.cause, "the batch of 4 fails");
            CU_ASSERT_TRUE(all[k].runs == 1 && !all[k].alone);
        }
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM calls WHERE id <> 'gate'"), 4);
        bench_close(x);
    }
}

/* The leader and others are left out of their batch. Fails if they do not run, or if the others run
 * again: the mutant batcher-apart-lost. */
TEST(left_out)
{
    static const char *const ids[] = {"apart 1", "a", "apart 2", "b", "c", "apart 3"};
    for (size_t from = 0; from < 4; from++) {
        struct bench *x = bench_open(5000);
        struct caller all[3];
        uint64_t apart = 0;
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            all[k] = caller(x, "t1", ids[from + k]);
        run_gathered(x, all, ARRAY_LEN(all));
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            CU_ASSERT_TRUE(all[k].e == ERR_NONE && all[k].n == 3);
            CU_ASSERT_EQUAL(all[k].alone, is(&all[k], "apart"));
            apart += all[k].alone;
        }
        CU_ASSERT_EQUAL(x->fx->slot->appends.apart[DB_APART_SKIPPED - 1], apart);
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM calls WHERE id <> 'gate'"), 3);
        bench_close(x);
    }
}

/* While one of a contention key runs apart, the next of that key does not wait for a batch, one of
 * another key does. Fails if it waits, or if it never waits again: the mutant batcher-overtakes. */
TEST(contended)
{
    struct bench *x = bench_open(5000);
    struct caller all[2] = {caller(x, "t1", "apart gate"), caller(x, "t1", "a")};
    struct caller same = caller(x, "t1", "same"), other = caller(x, "t1", "other");
    all[0].key = same.key = 5;
    other.key = 6;
    gather(x, all, ARRAY_LEN(all));
    release(x, all, ARRAY_LEN(all));
    await(&all[0].there);
    join(&all[1]);
    gather(x, &other, 1);
    make_ready(&same);
    call(&same);
    CU_ASSERT_TRUE(same.e == ERR_NONE && same.at_once && same.m.apart == DB_APART_CONTENDED);
    check(&same);
    (void)sem_post(&all[0].go);
    join(&all[0]);
    release(x, &other, 1);
    join(&other);
    CU_ASSERT_EQUAL(other.m.apart, DB_TOGETHER);
    run_gathered(x, &same, 1);
    CU_ASSERT_EQUAL(same.m.apart, DB_TOGETHER);
    bench_close(x);
}

/* ---- time ---- */

/* Fails if a slow statement stops the next one: the mutant batcher-slow-stops. */
TEST(slow_stops_nobody)
{
    struct bench *x = bench_open(5000);
    struct caller c = caller(x, "t1", "a"), gate;
    begin_gate(&gate, x, "t1");
    make_ready(&c);
    call(&c);
    CU_ASSERT_TRUE(c.e == ERR_NONE && c.alone && !c.at_once);
    check(&c);
    end_gate(&gate);
    bench_close(x);
}

/* None fits to another, and each that starts hangs, so that one starts each 50 ms. Fails if those
 * that have waited for acquire_ms wait on, or run later: the mutant batcher-waits-on. */
TEST(overload)
{
    enum { CALLERS = 16 };
    struct bench *x = bench_open(200);
    struct caller all[CALLERS];
    int refused = 0;
    for (size_t i = 0; i < CALLERS; i++) {
        all[i] = caller(x, "t1", "gate");
        all[i].later_ms = (int)i * 1000; /* no two share a batch */
        begin(&all[i], false);
    }
    service_sleep_ms(500);
    for (size_t i = 0; i < CALLERS; i++)
        (void)sem_post(&all[i].go);
    for (size_t i = 0; i < CALLERS; i++) {
        join(&all[i]);
        CU_ASSERT_TRUE(all[i].e == ERR_NONE || (all[i].e == ERR_OVERLOAD && all[i].runs == 0));
        refused += all[i].e == ERR_OVERLOAD;
    }
    CU_ASSERT_TRUE(refused > 0 && refused < CALLERS);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM calls"), CALLERS - refused);
    bench_close(x);
}

/* ---- many ---- */

enum { THREADS = 64, CALLS = 60 };

static void *call_often(void *arg)
{
    static const char *const tenants[] = {"t0", "t1", "t2"};
    static const char *const ids[] = {"a", "b", "one 1", "one 2", "apart"};
    struct bench *x = arg;
    for (int i = 0; i < CALLS; i++) {
        const uint64_t dice = random_u64();
        struct caller c = caller(x, tenants[dice % 3], ids[dice / 3 % 5]);
        c.later_ms = (int)(dice / 15 % 4) * 150;
        c.key = dice / 60 % 4;
        make_ready(&c);
        call(&c);
        x->wrong += c.e != ERR_NONE;
        check(&c);
    }
    return NULL;
}

/* Each call has its own answer of one statement, and nobody is left in the queue. It hangs
 * if members go on before their batch is done: tried. */
TEST(sixty_four_threads)
{
    pthread_t threads[THREADS];
    struct bench *x = bench_open(10000);
    x->deadline = deadline_in_ms(60000);
    for (size_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, call_often, x), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_TRUE(x->batches > 0);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM calls"), THREADS * CALLS);
    for (size_t i = 0; i < 3; i++) {
        struct caller last = caller(x, text_of("t%zu", i), "a");
        make_ready(&last);
        call(&last);
        CU_ASSERT_TRUE(last.e == ERR_NONE && last.at_once && last.m.apart == DB_TOGETHER);
        check(&last);
    }
    bench_close(x);
}

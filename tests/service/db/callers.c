/* SPDX-License-Identifier: MIT */
#include "callers.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct db_stmt one = {"call_one", "INSERT INTO batch_calls VALUES ($1, $2)"
                                               " RETURNING tenant || ' ' || id AS answer"};
static const struct db_stmt many = {
    "call_many", "WITH q AS (SELECT * FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n)),"
                 " s AS (INSERT INTO batch_calls SELECT $1, id FROM q RETURNING 1)"
                 " SELECT q.n, $1::text || ' ' || q.id AS answer FROM q ORDER BY q.n DESC"};

bool caller_is(const struct caller *c, const char *what)
{
    return strncmp(c->id, what, strlen(what)) == 0;
}

static struct caller *caller_of(struct db_member *m)
{
    return (struct caller *)(void *)m;
}

void caller_await(sem_t *sem)
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
        if (caller_is(next, "one") && caller_is(caller_of(members[i]), "one"))
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
    struct callers *x = service;
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
        c->m.apart = caller_is(c, "apart") ? DB_APART_SKIPPED : DB_TOGETHER;
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
    service_sleep_ms(x->batch_ms);
    return x->fails ? ctx_fault(ctx, x->fails, "the batch of %zu fails", n) : ERR_NONE;
}

static enum err run_alone(void *service, struct db_member *m)
{
    struct callers *x = service;
    struct caller *c = caller_of(m);
    struct db_rows rows;
    c->runs++;
    c->alone = true;
    c->at_once = c->ctx.before_wait.fn != NULL; /* ctx_will_wait removes it */
    if (caller_is(c, "gate") || caller_is(c, "apart gate")) {
        (void)sem_post(&c->there);
        caller_await(&c->go);
        c->ctx.acquire_by = (struct deadline){0}; /* it stands for a statement that hangs */
    }
    const struct db_param p[] = {db_text(c->ctx.tenant), db_text(sv_from(c->id))};
    TRY(db_query(x->fx->db, &c->ctx, DB_WRITE, &one, p, ARRAY_LEN(p), &rows, NULL));
    take_answer(c, &rows, 0);
    return ERR_NONE;
}

static const struct db_batcher_kind kind = {fits, run_batch, run_alone};

/* ---- callers ---- */

struct callers *callers_open(int acquire_ms)
{
    static struct callers x;
    struct db_settings s = fx_settings(NULL);
    if (fx_admin("SELECT count(*) FROM pg_class WHERE relname = 'batch_calls'") == 0)
        fx_admin("CREATE TABLE batch_calls (tenant text, id text);"
                 "ALTER TABLE batch_calls ENABLE ROW LEVEL SECURITY;"
                 "CREATE POLICY t ON batch_calls USING (tenant = current_setting('parley.tenant'));"
                 "GRANT ALL ON batch_calls TO " FX_ROLE);
    fx_admin("DELETE FROM batch_calls");
    s.acquire_ms = acquire_ms;
    x = (struct callers){.fx = fx_open(&s), .deadline = deadline_in_ms(10000)};
    x.b = db_batcher_create(x.fx->db, &kind, &x, &x.fx->slot->appends);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x.b);
    return &x;
}

void callers_close(struct callers *x)
{
    CU_ASSERT_EQUAL(x->wrong, 0);
    db_batcher_destroy(x->b);
    fx_close(x->fx);
}

struct caller caller_make(struct callers *x, const char *tenant, const char *id)
{
    return (struct caller){.x = x, .tenant = tenant, .id = id};
}

void *caller_run(void *arg)
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
    caller_await(&c->go);
}

static void go_on(void *arg)
{
    (void)arg;
}

void caller_ready(struct caller *c)
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

void caller_begin(struct caller *c, bool gathered)
{
    caller_ready(c);
    if (gathered)
        c->ctx.before_wait = (struct ctx_hook){in_queue, c};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&c->thread, NULL, caller_run, c), 0);
}

void caller_check(struct caller *c)
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

void caller_join(struct caller *c)
{
    pthread_join(c->thread, NULL);
    caller_check(c);
}

void gate_begin(struct caller *gate, struct callers *x, const char *tenant)
{
    *gate = caller_make(x, tenant, "gate");
    caller_begin(gate, false);
    caller_await(&gate->there);
}

void gate_end(struct caller *gate)
{
    (void)sem_post(&gate->go);
    caller_join(gate);
}

static bool waits_again(const struct caller *c)
{
    return caller_is(c, "apart gate");
}

void callers_release(struct callers *x, struct caller *all, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(x->gates); i++)
        gate_end(&x->gates[i]);
    for (size_t i = 0; i < n; i++) {
        (void)sem_post(&all[i].go);
        if (waits_again(&all[i]))
            caller_await(&all[i].there);
        else
            caller_join(&all[i]);
    }
}

void callers_gather(struct callers *x, struct caller *all, size_t n)
{
    for (;;) {
        fx_admin("DELETE FROM batch_calls");
        x->batches = 0;
        const int64_t began = clock_mono_us();
        gate_begin(&x->gates[0], x, "t1");
        gate_begin(&x->gates[1], x, "t2");
        for (size_t i = 0; i < n; i++) {
            caller_begin(&all[i], true);
            caller_await(&all[i].there);
        }
        if (clock_mono_us() - began < 80000)
            return;
        callers_release(x, all, n);
        for (size_t i = 0; i < n; i++) {
            if (!waits_again(&all[i]))
                continue;
            (void)sem_post(&all[i].go);
            caller_join(&all[i]);
        }
    }
}

void callers_run(struct callers *x, struct caller *all, size_t n)
{
    callers_gather(x, all, n);
    callers_release(x, all, n);
}

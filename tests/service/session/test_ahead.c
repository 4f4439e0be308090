/* SPDX-License-Identifier: MIT */
/* Reads that were read ahead together, by many threads at once: two tenants whose sessions have the
 * same ids, absent, of other users, changed meanwhile. FAULTS=long: 100,000 of them. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"
#include "crowd.h"

enum { IDS = 12, THREADS = 12, LARGE = 10, ABSENT = 11, LARGE_PARTS = 9 };
static const char *const tenants[] = {"ah1", "ah2"};

/* "tenant id" is in the context. */
static void make(struct world *w, const char *tenant, const char *id, const char *large, size_t n)
{
    char context[64];
    struct session_message_draft m[LARGE_PARTS];
    snprintf(context, sizeof(context), "{\"mark\":\"%s %s\"}", tenant, id);
    for (size_t i = 0; i < LARGE_PARTS; i++) {
        m[i] = message_of("user", "\"text\"");
        if (large)
            m[i].content = (struct sv){large, n};
    }
    /* Its user has the tenant's name. */
    struct session_draft d = draft_with(id, tenant, m, large ? LARGE_PARTS : 1);
    d.context = sv_from(context);
    OK(world_create(w, tenant, &d, &nobody));
}

static bool is_own(const struct session *s, const char *tenant, const char *id)
{
    char context[64];
    snprintf(context, sizeof(context), "{\"mark\":\"%s %s\"}", tenant, id);
    return sv_eq(s->session_id, sv_from(id)) && sv_eq(s->user_id, sv_from(tenant)) &&
           sv_eq(s->context, sv_from(context)) && !s->degraded;
}

/* ---- many at once ---- */

/* One of those that are read ahead together. */
struct member {
    struct caller c;
    const char *tenant;
    char id[24];
    bool none; /* it does not exist, or is another user's */
    struct sv user;
};

static int rounds(void)
{
    const char *faults = getenv("FAULTS");
    return (faults && strcmp(faults, "long") == 0 ? 100800 : 10080) / THREADS / SESSION_AHEAD_MAX;
}

static struct session_ahead *prepare(struct crowd *crowd, struct member *m)
{
    const uint64_t dice = random_u64();
    const int k = dice / 4 % 200 == 7 ? LARGE : dice / 4 % 11 == 10 ? ABSENT : (int)(dice / 4 % 10);
    const bool foreign = dice / 65536 % 10 == 0;
    m->tenant = tenants[dice % 2];
    m->none = foreign || k == ABSENT;
    m->user = sv_from(tenants[foreign ? dice % 2 == 0 : dice % 2]);
    snprintf(m->id, sizeof(m->id), "ah:%d", k);
    struct request_ctx *ctx = caller_request(&m->c, m->tenant);
    if (dice / 1048576 % 8 == 0) /* now and then nothing is in memory */
        cache_remove(crowd->w->cache, (struct cache_key){ctx->tenant, sv_from(m->id)});
    return session_ahead_of(ctx, sv_from(m->id));
}

static void work(struct crowd *crowd, struct caller *c, int me)
{
    struct member all[SESSION_AHEAD_MAX];
    struct session_ahead *ahead[SESSION_AHEAD_MAX];
    for (int i = 0; i < SESSION_AHEAD_MAX; i++)
        caller_open(&all[i].c);
    for (int round = 0; round < rounds(); round++) {
        (void)caller_request(c, ""); /* resets what is shared */
        for (int i = 0; i < SESSION_AHEAD_MAX; i++)
            ahead[i] = prepare(crowd, &all[i]);
        session_read_ahead(crowd->w->sessions, c->arena, ahead, SESSION_AHEAD_MAX);
        for (int i = 0; i < SESSION_AHEAD_MAX; i++) {
            struct member *m = &all[i];
            struct session s = {.version = 0};
            crowd->created += session_is_ahead(&m->c.ctx);
            enum err e =
                session_get(crowd->w->sessions, &m->c.ctx, sv_from(m->id), m->user, 20, &s);
            if (crowd_try_again(e))
                continue;
            crowd->failed += e != (m->none ? ERR_NOT_FOUND : ERR_NONE);
            crowd->conflicts += e == ERR_NONE && !is_own(&s, m->tenant, m->id);
            crowd->calls_done++;
        }
    }
    for (int i = 0; i < SESSION_AHEAD_MAX; i++)
        caller_close(&all[i].c);
    (void)me;
}

/* Fails if a member gets the row of another: tests/plants/batch-rows-mixed-up. */
static void equal_ids_at_once(void)
{
    const size_t n = (8 << 20) / LARGE_PARTS - 16;
    char id[24], *large = malloc(n);
    struct world *w = world_open(true);
    CU_ASSERT_PTR_NOT_NULL_FATAL(large);
    memset(large, 'x', n);
    large[0] = large[n - 1] = '"';
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < ABSENT; k++) {
            snprintf(id, sizeof(id), "ah:%d", k);
            make(w, tenants[t], id, k == LARGE ? large : NULL, n);
        }
    struct crowd crowd = crowd_at(w, "");
    crowd_run(&crowd, THREADS, work);
    const int all = rounds() * THREADS * SESSION_AHEAD_MAX;
    CU_ASSERT_EQUAL(crowd.conflicts, 0); /* foreign */
    CU_ASSERT_EQUAL(crowd.failed, 0);
    CU_ASSERT_TRUE(crowd.calls_done > all * 9 / 10);
    CU_ASSERT_TRUE(crowd.created > all / 2); /* were there ahead */
    world_close(w);
    free(large);
}

/* ---- one by one ---- */

enum { KNOWN, CHANGED, DELETED, OTHER_USER, NOT_IN_MEMORY, EXPIRED, KINDS };

struct few {
    struct cluster *c;
    struct caller shared, callers[KINDS];
    char ids[KINDS][24];
    struct session_ahead *ahead[KINDS];
};

static void few_open(struct few *f, const char *prefix)
{
    f->c = cluster_open();
    caller_open(&f->shared);
    for (int i = 0; i < KINDS; i++) {
        caller_open(&f->callers[i]);
        snprintf(f->ids[i], sizeof(f->ids[i]), "%s:%d", prefix, i);
        make(f->c->a, "t1", f->ids[i], NULL, 0);
    }
}

static void few_close(struct few *f)
{
    for (int i = 0; i < KINDS; i++)
        caller_close(&f->callers[i]);
    caller_close(&f->shared);
    cluster_close(f->c);
}

static void few_read_ahead(struct few *f)
{
    (void)caller_request(&f->shared, "");
    for (int i = 0; i < KINDS; i++)
        f->ahead[i] = session_ahead_of(&f->callers[i].ctx, sv_from(f->ids[i]));
    session_read_ahead(f->c->a->sessions, f->shared.arena, f->ahead, KINDS);
}

static enum err get(struct few *f, int who, int id, const char *user, struct session *s)
{
    *s = (struct session){.version = 0};
    return session_get(f->c->a->sessions, &f->callers[who].ctx, sv_from(f->ids[id]), sv_from(user),
                       20, s);
}

/* What another host has changed or deleted before is seen; what is changed afterwards may be, and
 * what was read ahead is used once, and for its own session only. Fails if take_ahead does not
 * compare the id (tests/plants/ahead-of-another), or gives it twice (tests/plants/ahead-twice). */
static void each_has_its_own(void)
{
    struct few f;
    struct session s;
    few_open(&f, "few");
    struct world *other = f.c->b;
    OK(cluster_append(other, f.ids[CHANGED], 2));
    OK(world_delete(other, "t1", f.ids[DELETED], &nobody));
    cache_remove(f.c->a->cache, (struct cache_key){SV("t1"), sv_from(f.ids[NOT_IN_MEMORY])});
    world_expire(f.ids[EXPIRED]);
    for (int i = 0; i < KINDS; i++)
        (void)caller_request(&f.callers[i], "t1");
    few_read_ahead(&f);
    for (int i = 0; i < KINDS; i++)
        CU_ASSERT_EQUAL(session_is_ahead(&f.callers[i].ctx), i != NOT_IN_MEMORY);
    OK(get(&f, CHANGED, CHANGED, "t1", &s));
    CU_ASSERT_TRUE(s.version == 2 && s.n_messages == 3);
    CU_ASSERT_EQUAL(get(&f, DELETED, DELETED, "t1", &s), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(get(&f, EXPIRED, EXPIRED, "t1", &s), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(get(&f, OTHER_USER, OTHER_USER, "t2", &s), ERR_NOT_FOUND);
    OK(get(&f, NOT_IN_MEMORY, NOT_IN_MEMORY, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[NOT_IN_MEMORY]));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[KNOWN]) && s.version == 1);
    /* Once: the second read of a request asks. */
    OK(cluster_append(other, f.ids[KNOWN], 1));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_EQUAL(s.version, 2);
    /* For its own session, and for no later one then. */
    for (int i = 0; i < KINDS; i++)
        (void)caller_request(&f.callers[i], "t1");
    few_read_ahead(&f);
    OK(get(&f, KNOWN, CHANGED, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[CHANGED]));
    OK(cluster_append(other, f.ids[KNOWN], 1));
    OK(get(&f, KNOWN, KNOWN, "t1", &s));
    CU_ASSERT_EQUAL(s.version, 3);
    OK(get(&f, DELETED, KNOWN, "t1", &s));
    CU_ASSERT_TRUE(is_own(&s, "t1", f.ids[KNOWN]));
    few_close(&f);
}

/* One has no time left, the table is locked: none takes longer than it has. Fails if the batch has
 * the time of the first one only: tried. */
static void in_time(void)
{
    static const int rows[][2] = {{-1, 5000}, {1500, -1}, {5000, 700}}; /* of the first; the rest */
    struct few f;
    struct session s;
    few_open(&f, "time");
    for (size_t row = 0; row < ARRAY_LEN(rows); row++) {
        const bool locked = row == 2;
        struct gate *gate =
            locked ? gate_close("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE") : NULL;
        const int64_t began = clock_mono_us();
        for (int i = 0; i < KINDS; i++)
            caller_request(&f.callers[i], "t1")->deadline = deadline_in_ms(rows[row][i > 0]);
        few_read_ahead(&f);
        if (locked)
            CU_ASSERT_TRUE(clock_mono_us() - began < 2500000);
        for (int i = KINDS - 1; i > 0; i--) {
            const enum err e = get(&f, i, i, "t1", &s);
            CU_ASSERT_TRUE(rows[row][1] < 0 || locked ? e == ERR_TIMEOUT : e == ERR_NONE);
        }
        if (locked)
            CU_ASSERT_TRUE(clock_mono_us() - began < 3000000);
        if (gate)
            gate_open(gate);
        const enum err e = get(&f, 0, 0, "t1", &s);
        CU_ASSERT_EQUAL(e, rows[row][0] < 0 ? ERR_TIMEOUT : ERR_NONE);
    }
    few_close(&f);
}

SUITE(session_ahead, "session/ahead", {"equal ids at once", equal_ids_at_once},
      {"each has its own", each_has_its_own}, {"in time", in_time})

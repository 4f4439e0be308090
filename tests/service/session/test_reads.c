/* SPDX-License-Identifier: MIT */
/* Reads by many threads at once, which share statements: two tenants whose sessions have the same
 * ids, of any size, absent, and of other users. FAULTS=long: 100,000 of them. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"
#include "crowd.h"

enum { IDS = 12, THREADS = 24, LARGE = 10, ABSENT = 11, LARGE_PARTS = 9, TOGETHER = 6 };
static const char *const tenants[] = {"rd1", "rd2"};

/* "tenant id" is in the context and in all messages. The large one has 8 MB in nine messages. */
static void make(struct world *w, const char *tenant, int k, char *large, size_t large_n)
{
    char id[16], mark[32], context[64];
    struct session_message_draft m[LARGE_PARTS];
    snprintf(id, sizeof(id), "rd:%d", k);
    snprintf(mark, sizeof(mark), "\"%s %s\"", tenant, id);
    snprintf(context, sizeof(context), "{\"mark\":%s}", mark);
    struct session_draft d = draft_with(
        id, tenant, m, k == LARGE ? LARGE_PARTS : (size_t)k); /* its user has the tenant's name */
    d.context = sv_from(context);
    for (size_t i = 0; i < LARGE_PARTS; i++)
        m[i] = message_of("user", mark);
    if (k == LARGE) {
        memset(large, 'x', large_n);
        large[0] = '"';
        memcpy(large + 1, mark + 1, strlen(mark) - 2);
        large[large_n - 1] = '"';
        for (size_t i = 0; i < LARGE_PARTS; i++)
            m[i].content = (struct sv){large, large_n};
    }
    OK(world_create(w, tenant, &d, &nobody));
}

/* All that is in it is the session's. */
static bool is_own(const struct session *s, const char *tenant, int k)
{
    char id[16], mark[32], context[64];
    const int n = snprintf(mark, sizeof(mark), "\"%s rd:%d\"", tenant, k);
    snprintf(id, sizeof(id), "rd:%d", k);
    snprintf(context, sizeof(context), "{\"mark\":%s}", mark);
    bool own = sv_eq(s->session_id, sv_from(id)) && sv_eq(s->user_id, sv_from(tenant)) &&
               sv_eq(s->context, sv_from(context)) &&
               s->n_messages == (k == LARGE ? LARGE_PARTS : (size_t)k);
    for (size_t i = 0; own && i < s->n_messages; i++)
        own = s->messages[i].content.n >= (size_t)n &&
              memcmp(s->messages[i].content.p, mark, (size_t)n - 1) == 0;
    return own;
}

static int rounds(void)
{
    const char *faults = getenv("FAULTS");
    return (faults && strcmp(faults, "long") == 0 ? 100800 : 10080) / THREADS;
}

/* One of those that are asked for together. */
struct ask {
    struct caller caller;
    char id[16];
    int tenant, which;
    bool foreign;
};

static struct session_ahead *choose(struct crowd *crowd, struct ask *a)
{
    /* The large one is rare: it is 16 MB on its way. */
    const uint64_t dice = random_u64();
    const int k = (int)(dice / 256 % 11);
    a->tenant = (int)(dice % 2);
    a->which = dice % 200 == 7 ? LARGE : k == LARGE ? ABSENT : k;
    a->foreign = dice / 65536 % 10 == 0;
    snprintf(a->id, sizeof(a->id), "rd:%d", a->which);
    struct request_ctx *ctx = caller_request(&a->caller, tenants[a->tenant]);
    if (dice / 1048576 % 8 == 0) /* now and then nothing is in memory */
        cache_remove(crowd->w->cache, (struct cache_key){ctx->tenant, sv_from(a->id)});
    return session_ahead_of(ctx, sv_from(a->id));
}

static void answer(struct crowd *crowd, struct ask *a)
{
    struct session s = {.version = 0};
    enum err e;
    while (crowd_try_again(e = session_get(crowd->w->sessions, &a->caller.ctx, sv_from(a->id),
                                           sv_from(tenants[a->foreign ? !a->tenant : a->tenant]),
                                           20, &s)))
        caller_request(&a->caller, tenants[a->tenant]);
    const bool none = a->foreign || a->which == ABSENT;
    crowd->failed += e != (none ? ERR_NOT_FOUND : ERR_NONE);
    crowd->conflicts += e == ERR_NONE && !is_own(&s, tenants[a->tenant], a->which);
    crowd->calls_done++;
}

static void work(struct crowd *crowd, struct caller *c, int me)
{
    struct session_ahead *ahead[TOGETHER];
    struct ask asks[TOGETHER];
    for (int k = 0; k < TOGETHER; k++)
        caller_open(&asks[k].caller);
    for (int i = 0; i < rounds(); i += TOGETHER) {
        const size_t n = random_u64() % TOGETHER + 1;
        for (size_t k = 0; k < TOGETHER; k++)
            ahead[k] = choose(crowd, &asks[k]);
        caller_request(c, "");
        session_read_ahead(crowd->w->sessions, c->arena, ahead, n);
        for (size_t k = 0; k < TOGETHER; k++)
            answer(crowd, &asks[k]);
    }
    for (int k = 0; k < TOGETHER; k++)
        caller_close(&asks[k].caller);
    (void)me;
}

/* Fails if a member of a batch has no row of its own: tests/plants/batch-rows-mixed-up. */
static void equal_ids_at_once(void)
{
    static char large[1 << 20];
    struct world *w = world_open(true);
    for (int t = 0; t < 2; t++)
        for (int k = 0; k < ABSENT; k++)
            make(w, tenants[t], k, large, (8 << 20) / LARGE_PARTS - 16);
    struct crowd crowd = crowd_at(w, "");
    crowd_run(&crowd, THREADS, work);
    CU_ASSERT_EQUAL(crowd.conflicts, 0); /* foreign */
    CU_ASSERT_EQUAL(crowd.failed, 0);
    CU_ASSERT_TRUE(crowd.calls_done >= rounds() * THREADS);
    world_close(w);
}

SUITE(session_reads, "session/reads", {"equal ids at once", equal_ids_at_once})

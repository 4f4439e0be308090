/* SPDX-License-Identifier: MIT */
/* How many open sessions a tenant may have: to the session, by every way to make one, however many
 * make them at once. */
#include "parley/session/session.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "crowd.h"

static const struct session_guard nobody = {.create_only = false};

static struct request_ctx *bounded(struct request_ctx *ctx, int64_t most)
{
    ctx->sessions_max = most;
    return ctx;
}

enum way { CREATE, ENSURE, APPEND, WAYS };

static enum err make(struct sessions *s, struct request_ctx *ctx, enum way way, const char *id,
                     const struct session_guard *guard)
{
    struct session out;
    struct session_receipt r;
    struct session_message_draft m = message_of("user", "\"x\"");
    const struct session_append a = {&m, 1, true, 0};
    struct session_draft d = draft_of(id, NULL);
    d.messages = &m;
    d.n_messages = 1;
    switch (way) {
    case CREATE:
        return session_create(s, ctx, &d, guard, &out, &r);
    case ENSURE:
        return session_get_or_create(s, ctx, &d, guard, &out, &r);
    default:
        return session_append(s, ctx, sv_from(id), &a, guard, &r);
    }
}

static enum err try(struct world *w, const char *tenant, int64_t most, enum way way, const char *id,
                    const struct session_guard *guard)
{
    return make(w->sessions, bounded(world_request(w, tenant), most), way, id, guard);
}

static void expect_limited(struct world *w, const char *tenant, int64_t most, enum way way,
                           const char *id, const struct session_guard *guard)
{
    CU_ASSERT_EQUAL(try(w, tenant, most, way, id, guard), ERR_LIMITED);
    CU_ASSERT_STRING_EQUAL(w->ctx.err.slug ? w->ctx.err.slug : "", "tenant_sessions");
    CU_ASSERT_EQUAL(w->ctx.err.retry_after_s, 30);
    CU_ASSERT_EQUAL(world_count("SELECT count(*) FROM sessions WHERE tenant = '%s'"
                                " AND session_id = '%s'",
                                tenant, id),
                    0);
}

/* Fails if one of the four ways to make a session goes without the bound, if what is there already
 * is refused, if a replay is, or if what is over is counted: tried. */
static void each_way(void)
{
    const struct session_guard keyed = {.key = SV("k-bound"), .fingerprint = SV("f")};
    struct world w;
    struct session s;
    struct session_receipt r;
    if (!world_open(&w, true))
        return;
    CU_ASSERT_EQUAL(try(&w, "b1", 3, CREATE, "b:0", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b1", 3, ENSURE, "b:1", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b1", 3, APPEND, "b:2", &keyed), ERR_NONE);
    for (int way = 0; way < WAYS; way++)
        expect_limited(&w, "b1", 3, (enum way)way, "b:one-too-many", &nobody);
    CU_ASSERT_EQUAL(
        session_copy(w.sessions, bounded(world_request(&w, "b1"), 3), SV("b:0"), &nobody, &s, &r),
        ERR_LIMITED);
    expect_limited(&w, "b1", 3, CREATE, "b:one-too-many",
                   &(struct session_guard){.key = SV("k-new"), .fingerprint = SV("f")});
    CU_ASSERT_EQUAL(try(&w, "b1", 3, APPEND, "b:2", &keyed), ERR_NONE); /* given again */
    CU_ASSERT_EQUAL(try(&w, "b1", 3, CREATE, "b:0", &nobody), ERR_CONFLICT);
    CU_ASSERT_EQUAL(try(&w, "b1", 3, ENSURE, "b:0", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b1", 3, APPEND, "b:0", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b2", 3, CREATE, "b:0", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b1", 0, CREATE, "b:unbounded", &nobody), ERR_NONE);
    /* Deleted and expired ones are not open; the id of one that is over is free. */
    CU_ASSERT_EQUAL(
        session_delete(w.sessions, world_request(&w, "b1"), SV("b:unbounded"), &nobody, &r),
        ERR_NONE);
    CU_ASSERT_EQUAL(session_delete(w.sessions, world_request(&w, "b1"), SV("b:2"), &nobody, &r),
                    ERR_NONE);
    /* The session of that key is gone, its answer is not. */
    CU_ASSERT_EQUAL(try(&w, "b1", 2, APPEND, "b:2", &keyed), ERR_NONE);
    CU_ASSERT_TRUE(world_sql("UPDATE sessions SET expires_at = now() WHERE tenant = 'b1'"
                             " AND session_id = 'b:1'",
                             NULL, 0));
    CU_ASSERT_EQUAL(try(&w, "b1", 3, APPEND, "b:1", &nobody), ERR_NONE);
    CU_ASSERT_EQUAL(try(&w, "b1", 3, ENSURE, "b:3", &nobody), ERR_NONE);
    expect_limited(&w, "b1", 3, ENSURE, "b:4", &nobody);
    /* A bound below what there is lets nothing more in, and takes nothing away. */
    expect_limited(&w, "b1", 1, ENSURE, "b:4", &nobody);
    CU_ASSERT_EQUAL(try(&w, "b1", 1, APPEND, "b:3", &nobody), ERR_NONE);
    world_close(&w);
}

/* ---- at once ---- */

enum { MEMBERS = 32, MOST = 10 };

struct crowds {
    struct crowd crowd;
    struct world *other; /* another worker */
    _Atomic int limited;
};

static void work(struct crowd *crowd, struct caller *c, int me)
{
    struct crowds *both = (struct crowds *)crowd;
    struct world *w = me % 2 ? both->other : crowd->w;
    char id[32];
    enum err e;
    snprintf(id, sizeof(id), "%s-%d", crowd->id, me);
    do
        e = make(w->sessions, bounded(caller_request(c, "b3"), MOST), (enum way)(me % WAYS), id,
                 &nobody);
    while (crowd_try_again(e));
    crowd->created += e == ERR_NONE;
    both->limited += e == ERR_LIMITED;
}

/* Fails if nobody waits for those that count at the same time, or if the count is of what was there
 * before the waiting: tried. */
static void at_once(void)
{
    struct world a, b;
    if (!world_open(&a, true))
        return;
    if (world_open(&b, true)) {
        for (int round = 0; round < 5; round++) {
            char id[16];
            snprintf(id, sizeof(id), "b:crowd%d", round);
            struct crowds both = {.crowd = crowd_at(&a, id), .other = &b};
            CU_ASSERT_TRUE(world_sql("DELETE FROM sessions WHERE tenant = 'b3'", NULL, 0));
            crowd_run(&both.crowd, MEMBERS, work);
            CU_ASSERT_EQUAL(both.crowd.created, MOST);
            CU_ASSERT_EQUAL(both.limited, MEMBERS - MOST);
            CU_ASSERT_EQUAL(world_count("SELECT count(*) FROM sessions WHERE tenant = 'b3'"), MOST);
        }
        world_close(&b);
    }
    world_close(&a);
}

/* The last free place, and many who want the same session: one makes it, all have it. Fails if it
 * is not looked for once more behind the lock: tried. */
static void work_same(struct crowd *crowd, struct caller *c, int me)
{
    struct crowds *both = (struct crowds *)crowd;
    struct world *w = me % 2 ? both->other : crowd->w;
    enum err e;
    do
        e = make(w->sessions, bounded(caller_request(c, "b4"), 1), me % 3 ? ENSURE : APPEND,
                 crowd->id, &nobody);
    while (crowd_try_again(e));
    crowd->created += e == ERR_NONE;
}

static void the_same_at_once(void)
{
    struct world a, b;
    if (!world_open(&a, true))
        return;
    if (world_open(&b, true)) {
        for (int round = 0; round < 5; round++) {
            struct crowds both = {.crowd = crowd_at(&a, "b:same"), .other = &b};
            CU_ASSERT_TRUE(
                world_sql("UPDATE sessions SET expires_at = now() WHERE tenant = 'b4'", NULL, 0));
            crowd_run(&both.crowd, MEMBERS, work_same);
            CU_ASSERT_EQUAL(both.crowd.created, MEMBERS);
        }
        world_close(&b);
    }
    world_close(&a);
}

SUITE(session_bound, "session/bound", {"each way", each_way}, {"at once", at_once},
      {"the same at once", the_same_at_once})

/* SPDX-License-Identifier: MIT */
/* Coherence of two writers at one session, in every order of their steps, and of a writer that does
 * not know what became of its write. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"

static const struct session_guard nobody = {.create_only = false};

struct writer {
    struct world *w;
    struct caller caller;
    struct coherent_write write;
    struct session now;
    bool known;
};

static void writer_begin(struct writer *x, struct world *w, const char *id)
{
    *x = (struct writer){.w = w};
    caller_open(&x->caller);
    CU_ASSERT_EQUAL(
        coherent_begin(w->sessions, caller_request(&x->caller, "t1"), sv_from(id), &x->write),
        ERR_NONE);
    CU_ASSERT_TRUE(x->write.fence.set);
}

/* The statement and its commit; what the session is then is read along with it. */
static void writer_commit(struct writer *x, const char *id)
{
    struct session_message_draft m = message_of("user", "\"of a writer\"");
    const struct session_append a = {&m, 1, false, 0};
    struct session_receipt r;
    bool done = false;
    struct request_ctx *ctx = &x->caller.ctx;
    CU_ASSERT_EQUAL(repo_message_append(x->w->sessions, ctx, sv_from(id), &a, &nobody, &done, &r),
                    ERR_NONE);
    CU_ASSERT_TRUE(done);
    x->known = repo_session_read(x->w->sessions, ctx, sv_from(id), SV_NONE, SESSION_WINDOW,
                                 &x->now) == ERR_NONE;
}

static void writer_end(struct writer *x, enum err result)
{
    CU_ASSERT_EQUAL(
        coherent_end(x->w->sessions, &x->caller.ctx, &x->write, result, x->known ? &x->now : NULL),
        result);
    caller_close(&x->caller);
}

static void expect_at_least(struct world *w, const char *id, int64_t version)
{
    struct session s = {.version = 0};
    CU_ASSERT_EQUAL(session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, 20, &s),
                    ERR_NONE);
    CU_ASSERT_TRUE(s.version >= version);
}

/* Every order of two writers' commits and settlings. After each settling a write is acknowledged,
 * and no read may be older than it. Fails if a writer stores its value though another one's fence
 * stands: tried (in the script of the settling). */
static void two_writers(void)
{
    struct cluster c;
    if (!cluster_open(&c))
        return;
    for (int order = 0; order < 4; order++) {
        char id[32];
        struct writer x[2];
        const int first_commit = order & 1, first_end = order >> 1 & 1;
        snprintf(id, sizeof(id), "h:two-%d", order);
        cluster_make(&c.a, id);
        writer_begin(&x[0], &c.a, id);
        writer_begin(&x[1], &c.b, id);
        writer_commit(&x[first_commit], id);
        writer_commit(&x[!first_commit], id);
        writer_end(&x[first_end], ERR_NONE);
        /* The other one has committed, too, but nobody was told yet. */
        expect_at_least(&c.a, id, x[first_end].now.version);
        expect_at_least(&c.b, id, x[first_end].now.version);
        writer_end(&x[!first_end], ERR_NONE);
        cluster_expect_current(&c, &c.a, id);
        cluster_expect_current(&c, &c.b, id);
        CU_ASSERT_EQUAL(cluster_append(&c.a, id, 1), ERR_NONE);
        cluster_expect_current(&c, &c.b, id);
    }
    cluster_close(&c);
}

/* One writer is done before the other one commits. Fails if a settling leaves a value that another
 * writer has stored: tried. */
static void one_writer_inside_the_other(void)
{
    struct cluster c;
    if (!cluster_open(&c))
        return;
    for (int outer = 0; outer < 2; outer++) {
        char id[32];
        struct writer x[2];
        snprintf(id, sizeof(id), "h:inside-%d", outer);
        cluster_make(&c.a, id);
        writer_begin(&x[0], &c.a, id);
        writer_begin(&x[1], &c.b, id);
        writer_commit(&x[!outer], id);
        writer_end(&x[!outer], ERR_NONE);
        cluster_expect_current(&c, &c.a, id);
        writer_commit(&x[outer], id);
        writer_end(&x[outer], ERR_NONE);
        cluster_expect_current(&c, &c.a, id);
        cluster_expect_current(&c, &c.b, id);
    }
    cluster_close(&c);
}

/* ---- outcomes that are not known ---- */

/* The commit comes after the writer has given up. Fails if the fence is lifted, or its life cut to
 * that of a settled one: tried. */
static void unknown_outcome_leaves_the_fence(void)
{
    struct cluster c;
    struct writer x;
    struct cluster_reader r;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:unknown");
    writer_begin(&x, &c.a, "h:unknown");
    x.known = false;
    CU_ASSERT_EQUAL(coherent_end(c.a.sessions, &x.caller.ctx, &x.write, ERR_OUTCOME_UNKNOWN, NULL),
                    ERR_OUTCOME_UNKNOWN);
    cluster_sleep_ms(2100); /* a settled one would be gone */
    cluster_late_read(&r, &c.b, "h:unknown");
    writer_commit(&x, "h:unknown");
    cluster_late_fill(&r, &c.b);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.b, "h:unknown"), 0);
    cluster_expect_current(&c, &c.a, "h:unknown");
    cluster_expect_current(&c, &c.b, "h:unknown");
    caller_close(&x.caller);
    cluster_close(&c);
}

/* Another writer has stored what it saw before that commit: it does not stay. Fails if an unknown
 * outcome is not told to the tier at all: tried. */
static void unknown_outcome_drops_what_was_stored(void)
{
    struct cluster c;
    struct writer x, y;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.a, "h:doubt");
    writer_begin(&x, &c.a, "h:doubt");
    writer_begin(&y, &c.b, "h:doubt");
    writer_commit(&y, "h:doubt");
    writer_end(&y, ERR_NONE);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.b, "h:doubt"), 2);
    writer_commit(&x, "h:doubt"); /* and the answer is lost */
    writer_end(&x, ERR_OUTCOME_UNKNOWN);
    cluster_expect_current(&c, &c.a, "h:doubt");
    cluster_expect_current(&c, &c.b, "h:doubt");
    cluster_close(&c);
}

/* A write that failed has changed nothing: its value is not stored. Fails if a value is stored
 * whatever the result: tried. */
static void failed_write_stores_nothing(void)
{
    struct cluster c;
    struct writer x;
    struct session ahead = {.version = 0};
    if (!cluster_open(&c))
        return;
    cluster_make(&c.a, "h:failed");
    writer_begin(&x, &c.a, "h:failed");
    CU_ASSERT_EQUAL(repo_session_read(c.a.sessions, &x.caller.ctx, SV("h:failed"), SV_NONE,
                                      SESSION_WINDOW, &ahead),
                    ERR_NONE);
    ahead.version++;
    x.now = ahead;
    x.known = true;
    writer_end(&x, ERR_TIMEOUT);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.b, "h:failed"), 1); /* what was there */
    cluster_expect_current(&c, &c.b, "h:failed");
    cluster_close(&c);
}

SUITE(session_writers, "session/coherence (writers)", {"two writers", two_writers},
      {"one writer inside the other", one_writer_inside_the_other},
      {"an unknown outcome leaves the fence", unknown_outcome_leaves_the_fence},
      {"an unknown outcome drops what was stored", unknown_outcome_drops_what_was_stored},
      {"a failed write stores nothing", failed_write_stores_nothing})

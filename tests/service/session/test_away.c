/* SPDX-License-Identifier: MIT */
/* While PostgreSQL is away: reads from the tier, marked; writes refused before they touch anything;
 * and what the tier held is put back after a write that did nothing. */
#include "../../../src/session/session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "cluster.h"

static const struct session_guard nobody = {.create_only = false};

static void server(const char *action)
{
    char command[512];
    snprintf(command, sizeof(command), "%s %s >/dev/null 2>&1", getenv("TEST_PG"), action);
    CU_ASSERT_EQUAL(system(command), 0);
}

/* The number of the fences of a session that stand in Redis. */
static int fences(const char *id)
{
    char command[512], line[512];
    int n = 0;
    snprintf(command, sizeof(command), "redis-cli -s '%s' --scan --pattern 'parley:{t1:%s}:*:f'",
             getenv("TEST_REDIS_URL") + strlen("unix://"), id);
    FILE *f = popen(command, "r");
    CU_ASSERT_PTR_NOT_NULL(f);
    while (f && fgets(line, sizeof(line), f))
        n += line[0] == 'p';
    CU_ASSERT_EQUAL(f ? pclose(f) : -1, 0);
    return n;
}

static bool becomes(const struct world *w, bool up)
{
    for (int i = 0; i < 1000 && db_is_up(w->db) != up; i++)
        cluster_sleep_ms(20);
    return db_is_up(w->db) == up;
}

static enum err get(struct world *w, const char *id, size_t n, struct session *s)
{
    return session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, n, s);
}

/* What is refused, with PostgreSQL known to be away: at once, and without a trace in the tier. */
static void expect_refused(struct world *w, const char *id)
{
    struct session s;
    struct session_receipt r;
    struct session_draft draft = draft_of(id, NULL), unnamed = draft_of(NULL, NULL);
    const struct session_guard fresh = {.create_only = true};
    const struct session_patch patch = {.context = SV("{\"a\":1}")};
    struct sessions *x = w->sessions;
    enum err e = cluster_append(w, id, 1);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_patch(x, world_request(w, "t1"), sv_from(id), &patch, &nobody, &s, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_delete(x, world_request(w, "t1"), sv_from(id), &nobody, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_message_delete(x, world_request(w, "t1"), sv_from(id), SV("1"), &nobody, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_create(x, world_request(w, "t1"), &draft, &nobody, &s, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_create(x, world_request(w, "t1"), &unnamed, &nobody, &s, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    e = session_get_or_create(x, world_request(w, "t1"), &draft, &fresh, &s, &r);
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fences(id), 0);
}

static void expect_reads(struct world *w, const char *id)
{
    struct session s = {.version = 0};
    struct session_page page;
    struct session_message m;
    struct session_receipt r;
    struct session_draft draft = draft_of(id, NULL);
    struct session_page_query q = {.limit = 5};
    CU_ASSERT_EQUAL(get(w, id, 20, &s), ERR_NONE);
    CU_ASSERT_TRUE(s.degraded && s.version == 2 && s.n_messages == 20);
    /* A PUT on a session that is there changes nothing: it is a read. */
    CU_ASSERT_EQUAL(
        session_get_or_create(w->sessions, world_request(w, "t1"), &draft, &nobody, &s, &r),
        ERR_NONE);
    CU_ASSERT_TRUE(s.degraded && !r.created && r.status == 200);
    CU_ASSERT_EQUAL(
        session_page(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, &q, &page),
        ERR_NONE);
    CU_ASSERT_TRUE(page.degraded && page.n == 5 && page.has_more);
    CU_ASSERT_EQUAL(session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV("x"), 20, &s),
                    ERR_NOT_FOUND);
    /* What the tier does not hold. */
    CU_ASSERT_NOT_EQUAL(get(w, id, 21, &s), ERR_NONE);
    CU_ASSERT_NOT_EQUAL(get(w, "h:cold", 20, &s), ERR_NONE);
    q.after = 1;
    CU_ASSERT_NOT_EQUAL(
        session_page(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, &q, &page),
        ERR_NONE);
    CU_ASSERT_NOT_EQUAL(
        session_message_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, SV("1"), &m),
        ERR_NONE);
}

static void away(const char *go, const char *come, const char *id)
{
    struct cluster c;
    struct session s;
    if (!cluster_open(&c))
        return;
    cluster_make(&c.plain, "h:cold");
    cluster_make(&c.a, id);
    CU_ASSERT_EQUAL(cluster_append(&c.a, id, 25), ERR_NONE);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.a, id), 2);
    /* Until the fences of these writes are gone: those that are found later are of later writes. */
    for (int i = 0; i < 500 && fences(id) > 0; i++)
        cluster_sleep_ms(20);
    CU_ASSERT_EQUAL(get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_FALSE(s.degraded);
    server(go);
    CU_ASSERT_TRUE(becomes(&c.a, false));
    expect_reads(&c.a, id);
    expect_refused(&c.a, id);
    CU_ASSERT_EQUAL(cluster_cached_version(&c.a, id), 2);
    server(come);
    CU_ASSERT_TRUE(becomes(&c.a, true) && becomes(&c.b, true) && becomes(&c.plain, true));
    cluster_expect_current(&c, &c.a, id);
    CU_ASSERT_EQUAL(get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_FALSE(s.degraded);
    CU_ASSERT_EQUAL(cluster_append(&c.a, id, 1), ERR_NONE);
    CU_ASSERT_EQUAL(session_delete(c.a.sessions, world_request(&c.a, "t1"), SV("h:cold"), &nobody,
                                   &(struct session_receipt){.status = 0}),
                    ERR_NONE);
    cluster_close(&c);
}

/* Fails if a write sets its fence before it is refused, if a hit is not marked, or if the mark
 * stays when PostgreSQL is back: tried. */
static void stopped(void)
{
    away("stop", "start", "h:stopped");
}

/* Connected and silent: no socket tells. Fails if only a refused connect counts as away: tried. */
static void silent(void)
{
    away("pause", "resume", "h:silent");
}

/* Whose key could not be confirmed: the same, although PostgreSQL is there. Fails if the mark is
 * looked at in reads alone, or in writes alone: tried. */
static void unconfirmed(void)
{
    const char *id = "h:unconfirmed";
    struct cluster c;
    struct session s;
    struct session_receipt r;
    struct session_message_draft one = message_of("user", "\"x\"");
    const struct session_append append = {&one, 1, true, 0};
    if (!cluster_open(&c))
        return;
    struct sessions *x = c.a.sessions;
    cluster_make(&c.a, id);
    cluster_make(&c.plain, "h:unconfirmed-cold");
    CU_ASSERT_EQUAL(get(&c.a, id, 20, &s), ERR_NONE);
    struct request_ctx *ctx = world_request(&c.a, "t1");
    ctx->tiers_only = true;
    CU_ASSERT_EQUAL(session_get(x, ctx, sv_from(id), SV_NONE, 20, &s), ERR_NONE);
    CU_ASSERT_TRUE(s.degraded);
    CU_ASSERT_EQUAL(session_get(x, ctx, SV("h:unconfirmed-cold"), SV_NONE, 20, &s),
                    ERR_UNAVAILABLE);
    ctx_clear_error(ctx);
    CU_ASSERT_EQUAL(session_append(x, ctx, sv_from(id), &append, &nobody, &r), ERR_UNAVAILABLE);
    ctx_clear_error(ctx);
    CU_ASSERT_EQUAL(session_delete(x, ctx, sv_from(id), &nobody, &r), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_TRUE(!s.degraded && s.version == 1);
    cluster_close(&c);
}

/* ---- what the fence dropped ---- */

/* One write of a that ends in result after, perhaps, another one of b; what the tier holds then. */
static int64_t after_write(struct cluster *c, const char *id, enum err result, bool other)
{
    struct coherent_write w;
    struct caller caller;
    cluster_make(&c->a, id);
    CU_ASSERT_EQUAL(cluster_cached_version(&c->b, id), 1);
    caller_open(&caller);
    struct request_ctx *ctx = caller_request(&caller, "t1");
    CU_ASSERT_EQUAL(coherent_begin(c->a.sessions, ctx, sv_from(id), &w), ERR_NONE);
    CU_ASSERT_TRUE(w.fence.had);
    CU_ASSERT_EQUAL(cluster_cached_version(&c->b, id), 0);
    if (other)
        CU_ASSERT_EQUAL(cluster_append(&c->b, id, 1), ERR_NONE);
    CU_ASSERT_EQUAL(coherent_end(c->a.sessions, ctx, &w, result, NULL), result);
    caller_close(&caller);
    cluster_expect_current(c, &c->b, id);
    return cluster_cached_version(&c->b, id);
}

/* Put back when the session was not even looked at, and nobody else came. Fails if it is put back
 * after an error that may come behind a commit, or after an outcome that is not known; and, with
 * the tier's own check of the fence taken out, if another writer came: tried. */
static void nothing_done_is_put_back(void)
{
    static const struct {
        enum err result;
        bool other;
        int64_t held;
    } cases[] = {
        {ERR_UNAVAILABLE, false, 1}, {ERR_OVERLOAD, false, 1},        {ERR_TIMEOUT, false, 1},
        {ERR_NOT_FOUND, false, 0},   {ERR_PRECONDITION, false, 0},    {ERR_CONFLICT, false, 0},
        {ERR_BUSY, false, 0},        {ERR_KEY_REUSED, false, 0},      {ERR_NOMEM, false, 0},
        {ERR_INTERNAL, false, 0},    {ERR_OUTCOME_UNKNOWN, false, 0}, {ERR_NONE, false, 0},
        {ERR_UNAVAILABLE, true, 0},
    };
    struct cluster c;
    if (!cluster_open(&c))
        return;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[32];
        snprintf(id, sizeof(id), "h:back-%zu", i);
        CU_ASSERT_EQUAL(after_write(&c, id, cases[i].result, cases[i].other), cases[i].held);
    }
    cluster_close(&c);
}

SUITE(session_away, "session/away", {"stopped", stopped}, {"silent", silent},
      {"unconfirmed", unconfirmed}, {"nothing done is put back", nothing_done_is_put_back})

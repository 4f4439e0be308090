/* SPDX-License-Identifier: MIT */
/* While PostgreSQL is away: reads from memory and from Redis, marked; writes refused before they
 * touch anything. */
#include "cluster.h"

#include "../../unit/suite.h"

static const struct session_guard nobody = {.create_only = false};

static bool becomes(const struct world *w, bool up)
{
    for (int i = 0; i < 1000 && db_is_up(w->db) != up; i++)
        cluster_sleep_ms(20);
    return db_is_up(w->db) == up;
}

/* What is refused, with PostgreSQL known to be away: at once. */
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
}

static void expect_reads(struct world *w, const char *id)
{
    struct session s = {.version = 0};
    struct session_page page;
    struct session_message m;
    struct session_receipt r;
    struct session_draft draft = draft_of(id, NULL);
    struct session_page_query q = {.limit = 5};
    CU_ASSERT_EQUAL(cluster_get(w, id, 20, &s), ERR_NONE);
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
    /* What no cache holds. */
    CU_ASSERT_NOT_EQUAL(cluster_get(w, id, 21, &s), ERR_NONE);
    CU_ASSERT_NOT_EQUAL(cluster_get(w, "h:cold", 20, &s), ERR_NONE);
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
    CU_ASSERT_TRUE(cluster_in_memory(&c.a, id) == 2 && cluster_wait_redis(&c, id, 2));
    CU_ASSERT_EQUAL(cluster_get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_FALSE(s.degraded);
    cluster_server(go);
    CU_ASSERT_TRUE(becomes(&c.a, false));
    CU_ASSERT_TRUE(becomes(&c.b, false));
    CU_ASSERT_EQUAL(cluster_in_memory(&c.b, id), 0);
    struct world *const hosts[] = {&c.a, &c.b}; /* from memory, and from Redis */
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        expect_reads(hosts[i], id);
        CU_ASSERT_EQUAL(cluster_get(hosts[i], id, 20, &s), ERR_NONE);
        CU_ASSERT_TRUE(world_was_from(hosts[i], i == 0 ? "memory" : "redis"));
        expect_refused(hosts[i], id);
    }
    CU_ASSERT_EQUAL(cluster_in_memory(&c.a, id), 2);
    cluster_server(come);
    CU_ASSERT_TRUE(becomes(&c.a, true) && becomes(&c.b, true) && becomes(&c.plain, true));
    cluster_expect_current(&c, &c.a, id);
    CU_ASSERT_EQUAL(cluster_get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_FALSE(s.degraded);
    CU_ASSERT_EQUAL(cluster_append(&c.a, id, 1), ERR_NONE);
    CU_ASSERT_EQUAL(session_delete(c.a.sessions, world_request(&c.a, "t1"), SV("h:cold"), &nobody,
                                   &(struct session_receipt){.status = 0}),
                    ERR_NONE);
    cluster_close(&c);
}

/* Fails if a hit is not marked, if the mark stays when PostgreSQL is back, or if Redis is not
 * looked into: tried. */
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
    CU_ASSERT_EQUAL(cluster_get(&c.a, id, 20, &s), ERR_NONE);
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
    CU_ASSERT_EQUAL(cluster_get(&c.a, id, 20, &s), ERR_NONE);
    CU_ASSERT_TRUE(!s.degraded && s.version == 1);
    cluster_close(&c);
}

SUITE(session_away, "session/away", {"stopped", stopped}, {"silent", silent},
      {"unconfirmed", unconfirmed})

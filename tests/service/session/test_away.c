/* SPDX-License-Identifier: MIT */
/* While PostgreSQL is away: reads from memory and from Redis are marked as degraded, and writes are
 * refused without effect. */
#include "hosts.h"

#include "../../unit/suite.h"

/* Every write is refused at once. */
static void expect_refused(struct fixture *w, const char *id)
{
    struct session_draft draft = draft_of(id, NULL), unnamed = draft_of(NULL, NULL);
    const struct session_precondition fresh = {.create_only = true};
    const struct session_patch patch = {.context = SV("{\"a\":1}")};
    CU_ASSERT_EQUAL(hosts_append(w, id, 1), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_patch(w, "t1", id, &patch, &nobody), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_delete(w, "t1", id, &nobody), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_delete_message(w, "t1", id, "1", &nobody), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_create(w, "t1", &draft, &nobody), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_create(w, "t1", &unnamed, &nobody), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(fixture_ensure(w, "t1", &draft, &fresh), ERR_UNAVAILABLE);
}

static void expect_reads(struct fixture *w, const char *id)
{
    struct session_draft draft = draft_of(id, NULL);
    struct session_page_query q = {.limit = 5};
    OK(fixture_get(w, "t1", id));
    CU_ASSERT_TRUE(w->s.degraded && w->s.version == 2 && w->s.n_messages == 20);
    /* A PUT on a session that is there changes nothing: it is a read. */
    OK(fixture_ensure(w, "t1", &draft, &nobody));
    CU_ASSERT_TRUE(w->s.degraded && !w->r.created && w->r.status == 200);
    OK(fixture_page(w, "t1", id, NULL, &q));
    CU_ASSERT_TRUE(w->page.degraded && w->page.n == 5 && w->page.has_more);
    CU_ASSERT_EQUAL(fixture_get_as(w, "t1", id, "x", 20), ERR_NOT_FOUND);
    /* What no cache has. */
    CU_ASSERT_NOT_EQUAL(fixture_get_as(w, "t1", id, NULL, 21), ERR_NONE);
    CU_ASSERT_NOT_EQUAL(fixture_get(w, "t1", "h:cold"), ERR_NONE);
    q.after = 1;
    CU_ASSERT_NOT_EQUAL(fixture_page(w, "t1", id, NULL, &q), ERR_NONE);
    CU_ASSERT_NOT_EQUAL(fixture_message(w, "t1", id, NULL, "1"), ERR_NONE);
}

static void away(const char *go, const char *come, const char *id)
{
    struct hosts *c = hosts_open();
    hosts_make(c->plain, "h:cold");
    hosts_make(c->a, id);
    OK(hosts_append(c->a, id, 25));
    CU_ASSERT_EQUAL(hosts_in_memory(c->a, id), 2);
    cache_remove(c->a->cache, (struct cache_key){SV("t1"), sv_from(id)}, false);
    OK(fixture_get(c->a, "t1", id)); /* which fills both caches */
    CU_ASSERT_TRUE(hosts_in_memory(c->a, id) == 2 && hosts_wait_redis(c, id, 2));
    CU_ASSERT_FALSE(c->a->s.degraded);
    service_control_pg(go);
    EVENTUALLY(!db_is_up(c->a->db) && !db_is_up(c->b->db));
    CU_ASSERT_EQUAL(hosts_in_memory(c->b, id), 0);
    struct fixture *const hosts[] = {c->a, c->b}; /* from memory, and from Redis */
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        expect_reads(hosts[i], id);
        OK(fixture_get(hosts[i], "t1", id));
        CU_ASSERT_TRUE(fixture_was_from(hosts[i], i == 0 ? "memory" : "redis"));
        expect_refused(hosts[i], id);
    }
    CU_ASSERT_EQUAL(hosts_in_memory(c->a, id), 2);
    service_control_pg(come);
    EVENTUALLY(db_is_up(c->a->db) && db_is_up(c->b->db) && db_is_up(c->plain->db));
    hosts_expect_current(c, c->a, id);
    OK(fixture_get(c->a, "t1", id));
    CU_ASSERT_FALSE(c->a->s.degraded);
    OK(hosts_append(c->a, id, 1));
    OK(fixture_delete(c->a, "t1", "h:cold", &nobody));
    hosts_close(c);
}

/* Fails if a hit is not marked, if the mark stays when PostgreSQL is back, or if Redis is not
 * asked: tried. */
static void stopped(void)
{
    away("stop", "start", "h:stopped");
}

/* Connected and silent. Fails if only a refused connect counts as away: tried. */
static void silent(void)
{
    away("pause", "resume", "h:silent");
}

/* The same for a request whose API key could not be confirmed, although PostgreSQL is there. Fails
 * if caches_only matters to reads alone, or to writes alone: tried. */
static void unconfirmed(void)
{
    const char *id = "h:unconfirmed";
    struct session_receipt r;
    struct session_message one = message_of("user", "\"x\"");
    const struct session_append append = {&one, 1, true};
    const struct session_target target = {sv_from(id), &nobody, &r};
    struct hosts *c = hosts_open();
    struct sessions *x = c->a->sessions;
    hosts_make(c->a, id);
    hosts_make(c->plain, "h:unconfirmed-cold");
    OK(fixture_get(c->a, "t1", id));
    struct request_ctx *ctx = fixture_request(c->a, "t1");
    ctx->caches_only = true;
    OK(session_get(x, ctx, sv_from(id), SV_NONE, 20, &c->a->s));
    CU_ASSERT_TRUE(c->a->s.degraded);
    CU_ASSERT_EQUAL(session_get(x, ctx, SV("h:unconfirmed-cold"), SV_NONE, 20, &c->a->s),
                    ERR_UNAVAILABLE);
    ctx_clear_error(ctx);
    CU_ASSERT_EQUAL(session_append(x, ctx, &target, &append), ERR_UNAVAILABLE);
    ctx_clear_error(ctx);
    CU_ASSERT_EQUAL(session_delete(x, ctx, &target), ERR_UNAVAILABLE);
    OK(fixture_get(c->a, "t1", id));
    CU_ASSERT_TRUE(!c->a->s.degraded && c->a->s.version == 1);
    hosts_close(c);
}

SUITE(session_away, "session/away", {"stopped", stopped}, {"silent", silent},
      {"unconfirmed", unconfirmed})

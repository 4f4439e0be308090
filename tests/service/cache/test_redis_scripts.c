/* SPDX-License-Identifier: MIT */
/*
 * The critical orders of readers and writers, each played by one thread against a real Redis. R is
 * a reader, A and B are writers; v1, v2 … are what PostgreSQL would hold. "Fails without" names the
 * line of redis_scripts.c that was taken out to see the test fail.
 */
#include "../../unit/suite.h"
#include "support.h"

static const struct cache_key key = {{"default", 7}, {"s1", 2}};

/* Two requests at once, of two workers. */
struct scene {
    struct rig rig;
    struct cache *a, *b;
    struct request ra, rb;
};

static bool scene_open(struct scene *s)
{
    if (!rig_open(&s->rig))
        return false;
    s->a = s->rig.cache;
    s->b = rig_worker(&s->rig, NULL);
    request_begin(&s->ra);
    request_begin(&s->rb);
    return true;
}

static void scene_close(struct scene *s)
{
    request_end(&s->ra);
    request_end(&s->rb);
    cache_close(s->b);
    rig_close(&s->rig);
}

static struct cache_ticket miss(struct scene *s)
{
    struct cache_ticket ticket;
    struct cache_value v;
    CU_ASSERT_FALSE(cache_read(s->b, &s->rb.ctx, key, &v, &ticket));
    CU_ASSERT(ticket.usable);
    return ticket;
}

static void fill(struct scene *s, struct cache_ticket *ticket, int64_t version)
{
    struct cache_value v = value_of(&s->rb, key, version);
    cache_fill(s->b, &s->rb.ctx, key, ticket, &v);
    CU_ASSERT_FALSE(ticket->usable);
}

static struct cache_fence fence(struct cache *c, struct request *r)
{
    struct cache_fence f;
    CU_ASSERT_EQUAL(cache_fence(c, &r->ctx, key, &f), ERR_NONE);
    CU_ASSERT(f.set);
    return f;
}

static void settle(struct cache *c, struct request *r, struct cache_fence *f, int64_t version)
{
    struct cache_value v = value_of(r, key, version);
    CU_ASSERT_EQUAL(cache_settle(c, &r->ctx, key, f, version ? &v : NULL), ERR_NONE);
}

/* R misses and reads v1; A fences, commits v2; R fills v1; A settles.
 * Fails without the EXISTS line of fill: tried. */
static void fill_under_a_fence(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket ticket = miss(&s);
    struct cache_fence f = fence(s.a, &s.ra);
    fill(&s, &ticket, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    settle(s.a, &s.ra, &f, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 2);
    scene_close(&s);
}

/* The same with the fill after the settling: without a value, only the fence that is left is in
 * its way. Fails with DEL in place of the PEXPIRE line of settle: tried. */
static void fill_after_the_settling(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket ticket = miss(&s);
    struct cache_fence f = fence(s.a, &s.ra);
    settle(s.a, &s.ra, &f, 0);
    fill(&s, &ticket, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    long long left = admin_pttl(&s.rig, key, 'f');
    CU_ASSERT(left > 0 && left <= 2000);
    scene_close(&s);
}

/* A whole write comes and goes, fence included, before R fills. Redis' clock is what R's ticket
 * carries, so it is the ticket that is made older here. Fails without "age > 1000": tried. */
static void fill_after_the_fence_is_gone(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket ticket = miss(&s);
    struct cache_fence f = fence(s.a, &s.ra);
    settle(s.a, &s.ra, &f, 0);
    admin_delete(&s.rig, key, 'f');
    ticket.began_ms -= 1001;
    fill(&s, &ticket, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    CU_ASSERT_EQUAL(s.rig.slot->cache_fills, 0);
    scene_close(&s);
}

/* Redis' clock was set back. Fails without "age < 0": tried. */
static void fill_from_the_future(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket ticket = miss(&s);
    ticket.began_ms += 60000;
    fill(&s, &ticket, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    scene_close(&s);
}

/* Two readers, the one with the older value fills last. Fails without the comparison of versions
 * in fill: tried. A value that is older than the fill, or has no digits in front, gives way. */
static void fill_over_a_newer_value(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket first = miss(&s), second = miss(&s), third = miss(&s), fourth = miss(&s);
    fill(&s, &second, 10);
    fill(&s, &first, 9);
    CU_ASSERT_EQUAL(read_version(s.b, key), 10);
    fill(&s, &third, 11);
    CU_ASSERT_EQUAL(read_version(s.b, key), 11);
    admin_set(&s.rig, key, 'v', SV("not a value, but more than forty bytes of something"));
    fill(&s, &fourth, 12);
    CU_ASSERT_EQUAL(read_version(s.b, key), 12);
    scene_close(&s);
}

/* While A writes, the old value is gone. Fails without the DEL line of fence: tried. */
static void fence_drops_the_value(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    fill_version(s.a, key, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 1);
    struct cache_fence f = fence(s.a, &s.ra);
    CU_ASSERT(f.had);
    CU_ASSERT_EQUAL(f.old.version, 1);
    CU_ASSERT_EQUAL(f.old.generation, 7);
    CU_ASSERT(f.old.ttl_ms > 0 && f.old.ttl_ms <= 600000);
    CU_ASSERT(sv_eq(f.old.bytes, SV("default/s1/1")));
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    CU_ASSERT(admin_pttl(&s.rig, key, 'f') > FENCE_MS - 10000);
    settle(s.a, &s.ra, &f, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 2);
    scene_close(&s);
}

/* A fences, B fences; A commits v2, B commits v3; B settles v3, A settles v2: the fence is not A's.
 * Fails with "own = true" in settle: tried. */
static void later_commit_settles_first(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_fence fa = fence(s.a, &s.ra), fb = fence(s.b, &s.rb);
    settle(s.b, &s.rb, &fb, 3);
    CU_ASSERT_EQUAL(read_version(s.a, key), 3);
    settle(s.a, &s.ra, &fa, 2);
    int64_t seen = read_version(s.a, key);
    CU_ASSERT(seen == 0 || seen == 3);
    scene_close(&s);
}

/* A fences, B fences; B commits v2, A commits v3: the other order. A settles first, finds B's
 * fence, and must take B's right to store v2. Fails if the last SET of settle keeps the fence's
 * old token: tried. */
static void earlier_commit_settles_last(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_fence fa = fence(s.a, &s.ra), fb = fence(s.b, &s.rb);
    settle(s.a, &s.ra, &fa, 3);
    settle(s.b, &s.rb, &fb, 2);
    CU_ASSERT_EQUAL(read_version(s.a, key), 0);
    /* B's write may take as long as its fence was made for: A must not have shortened it. */
    CU_ASSERT(admin_pttl(&s.rig, key, 'f') > FENCE_MS - 10000);
    scene_close(&s);
}

/* A fences, B fences, commits v2 and settles it; then A commits v3 and settles: v2 must go.
 * Fails without the DEL line of settle: tried. */
static void settling_over_a_settled_value(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_fence fa = fence(s.a, &s.ra), fb = fence(s.b, &s.rb);
    settle(s.b, &s.rb, &fb, 2);
    CU_ASSERT_EQUAL(read_version(s.a, key), 2);
    settle(s.a, &s.ra, &fa, 3);
    CU_ASSERT_EQUAL(read_version(s.a, key), 0);
    scene_close(&s);
}

/* A fences; the fence runs out; R fills v1; A commits v2 and settles. v1 must go, v2 must not be
 * stored (a third writer may have come and gone), and R2, which read v1 just before the commit,
 * must not fill. Fails without the last SET of settle, and with a missing fence taken for A's own:
 * both tried. */
static void settling_without_the_fence(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_fence fa = fence(s.a, &s.ra);
    admin_delete(&s.rig, key, 'f');
    struct cache_ticket late = miss(&s);
    fill_version(s.b, key, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 1);
    settle(s.a, &s.ra, &fa, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    fill(&s, &late, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    long long left = admin_pttl(&s.rig, key, 'f');
    CU_ASSERT(left > 1000 && left <= 2000);
    scene_close(&s);
}

/* B could not set its fence (Redis was away for it), A could. A fences; B commits v3 after A's v2;
 * B settles, then A. Fails if a writer without a token is let off in settle: tried. */
static void writer_without_a_fence(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_fence fa = fence(s.a, &s.ra), fb = {.set = false};
    settle(s.b, &s.rb, &fb, 3);
    settle(s.a, &s.ra, &fa, 2);
    CU_ASSERT_EQUAL(read_version(s.a, key), 0);
    scene_close(&s);
}

/* The outcome of A's write is not known: it may be committed at any time, so nothing is stored and
 * R may not fill for the fence's full time. Fails without "ARGV[6]" in settle: tried. */
static void outcome_in_doubt(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    struct cache_ticket ticket = miss(&s);
    struct cache_fence f = fence(s.a, &s.ra);
    f.in_doubt = true;
    settle(s.a, &s.ra, &f, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    CU_ASSERT(admin_pttl(&s.rig, key, 'f') > FENCE_MS - 10000);
    fill(&s, &ticket, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    scene_close(&s);
}

/* The epoch is raised while R holds a ticket and A a fence, all of the old one. R's fill must store
 * nothing, and A's settling must reach what R2 filled in the new epoch. Fails without IN_FORCE in
 * fill or in settle: each tried. */
static void epoch_raised_under_way(void)
{
    struct scene s;
    struct cache_value v;
    struct cache_ticket ticket;
    const struct cache_key plain = {SV("default"), SV("s2")};
    if (!scene_open(&s))
        return;
    struct cache_fence f = fence(s.a, &s.ra);
    CU_ASSERT_FALSE(cache_read(s.b, &s.rb.ctx, plain, &v, &ticket));
    CU_ASSERT(ticket.usable);
    rig_raise(&s.rig);
    v = value_of(&s.rb, plain, 9);
    cache_fill(s.b, &s.rb.ctx, plain, &ticket, &v);
    CU_ASSERT_EQUAL(admin_int(&s.rig, "EXISTS parley:{default:s2}:2:v"), 0);
    fill_version(s.b, key, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 1);
    settle(s.a, &s.ra, &f, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    CU_ASSERT_EQUAL(admin_int(&s.rig, "EXISTS parley:{default:s1}:2:v"), 0);
    CU_ASSERT(admin_pttl(&s.rig, key, 'f') > 0);
    scene_close(&s);
}

/* A value of the old epoch is never read in the new one, also on a link that is open already, and
 * nothing is read or stored without a marker. Fails if read_judge does not compare it: tried. */
static void epoch_raised_before_a_read(void)
{
    struct scene s;
    if (!scene_open(&s))
        return;
    fill_version(s.b, key, 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 1);
    rig_raise(&s.rig);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    fill_version(s.b, key, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 2);
    CU_ASSERT_EQUAL(admin_int(&s.rig, "DEL parley:epoch"), 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    fill_version(s.b, key, 2);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    /* Another one is made, and the old values stay behind. */
    cache_poll(s.b);
    CU_ASSERT_EQUAL(admin_int(&s.rig, "EXISTS parley:epoch"), 1);
    CU_ASSERT_EQUAL(read_version(s.b, key), 0);
    scene_close(&s);
}

SUITE(scripts, "service/cache/redis_scripts", {"fill under a fence", fill_under_a_fence},
      {"fill after the settling", fill_after_the_settling},
      {"fill after the fence is gone", fill_after_the_fence_is_gone},
      {"fill from the future", fill_from_the_future},
      {"fill over a newer value", fill_over_a_newer_value},
      {"a fence drops the value", fence_drops_the_value},
      {"two writers, later commit settles first", later_commit_settles_first},
      {"two writers, earlier commit settles last", earlier_commit_settles_last},
      {"settling over a settled value", settling_over_a_settled_value},
      {"settling without the fence", settling_without_the_fence},
      {"a writer without a fence", writer_without_a_fence}, {"outcome in doubt", outcome_in_doubt},
      {"epoch raised under way", epoch_raised_under_way},
      {"epoch raised before a read", epoch_raised_before_a_read})

/* SPDX-License-Identifier: MIT */
/*
 * Readers and writers on two hosts, advanced one step at a time in an order that a seed decides,
 * while Redis is emptied or replaced by what it held before, hosts are cut off from Redis and from
 * the record, die, or have their leases run out. The record of versions is the test's own. A hit
 * must be at least as new as the newest version that was acknowledged when the read began.
 *
 * PARLEY_TEST_SEED repeats a run, PARLEY_TEST_SCALE shortens it. Fails with each of
 * tests/plants/cache-*.patch that names it. Part of make test-faults, with the seed of that.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../unit/suite.h"
#include "hosts.h"
#include "parley/base/uuid.h"

enum { ROUNDS = 10000, STEPS = 16, ACTORS = 5, KEYS = 2, LEASE = 8, OLDER_EVERY = 400 };

enum happened {
    HITS,
    LATE_FILLS,  /* a commit came between what was read and its fill */
    TWO_WRITERS, /* both between fence and settling on one session */
    KILLED,      /* between commit and settling */
    LATE_COMMITS,
    OPENED,    /* a breaker, by a reader or a writer */
    LEASELESS, /* a read with the breaker closed, and no lease */
    UNFENCED,  /* a write that went on without a fence and was acknowledged */
    EMPTIED,
    OLDER, /* Redis came back with what it held some time before */
    CUT_OFF,
    SILENT, /* the record, for a host */
    DIED,
    HELD,
    UNMARKED, /* the record was raised, and no marker set */
    REFUSED,  /* a write that was not begun */
    UNKNOWN,  /* … that was made and not acknowledged */
    STALE,
    KINDS,
    RARE = REFUSED
};
static const char *const names[KINDS] = {
    "hits",     "late fills", "two writers", "killed",     "late commits", "breakers opened",
    "no lease", "unfenced",   "emptied",     "older data", "cut off",      "no record",
    "died",     "held",       "unmarked",    "refused",    "unknown",      "stale"};

struct actor {
    bool busy, writer, in_doubt;
    int host, key, step;
    struct request r;
    struct cache_ticket ticket;
    struct cache_fence fence;
    int64_t version; /* committed by it, or read from the record */
};

struct play {
    struct hosts h;
    uint64_t dice;
    int round;
    int64_t committed[KEYS], acknowledged[KEYS];
    char id[KEYS][24];
    struct actor actor[ACTORS];
    long n[KINDS];
    bool cut_off, reported;
};

static unsigned roll(struct play *p, unsigned n)
{
    p->dice ^= p->dice << 13;
    p->dice ^= p->dice >> 7;
    p->dice ^= p->dice << 17;
    return (unsigned)(p->dice >> 33) % n;
}

static struct cache_key key_of(struct play *p, int i)
{
    return (struct cache_key){SV("default"), sv_from(p->id[i])};
}

static struct cache *cache_of(struct play *p, const struct actor *a)
{
    return p->h.host[a->host].cache;
}

static void actor_end(struct actor *a)
{
    request_end(&a->r);
    a->busy = false;
}

static void expect_current(struct play *p, int64_t version, int64_t least)
{
    p->n[HITS]++;
    if (version >= least)
        return;
    p->n[STALE]++;
    if (!p->reported)
        fprintf(stderr, "round %d: read %" PRId64 " after %" PRId64 "\n", p->round, version, least);
    p->reported = true;
}

static void read_all(struct play *p)
{
    for (int i = 0; i < 2 * KEYS; i++) {
        int64_t version = read_version(p->h.host[i % 2].cache, key_of(p, i / 2));
        CU_ASSERT_NOT_EQUAL(version, -1);
        if (version > 0)
            expect_current(p, version, p->acknowledged[i / 2]);
    }
}

/* Read, or miss; read the record; fill. */
static void reader_step(struct play *p, struct actor *a)
{
    struct cache *c = cache_of(p, a);
    struct cache_value v;
    switch (a->step++) {
    case 0: {
        bool up = state_of(c) == CACHE_UP, in_use = is_in_use(c);
        if (cache_read(c, &a->r.ctx, key_of(p, a->key), &v, &a->ticket)) {
            expect_current(p, v.version, p->acknowledged[a->key]);
            actor_end(a);
        }
        p->n[LEASELESS] += up && !in_use;
        p->n[OPENED] += up && state_of(c) == CACHE_DOWN;
        return;
    }
    case 1:
        a->version = p->committed[a->key];
        return;
    default:
        if (a->ticket.usable && a->version > 0) {
            p->n[LATE_FILLS] += a->version < p->committed[a->key];
            v = value_of(&a->r, key_of(p, a->key), a->version);
            cache_fill(c, &a->r.ctx, key_of(p, a->key), &a->ticket, &v);
        }
        actor_end(a);
    }
}

static void writer_fence(struct play *p, struct actor *a)
{
    struct cache *c = cache_of(p, a);
    bool up = state_of(c) == CACHE_UP;
    enum err e = cache_fence(c, &a->r.ctx, key_of(p, a->key), &a->fence);
    p->n[OPENED] += up && state_of(c) == CACHE_DOWN;
    for (int i = 0; i < ACTORS; i++) {
        const struct actor *o = &p->actor[i];
        p->n[TWO_WRITERS] += o != a && o->busy && o->writer && o->step > 1 && o->key == a->key;
    }
    if (e == ERR_NONE)
        return;
    CU_ASSERT_EQUAL(e, ERR_UNAVAILABLE);
    p->n[REFUSED]++;
    actor_end(a);
}

static void writer_settle(struct play *p, struct actor *a)
{
    struct cache *c = cache_of(p, a);
    bool up = state_of(c) == CACHE_UP;
    struct cache_value v = value_of(&a->r, key_of(p, a->key), a->version);
    a->fence.in_doubt = a->in_doubt;
    enum err e = cache_settle(c, &a->r.ctx, key_of(p, a->key), &a->fence,
                              roll(p, 3) && a->version ? &v : NULL);
    p->n[OPENED] += up && state_of(c) == CACHE_DOWN;
    p->n[UNKNOWN] += e == ERR_OUTCOME_UNKNOWN;
    if (e == ERR_NONE && !a->in_doubt) {
        p->n[UNFENCED] += !a->fence.set;
        if (p->acknowledged[a->key] < a->version)
            p->acknowledged[a->key] = a->version;
        read_all(p);
    }
    if (!a->in_doubt)
        actor_end(a);
}

/* Fence; commit; settle. In doubt, the commit comes before or after the settling, or not at all. */
static void writer_step(struct play *p, struct actor *a)
{
    bool late = a->in_doubt && a->version == 0;
    switch (a->step++) {
    case 0:
        writer_fence(p, a);
        a->in_doubt = roll(p, 8) == 0;
        return;
    case 1:
        if (!a->in_doubt || roll(p, 2))
            a->version = ++p->committed[a->key];
        else
            a->version = 0;
        return;
    case 2:
        if (!a->in_doubt && roll(p, 12) == 0) {
            p->n[KILLED]++;
            actor_end(a);
            return;
        }
        writer_settle(p, a);
        return;
    default:
        if (late && roll(p, 2)) {
            p->n[LATE_COMMITS]++;
            ++p->committed[a->key];
        }
        actor_end(a);
    }
}

static void actor_step(struct play *p, struct actor *a)
{
    if (!a->busy) {
        *a = (struct actor){.busy = true,
                            .writer = roll(p, 3) == 0,
                            .host = (int)roll(p, 2),
                            .key = (int)roll(p, KEYS)};
        request_begin(&a->r);
    }
    if (a->writer)
        writer_step(p, a);
    else
        reader_step(p, a);
}

/* All steps of one at once, for each session. */
static void whole(struct play *p, bool writer)
{
    for (int i = 0; i < KEYS; i++) {
        struct actor a = {.busy = true, .writer = writer, .host = (int)roll(p, 2), .key = i};
        request_begin(&a.r);
        while (a.busy)
            actor_step(p, &a);
    }
}

/* ---- what happens around them ---- */

static void heal(struct play *p)
{
    for (int i = 0; i < 2; i++) {
        p->h.host[i].link.away = false;
        hosts_reach(&p->h, i, true);
    }
}

static void die(struct play *p, int host)
{
    for (int i = 0; i < ACTORS; i++) {
        struct actor *a = &p->actor[i];
        if (!a->busy || a->host != host)
            continue;
        p->n[KILLED] += a->writer && a->step == 2;
        actor_end(a);
    }
    hosts_die(&p->h, host, true);
    p->n[DIED]++;
}

/* Redis is killed and comes back with what was saved some time before, keys and marker. */
static void bring_back(struct play *p)
{
    redis_control("kill");
    redis_control("start");
    hosts_restarted(&p->h);
    heal(p);
    CU_ASSERT(hosts_polled(&p->h));
    read_all(p);
    p->n[OLDER]++;
}

static void raise_unmarked(struct play *p)
{
    struct authority *a = &p->h.authority;
    if (a->held_until_us > clock_mono_us())
        return;
    a->epoch++;
    a->dirty = false;
    p->n[UNMARKED]++;
}

static void disturb(struct play *p)
{
    int host = (int)roll(p, 2);
    struct cache_record record;
    unsigned what = roll(p, 96);
    if (what < 1) {
        hosts_reach(&p->h, host, false);
        p->h.host[host].link.away = roll(p, 8) == 0;
        /* The other one has just got a lease. */
        cache_poll(p->h.host[!host].cache);
        p->n[CUT_OFF]++;
        p->cut_off = true;
    } else if (what < 3) {
        hosts_tell(&p->h, "FLUSHALL");
        p->n[EMPTIED]++;
    } else if (what < 5) {
        p->h.host[host].link.away = true;
        p->n[SILENT]++;
    } else if (what < 6) {
        die(p, host);
    } else if (what < 7) {
        CU_ASSERT_EQUAL(authority_ask(&(struct authority_link){.record = &p->h.authority},
                                      CACHE_HOLD, 3 * LEASE, deadline_in_ms(1), &record),
                        ERR_NONE);
        p->n[HELD]++;
    } else if (what < 8) {
        raise_unmarked(p);
    } else if (what < 10) {
        heal(p);
    } else if (what < 12) {
        usleep(2 * LEASE * 1000 / (1 + roll(p, 8)));
    } else {
        cache_poll(p->h.host[host].cache);
    }
}

/* ---- rounds ---- */

/* Most rounds begin with both hosts in use. */
static void round_begin(struct play *p)
{
    for (int i = 0; i < KEYS; i++) {
        p->committed[i] = 1;
        p->acknowledged[i] = 0;
        snprintf(p->id[i], sizeof p->id[i], "r%d.%d", p->round, i);
    }
    if (roll(p, 4) == 0)
        return;
    heal(p);
    CU_ASSERT(hosts_polled(&p->h));
}

static void round_end(struct play *p)
{
    for (int i = 0; i < ACTORS; i++)
        if (p->actor[i].busy)
            actor_end(&p->actor[i]);
    read_all(p);
    if (!p->cut_off)
        return;
    /* What was written without Redis stays so when all have it back. */
    heal(p);
    CU_ASSERT(hosts_polled(&p->h));
    read_all(p);
    p->cut_off = false;
}

static void play_round(struct play *p)
{
    const bool older = p->round % OLDER_EVERY == 0;
    const int steps = older ? 3 * STEPS : STEPS;
    round_begin(p);
    for (int s = 0; s < steps; s++) {
        if (older && s == STEPS) {
            whole(p, false);
            hosts_tell(&p->h, "SAVE");
        }
        if (older && s == 2 * STEPS) {
            whole(p, true);
            bring_back(p);
        }
        /* What changes the epoch would hide whether older data are told from newer ones. */
        if (roll(p, 4) || (older && s >= STEPS))
            actor_step(p, &p->actor[roll(p, ACTORS)]);
        else
            disturb(p);
    }
    round_end(p);
}

static void interleavings(void)
{
    static struct play play;
    struct play *p = &play;
    const char *seed = getenv("PARLEY_TEST_SEED"), *scale = getenv("PARLEY_TEST_SCALE");
    int rounds = (int)(ROUNDS * (scale ? strtod(scale, NULL) : 1));
    *p = (struct play){.dice = seed ? strtoull(seed, NULL, 10) : random_u64()};
    p->dice |= 1;
    fprintf(stderr, "PARLEY_TEST_SEED=%" PRIu64 ", %d rounds\n", p->dice, rounds);
    int64_t began = clock_mono_us();
    if (!hosts_open(&p->h, LEASE))
        return;
    for (p->round = 0; p->round < rounds && p->n[STALE] == 0; p->round++)
        play_round(p);
    for (int i = 0; i < KINDS; i++) {
        fprintf(stderr, "%s%s %ld", i ? ", " : "", names[i], p->n[i]);
        /* What does not occur is not tested; a short run may do without the rare ones. */
        CU_ASSERT(i >= RARE || p->n[i] > 0 || rounds < ROUNDS / 2);
    }
    fprintf(stderr, ", epochs %" PRIu64 ", %.0f s\n", p->h.authority.epoch,
            (double)(clock_mono_us() - began) / 1e6);
    CU_ASSERT_EQUAL(p->n[STALE], 0);
    hosts_close(&p->h);
    hosts_forget();
}

SUITE(interleave, "faults/redis_interleave", {"interleavings", interleavings})

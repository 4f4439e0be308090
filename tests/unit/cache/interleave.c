/* SPDX-License-Identifier: MIT */
#include "interleave.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/CUnit.h>

#include "parley/base/uuid.h"
#include "parley/cache/cache.h"

enum { ACTORS = 4, STEPS_MIN = 12, STEPS_MAX = 32, FENCE_US = INTERLEAVE_FENCE_MS * 1000 };

enum kind { READER, WRITER, DOUBTFUL, KILLED };
enum state { IDLE, LOOKING, FILLING, COMMITTING, SETTLING, LATE };

struct actor {
    enum kind kind;
    enum state state;
    struct cache *cache;
    struct arena *arena;
    struct request_ctx ctx;
    struct cache_ticket ticket;
    struct cache_fence fence;
    bool with_value, commits_late, overtaken, in_bar;
    int64_t version;  /* read or written; 0: not yet */
    int64_t until_us; /* the last time at which its late commit may be */
};

struct world {
    struct interleave *it;
    uint64_t random;
    struct cache_shared *shared;
    struct cache *cache[2];
    int size;
    struct actor actor[ACTORS];
    /* Of this round: */
    char id[24];
    struct cache_key key;
    int64_t record, known;
    bool doubt, buried;
};

/* splitmix64 */
static uint64_t any(struct world *w, uint64_t below)
{
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

static struct cache_value value_of(struct world *w, struct actor *a, int64_t version)
{
    return (struct cache_value){7, version, 600000,
                                arena_printf(a->arena, "%s/%lld/%0*d", w->id, (long long)version,
                                             w->size + (int)(version % 7) * 9 + 1, 0)};
}

static void know(struct world *w, int64_t version)
{
    if (w->known < version)
        w->known = version;
}

/* ---- a reader ---- */

static void reader_reads(struct world *w, struct actor *a)
{
    struct cache_value v;
    const int64_t known = w->known;
    if (!cache_read(a->cache, &a->ctx, w->key, &v, &a->ticket)) {
        a->overtaken = false;
        a->in_bar = w->doubt;
        a->state = LOOKING;
        return;
    }
    w->it->hits++;
    w->it->foreign += !sv_eq(v.bytes, value_of(w, a, v.version).bytes);
    w->it->stale += v.version < known;
}

static void reader_fills(struct world *w, struct actor *a)
{
    struct cache_value v = value_of(w, a, a->version);
    cache_fill(a->cache, &a->ctx, w->key, &a->ticket, &v);
    w->it->late_fill += a->overtaken;
    w->it->filled_after_bar += a->in_bar && a->version < w->record;
    a->state = IDLE;
}

/* ---- a writer ---- */

static void writer_begins(struct world *w, struct actor *a)
{
    static const enum kind kinds[] = {WRITER, WRITER, WRITER, WRITER, WRITER, DOUBTFUL, KILLED};
    a->kind = kinds[any(w, ARRAY_LEN(kinds))];
    for (int i = 0; i < ACTORS; i++)
        w->it->two_writers += w->actor[i].state == COMMITTING || w->actor[i].state == SETTLING;
    a->version = 0;
    a->with_value = any(w, 4) > 0;
    a->commits_late = a->kind != WRITER && any(w, 2);
    CU_ASSERT_EQUAL(cache_fence(a->cache, &a->ctx, w->key, &a->fence), ERR_NONE);
    a->state = a->commits_late ? SETTLING : COMMITTING;
}

static void writer_settles(struct world *w, struct actor *a)
{
    struct cache_value v = value_of(w, a, a->version);
    a->until_us = clock_mono_us() + FENCE_US;
    if (a->kind == KILLED) {
        cache_shared_bury(w->shared, 1);
        w->buried = true;
        w->it->killed_committed += !a->commits_late;
    } else {
        a->fence.in_doubt = a->kind == DOUBTFUL;
        CU_ASSERT_EQUAL(cache_settle(a->cache, &a->ctx, w->key, &a->fence,
                                     a->with_value && !a->commits_late ? &v : NULL),
                        ERR_NONE);
    }
    w->doubt |= a->kind != WRITER;
    know(w, a->version);
    for (int i = 0; i < ACTORS; i++)
        w->actor[i].overtaken = true;
    a->state = a->commits_late ? LATE : IDLE;
}

/* The server gives up on a statement as a bar ends: what is too late is not committed. */
static void writer_commits_late(struct world *w, struct actor *a)
{
    a->state = IDLE;
    w->record++;
    if (clock_mono_us() >= a->until_us) {
        w->record--;
        return;
    }
    know(w, w->record);
    w->it->committed_buried += a->kind == KILLED;
    w->it->committed_doubted += a->kind == DOUBTFUL;
}

/* ---- a round ---- */

static void request(struct world *w, struct actor *a)
{
    a->cache = w->cache[any(w, 2)];
    arena_reset(a->arena);
    ctx_init(&a->ctx, a->arena, deadline_in_ms(10000), SV("default"), SV("test"));
}

static void begin(struct world *w, struct actor *a)
{
    request(w, a);
    if (any(w, 5) < 2) {
        writer_begins(w, a);
    } else {
        a->kind = READER;
        reader_reads(w, a);
    }
}

static void advance(struct world *w, struct actor *a)
{
    switch (a->state) {
    case IDLE:
        begin(w, a);
        break;
    case LOOKING:
        a->version = w->record;
        a->state = FILLING;
        break;
    case FILLING:
        reader_fills(w, a);
        break;
    case COMMITTING:
        a->version = ++w->record;
        a->state = SETTLING;
        break;
    case SETTLING:
        writer_settles(w, a);
        break;
    case LATE:
        writer_commits_late(w, a);
        break;
    }
    w->it->steps++;
}

static void pass_bars(void)
{
    int64_t until = clock_mono_us() + FENCE_US + 1;
    while (clock_mono_us() < until)
        usleep(FENCE_US + 100);
}

static void play(struct world *w, unsigned round)
{
    int n = snprintf(w->id, sizeof w->id, "telegram:%u", round);
    w->key = (struct cache_key){SV("default"), {w->id, (size_t)n}};
    w->record = w->known = 1;
    w->doubt = w->buried = false;
    for (int i = 0; i < ACTORS; i++)
        w->actor[i].state = IDLE;
    const uint64_t steps = STEPS_MIN + any(w, STEPS_MAX - STEPS_MIN);
    for (uint64_t i = 0; i < steps; i++) {
        /* Seldom, and then while it matters: all bars come to their end. */
        if (w->doubt && any(w, 16) == 0)
            pass_bars();
        advance(w, &w->actor[any(w, ACTORS)]);
    }
    if (w->buried)
        pass_bars();
    for (int i = 0; i < ACTORS; i++)
        if (w->actor[i].state == FILLING)
            reader_fills(w, &w->actor[i]);
    request(w, &w->actor[0]);
    reader_reads(w, &w->actor[0]);
}

static bool in_use(struct cache *c)
{
    struct cache_status status;
    cache_status(c, &status);
    return status.redis == CACHE_UP && !status.reason[0];
}

void interleave_run(const struct cache_settings *redis, unsigned rounds, int size,
                    struct interleave *out)
{
    struct world *w = calloc(1, sizeof *w);
    const char *seed = getenv("PARLEY_TEST_SEED");
    memset(out, 0, sizeof *out);
    out->seed = seed ? strtoull(seed, NULL, 10) : random_u64() % 1000000000;
    printf("seed %" PRIu64 " ", out->seed);
    w->it = out;
    w->random = out->seed;
    w->size = size;
    w->shared = cache_shared_map(1 << 20);
    struct cache_settings settings = {
        .redis_url = "", .redis_timeout_ms = 5000, .value_max = 65536};
    if (redis)
        settings = *redis;
    settings.shared = w->shared;
    settings.fence_ms = INTERLEAVE_FENCE_MS;
    for (int i = 0; i < 2; i++)
        w->cache[i] = cache_open(&settings, NULL);
    for (int i = 0; redis && i < 1000 && !in_use(w->cache[0]); i++) {
        cache_poll(w->cache[0]);
        usleep(1000);
    }
    for (int i = 0; i < ACTORS; i++)
        w->actor[i].arena = arena_create(1 << 20);
    for (unsigned i = 0; i < rounds; i++)
        play(w, i);
    for (int i = 0; i < ACTORS; i++)
        arena_destroy(w->actor[i].arena);
    for (int i = 0; i < 2; i++)
        cache_close(w->cache[i]);
    cache_shared_unmap(w->shared);
    free(w);
}

void interleave_judge(const struct interleave *it)
{
    printf("stale %" PRIu64 " steps %" PRIu64 " hits %" PRIu64 " late fills %" PRIu64
           " two writers %" PRIu64 " killed %" PRIu64 " late commits %" PRIu64 " and %" PRIu64
           " fills after a bar %" PRIu64 " ",
           it->stale, it->steps, it->hits, it->late_fill, it->two_writers, it->killed_committed,
           it->committed_buried, it->committed_doubted, it->filled_after_bar);
    CU_ASSERT_EQUAL(it->stale, 0);
    CU_ASSERT_EQUAL(it->foreign, 0);
    const uint64_t seen[] = {it->hits,
                             it->late_fill,
                             it->two_writers,
                             it->killed_committed,
                             it->committed_buried,
                             it->committed_doubted,
                             it->filled_after_bar};
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        CU_ASSERT(seen[i] > 0);
}

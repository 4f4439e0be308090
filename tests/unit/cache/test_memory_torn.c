/* SPDX-License-Identifier: MIT */
/* Processes read and write one small table as fast as they can, while some are killed, reaped and
 * replaced, and some are stopped for a while. */
#include "../suite.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../src/cache/cache_internal.h"

#include "parley/base/uuid.h"

enum { CHILDREN = 4, KEYS = 6, ROUNDS = 250, VALUE_MAX = 60000, QUARANTINE_MS = 1 };

struct tally {
    _Atomic bool over;
    _Atomic uint64_t reads, hits, bad;
};

struct child {
    struct cache *cache;
    struct arena *arena;
    struct tally *tally;
    uint64_t random;
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t any(struct child *c, uint64_t below)
{
    return mix(c->random += UINT64_C(0x9e3779b97f4a7c15)) % below;
}

/* Every eight bytes say whose they are, and where. */
static struct cache_value value_of(struct arena *a, uint64_t key, uint64_t version)
{
    size_t n = (mix(key << 32 | version) % VALUE_MAX) & ~(size_t)7;
    uint64_t *words = arena_alloc(a, n);
    for (size_t i = 0; words && i < n / 8; i++)
        words[i] = mix(version << 20 | key << 16 | i);
    return (struct cache_value){{7, (int64_t)version, key}, 60000, {(char *)words, n}};
}

static void use_once(struct child *c)
{
    static const char *const ids[KEYS] = {"a", "b", "c", "d", "e", "f"};
    const uint64_t k = any(c, KEYS);
    const struct cache_key key = {SV("default"), sv_from(ids[k])};
    struct request_ctx ctx;
    struct cache_found f;
    arena_reset(c->arena);
    ctx_init(&ctx, c->arena, deadline_in_ms(1000), SV("default"), SV("r"));
    struct cache_snapshot snapshot = cache_snapshot(c->cache, key);
    const bool write = any(c, 8) == 0;
    atomic_fetch_add(&c->tally->reads, !write);
    if (!write && cache_find(c->cache, &ctx, key, &snapshot, false, &f)) {
        const struct cache_stamp stamp = f.value.stamp;
        const struct cache_value expected = value_of(c->arena, k, (uint64_t)stamp.version);
        atomic_fetch_add(&c->tally->hits, 1);
        if (!sv_eq(f.value.bytes, expected.bytes) || !cache_stamp_eq(stamp, expected.stamp))
            atomic_fetch_add(&c->tally->bad, 1);
        return;
    }
    if (write)
        cache_raise_epoch(c->cache, &snapshot, any(c, 50) == 0);
    if (write && any(c, 4) == 0) {
        cache_remove(c->cache, key, true);
        return;
    }
    const struct cache_value v = value_of(c->arena, k, any(c, 1 << 20));
    cache_put(c->cache, &ctx, key, &snapshot, false, &v);
}

/* A torn value must not get as far as the check of its identity. */
static void *use(void *arg)
{
    struct child *c = arg;
    struct cache_status status;
    while (!atomic_load(&c->tally->over)) {
        use_once(c);
        cache_status(c->cache, &status);
        if (status.mismatches > 0)
            atomic_fetch_add(&c->tally->bad, 1);
    }
    return NULL;
}

/* A process of two threads, so that ThreadSanitizer has something to look at. */
static pid_t start(struct cache_shared *shared, struct tally *tally, uint64_t seed)
{
    struct cache_settings settings = {.shared = shared,
                                      .redis_url = "",
                                      .quarantine_ms = QUARANTINE_MS,
                                      .value_seconds = 60,
                                      .value_max = VALUE_MAX};
    pthread_t second;
    fflush(stdout);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct child c = {cache_open(&settings, NULL), arena_create(1 << 20), tally, seed};
    struct child d = {c.cache, arena_create(1 << 20), tally, ~seed};
    if (pthread_create(&second, NULL, use, &d) != 0)
        _exit(1);
    use(&c);
    pthread_join(second, NULL);
    _exit(0);
}

static void disturb(struct child *c, struct cache_shared *shared, pid_t *pid)
{
    usleep((useconds_t)any(c, 3000));
    if (any(c, 2)) {
        kill(*pid, SIGSTOP);
        usleep((useconds_t)any(c, 2000));
        kill(*pid, SIGCONT);
        return;
    }
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    cache_shared_reap(shared, *pid, QUARANTINE_MS);
    *pid = start(shared, c->tally, any(c, UINT64_MAX));
}

/* Fails if a reader does not check the stripe's lock again after its copy, or if a writer goes on
 * without the lock: tests/mutants/cache-torn-read,
 * tests/mutants/cache-write-without-stripe. */
TEST(torn)
{
    const char *seed = getenv("PARLEY_TEST_SEED");
    struct cache_shared *shared = cache_shared_map(1); /* one stripe */
    struct tally *tally =
        mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct child self = {NULL, NULL, tally,
                         seed ? strtoull(seed, NULL, 10) : random_u64() % 1000000000};
    pid_t pids[CHILDREN];
    printf("seed %" PRIu64 " ", self.random);
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = start(shared, tally, any(&self, UINT64_MAX));
    for (int i = 0; i < ROUNDS; i++)
        disturb(&self, shared, &pids[any(&self, CHILDREN)]);
    atomic_store(&tally->over, true);
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        CU_ASSERT_EQUAL(status, 0);
    }
    CU_ASSERT_EQUAL(shared->stripe[0].lock % 2, 0);
    CU_ASSERT_EQUAL(tally->bad, 0);
    CU_ASSERT(tally->hits > 0 && tally->reads > tally->hits);
    printf("reads %" PRIu64 " hits %" PRIu64 " ", tally->reads, tally->hits);
    munmap(tally, sizeof *tally);
}

/* SPDX-License-Identifier: MIT */
/* What the queue sends while Redis accepts nothing, some of it, and all of it. */

#include "../../unit/suite.h"
#include "support.h"

/* Of the first round, and of the queue (src/cache/redis_queue.c). */
enum { ROUND_MAX = 64, ITEMS_MAX = 512, BYTES_MAX = 8 * 1024 * 1024 };

/* Redis is stopped, and the thread waits for it with a long time-out. */
static struct rig *rig_open_patient(struct cache_settings settings)
{
    settings.redis_timeout_ms = 20 * 1000;
    struct rig *rig = rig_open(&settings);
    redis_control("pause");
    return rig;
}

/* Each key many times, also with removals: the last command of each key wins. Every reply is read,
 * else later ones would be mixed up. Fails if a reply is not read:
 * tests/mutants/cache-queue-reply-not-read. */
static void the_last_wins(void)
{
    enum { KEYS = 100, TIMES = 5 };
    char id[16];
    struct rig *rig = rig_open_patient(rig_settings());
    for (int t = 1; t <= TIMES; t++)
        for (int i = 0; i < KEYS; i++)
            if ((i + t) % 4 == 0)
                cache_remove(rig->cache, key_numbered(id, i), true);
            else
                put_version(rig->cache, key_numbered(id, i), t);
    redis_control("resume");
    put_version(rig->cache, key_numbered(id, KEYS), 1);
    EVENTUALLY(find_version(rig->cache, key_numbered(id, KEYS)) == 1);
    for (int i = 0; i < KEYS; i++)
        CU_ASSERT_EQUAL(find_version(rig->cache, key_numbered(id, i)),
                        (i + TIMES) % 4 == 0 ? 0 : TIMES);
    /* Once each, and what went with the first round once more. */
    CU_ASSERT(sets_of(rig) <= KEYS + 1 + ROUND_MAX);
    CU_ASSERT(lost_of(rig) == 0 && mismatches_of(rig->cache) == 0);
    CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
    rig_close(rig);
}

/* A full queue, by items or by bytes, drops the oldest. */
static void the_oldest_is_dropped(void)
{
    static const struct {
        int n, kept;
        size_t size;
    } rows[] = {{2000, ITEMS_MAX, 0}, {300, BYTES_MAX / 100100, 100000}};
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        char id[16];
        const int n = rows[k].n, kept = rows[k].kept;
        struct rig *rig = rig_open_patient(rig_settings());
        for (int i = 0; i < n; i++)
            put_sized(rig->cache, key_numbered(id, i), 1, rows[k].size);
        CU_ASSERT(lost_of(rig) >= (uint64_t)(n - kept - ROUND_MAX));
        redis_control("resume");
        EVENTUALLY(sets_of(rig) + lost_of(rig) == (uint64_t)n);
        for (int i = n - kept; i < n; i++)
            CU_ASSERT_EQUAL(find_version(rig->cache, key_numbered(id, i)), 1);
        CU_ASSERT(admin(rig, "DBSIZE") <= kept + 1 + ROUND_MAX);
        rig_close(rig);
    }
}

/* Redis refuses every value and accepts removals: it stays in use. */
static void out_of_memory(void)
{
    char id[16];
    struct rig *rig = rig_open(NULL);
    put_version(rig->cache, key_numbered(id, 0), 1);
    EVENTUALLY(sets_of(rig) == 1);
    admin(rig, "CONFIG SET maxmemory-policy noeviction");
    admin(rig, "CONFIG SET maxmemory 1mb");
    for (int i = 1; i <= 20; i++)
        put_sized(rig->cache, key_numbered(id, i), 1, 100000);
    EVENTUALLY(sets_of(rig) + lost_of(rig) == 21);
    CU_ASSERT(lost_of(rig) > 0);
    CU_ASSERT_EQUAL(find_version(rig->cache, key_numbered(id, 0)), 1);
    cache_remove(rig->cache, key_numbered(id, 0), true);
    EVENTUALLY(!is_in_redis(rig, key_numbered(id, 0)));
    CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_UP);
    admin(rig, "CONFIG SET maxmemory 256mb");
    admin(rig, "CONFIG SET maxmemory-policy allkeys-lru");
    put_version(rig->cache, key_numbered(id, 21), 1);
    EVENTUALLY(find_version(rig->cache, key_numbered(id, 21)) == 1);
    rig_close(rig);
}

/* A value that is removed while Redis is away is gone when Redis is back. A put while it is away is
 * lost. Fails if a removal is dropped while Redis is not in use: tried. */
static void removals_wait(void)
{
    char id[16];
    struct rig *rig = rig_open(NULL);
    for (int i = 0; i < 3; i++)
        put_version(rig->cache, key_numbered(id, i), 1);
    EVENTUALLY(sets_of(rig) == 3);
    redis_control("pause");
    cache_probe(rig->cache);
    CU_ASSERT_EQUAL(state_of(rig->cache), CACHE_DOWN);
    const struct cache_key erased = key_numbered(id, 1);
    CU_ASSERT_FALSE(cache_erase(rig->cache, &rig->r.ctx, &erased, 1));
    cache_remove(rig->cache, key_numbered(id, 0), true);
    put_version(rig->cache, key_numbered(id, 2), 2);
    redis_control("resume");
    EVENTUALLY(!is_in_redis(rig, key_numbered(id, 0)));
    EVENTUALLY(!is_in_redis(rig, key_numbered(id, 1)));
    CU_ASSERT_EQUAL(find_version(rig->cache, key_numbered(id, 2)), 1);
    CU_ASSERT_EQUAL(lost_of(rig), 0);
    rig_close(rig);
}

/* A value that waited longer than two time-outs is lost; a removal is not. */
static void old_values_are_lost(void)
{
    char id[16];
    struct rig *rig = rig_open(NULL);
    redis_control("pause");
    /* More than a round: the rest waits until Redis is used again. */
    for (int i = 0; i < 3 * ROUND_MAX; i++)
        put_version(rig->cache, key_numbered(id, i), 1);
    EVENTUALLY(state_of(rig->cache) == CACHE_DOWN);
    service_sleep_ms(2 * REDIS_MS);
    redis_control("resume");
    EVENTUALLY(sets_of(rig) + lost_of(rig) == 3 * ROUND_MAX);
    CU_ASSERT_EQUAL(sets_of(rig), 0);
    rig_close(rig);
}

/* A worker has sent a value and has two more in its queue, while another worker erases the sessions
 * of the first two. The value that was sent is removed again; the other is not sent. Fails without
 * either: tried. */
static void erased_meanwhile(void)
{
    char id[3][16];
    struct cache_key key[3];
    struct cache_settings settings = rig_settings();
    settings.shared = cache_shared_map(1 << 20);
    settings.redis_timeout_ms = 20 * 1000;
    struct rig *rig = rig_open(&settings);
    struct cache *other = cache_open(&settings, NULL);
    EVENTUALLY(state_of(other) == CACHE_UP);
    redis_control("pause");
    for (int i = 0; i < 3; i++) {
        key[i] = key_numbered(id[i], i);
        put_version(rig->cache, key[i], 1);
        service_sleep_ms(100); /* the thread has sent the first one, and waits for the answer */
    }
    for (int i = 0; i < 2; i++) {
        struct cache_snapshot snapshot = cache_snapshot(other, key[i]);
        cache_raise_epoch(other, &snapshot, false);
    }
    redis_control("resume");
    EVENTUALLY(sets_of(rig) == 2 && lost_of(rig) == 1 && !is_in_redis(rig, key[0]));
    CU_ASSERT_FALSE(is_in_redis(rig, key[1]));
    CU_ASSERT_TRUE(is_in_redis(rig, key[2]));
    cache_close(other);
    rig_close(rig);
}

/* A value that is put while the one before it is sent arrives. Fails if the removal of the one
 * before it replaces it in the queue: tried. */
static void written_meanwhile(void)
{
    char id[16];
    const struct cache_key key = key_numbered(id, 0);
    struct cache_settings settings = rig_settings();
    settings.shared = cache_shared_map(1 << 20);
    struct rig *rig = rig_open_patient(settings);
    put_version(rig->cache, key, 1);
    service_sleep_ms(100); /* the thread has sent it, and waits for the answer */
    struct cache_snapshot snapshot = cache_snapshot(rig->cache, key);
    cache_raise_epoch(rig->cache, &snapshot, false);
    put_version(rig->cache, key, 2);
    redis_control("resume");
    EVENTUALLY(sets_of(rig) == 2);
    CU_ASSERT_TRUE(is_in_redis(rig, key));
    CU_ASSERT_EQUAL(lost_of(rig), 0);
    rig_close(rig);
}

/* A value was sent, and the next one waits in the queue for too long. Meanwhile the session was
 * erased. Redis runs the SET of the first value late, and the key is removed. Fails if
 * the next one is just lost: tried. */
static void erased_after_a_lost_value(void)
{
    char id[2][16];
    const struct cache_key key = key_numbered(id[0], 0), next = key_numbered(id[1], 1);
    struct cache_settings settings = rig_settings();
    settings.shared = cache_shared_map(1 << 20);
    struct rig *rig = rig_open(&settings);
    redis_control("pause");
    put_version(rig->cache, key, 1);
    service_sleep_ms(100); /* the thread has sent it, and waits for the answer */
    for (int version = 2; version <= 3; version++) {
        struct cache_snapshot snapshot = cache_snapshot(rig->cache, key);
        cache_raise_epoch(rig->cache, &snapshot, false);
        if (version == 2)
            put_version(rig->cache, key, 2);
    }
    EVENTUALLY(state_of(rig->cache) == CACHE_DOWN);
    service_sleep_ms(2 * REDIS_MS + 50);
    redis_control("resume");
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    put_version(rig->cache, next, 1);
    EVENTUALLY(is_in_redis(rig, next));
    CU_ASSERT_FALSE(is_in_redis(rig, key));
    rig_close(rig);
}

SUITE(redis_queue, "cache/redis_queue", {"the last wins", the_last_wins},
      {"the oldest is dropped", the_oldest_is_dropped}, {"out of memory", out_of_memory},
      {"removals wait", removals_wait}, {"old values are lost", old_values_are_lost},
      {"erased meanwhile", erased_meanwhile}, {"written meanwhile", written_meanwhile},
      {"erased after a lost value", erased_after_a_lost_value})

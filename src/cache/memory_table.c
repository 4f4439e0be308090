/* SPDX-License-Identifier: MIT */
/* The table of values in shared memory. cache_internal.h describes it. */
#include "cache_internal.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { VALUE_WORDS_MAX = MEMORY_RING_WORDS / 4 };
static const uint64_t count_mask = (UINT64_C(1) << MEMORY_PID_SHIFT) - 1;

static uint64_t load_acquire(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void store_release(_Atomic uint64_t *word, uint64_t v)
{
    atomic_store_explicit(word, v, memory_order_release);
}

/* ---- the mapping ---- */

/* MAP_POPULATE: if the machine or its container has too little memory for the table, the service
 * fails when it starts, and not when the table is full. */
struct cache_shared *cache_shared_map(size_t memory_bytes)
{
    const size_t fit = memory_bytes / sizeof(struct memory_stripe);
    const size_t n_stripes = memory_bytes > 0 && fit == 0 ? 1 : fit;
    struct cache_shared *t =
        mmap(NULL, sizeof *t + n_stripes * sizeof t->stripe[0], PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (t == MAP_FAILED)
        return NULL;
    t->n_stripes = n_stripes;
    arc4random_buf(t->key, sizeof t->key);
    return t;
}

size_t memory_used(struct cache_shared *t)
{
    size_t words = 0;
    for (uint64_t i = 0; i < t->n_stripes; i++) {
        uint64_t head = load_acquire(&t->stripe[i].head);
        words += head < MEMORY_RING_WORDS ? head : MEMORY_RING_WORDS;
    }
    return words * sizeof(uint64_t);
}

/* ---- epochs and quarantines ---- */

static _Atomic uint64_t *epoch_of(struct cache_shared *t, uint64_t hash)
{
    return &t->epoch[hash % MEMORY_BUCKETS];
}

static _Atomic int64_t *quarantine_of(struct cache_shared *t, uint64_t hash)
{
    return &t->quarantine_us[hash % MEMORY_QUARANTINES];
}

/* Epochs are read first. They are raised after a quarantine begins, so a snapshot with a new epoch
 * also sees the quarantine. */
struct cache_snapshot memory_snapshot(struct cache_shared *t, struct cache_key key, int64_t now_us)
{
    /* The id is hashed with a key that the tenant's hash is mixed into. 0 marks a free entry. */
    uint64_t k[2];
    memcpy(k, t->key, sizeof k);
    k[0] ^= hash_bytes(t->key, key.tenant);
    const uint64_t hash = hash_bytes((const unsigned char *)k, key.id);
    struct cache_snapshot s = {.hash = hash ? hash : 1};
    s.all = atomic_load(&t->all);
    s.epoch = atomic_load(epoch_of(t, s.hash));
    s.usable = now_us >= atomic_load(&t->quarantine_all_us) &&
               now_us >= atomic_load(quarantine_of(t, s.hash));
    return s;
}

void cache_shared_outdate(struct cache_shared *shared)
{
    atomic_fetch_add(&shared->all, 1);
}

static void set_at_least(_Atomic int64_t *at, int64_t v)
{
    int64_t old = atomic_load(at);
    while (old < v && !atomic_compare_exchange_weak(at, &old, v))
        continue;
}

uint64_t memory_raise(struct cache_shared *t, uint64_t hash, int64_t quarantine_until_us)
{
    /* Before: a snapshot with the new epoch must see the quarantine. */
    set_at_least(quarantine_of(t, hash), quarantine_until_us);
    return atomic_fetch_add(epoch_of(t, hash), 1);
}

/* Empties a stripe whose writer died while it wrote. */
static void free_stripe(struct memory_stripe *s, uint64_t lock)
{
    for (size_t i = 0; i < MEMORY_ENTRIES; i++) {
        store_release(&s->hash[i], 0);
        store_release(&s->entry[i].size, 0);
    }
    store_release(&s->lock, ((lock & count_mask) + 1) & count_mask);
}

void cache_shared_reap(struct cache_shared *shared, pid_t pid, int64_t quarantine_ms)
{
    set_at_least(&shared->quarantine_all_us, deadline_in_ms(quarantine_ms).at_us);
    cache_shared_outdate(shared);
    for (uint64_t i = 0; i < shared->n_stripes; i++) {
        uint64_t lock = load_acquire(&shared->stripe[i].lock);
        if (lock % 2 == 1 && lock >> MEMORY_PID_SHIFT == (uint64_t)pid)
            free_stripe(&shared->stripe[i], lock);
    }
}

/* ---- values ---- */

/* Uses other bits of the hash than epoch_of. */
static struct memory_stripe *stripe_of(struct cache_shared *t, uint64_t hash)
{
    return &t->stripe[(hash >> 32) * t->n_stripes >> 32];
}

static size_t first_way(uint64_t hash)
{
    return (hash >> 16) % (MEMORY_ENTRIES / MEMORY_WAYS) * MEMORY_WAYS;
}

/* Whether no lock of an entry is overwritten yet. */
static bool is_whole(const struct memory_stripe *s, uint64_t start)
{
    return load_acquire(&s->head) - start <= MEMORY_RING_WORDS;
}

bool memory_is_current(struct cache_shared *t, const struct cache_snapshot *s)
{
    return s->usable && atomic_load(epoch_of(t, s->hash)) == s->epoch &&
           atomic_load(&t->all) == s->all;
}

static void copy_words(char *to, const _Atomic uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = load_acquire(&from[i]);
        memcpy(to + i * sizeof word, &word, sizeof word);
    }
}

/* The copy may mix two writers' words: the caller checks the stripe's lock again before it uses it.
 */
static struct sv copy_out(const struct memory_stripe *s, const struct memory_entry *e,
                          struct arena *a)
{
    const uint64_t start = load_acquire(&e->start);
    size_t n = load_acquire(&e->size) & UINT32_MAX, words = (n + 7) / 8;
    char *p = n > 0 && words <= VALUE_WORDS_MAX && is_whole(s, start)
                  ? arena_alloc(a, words * sizeof(uint64_t))
                  : NULL;
    if (!p)
        return SV_NONE;
    /* Up to the end of the ring, and the rest from its beginning. */
    const size_t first = start % MEMORY_RING_WORDS, room = MEMORY_RING_WORDS - first;
    copy_words(p, &s->ring[first], words < room ? words : room);
    if (words > room)
        copy_words(p + room * sizeof(uint64_t), s->ring, words - room);
    return (struct sv){p, n};
}

/* The entry of the key in its stripe, or MEMORY_ENTRIES. */
static size_t entry_of(const struct memory_stripe *s, uint64_t hash)
{
    const size_t first = first_way(hash);
    for (size_t i = first; i < first + MEMORY_WAYS; i++)
        if (load_acquire(&s->hash[i]) == hash)
            return i;
    return MEMORY_ENTRIES;
}

struct sv memory_find(struct cache_shared *t, const struct cache_snapshot *snapshot, int64_t now_us,
                      struct arena *a, bool *current)
{
    const struct memory_stripe *s = stripe_of(t, snapshot->hash);
    const uint64_t lock = load_acquire(&s->lock);
    const size_t at = entry_of(s, snapshot->hash);
    if (lock % 2 == 1 || at == MEMORY_ENTRIES)
        return SV_NONE;
    const struct memory_entry *e = &s->entry[at];
    if (now_us >= (int64_t)load_acquire(&e->until_us))
        return SV_NONE;
    *current = load_acquire(&e->epoch) == snapshot->epoch && load_acquire(&e->all) == snapshot->all;
    struct arena_mark mark = arena_get_mark(a);
    const struct sv value = copy_out(s, e, a);
    if (value.p && load_acquire(&s->lock) == lock) {
        *current = *current && memory_is_current(t, snapshot);
        return value;
    }
    arena_rewind(a, mark);
    return SV_NONE;
}

static uint64_t age_of(const struct memory_entry *e)
{
    return load_acquire(&e->size) ? load_acquire(&e->start) + 1 : 0;
}

/* The entry of the same key, or a free one, or the one that is overwritten soonest. */
static struct memory_entry *entry_for(struct memory_stripe *s, uint64_t hash)
{
    const size_t first = first_way(hash), own = entry_of(s, hash);
    size_t oldest = first;
    if (own < MEMORY_ENTRIES)
        return &s->entry[own];
    for (size_t i = first; i < first + MEMORY_WAYS; i++)
        if (age_of(&s->entry[i]) < age_of(&s->entry[oldest]))
            oldest = i;
    store_release(&s->hash[oldest], hash);
    store_release(&s->entry[oldest].size, 0);
    return &s->entry[oldest];
}

/* Where a value of n bytes goes. A value that fits replaces the old one in place, so that a session
 * that is written often does not push all others out of the ring. An eighth more than needed is
 * reserved, so that the value may grow. */
static uint64_t start_for(struct memory_stripe *s, struct memory_entry *e, size_t n)
{
    const uint64_t words = (n + 7) / 8, head = load_acquire(&s->head);
    uint64_t reserved = load_acquire(&e->size) >> 32, start = load_acquire(&e->start);
    if (reserved < words || !is_whole(s, start)) {
        reserved = words + words / 8;
        start = head;
        store_release(&e->start, start);
        store_release(&s->head, head + reserved);
    }
    store_release(&e->size, reserved << 32 | n);
    return start;
}

static void put_words(_Atomic uint64_t *to, const char *p, size_t n)
{
    uint64_t word;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        store_release(to++, word);
    }
    if (n == 0)
        return;
    word = 0;
    memcpy(&word, p, n);
    store_release(to, word);
}

/* The stripe's lock while self has it; 0: another writer has it. */
static uint64_t try_lock(struct memory_stripe *s, pid_t self)
{
    uint64_t lock = load_acquire(&s->lock);
    const uint64_t held = (uint64_t)self << MEMORY_PID_SHIFT | ((lock + 1) & count_mask);
    if (lock % 2 == 1 || !atomic_compare_exchange_strong(&s->lock, &lock, held))
        return 0;
    return held;
}

static void unlock_stripe(struct memory_stripe *s, uint64_t held)
{
    store_release(&s->lock, (held + 1) & count_mask);
}

bool memory_store(struct cache_shared *t, pid_t self, const struct cache_snapshot *snapshot,
                  struct sv bytes, int64_t until_us)
{
    struct memory_stripe *s = stripe_of(t, snapshot->hash);
    if (bytes.n == 0 || bytes.n > VALUE_WORDS_MAX * sizeof(uint64_t))
        return false;
    const uint64_t held = try_lock(s, self);
    if (held == 0)
        return false;
    /* A deletion raises the epoch and then looks at the lock. So a value that was read before is
     * refused here, or the deletion waits until it can remove it. */
    if (!memory_is_current(t, snapshot)) {
        unlock_stripe(s, held);
        return false;
    }
    struct memory_entry *e = entry_for(s, snapshot->hash);
    const uint64_t start = start_for(s, e, bytes.n);
    store_release(&e->epoch, snapshot->epoch);
    store_release(&e->all, snapshot->all);
    store_release(&e->until_us, (uint64_t)until_us);
    const size_t first = start % MEMORY_RING_WORDS,
                 room = (MEMORY_RING_WORDS - first) * sizeof(uint64_t);
    put_words(&s->ring[first], bytes.p, bytes.n < room ? bytes.n : room);
    if (bytes.n > room)
        put_words(s->ring, bytes.p + room, bytes.n - room);
    unlock_stripe(s, held);
    return true;
}

/* A store takes some microseconds. One that began before the deletion is waited for, unless its
 * writer was stopped in it; one that begins later sees the epoch that the deletion has raised. The
 * entry may be another key's by now, which then has a miss. */
void memory_remove(struct cache_shared *t, uint64_t hash)
{
    enum { TRIES = 100 };
    struct memory_stripe *s = stripe_of(t, hash);
    const uint64_t lock = atomic_load(&s->lock);
    for (int i = 0; i < TRIES && lock % 2 == 1 && load_acquire(&s->lock) == lock; i++)
        (void)sched_yield();
    const size_t at = entry_of(s, hash);
    if (at < MEMORY_ENTRIES)
        store_release(&s->entry[at].until_us, 0);
}

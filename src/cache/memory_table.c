/* SPDX-License-Identifier: MIT */
#include "memory_internal.h"

#include <string.h>

#include <sodium.h>

#include "parley/base/uuid.h"

enum { VALUE_WORDS_MAX = MEMORY_RING_WORDS / 4 };
static const uint64_t count_mask = (UINT64_C(1) << MEMORY_PID_SHIFT) - 1;

static uint64_t get(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void put(_Atomic uint64_t *word, uint64_t v)
{
    atomic_store_explicit(word, v, memory_order_release);
}

uint64_t memory_stripes(size_t bytes)
{
    size_t n = bytes / sizeof(struct memory_stripe);
    return n > 0 ? n : 1;
}

size_t memory_size(uint64_t n_stripes)
{
    return sizeof(struct memory_table) + n_stripes * sizeof(struct memory_stripe);
}

void memory_init(struct memory_table *t, uint64_t n_stripes)
{
    t->n_stripes = n_stripes;
    random_bytes(t->key, sizeof t->key);
    random_bytes(t->id, sizeof t->id);
}

size_t memory_used(struct memory_table *t)
{
    size_t words = 0;
    for (uint64_t i = 0; i < t->n_stripes; i++) {
        uint64_t head = get(&t->stripe[i].head);
        words += head < MEMORY_RING_WORDS ? head : MEMORY_RING_WORDS;
    }
    return words * sizeof(uint64_t);
}

/* ---- epochs and bars ---- */

/* The hash of the tenant is part of the key that the id is hashed with. Never 0: no entry. */
static uint64_t hash_of(const struct memory_table *t, struct cache_key key)
{
    unsigned char k[sizeof t->key], out[crypto_shorthash_BYTES];
    uint64_t hash;
    memcpy(k, t->key, sizeof k);
    crypto_shorthash(out, (const unsigned char *)key.tenant.p, key.tenant.n, k);
    for (size_t i = 0; i < sizeof out; i++)
        k[i] ^= out[i];
    crypto_shorthash(out, (const unsigned char *)key.id.p, key.id.n, k);
    memcpy(&hash, out, sizeof hash);
    return hash ? hash : 1;
}

static _Atomic uint64_t *epoch_of(struct memory_table *t, uint64_t hash)
{
    return &t->epoch[hash % MEMORY_BUCKETS];
}

static _Atomic int64_t *bar_of(struct memory_table *t, uint64_t hash)
{
    return &t->bar_us[hash % MEMORY_BARS];
}

/* Epochs first: they are raised after the bar is set, so whoever noted a new one sees its bar. */
struct cache_note memory_note(struct memory_table *t, struct cache_key key, int64_t now_us)
{
    struct cache_note note = {.hash = hash_of(t, key)};
    note.all = atomic_load(&t->all);
    note.epoch = atomic_load(epoch_of(t, note.hash));
    note.usable =
        now_us >= atomic_load(&t->bar_all_us) && now_us >= atomic_load(bar_of(t, note.hash));
    return note;
}

uint64_t memory_raise(struct memory_table *t, uint64_t hash)
{
    return atomic_fetch_add(epoch_of(t, hash), 1);
}

void memory_bar_ms(struct memory_table *t, int64_t ms)
{
    cache_set_at_least(&t->bar_ms, ms);
}

void memory_bar(struct memory_table *t, uint64_t hash, int64_t until_us)
{
    cache_set_at_least(bar_of(t, hash), until_us);
}

/* What its dead writer has left half done is of no use. */
static void free_stripe(struct memory_stripe *s, uint64_t word)
{
    for (size_t i = 0; i < MEMORY_ENTRIES; i++) {
        put(&s->hash[i], 0);
        put(&s->entry[i].size, 0);
    }
    put(&s->word, ((word & count_mask) + 1) & count_mask);
}

void memory_bury(struct memory_table *t, pid_t pid, int64_t now_us)
{
    cache_set_at_least(&t->bar_all_us, now_us + atomic_load(&t->bar_ms) * 1000);
    atomic_fetch_add(&t->all, 1);
    for (uint64_t i = 0; i < t->n_stripes; i++) {
        uint64_t word = get(&t->stripe[i].word);
        if (word % 2 == 1 && word >> MEMORY_PID_SHIFT == (uint64_t)pid)
            free_stripe(&t->stripe[i], word);
    }
}

/* ---- values ---- */

/* Other bits of the hash than the bucket's. */
static struct memory_stripe *stripe_of(struct memory_table *t, uint64_t hash)
{
    return &t->stripe[(hash >> 32) * t->n_stripes >> 32];
}

static size_t first_way(uint64_t hash)
{
    return (hash >> 16) % (MEMORY_ENTRIES / MEMORY_WAYS) * MEMORY_WAYS;
}

/* Of an entry's words none is overwritten yet. */
static bool is_whole(const struct memory_stripe *s, uint64_t place)
{
    return get(&s->head) - place <= MEMORY_RING_WORDS;
}

static bool is_current(struct memory_table *t, const struct cache_note *note)
{
    return atomic_load(epoch_of(t, note->hash)) == note->epoch && atomic_load(&t->all) == note->all;
}

static void copy_words(char *to, const _Atomic uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t word = get(&from[i]);
        memcpy(to + i * sizeof word, &word, sizeof word);
    }
}

/* May be of two writers: the caller looks at the stripe's word again before it believes anything.
 */
static bool copy_out(const struct memory_stripe *s, const struct memory_entry *e, struct arena *a,
                     struct sv *out)
{
    uint64_t place = get(&e->place);
    size_t n = get(&e->size) & UINT32_MAX, words = (n + 7) / 8;
    char *p = n > 0 && words <= VALUE_WORDS_MAX && is_whole(s, place)
                  ? arena_alloc(a, words * sizeof(uint64_t))
                  : NULL;
    if (!p)
        return false;
    /* Up to the end of the ring, and the rest from its beginning. */
    const size_t first = place % MEMORY_RING_WORDS, room = MEMORY_RING_WORDS - first;
    copy_words(p, &s->ring[first], words < room ? words : room);
    if (words > room)
        copy_words(p + room * sizeof(uint64_t), s->ring, words - room);
    *out = (struct sv){p, n};
    return true;
}

bool memory_find(struct memory_table *t, const struct cache_note *note, int64_t now_us,
                 struct arena *a, struct sv *out, int64_t *until_us)
{
    const struct memory_stripe *s = stripe_of(t, note->hash);
    const uint64_t word = get(&s->word);
    size_t at = first_way(note->hash);
    const size_t end = at + MEMORY_WAYS;
    if (!note->usable || word % 2 == 1)
        return false;
    while (at < end && get(&s->hash[at]) != note->hash)
        at++;
    if (at == end)
        return false;
    const struct memory_entry *e = &s->entry[at];
    *until_us = (int64_t)get(&e->until_us);
    if (get(&e->epoch) != note->epoch || get(&e->all) != note->all || now_us >= *until_us)
        return false;
    struct arena_mark mark = arena_get_mark(a);
    if (copy_out(s, e, a, out) && get(&s->word) == word && is_current(t, note))
        return true;
    arena_rewind(a, mark);
    return false;
}

static uint64_t age_of(const struct memory_entry *e)
{
    return get(&e->size) ? get(&e->place) + 1 : 0;
}

/* That of the same key, or an empty one, or the one that is overwritten soonest. */
static struct memory_entry *entry_for(struct memory_stripe *s, uint64_t hash)
{
    size_t first = first_way(hash), oldest = first;
    for (size_t i = first; i < first + MEMORY_WAYS; i++) {
        if (get(&s->hash[i]) == hash)
            return &s->entry[i];
        if (age_of(&s->entry[i]) < age_of(&s->entry[oldest]))
            oldest = i;
    }
    put(&s->hash[oldest], hash);
    put(&s->entry[oldest].size, 0);
    return &s->entry[oldest];
}

/* In the place it has while it fits there, so that a session that is written often does not push
 * all others out of the ring; an eighth more than needed, so that it may grow. */
static uint64_t place_for(struct memory_stripe *s, struct memory_entry *e, size_t n)
{
    const uint64_t words = (n + 7) / 8, head = get(&s->head);
    uint64_t kept = get(&e->size) >> 32, place = get(&e->place);
    if (kept < words || !is_whole(s, place)) {
        kept = words + words / 8;
        place = head;
        put(&e->place, place);
        put(&s->head, head + kept);
    }
    put(&e->size, kept << 32 | n);
    return place;
}

static void put_words(_Atomic uint64_t *to, const char *p, size_t n)
{
    uint64_t word;
    for (; n >= sizeof word; n -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        put(to++, word);
    }
    if (n == 0)
        return;
    word = 0;
    memcpy(&word, p, n);
    put(to, word);
}

bool memory_store(struct memory_table *t, pid_t self, const struct cache_note *note,
                  struct sv bytes, int64_t until_us)
{
    struct memory_stripe *s = stripe_of(t, note->hash);
    uint64_t word = get(&s->word);
    const uint64_t held = (uint64_t)self << MEMORY_PID_SHIFT | ((word + 1) & count_mask);
    if (!note->usable || !is_current(t, note) || bytes.n == 0 ||
        bytes.n > VALUE_WORDS_MAX * sizeof word)
        return false;
    if (word % 2 == 1 || !atomic_compare_exchange_strong(&s->word, &word, held))
        return false;
    struct memory_entry *e = entry_for(s, note->hash);
    uint64_t place = place_for(s, e, bytes.n);
    put(&e->epoch, note->epoch);
    put(&e->all, note->all);
    put(&e->until_us, (uint64_t)until_us);
    const size_t first = place % MEMORY_RING_WORDS,
                 room = (MEMORY_RING_WORDS - first) * sizeof word;
    put_words(&s->ring[first], bytes.p, bytes.n < room ? bytes.n : room);
    if (bytes.n > room)
        put_words(s->ring, bytes.p + room, bytes.n - room);
    put(&s->word, (held + 1) & count_mask);
    return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * The table of the memory tier, in the mapping that all workers of a host share.
 *
 * Who may believe what: epochs. A key belongs to a bucket, and each writer raises the epoch of its
 * bucket after its commit and before its answer. A reader notes the epoch before it looks anywhere;
 * what it brings back from the record is stored with that, and is given out only while it is still
 * the bucket's. "all" is an epoch above all buckets, raised when a worker died.
 *
 * A statement that may yet be committed after its writer is gone (its outcome is unknown, or the
 * writer died) raises nothing when it is: for as long as that may take a bar stands, and whoever
 * takes note while it stands may neither find nor store.
 *
 * Where the values are: stripes, each a ring that newer values overwrite. Nobody waits for one: its
 * word is only ever tried. A writer that does not get it drops its value, a reader that finds it
 * held, or changed behind its copy, has a miss. Data words are stored with release and loaded with
 * acquire, which is what a seqlock needs of them (and, on x86, plain moves): a reader that has seen
 * a word of a writer also sees that writer's hold on the stripe.
 */
#ifndef PARLEY_CACHE_MEMORY_INTERNAL_H
#define PARLEY_CACHE_MEMORY_INTERNAL_H

#include <stdatomic.h>

#include "cache_internal.h"

enum {
    MEMORY_BUCKETS = 65536,
    MEMORY_BARS = 1024,               /* each for the buckets of one remainder */
    MEMORY_RING_WORDS = 32768,        /* 256 KiB a stripe */
    MEMORY_WAYS = 8,                  /* entries that a key may be in */
    MEMORY_ENTRIES = 16 * MEMORY_WAYS /* of a stripe */
};

struct memory_entry {
    _Atomic uint64_t place; /* first word, counted as head is */
    _Atomic uint64_t size;  /* bytes; above them by 32 bits the words kept for it. 0: none */
    _Atomic uint64_t epoch, all;
    _Atomic uint64_t until_us; /* monotonic */
};

struct memory_stripe {
    /* Even: free; odd: being written. MEMORY_PID_SHIFT bits count, above them the writer's pid. */
    _Alignas(64) _Atomic uint64_t word;
    _Atomic uint64_t head; /* words given out since the start; the ring holds the last of them */
    _Atomic uint64_t hash[MEMORY_ENTRIES];
    struct memory_entry entry[MEMORY_ENTRIES];
    _Atomic uint64_t ring[MEMORY_RING_WORDS];
};
enum { MEMORY_PID_SHIFT = 40 };

struct memory_table {
    unsigned char key[16]; /* of the hash */
    unsigned char id[16];  /* of this table: never of another one */
    uint64_t n_stripes;
    _Atomic int64_t bar_ms; /* the longest fence_ms of any worker so far */
    _Atomic uint64_t all;
    _Atomic int64_t bar_all_us; /* monotonic times up to which bars stand */
    _Atomic int64_t bar_us[MEMORY_BARS];
    _Atomic uint64_t epoch[MEMORY_BUCKETS];
    struct memory_stripe stripe[];
};

/* ---- memory_table.c ---- */

/* Stripes that fit into bytes, at least one; and the size of a table with them. */
uint64_t memory_stripes(size_t bytes);
size_t memory_size(uint64_t n_stripes);
/* t: zeroed memory of that size. */
void memory_init(struct memory_table *t, uint64_t n_stripes);
size_t memory_used(struct memory_table *t); /* bytes that hold a value, or held one */

/* To be made before anything is asked that the noted is to vouch for. */
struct cache_note memory_note(struct memory_table *t, struct cache_key key, int64_t now_us);
/* Raises the epoch of the key's bucket; what it was. */
uint64_t memory_raise(struct memory_table *t, uint64_t hash);
/* How long the writes of a worker may go on after its death, for memory_bury. */
void memory_bar_ms(struct memory_table *t, int64_t ms);
/* Bars the key's bucket. Before memory_raise: who notes the new epoch must see the bar. */
void memory_bar(struct memory_table *t, uint64_t hash, int64_t until_us);
/* See cache_shared_bury. One thread at a time, and pid is gone. */
void memory_bury(struct memory_table *t, pid_t pid, int64_t now_us);

/* A copy, in the arena, of what was stored under the noted epochs and is not over; false: a miss.
 * Whose bytes these are is for the caller to check. */
MUSTCHECK bool memory_find(struct memory_table *t, const struct cache_note *note, int64_t now_us,
                           struct arena *a, struct sv *out, int64_t *until_us);
/* False: not stored, because it is too large or somebody else is writing there. */
bool memory_store(struct memory_table *t, pid_t self, const struct cache_note *note,
                  struct sv bytes, int64_t until_us);

/* ---- cache_memory.c ---- */

/* As cache_codec_encode and cache_codec_decode, for the table. */
MUSTCHECK bool memory_encode(struct arena *a, struct cache_key key, const struct cache_value *value,
                             struct sv *out);
MUSTCHECK bool memory_decode(struct sv stored, struct cache_key key, struct cache_value *out);

/* NULL when there is no memory. */
struct cache_tier *cache_memory_open(const struct cache_settings *settings, struct memory_table *t);

#endif

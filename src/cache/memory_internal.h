/* SPDX-License-Identifier: MIT */
/*
 * The table of cached values in the mapping that all workers of a host share.
 *
 * Epochs decide what is current. Each key belongs to a bucket, and each bucket has an epoch. A
 * writer raises the epoch after its commit and before its answer. A reader takes a snapshot of the
 * epoch before it asks PostgreSQL, and stores the result under that epoch. The value is current
 * only while the bucket still has that epoch. "all" is one more epoch, for all buckets together. It
 * is raised when a worker died or when other hosts may have written.
 *
 * PostgreSQL may still commit a statement after its writer has gone: the writer died, or does not
 * know the outcome. No epoch is raised then. So the bucket is in quarantine for as long as that may
 * take. For a snapshot that was taken during a quarantine nothing is current and nothing is stored.
 *
 * Values are in stripes. Each stripe is a ring, in which newer values overwrite older ones, under a
 * seqlock. A writer that does not get the lock drops its value. A removal only ends the value's
 * life, which takes no lock. A reader has a miss if the lock is taken, or changed while it copied.
 * Words are stored with release and loaded with acquire: a reader that sees a word of a writer also
 * sees that writer's lock.
 */
#ifndef PARLEY_CACHE_MEMORY_INTERNAL_H
#define PARLEY_CACHE_MEMORY_INTERNAL_H

#include <stdatomic.h>

#include "cache_internal.h"

enum {
    MEMORY_BUCKETS = 65536,
    MEMORY_QUARANTINES = 1024,        /* each for the buckets with one remainder */
    MEMORY_RING_WORDS = 32768,        /* 256 KiB a stripe */
    MEMORY_WAYS = 8,                  /* entries that a key may be in */
    MEMORY_ENTRIES = 16 * MEMORY_WAYS /* of a stripe */
};

struct memory_entry {
    _Atomic uint64_t start; /* first word, counted as head is */
    _Atomic uint64_t size;  /* low 32 bits: bytes, 0: free; high 32 bits: words reserved */
    _Atomic uint64_t epoch, all;
    _Atomic uint64_t until_us; /* monotonic */
};

struct memory_stripe {
    /* Even: free; odd: being written. The low MEMORY_PID_SHIFT bits count; above them is the
     * writer's process id. */
    _Alignas(64) _Atomic uint64_t lock;
    _Atomic uint64_t head; /* words reserved since the start; the ring has the newest of them */
    _Atomic uint64_t hash[MEMORY_ENTRIES];
    struct memory_entry entry[MEMORY_ENTRIES];
    _Atomic uint64_t ring[MEMORY_RING_WORDS];
};
enum { MEMORY_PID_SHIFT = 40 };

struct cache_shared {
    unsigned char key[16];         /* of the hash */
    uint64_t n_stripes;            /* 0: no values are kept */
    _Atomic int64_t quarantine_ms; /* the longest of any worker so far */
    _Atomic uint64_t all;
    _Atomic int64_t quarantine_all_us; /* monotonic times at which a quarantine ends */
    _Atomic int64_t quarantine_us[MEMORY_QUARANTINES];
    _Atomic uint64_t epoch[MEMORY_BUCKETS];
    struct memory_stripe stripe[];
};

/* ---- memory_table.c ---- */

size_t memory_used(struct cache_shared *t); /* bytes that hold or held a value */

/* See cache_snapshot. */
struct cache_snapshot memory_snapshot(struct cache_shared *t, struct cache_key key, int64_t now_us);
/* Whether no writer has raised the epoch since, and no quarantine was on. */
bool memory_is_current(struct cache_shared *t, const struct cache_snapshot *s);
/* Raises the epoch of the key's bucket and returns the old one. */
uint64_t memory_raise(struct cache_shared *t, uint64_t hash);
/* How long a write may go on after its worker's death, for cache_shared_reap. */
void memory_quarantine_ms(struct cache_shared *t, int64_t ms);
/* Puts the key's bucket into quarantine. To be called before memory_raise: a snapshot with the new
 * epoch must see the quarantine. */
void memory_quarantine(struct cache_shared *t, uint64_t hash, int64_t until_us);

/* Copies the value of the key into the arena. *current: it was stored under the epochs of the
 * snapshot. False: a miss. The caller must check that the bytes belong to the key. */
MUSTCHECK bool memory_find(struct cache_shared *t, const struct cache_snapshot *snapshot,
                           int64_t now_us, struct arena *a, struct sv *out, bool *current);
/* False: not stored, because the value is too large, the snapshot is no longer current, or another
 * writer has the lock. */
bool memory_store(struct cache_shared *t, pid_t self, const struct cache_snapshot *snapshot,
                  struct sv bytes, int64_t until_us);
/* Ends the life of the key's value, and waits for a store that is under way, but not for a writer
 * that was stopped in one. */
void memory_remove(struct cache_shared *t, uint64_t hash);

#endif

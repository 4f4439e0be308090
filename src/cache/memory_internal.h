/* SPDX-License-Identifier: MIT */
/*
 * The table of cached values in the mapping that all workers of a host share.
 *
 * Epochs say what is current. A key belongs to a bucket, and each writer raises the epoch of its
 * bucket after its commit and before its answer. A reader takes a snapshot of the epoch before it
 * asks PostgreSQL. It stores the result under that epoch, and the value is current only while that
 * is still the bucket's epoch. "all" is an epoch of all buckets together, raised when a worker died
 * or other hosts may have written.
 *
 * A statement may still be committed after its writer is gone: its outcome is unknown, or the
 * writer died. Nobody raises the epoch then. So its bucket is in quarantine for as long as that may
 * take: for a snapshot taken meanwhile nothing is current, and nothing is stored.
 *
 * Values are in stripes, each a ring that newer values overwrite, under a seqlock. A writer that
 * does not get the lock drops its value; a removal tries for a moment, and then ends the value. A
 * reader has a miss if the lock is held, or changed while it copied. Data words are stored with
 * release and loaded with acquire, so that who has seen a word of a writer also sees its lock.
 */
#ifndef PARLEY_CACHE_MEMORY_INTERNAL_H
#define PARLEY_CACHE_MEMORY_INTERNAL_H

#include <stdatomic.h>

#include "cache_internal.h"

enum {
    MEMORY_BUCKETS = 65536,
    MEMORY_QUARANTINES = 1024,        /* each for the buckets of one remainder */
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
    uint64_t n_stripes;
    _Atomic int64_t quarantine_ms; /* the longest of any worker so far */
    _Atomic uint64_t all;
    _Atomic int64_t quarantine_all_us; /* monotonic times at which a quarantine ends */
    _Atomic int64_t quarantine_us[MEMORY_QUARANTINES];
    _Atomic uint64_t epoch[MEMORY_BUCKETS];
    struct memory_stripe stripe[];
};

/* ---- memory_table.c ---- */

size_t memory_used(struct memory_table *t); /* bytes that hold a value, or held one */

/* See cache_snapshot. */
struct cache_snapshot memory_snapshot(struct memory_table *t, struct cache_key key, int64_t now_us);
/* Whether nobody has written since, and there was no quarantine. */
bool memory_is_current(struct memory_table *t, const struct cache_snapshot *s);
/* Raises the epoch of the key's bucket; what it was. */
uint64_t memory_raise(struct memory_table *t, uint64_t hash);
/* Raises that of all. */
void memory_raise_all(struct memory_table *t);
/* How long the writes of a worker may go on after its death, for memory_reap. */
void memory_quarantine_ms(struct memory_table *t, int64_t ms);
/* Puts the key's bucket into quarantine. Before memory_raise: a snapshot of the new epoch must see
 * it. */
void memory_quarantine(struct memory_table *t, uint64_t hash, int64_t until_us);
/* See cache_shared_reap. One thread at a time, and pid is gone. */
void memory_reap(struct memory_table *t, pid_t pid, int64_t now_us);

/* Copies into the arena what was stored for the key and has not ended. False: a miss; *current has
 * no meaning then. *current: it was stored under the epochs of the snapshot. The caller must check
 * whose bytes these are. */
MUSTCHECK bool memory_find(struct memory_table *t, const struct cache_snapshot *snapshot,
                           int64_t now_us, struct arena *a, struct sv *out, bool *current);
/* False: not stored, because it is too large, the snapshot is no longer that of the bucket, or
 * somebody else is writing there. */
bool memory_store(struct memory_table *t, pid_t self, const struct cache_snapshot *snapshot,
                  struct sv bytes, int64_t until_us);
/* Removes a value, or ends it if somebody holds its stripe for longer than a store takes. */
void memory_remove(struct memory_table *t, pid_t self, uint64_t hash);

#endif

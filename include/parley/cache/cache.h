/*
 * The caches in front of PostgreSQL: memory that the workers of a host share, and Redis, which
 * hosts share. Both are hints. They may lose, keep, mix up in time or bring back any value at any
 * moment, because a caller uses what it finds only if PostgreSQL says that its stamp is the current
 * one (src/session/freshness.c). So Redis may be killed, emptied, evicted, partitioned, failed
 * over, restored from a backup, or shared by hosts with different clocks. What a cache must never
 * do is give one session's bytes for another's: values carry their tenant and session id, compared
 * on every read, and in Redis a checksum.
 *
 * A host that is alone on its database may use what its memory holds without asking. For that the
 * table of the memory keeps an epoch for each bucket of keys. A request takes a snapshot of it
 * before it asks PostgreSQL; every writer raises the epoch after its commit and before its answer;
 * what was stored under an epoch that is no longer the bucket's is not current. A write whose
 * outcome is not known puts its bucket into quarantine for as long as it may yet be committed, and
 * the death of a worker all of them.
 *
 * No request waits for Redis to store: values go into a queue of the worker, of which the oldest is
 * dropped when it is full, and a thread sends them. hiredis is called in this folder and nowhere
 * else.
 *
 * Thread rule: one struct cache a worker, shared by its threads, opened after the fork. Bytes given
 * out live in the request's arena. The process must ignore SIGPIPE.
 */
#ifndef PARLEY_CACHE_CACHE_H
#define PARLEY_CACHE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "parley/base/ctx.h"
#include "parley/obs/metrics.h"

struct cache;

/*
 * The memory that the workers of a host share. The supervisor maps it before it forks and keeps it
 * over reloads; workers use it through their struct cache. Everything in it is atomic: a process
 * that is stopped or killed at any instruction holds nothing up.
 */
struct cache_shared;
/* memory_bytes: for values, to which 0.6 MiB are added; 0: there is no memory. Reserved whole at
 * once, at least one stripe. NULL when the machine has not so much. */
struct cache_shared *cache_shared_map(size_t memory_bytes);
void cache_shared_unmap(struct cache_shared *shared); /* NULL is fine */
/* A worker died, and may have committed what it did not tell. The supervisor calls it before it
 * starts another worker. */
void cache_shared_reap(struct cache_shared *shared, pid_t pid);
/* Nothing that is stored now is current any more: other hosts may have written. */
void cache_shared_outdate(struct cache_shared *shared);

struct cache_settings {
    struct cache_shared *shared; /* borrowed; NULL: no memory */
    const char *redis_url; /* redis://[:password@]host[:port][/db], unix:///path[?db=n]; "": none */
    int redis_timeout_ms;  /* to connect, and for each command */
    int quarantine_ms;     /* longer than the longest write */
    int64_t value_seconds; /* no value is kept longer */
    size_t value_max;      /* bytes; larger values are not kept */
    const char *layout;    /* names the layout of the values, and the settings that shape them: part
                            * of every key of Redis. Borrowed */
};

/* NULL when there is no memory or no thread. Succeeds also while Redis is away. slot may be NULL.
 */
struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot);
void cache_close(struct cache *c); /* NULL is fine */

/* One line why url cannot be used, in why; true if it can. Looks at the text only. */
bool cache_url_valid(const char *url, char *why, size_t why_n);

bool cache_has_memory(const struct cache *c);

struct cache_key {
    struct sv tenant, id;
};
/* Identifies one content of a session. */
struct cache_stamp {
    int64_t generation, version;
    uint64_t mark;
};
bool cache_stamp_eq(struct cache_stamp a, struct cache_stamp b);
struct cache_value {
    struct cache_stamp stamp;
    int64_t ttl_ms; /* no cache keeps it longer */
    struct sv bytes;
};

/* What the memory was like when a request began: to be taken before PostgreSQL is asked. */
struct cache_snapshot {
    uint64_t hash, epoch, all;
    bool usable; /* no quarantine stood */
};
struct cache_snapshot cache_snapshot(struct cache *c, struct cache_key key);

struct cache_found {
    struct cache_value value; /* ttl_ms is not set */
    enum metrics_tier from;
    bool current; /* nobody of this host has written since it was stored */
};
/* In memory, then in Redis if `far`. False: a miss, or the cache is away. */
bool cache_find(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                const struct cache_snapshot *snapshot, bool far, struct cache_found *out);
/* Keeps what was asked for after the snapshot, if nobody of this host has written since. far: in
 * Redis, too. */
void cache_put(struct cache *c, struct request_ctx *ctx, struct cache_key key,
               const struct cache_snapshot *snapshot, bool far, const struct cache_value *value);
/* After a commit, or a failure whose outcome is not known (in_doubt): raises the epoch. The
 * snapshot of the writer is good for cache_put afterwards, unless another writer came between. */
void cache_note_write(struct cache *c, struct cache_snapshot *snapshot, bool in_doubt);
/* Takes a value away, from Redis a little later. */
void cache_remove(struct cache *c, struct cache_key key);
/* Takes values away now. False: Redis has not confirmed it within its time-out, or there is no
 * memory to tell who is about to store what was read before. */
MUSTCHECK bool cache_erase(struct cache *c, struct request_ctx *ctx, const struct cache_key *keys,
                           size_t n);

enum cache_state { CACHE_OFF, CACHE_UP, CACHE_DOWN };
struct cache_status {
    enum cache_state redis;
    char reason[160];    /* why Redis is down */
    uint64_t mismatches; /* values found under a key that were not its own, or damaged */
    size_t memory_bytes, memory_used; /* 0: there is no memory */
};
void cache_status(struct cache *c, struct cache_status *out);
/* Asks Redis whether it takes writes; takes up to its time-out. For `parley check`. */
void cache_probe(struct cache *c);

#endif

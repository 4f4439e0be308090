/*
 * The caches in front of PostgreSQL: memory that the workers of a host share, and Redis, which
 * hosts share. A cache may lose any value, keep it too long, or return an older one, at any moment:
 * a caller uses a value only if PostgreSQL says that its stamp is the current one
 * (src/session/freshness.c). So Redis may be killed, emptied, evicted, partitioned, failed over,
 * restored from a backup, or shared by hosts with different clocks. A cache must never give one
 * session's bytes for another's. Values carry their tenant and session id, which are compared on
 * every read, and in Redis a checksum.
 *
 * A host that is alone on its database may use what its memory holds without asking, as long as it
 * is current: src/cache/memory_internal.h has the rules.
 *
 * No request waits for Redis to store a value. Values go into a queue of the worker, which drops
 * the oldest when it is full, and a thread sends them. hiredis is called in this folder and nowhere
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
 * over reloads; workers use it through their struct cache. Everything in it is atomic: no process
 * waits for one that is stopped or killed at any instruction.
 */
struct cache_shared;
/* memory_bytes: the size for values, at least one stripe; 0.6 MiB are added. 0: there is no memory
 * for values. All of it is reserved at once. NULL: the machine does not have that much. */
struct cache_shared *cache_shared_map(size_t memory_bytes);
void cache_shared_unmap(struct cache_shared *shared); /* NULL is fine */
/* A worker died, and may have committed a write without raising its epoch. The supervisor calls
 * this before it starts another worker. */
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

/* The state of the memory when a request began. Take it before PostgreSQL is asked. */
struct cache_snapshot {
    uint64_t hash, epoch, all;
    bool usable; /* there was no quarantine */
};
struct cache_snapshot cache_snapshot(struct cache *c, struct cache_key key);

struct cache_found {
    struct cache_value value; /* ttl_ms is not set */
    enum metrics_source from;
    bool current; /* nobody of this host has written since it was stored */
};
/* Looks in memory, then in Redis if `far`. False: a miss, or the cache is away. */
bool cache_find(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                const struct cache_snapshot *snapshot, bool far, struct cache_found *out);
/* Stores a value that was read after the snapshot, if nobody of this host has written since. far:
 * in Redis, too. */
void cache_put(struct cache *c, struct request_ctx *ctx, struct cache_key key,
               const struct cache_snapshot *snapshot, bool far, const struct cache_value *value);
/* Raises the epoch after a commit, or after a failure whose outcome is not known (in_doubt).
 * Afterwards the writer may use its snapshot for cache_put, unless another writer came between. */
void cache_note_write(struct cache *c, struct cache_snapshot *snapshot, bool in_doubt);
/* Removes a value. far: from Redis, too, a little later. */
void cache_remove(struct cache *c, struct cache_key key, bool far);
/* Removes values now. False: Redis has not confirmed it within its time-out; or there is no memory,
 * and so no epoch that keeps others from storing what they read before. */
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
/* Asks Redis whether it accepts writes; waits for up to the time-out. For `parley check`. */
void cache_probe(struct cache *c);

#endif

/*
 * The two caches in front of PostgreSQL: memory that the workers of a host share, and Redis, which
 * hosts share. The session service asks them before it asks PostgreSQL.
 *
 * A cache may lose a value, keep it too long, or return an old one. The caller uses a value only if
 * PostgreSQL says that its stamp is current (src/session/freshness.c). So Redis may be killed,
 * emptied, failed over, restored from a backup, or shared by hosts with different clocks. A cache
 * never returns the bytes of another session: each value carries its tenant and session id, which
 * every read compares. In Redis it also carries a checksum.
 *
 * A host that is alone on its database may use a value of its memory without asking, while the
 * value is current (src/cache/cache_internal.h).
 *
 * No request waits until Redis has stored a value. Each worker has a bounded queue for that, and a
 * thread that sends it. Only this folder calls hiredis.
 *
 * Thread rule: one struct cache a worker, opened after the fork and shared by its threads. Returned
 * bytes live in the request's arena. The process must ignore SIGPIPE.
 */
#pragma once

#include <sys/types.h>

#include "parley/base/ctx.h"
#include "parley/obs/metrics.h"

struct cache;

/*
 * The memory that the workers of a host share. The supervisor maps it before it forks and keeps it
 * until it ends, over reloads. Workers use it through their struct cache. All accesses are atomic:
 * no process waits for another one that is stopped or killed, wherever that happens.
 */
struct cache_shared;
/* memory_bytes: the room for values, at least one stripe; 0.6 MiB are added. 0: no values are kept.
 * All of it is reserved at once. NULL: the machine has too little memory. */
struct cache_shared *cache_shared_map(size_t memory_bytes);
/* A worker died. It may have committed a write without raising the epoch. The supervisor calls this
 * after pid has ended and before it starts another worker. One thread at a time. quarantine_ms: of
 * the settings of that worker's cache. */
void cache_shared_reap(struct cache_shared *shared, pid_t pid, int64_t quarantine_ms);
/* From now on no stored value is current: other hosts may have written. */
void cache_shared_outdate(struct cache_shared *shared);

/* What decides the contents of a value: its format, and how many messages fit. Part of every key
 * in Redis. */
struct cache_layout {
    int format;
    int64_t page_bytes;
};
struct cache_settings {
    struct cache_shared *shared; /* borrowed; NULL: no memory */
    const char *redis_url;       /* redis://, redis+sentinel:// or unix://; "": none */
    int redis_timeout_ms;        /* to connect, and for each command */
    int quarantine_ms;           /* longer than the longest write */
    int64_t value_seconds;       /* the longest life of a value */
    size_t value_max;            /* bytes; larger values are not kept */
    struct cache_layout layout;
};

/* NULL: no memory or no thread. Succeeds also while Redis is away. slot may be NULL. */
struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot);
void cache_close(struct cache *c); /* NULL is fine */

/* Checks a redis_url. False: why holds one line that says what is wrong. */
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
    int64_t ttl_ms; /* its longest life */
    struct sv bytes;
};

/* The epochs of the memory when a request began. Take it before the request asks PostgreSQL. */
struct cache_snapshot {
    uint64_t hash, epoch, all;
    bool usable; /* no quarantine was on */
};
struct cache_snapshot cache_snapshot(struct cache *c, struct cache_key key);

struct cache_found {
    struct cache_value value; /* ttl_ms is not set */
    enum metrics_source from;
    bool current; /* this host has not written the session since the value was stored */
};
/* Looks in memory, then, with redis_too, in Redis. False: a miss, or Redis is away. */
bool cache_find(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                const struct cache_snapshot *snapshot, bool redis_too, struct cache_found *out);
/* The most bytes of a value that is stored, in memory or in Redis. */
size_t cache_value_max(const struct cache *c);
/* Stores a value that was read after the snapshot, unless this host has written the session since.
 * The queue may lose the value for Redis. */
void cache_put(struct cache *c, struct request_ctx *ctx, struct cache_key key,
               const struct cache_snapshot *snapshot, bool redis_too,
               const struct cache_value *value);
/* A writer calls this after its commit, or, with in_doubt, after a failure whose outcome is
 * unknown. It may use its snapshot for cache_put afterwards, unless another writer came between. */
void cache_raise_epoch(struct cache *c, struct cache_snapshot *snapshot, bool in_doubt);
/* Removes a value from memory now and, with redis_too, from Redis a little later. */
void cache_remove(struct cache *c, struct cache_key key, bool redis_too);
/* Removes values from both now. False: Redis did not confirm it in time, or there is no memory, and
 * so no epoch that keeps a reader from storing again what it read before. */
MUSTCHECK bool cache_erase(struct cache *c, struct request_ctx *ctx, const struct cache_key *keys,
                           size_t n);

enum { CACHE_REASON_MAX = 256 };
enum cache_state { CACHE_OFF, CACHE_UP, CACHE_DOWN };
struct cache_status {
    enum cache_state redis;
    char reason[CACHE_REASON_MAX];    /* why Redis is down */
    char endpoint[272];               /* host:port or a path; "": none, or it is not known */
    bool redis_unencrypted;           /* Redis is on another machine, and parley speaks no TLS */
    uint64_t mismatches;              /* values that were damaged, or of another key */
    size_t memory_bytes, memory_used; /* 0: there is no memory */
};
void cache_status(struct cache *c, struct cache_status *out);
/* For `parley check`: asks Redis whether it accepts the commands that serving sends, and sets the
 * status. Blocks for up to redis_timeout_ms. */
void cache_probe(struct cache *c);

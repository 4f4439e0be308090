/*
 * The tiers in front of PostgreSQL behind one small interface. A tier may lose anything at any
 * moment; what it must never do is give a value older than an acknowledged write, or one that
 * belongs to another session. hiredis is called in this room and nowhere else.
 *
 * A read:   cache_read → hit, or a miss with a ticket; the caller asks PostgreSQL and offers what
 * it got with cache_fill, which each tier refuses if a writer came in between. A write: cache_fence
 * before the statement (a shared Redis drops the value and bars late fills; the memory tier takes
 * note of its epoch and goes on giving the value), the statement, then cache_settle after the
 * commit and before the answer (the memory tier raises its epoch), with the new value if the writer
 * has it.
 *
 * Values are opaque bytes to this room but for the identity in front of them, which is checked on
 * every read: tenant and session id against the key that was asked for, and what was in Redis also
 * against a checksum over all of it, generation, version and bytes.
 *
 * The memory tier, of a host that is the only one on its database, is a table that its workers
 * share; no call waits for another process there, whatever became of that one. A write whose
 * outcome is not known, and one whose worker died, may be committed later than anybody hears of it:
 * their part of the table (all of it, when a worker died) is not used for fence_ms then, after
 * which no such statement may run any more. Between the death of a worker and its burial a read may
 * find the session as it was before a write that nobody has been told of.
 *
 * Redis behind such a table is a store and nothing more: what is found there is used if the table
 * itself could have given it out, so no write speaks to it, and nothing that becomes of it matters
 * (src/cache/redis_store.c). What it holds is of no use to the next start of the service. The rest
 * is about hosts that share a Redis.
 *
 * Redis and the hosts that use it agree through one row in PostgreSQL (struct cache_authority) that
 * holds the cache epoch, and through a marker in Redis, "<epoch>.<run id of the Redis process>",
 * that every command there compares. A reader needs the marker and a lease of the row (1 s); a
 * write that Redis cannot be told of opens the host's breaker, bars all hosts from Redis by the
 * row, and is acknowledged when no lease is left; an epoch that is raised leaves behind what Redis
 * held until then. So Redis may be killed, stopped, emptied, replaced by older data, or be out of
 * reach for one host and not for another. src/cache/redis_host.c has the protocol. What remains
 * open:
 *
 *   - Leases and holds go by the clocks of the hosts and of PostgreSQL: none may run a tenth faster
 *     than another, jump forward by two seconds, or stand still while its host is suspended.
 *
 *   - A Redis that changes its data in place while its process goes on (DEBUG RELOAD, REPLICAOF),
 *     evicts fences within seconds of their making, or is two: after a failover that some hosts
 *     have followed, while others still reach the old one.
 *
 *   - A PostgreSQL that fails over to a replica which has not got the last hold.
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
 * What the workers of a host share of this room. The supervisor maps it before it forks and keeps
 * it over reloads; workers use it through their struct cache. Everything in it is atomic: a process
 * that is stopped or killed at any instruction holds nothing up.
 */
struct cache_shared;
/* memory_bytes: for the values of the memory tier, to which 0.6 MiB are added; 0: there is no such
 * tier. Reserved whole at once, at least one stripe. NULL when there is no memory. */
struct cache_shared *cache_shared_map(size_t memory_bytes);
void cache_shared_unmap(struct cache_shared *shared); /* NULL is fine */
/* A worker died out of turn, and may have committed without telling the memory tier. The supervisor
 * calls it before it starts another worker. */
void cache_shared_bury(struct cache_shared *shared, pid_t pid);

/*
 * The record of the cache epoch that all hosts share: the caller's, since this room has no
 * database. What may be asked:
 *
 *   - CACHE_LOOK, n in ms: what it says. A hold that lasts for longer than that, since the record's
 *     clock was set back, is made to last so long; 0: it stays.
 *
 *   - CACHE_HOLD, n in ms: bars all hosts from Redis for so long, at least, and makes it dirty.
 *
 *   - CACHE_RAISE, n an epoch: one more epoch and no longer dirty, if the epoch is n and no hold
 *     stands; else out->epoch is 0.
 *
 * Anything but ERR_NONE: it is not known whether it was done. Called from any thread.
 */
enum cache_ask { CACHE_LOOK, CACHE_HOLD, CACHE_RAISE };
struct cache_record {
    uint64_t epoch; /* at least 1 */
    bool held;      /* some host may be writing without Redis */
    bool dirty;     /* … or was, since the epoch was raised */
};
struct cache_authority {
    void *arg;
    enum err (*ask)(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                    struct cache_record *out);
};

struct cache_settings {
    struct cache_shared *shared; /* borrowed; NULL: a private one without a memory tier */
    const char *redis_url; /* redis://[:password@]host[:port][/db], unix:///path[?db=n]; "": none */
    int redis_timeout_ms;  /* to connect, and for each command */
    int fence_ms;          /* longer than the longest write: a fence must outlive it */
    size_t value_max;      /* bytes; larger values are not kept */
    bool one_host;         /* no other host is on this database: a memory tier that there is decides
                            * alone, and nobody's lease need be waited for */
    struct cache_authority authority; /* ask NULL: a Redis that hosts share is reached, but never
                                       * read or written */
    int lease_ms, hold_ms, poll_ms;   /* 0: 1000, 3000, 300; hold_ms is three leases or more */
};

/* NULL when there is no memory. Succeeds also while Redis is away. slot may be NULL. */
struct cache *cache_open(const struct cache_settings *settings, struct metrics_slot *slot);
void cache_close(struct cache *c); /* NULL is fine */

/* One line why url cannot be used, in why; true if it can. Looks at the text only. */
bool cache_url_valid(const char *url, char *why, size_t why_n);

struct cache_key {
    struct sv tenant, id;
};
struct cache_value {
    int64_t generation, version;
    int64_t ttl_ms; /* no tier keeps it longer */
    struct sv bytes;
};

/* The memory tier's: what it was like when a reader or a writer began. */
struct cache_note {
    uint64_t hash, epoch, all;
    bool usable; /* no bar stood */
};
/* A reader's right to fill; made by a miss, used at most once. */
struct cache_ticket {
    struct cache_note note;
    void *link;        /* Redis': the connection the miss was seen on */
    uint64_t link_run; /* which life of that connection */
    uint64_t life;     /* … and of the host's breaker */
    int64_t began_ms;  /* by Redis' clock */
    bool usable;       /* some tier may take a fill */
    bool unverified;   /* in: read without a lease; nothing may be filled */
};
/* A writer's fence. */
struct cache_fence {
    struct cache_note note;
    uint64_t token;
    bool set;          /* Redis has it */
    bool had;          /* old holds the value that was there */
    bool had_in_redis; /* … and it was there; else only in memory */
    struct cache_value old;
    /* The caller's, between cache_fence and cache_settle: the outcome of the write is not known, it
     * may yet be committed. Nothing is stored then, and the fence stays for its full time. */
    bool in_doubt;
    enum err result; /* what cache_fence and cache_settle return */
};

/* True on a hit. On a miss, or when the tier is away, false; ticket says whether a fill may be
 * offered. Never fails: a tier that is away is a miss. */
bool cache_read(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_value *out, struct cache_ticket *ticket);
/* For a reader who says so in its answer, while PostgreSQL is away: as cache_read, but what it
 * gives may be older than a write that another host has acknowledged. No fill may follow. */
bool cache_read_unverified(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                           struct cache_value *out);
void cache_fill(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                struct cache_ticket *ticket, const struct cache_value *value);
/* ERR_UNAVAILABLE: Redis could not be told, and the hosts could not be barred from it in time. The
 * write must not be begun; cache_settle is not called then. */
MUSTCHECK enum err cache_fence(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                               struct cache_fence *fence);
/* After the commit, or after a failure whose outcome is not known (in_doubt); value NULL drops. Not
 * bounded by the request's deadline, but by redis_timeout_ms and, while Redis is newly away, three
 * leases. ERR_OUTCOME_UNKNOWN: a tier may still give an older value; what was committed must not be
 * acknowledged. */
MUSTCHECK enum err cache_settle(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                                struct cache_fence *fence, const struct cache_value *value);

enum cache_state { CACHE_OFF, CACHE_UP, CACHE_DOWN };
struct cache_status {
    enum cache_state redis;
    char reason[160];    /* why Redis is down, or up and not read */
    uint64_t mismatches; /* values found under a key that were not its own, or damaged */
    size_t memory_bytes, memory_used; /* of the memory tier; 0: there is none */
};
void cache_status(struct cache *c, struct cache_status *out);
/* Keeps lease, hold and breaker: does what is due and no other worker of the host has in hand.
 * Called ten times a second or so; takes up to a lease and two Redis time-outs when servers stall.
 */
void cache_poll(struct cache *c);

#endif

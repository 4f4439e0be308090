/*
 * The tiers in front of PostgreSQL behind one small interface. A tier may lose anything at any
 * moment; what it must never do is give a value older than an acknowledged write, or one that
 * belongs to another session. hiredis is called in this room and nowhere else.
 *
 * A read:   cache_read → hit, or a miss with a ticket; the caller asks PostgreSQL and offers what
 * it got with cache_fill, which the tier refuses if a writer came in between. A write:  cache_fence
 * before the statement (drops the value and bars late fills), the statement, then cache_settle
 * after the commit and before the answer, with the new value if the writer has it.
 *
 * Values are opaque bytes to this room but for the identity in front of them, which is checked on
 * every read: tenant and session id against the key that was asked for; generation, version and the
 * bytes against a checksum over all of it.
 *
 * When Redis is away, reads are misses and writes go on without it. A write that Redis could not be
 * told of is noted in this process, and before it uses Redis again it raises the epoch of Redis
 * (one number in Redis itself that is part of every key's name), which makes all workers and hosts
 * leave behind what is stored there. So a Redis that is killed and comes back is right at once: a
 * writer tries to tell it until the connect is refused, and then nobody has read from it yet. What
 * remains open until the epoch is kept in PostgreSQL, with leases for the readers:
 *   - Redis cannot be reached or does not answer for one process, but does for another: that other
 *     one may serve what it finds there until the first process reaches Redis again.
 *   - A process that is killed between such a write and the raising of the epoch takes its note
 * with it. (Killed between commit and settling, with its fence set, it leaves the fence: no harm,
 * but where a second writer has set its own fence on that session in the meantime.)
 *   - A Redis that evicts fences within seconds of their making, keeps its data on disk, or fails
 *     over to a replica that lags.
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
/* memory_bytes: for the memory tier; 0: there is none. Reserved whole at once. NULL when there is
 * no memory. */
struct cache_shared *cache_shared_map(size_t memory_bytes);
void cache_shared_unmap(struct cache_shared *shared); /* NULL is fine */
/* A worker died out of turn, and may have committed without telling the memory tier. The supervisor
 * calls it before it starts another worker. */
void cache_shared_bury(struct cache_shared *shared, pid_t pid);

struct cache_settings {
    struct cache_shared *shared; /* borrowed; NULL: a private one without a memory tier */
    const char *redis_url; /* redis://[:password@]host[:port][/db], unix:///path[?db=n]; "": none */
    int redis_timeout_ms;  /* to connect, and for each command */
    int fence_ms;          /* longer than the longest write: a fence must outlive it */
    size_t value_max;      /* bytes; larger values are not kept */
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

/* A reader's right to fill; made by a miss, used at most once. */
struct cache_ticket {
    void *link;        /* the tier's own: the connection the miss was seen on */
    uint64_t link_run; /* which life of that connection */
    int64_t began_ms;  /* by the tier's clock */
    bool usable;
};
/* A writer's fence. */
struct cache_fence {
    uint64_t token;
    bool set; /* the tier has it */
    bool had; /* old holds the value that the fence dropped */
    struct cache_value old;
    /* The caller's, between cache_fence and cache_settle: the outcome of the write is not known, it
     * may yet be committed. Nothing is stored then, and the fence stays for its full time. */
    bool in_doubt;
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
void cache_fence(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                 struct cache_fence *fence);
/* After the commit, or after a failure whose outcome is not known (in_doubt); value NULL drops. Not
 * bounded by the request's deadline, but by redis_timeout_ms. */
void cache_settle(struct cache *c, struct request_ctx *ctx, struct cache_key key,
                  struct cache_fence *fence, const struct cache_value *value);

enum cache_state { CACHE_OFF, CACHE_UP, CACHE_DOWN };
struct cache_status {
    enum cache_state redis;
    char reason[160];
    uint64_t mismatches; /* values found under a key that were not its own, or damaged */
};
void cache_status(struct cache *c, struct cache_status *out);
/* Looks whether a tier that was away is back; called about once a second by the worker. */
void cache_maintain(struct cache *c);

#endif

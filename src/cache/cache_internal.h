/* SPDX-License-Identifier: MIT */
/*
 * What the files of cache/ share that is not about one tier: the interface that a tier implements,
 * the stored form of a value, and the parsed REDIS_URL.
 */
#ifndef PARLEY_CACHE_INTERNAL_H
#define PARLEY_CACHE_INTERNAL_H

#include <stdatomic.h>

#include "parley/cache/cache.h"

/*
 * A tier. The chain (cache.c) asks the tiers in order and tells all of them about every write. Each
 * tier keeps what it needs to know between two calls in fields of its own in struct cache_ticket
 * and struct cache_fence, which the chain clears; the call means the same as its namesake in
 * cache.h. A tier takes its own locks; fence and settle leave fence->result alone unless they fail.
 */
struct cache_tier;
struct cache_tier_ops {
    const char *name; /* for the request's trace */
    enum metrics_tier metric;
    bool at_once; /* waits for no other process; else the chain says so before (ctx_will_wait) */
    bool (*read)(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                 struct cache_value *out, struct cache_ticket *ticket);
    void (*fill)(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                 struct cache_ticket *ticket, const struct cache_value *value);
    void (*fence)(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                  struct cache_fence *fence);
    void (*settle)(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                   struct cache_fence *fence, const struct cache_value *value);
    void (*status)(struct cache_tier *t, struct cache_status *out);
    void (*poll)(struct cache_tier *t);
    void (*close)(struct cache_tier *t);
};
/* The first member of a tier's own struct. */
struct cache_tier {
    const struct cache_tier_ops *ops;
};

/* ---- cache_shared.c ---- */

struct memory_table;
/* What the workers of a host know of Redis (redis_host.c). All zero: nothing yet. Times are of the
 * monotonic clock, which is one for all processes. */
struct cache_host {
    _Atomic uint64_t life;  /* of the breaker: odd: closed, Redis is in use; 0: not probed yet */
    _Atomic uint64_t epoch; /* the highest that was seen */
    _Atomic int64_t lease_until_us;
    _Atomic uint64_t lease_life;   /* the life of the breaker for which there was a lease last */
    _Atomic int64_t held_at_us;    /* when the newest successful HOLD was sent */
    _Atomic int64_t hold_began_us; /* since when holds followed each other without a gap */
    _Atomic int64_t poll_at_us, probe_at_us, pause_us;
    _Atomic int64_t fence_us; /* the longest of any worker so far */
    /* A worker died: what it committed without a word is left behind at this time, when its last
     * statement is over. 0: none did. */
    _Atomic int64_t raise_at_us;
};

struct cache_shared {
    struct cache_host host;
    size_t size;                 /* of the mapping */
    struct memory_table *memory; /* in it, behind this struct; NULL: there is no memory tier */
};

/* ---- cache_url.c ---- */

/* By value: nothing to free. Bounded by what the system takes (a socket's path) or by good sense.
 */
struct cache_url {
    bool local; /* path, not host and port */
    char path[108];
    char host[256];
    int port, db;
    char user[128];     /* "": none */
    char password[256]; /* "": none */
};
/* False with one line in why, which never holds the password. */
MUSTCHECK bool cache_url_parse(const char *text, struct cache_url *out, char *why, size_t why_n);

/* ---- cache_codec.c ---- */

/* Where the order of two stored values is: generation and version as 20 decimal digits each, so
 * that a script can compare them as text. */
enum { CACHE_CODEC_ORDER = 40 };

/* The stored form of value for key, in the arena; false when there is no memory or a length does
 * not fit its field. */
MUSTCHECK bool cache_codec_encode(struct arena *a, struct cache_key key,
                                  const struct cache_value *value, struct sv *out);
/* False unless stored is whole and belongs to key. out->bytes borrows from stored; ttl_ms is left
 * alone. */
MUSTCHECK bool cache_codec_decode(struct sv stored, struct cache_key key, struct cache_value *out);

/* Raises *at to v, unless it is more. */
void cache_set_at_least(_Atomic int64_t *at, int64_t v);

/* Counts a value that was found under key and is not its own, or is damaged; tells the log. */
void cache_count_mismatch(_Atomic uint64_t *count, const char *tier, struct cache_key key);

/* ---- cache_redis.c ---- */

/* NULL when there is no memory. url is copied. */
struct cache_tier *cache_redis_open(const struct cache_settings *settings,
                                    const struct cache_url *url, struct metrics_slot *slot);

#endif

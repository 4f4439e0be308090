/* SPDX-License-Identifier: MIT */
/* What the files of cache/ share: the stored form of a value, the parsed URL, and the parts of the
 * Redis client. Of these, each file calls only those above it in this header. */
#ifndef PARLEY_CACHE_INTERNAL_H
#define PARLEY_CACHE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "parley/cache/cache.h"

/* ---- cache_codec.c ---- */

/* The stored form of value for key, in the arena. checksum: for a value that leaves the host.
 * False: no memory, or a length does not fit its field. */
MUSTCHECK bool cache_codec_encode(struct arena *a, struct cache_key key,
                                  const struct cache_value *value, bool checksum, struct sv *out);
/* False unless stored is whole and belongs to key. out->bytes borrows from stored; out->ttl_ms is
 * not set. */
MUSTCHECK bool cache_codec_decode(struct sv stored, struct cache_key key, bool checksum,
                                  struct cache_value *out);
/* ---- cache_url.c ---- */

/* The lengths are bounded by the system (a socket's path) or chosen. */
struct cache_url {
    bool local; /* path is set, not host and port */
    char path[108];
    char host[256];
    int port, db;
    char user[128];     /* "": none */
    char password[256]; /* "": none */
};
/* False: why holds one line, which never contains the password. */
MUSTCHECK bool cache_url_parse(const char *text, struct cache_url *out, char *why, size_t why_n);

/* ---- redis_conn.c: one connection ---- */

enum { CACHE_WHY_MAX = 160 };
struct redisContext;

struct cache_command {
    struct sv args[5];
    int n;               /* arguments */
    struct arena *arena; /* for the answer; NULL: it is not kept */
    struct sv answer;    /* out: a string, copied into the arena; absent: there is none */
    bool accepted;       /* out: the reply was no error */
};
/* Connects, authenticates, selects the database. To be freed with redisFree. NULL: see why. */
struct redisContext *cache_conn_open(const struct cache_url *url, struct deadline until,
                                     char why[CACHE_WHY_MAX]);
/* Sends commands and reads every reply. False, and why is set: an error of the connection or of
 * Redis (one of a value alone counts as a success). The connection must be closed then: a late
 * reply would be taken for the answer to the next command. */
MUSTCHECK bool cache_conn_run(struct redisContext *conn, struct deadline until,
                              struct cache_command *commands, size_t n, char why[CACHE_WHY_MAX]);

/* ---- redis_client.c: commands on pooled connections, and a circuit breaker ---- */

enum { CACHE_KEY_MAX = 512 }; /* a session with a longer key is not kept in Redis */
struct cache_redis_key {
    char text[CACHE_KEY_MAX];
    size_t n; /* 0: too long */
};

struct cache_redis {
    struct cache_url url;
    int timeout_ms;
    const char *layout;            /* borrowed */
    _Atomic int64_t pause_us;      /* since a command failed; 0: Redis is in use */
    _Atomic int64_t probe_at_us;   /* when the pause is over, or the last success is long ago */
    pthread_mutex_t lock;          /* for the rest, and to change the two above */
    char reason[CACHE_WHY_MAX];    /* why Redis is down; "": it is up */
    struct redisContext *idle[64]; /* last in, first out */
    size_t n_idle;
};

/* NULL: no memory, or the URL cannot be used. */
struct cache_redis *cache_redis_open(const struct cache_settings *settings);
void cache_redis_close(struct cache_redis *r); /* NULL is fine */
struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key);
/* Runs commands as cache_conn_run does. If an idle connection turns out to be closed, runs them
 * once more on a fresh one. Takes the time-out at most, and records the outcome. */
bool cache_redis_run(struct cache_redis *r, struct deadline until, struct cache_command *commands,
                     size_t n);
/* Whether requests may use Redis. */
bool cache_redis_is_in_use(const struct cache_redis *r);
bool cache_redis_probe_is_due(const struct cache_redis *r);
void cache_redis_probe(struct cache_redis *r);

/* ---- redis_queue.c: commands that a thread sends ---- */

/* Each entry is one command: SET of a stored form, or DEL. */
struct cache_queue;
/* All are borrowed. memory and slot may be NULL. NULL: no memory or no thread. */
struct cache_queue *cache_queue_open(struct cache_redis *redis, struct cache_shared *memory,
                                     struct metrics_slot *slot);
void cache_queue_close(struct cache_queue *q); /* drops what is queued; NULL is fine */
/* The newest command for a key replaces an older one. stored is copied; empty: DEL. While Redis is
 * not in use DELs wait. A SET that is not sent soon, or that Redis does not accept, becomes a DEL;
 * so does one whose snapshot is no longer current: the session may have been erased meanwhile. */
void cache_queue_push(struct cache_queue *q, const struct cache_redis_key *key,
                      const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms);

#endif

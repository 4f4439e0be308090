/* SPDX-License-Identifier: MIT */
/* What the files of cache/ share: the stored form of a value, the parsed URL, and the parts of the
 * Redis client. Of these, each file calls only those above it in this header. */
#ifndef PARLEY_CACHE_INTERNAL_H
#define PARLEY_CACHE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "parley/cache/cache.h"

struct memory_table;

struct cache_shared {
    size_t size;                 /* of the mapping */
    struct memory_table *memory; /* in the mapping, after this struct; NULL: none */
};

/* ---- cache_codec.c ---- */

/* The stored form of value for key, in the arena. checksum: for a value that leaves the host.
 * False: no memory, or a length does not fit its field. */
MUSTCHECK bool cache_codec_encode(struct arena *a, struct cache_key key,
                                  const struct cache_value *value, bool checksum, struct sv *out);
/* False unless stored is whole and belongs to key. out->bytes borrows from stored; out->ttl_ms is
 * not set. */
MUSTCHECK bool cache_codec_decode(struct sv stored, struct cache_key key, bool checksum,
                                  struct cache_value *out);
/* Counts and logs a value that is damaged, or that belongs to another key than the one it was found
 * under. */
void cache_count_mismatch(_Atomic uint64_t *count, const char *where, struct cache_key key);

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

/* ---- redis_breaker.c: a circuit breaker ---- */

/* Open (Redis is not in use) from a failure until a command succeeds after a pause. */
struct cache_breaker {
    _Atomic int64_t pause_until_us; /* 0: closed, Redis is in use */
    _Atomic int64_t success_us;     /* when the last command succeeded */
    pthread_mutex_t lock;
    /* Under the lock: */
    int64_t pause_us; /* 0: closed */
    bool reached;     /* it was closed by a success once */
    char reason[160];
};
/* Whether requests may use Redis. */
bool cache_breaker_is_closed(const struct cache_breaker *b);
/* Whether it is time to probe: a pause is over, or no command has succeeded for long. */
bool cache_breaker_probe_is_due(const struct cache_breaker *b);
/* Record the outcome of a command. */
void cache_breaker_failed(struct cache_breaker *b, const char *why);
void cache_breaker_succeeded(struct cache_breaker *b);

/* ---- redis_conn.c: one connection ---- */

struct redisContext;
struct redisReply;

/* Owned by one thread at a time. After a call that returned false it must be closed: a late reply
 * would be taken for the answer to the next command. */
struct cache_conn {
    struct redisContext *c;
    struct cache_conn *next; /* in the list of idle ones */
    char why[128];           /* what went wrong */
};
/* Connects, authenticates, selects the database. */
MUSTCHECK bool cache_conn_open(struct cache_conn *conn, const struct cache_url *url,
                               struct deadline until);
void cache_conn_close(struct cache_conn *conn); /* one that is not open is fine */
/* Queues a command of n arguments. */
MUSTCHECK bool cache_conn_append(struct cache_conn *conn, const struct sv *args, int n);
/* Sends what is queued and waits for the next reply, which the caller frees with freeReplyObject.
 * An error reply counts as a reply; its text is in why. */
MUSTCHECK bool cache_conn_reply(struct cache_conn *conn, struct deadline until,
                                struct redisReply **out);
/* As cache_conn_reply, but frees the reply. False also for an error reply. */
MUSTCHECK bool cache_conn_reply_ok(struct cache_conn *conn, struct deadline until);

/* ---- redis_client.c: commands on pooled connections ---- */

enum { CACHE_KEY_MAX = 512 }; /* a session with a longer key is not kept in Redis */
struct cache_redis_key {
    char text[CACHE_KEY_MAX];
    size_t n; /* 0: too long */
};

struct cache_redis {
    struct cache_url url;
    int timeout_ms;
    const char *layout; /* borrowed */
    _Atomic uint64_t mismatches;
    struct cache_breaker breaker;
    pthread_mutex_t lock;
    struct cache_conn *idle; /* under the lock; last in, first out */
};

/* Sends commands on a connection, which is kept if the function returns true. */
typedef bool (*cache_redis_fn)(struct cache_conn *conn, struct deadline until, void *arg);

/* NULL: no memory, or the URL cannot be used. */
struct cache_redis *cache_redis_open(const struct cache_settings *settings);
void cache_redis_close(struct cache_redis *r); /* NULL is fine */
struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key);
MUSTCHECK bool cache_redis_get(struct cache_redis *r, struct request_ctx *ctx, struct cache_key key,
                               struct cache_value *out);
/* True: Redis has confirmed it. */
MUSTCHECK bool cache_redis_delete(struct cache_redis *r, struct deadline until,
                                  const struct cache_redis_key *keys, size_t n);
void cache_redis_probe(struct cache_redis *r);
void cache_redis_status(struct cache_redis *r, struct cache_status *out);
/* Calls fn on a connection. If an idle connection turns out to be closed, calls it once more on a
 * fresh one. Takes the time-out at most. Tells the breaker the outcome. */
bool cache_redis_call(struct cache_redis *r, struct deadline until, cache_redis_fn fn, void *arg);

/* ---- redis_queue.c: commands that a thread sends ---- */

/* Each entry is one command: SET of a stored form, or DEL. */
struct cache_queue;
/* All are borrowed. memory and slot may be NULL. NULL: no memory or no thread. */
struct cache_queue *cache_queue_open(struct cache_redis *redis, struct memory_table *memory,
                                     struct metrics_slot *slot);
void cache_queue_close(struct cache_queue *q); /* drops what is queued; NULL is fine */
/* The newest command for a key replaces an older one. stored is copied; empty: DEL. While Redis is
 * not in use DELs wait. A SET is sent soon or never. If the snapshot is no longer current when it
 * is sent, a DEL is sent in its place: the session may have been erased meanwhile. */
void cache_queue_push(struct cache_queue *q, const struct cache_redis_key *key,
                      const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms);

#endif

/* SPDX-License-Identifier: MIT */
/* What the files of cache/ share: the stored form of a value, the Redis client, the parsed URL. */
#ifndef PARLEY_CACHE_INTERNAL_H
#define PARLEY_CACHE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "parley/cache/cache.h"

struct memory_table;

struct cache_shared {
    size_t size;                 /* of the mapping */
    struct memory_table *memory; /* in it, behind this struct; NULL: there is none */
};

/* ---- cache_codec.c ---- */

/* The stored form of value for key, in the arena; false when there is no memory or a length does
 * not fit its field. The checksum is for values that leave the host. */
MUSTCHECK bool cache_codec_encode(struct arena *a, struct cache_key key,
                                  const struct cache_value *value, bool checksum, struct sv *out);
/* False unless stored is whole and belongs to key. out->bytes borrows from stored; ttl_ms is left
 * alone. */
MUSTCHECK bool cache_codec_decode(struct sv stored, struct cache_key key, bool checksum,
                                  struct cache_value *out);
/* Counts a value that was found under key and is not its own, or is damaged; tells the log. */
void cache_count_mismatch(_Atomic uint64_t *count, const char *where, struct cache_key key);

/* ---- cache_url.c ---- */

/* Bounded by what the system takes (a socket's path) or by good sense. */
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

/* ---- redis_conn.c: one connection ---- */

struct redisContext;
struct redisReply;

/* Owned by one thread at a time. After any call that returns false it must be closed: a late reply
 * would be taken for the answer to the next command. */
struct cache_conn {
    struct redisContext *c;
    struct cache_conn *next; /* among the idle ones */
    char why[128];           /* what went wrong */
};
/* Connects, authenticates, selects the database. */
MUSTCHECK bool cache_conn_open(struct cache_conn *conn, const struct cache_url *url,
                               struct deadline until);
void cache_conn_close(struct cache_conn *conn); /* one that is not open is fine */
/* Queues a command of n words. */
MUSTCHECK bool cache_conn_append(struct cache_conn *conn, const struct sv *words, int n);
/* Sends what is queued and waits for the next reply, which the caller frees with freeReplyObject.
 * An error reply is a reply; why has its text. */
MUSTCHECK bool cache_conn_reply(struct cache_conn *conn, struct deadline until,
                                struct redisReply **out);
/* As cache_conn_reply, but drops the reply. False also for an error reply. */
MUSTCHECK bool cache_conn_reply_ok(struct cache_conn *conn, struct deadline until);

/* ---- redis_client.c: connections, and whether Redis is in use ---- */

enum { CACHE_KEY_MAX = 512 }; /* a longer one is not kept in Redis */
struct cache_redis_key {
    char text[CACHE_KEY_MAX];
    size_t n; /* 0: too long */
};

struct cache_redis {
    struct cache_url url;
    int timeout_ms;
    struct memory_table *memory; /* borrowed; NULL: none */
    const char *layout;
    struct metrics_slot *slot; /* may be NULL */
    _Atomic uint64_t mismatches;
    /* 0: Redis is in use. Else no request asks it, and the queue's thread not before this. */
    _Atomic int64_t pause_until_us;
    _Atomic int64_t success_us; /* of the last command */
    pthread_mutex_t lock;
    /* Under the lock: */
    struct cache_conn *idle; /* last in, first out */
    int64_t pause_us;        /* 0: Redis is in use */
    bool reached;            /* it was in use once */
    char reason[160];
    struct cache_queue *queue;
};

/* Sends commands on a connection, which is kept if the function returns true. */
typedef bool (*cache_redis_fn)(struct cache_redis *r, struct cache_conn *conn,
                               struct deadline until, void *arg);

/* NULL when there is no memory or no thread, or the URL cannot be used. */
struct cache_redis *cache_redis_open(const struct cache_settings *settings,
                                     struct metrics_slot *slot);
void cache_redis_close(struct cache_redis *r);
struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key);
MUSTCHECK bool cache_redis_get(struct cache_redis *r, struct request_ctx *ctx, struct cache_key key,
                               struct cache_value *out);
/* True: Redis has confirmed it. The queue deletes the keys once more, after what it is sending. */
MUSTCHECK bool cache_redis_delete(struct cache_redis *r, struct deadline until,
                                  const struct cache_redis_key *keys, size_t n);
void cache_redis_probe(struct cache_redis *r);
void cache_redis_status(struct cache_redis *r, struct cache_status *out);
/* False from a failure on until the queue's thread has reached Redis again. */
bool cache_redis_is_usable(const struct cache_redis *r);
/* Whether the queue's thread has to probe: a pause is over, or nobody has asked Redis for long. */
bool cache_redis_is_due(const struct cache_redis *r);
/* Calls fn on a connection, and once more on a fresh one if an idle one turns out to be closed.
 * Takes the time-out at most. Records whether Redis is in use. */
bool cache_redis_call(struct cache_redis *r, struct deadline until, cache_redis_fn fn, void *arg);
/* Record the outcome of a call. */
void cache_redis_failed(struct cache_redis *r, const char *why);
void cache_redis_succeeded(struct cache_redis *r);

/* ---- redis_queue.c: what a thread sends ---- */

/* One command: SET of the stored form, or DEL where there is none. */
struct cache_queue;
struct cache_queue *cache_queue_open(struct cache_redis *r);
void cache_queue_close(struct cache_queue *q); /* drops what it holds; NULL is fine */
/* The newest command for a key replaces an older one. stored is copied. While Redis is not in use
 * DELs wait. A SET is sent soon or never. It is sent as a DEL if the snapshot is no longer current,
 * since the session may have been erased meanwhile. */
void cache_queue_put(struct cache_queue *q, const struct cache_redis_key *key,
                     const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms);

#endif

/* SPDX-License-Identifier: MIT */
/* What the files of cache/ share: the stored form of a value, the table in shared memory, the
 * parsed URL, and the parts of the Redis client. Of these, each file calls only those above it in
 * this header. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "parley/base/encode.h"
#include "parley/cache/cache.h"

/* ---- cache_codec.c ---- */

/* The stored form of value for key, in the arena. checksum: for a value that leaves the host.
 * False: no memory. */
MUSTCHECK bool cache_codec_encode(struct arena *a, struct cache_key key,
                                  const struct cache_value *value, bool checksum, struct sv *out);
/* False unless stored is whole and belongs to key. out->bytes borrows from stored; out->ttl_ms is
 * not set. */
MUSTCHECK bool cache_codec_decode(struct sv stored, struct cache_key key, bool checksum,
                                  struct cache_value *out);
/* ---- memory_table.c ----
 *
 * The table of cached values in the mapping that all workers of a host share.
 *
 * Epochs decide what is current. Each key belongs to a bucket, and each bucket has an epoch. A
 * writer raises the epoch after its commit and before its answer. A reader takes a snapshot of the
 * epoch before it asks PostgreSQL, and stores the result under that epoch. The value is current
 * only while the bucket still has that epoch. "all" is one more epoch, for all buckets together. It
 * is raised when a worker died or when other hosts may have written.
 *
 * PostgreSQL may still commit a statement after its writer has gone: the writer died, or does not
 * know the outcome. No epoch is raised then. So the bucket is in quarantine for as long as that may
 * take. For a snapshot that was taken during a quarantine nothing is current and nothing is stored.
 *
 * Values are in stripes. Each stripe is a ring, in which newer values overwrite older ones, under a
 * seqlock. A writer that does not get the lock drops its value. A removal only ends the value's
 * life, which takes no lock. A reader has a miss if the lock is taken, or changed while it copied.
 * Words are stored with release and loaded with acquire: a reader that sees a word of a writer also
 * sees that writer's lock.
 */

enum {
    MEMORY_BUCKETS = 65536,
    MEMORY_QUARANTINES = 1024,        /* each for the buckets with one remainder */
    MEMORY_RING_WORDS = 32768,        /* 256 KiB a stripe */
    MEMORY_WAYS = 8,                  /* entries that a key may be in */
    MEMORY_ENTRIES = 16 * MEMORY_WAYS /* of a stripe */
};

struct memory_entry {
    _Atomic uint64_t start; /* first word, counted as head is */
    _Atomic uint64_t size;  /* low 32 bits: bytes, 0: free; high 32 bits: words reserved */
    _Atomic uint64_t epoch, all;
    _Atomic uint64_t until_us; /* monotonic */
};

struct memory_stripe {
    /* Even: free; odd: being written. The low MEMORY_PID_SHIFT bits count; above them is the
     * writer's process id. */
    _Alignas(64) _Atomic uint64_t lock;
    _Atomic uint64_t head; /* words reserved since the start; the ring has the newest of them */
    _Atomic uint64_t hash[MEMORY_ENTRIES];
    struct memory_entry entry[MEMORY_ENTRIES];
    _Atomic uint64_t ring[MEMORY_RING_WORDS];
};
enum { MEMORY_PID_SHIFT = 40 };

struct cache_shared {
    unsigned char key[HASH_KEY_LEN]; /* of hash_bytes */
    uint64_t n_stripes;              /* 0: no values are kept */
    _Atomic uint64_t all;
    _Atomic int64_t quarantine_all_us; /* monotonic times at which a quarantine ends */
    _Atomic int64_t quarantine_us[MEMORY_QUARANTINES];
    _Atomic uint64_t epoch[MEMORY_BUCKETS];
    struct memory_stripe stripe[];
};

size_t memory_used(struct cache_shared *t); /* bytes that hold or held a value */

/* See cache_snapshot. */
struct cache_snapshot memory_snapshot(struct cache_shared *t, struct cache_key key, int64_t now_us);
/* Whether no writer has raised the epoch since, and no quarantine was on. */
bool memory_is_current(struct cache_shared *t, const struct cache_snapshot *s);
/* Raises the epoch of the key's bucket and returns the old one. Puts the bucket into quarantine
 * until that time; 0: does not. */
uint64_t memory_raise(struct cache_shared *t, uint64_t hash, int64_t quarantine_until_us);

/* Copies the value of the key into the arena. *current: it was stored under the epochs of the
 * snapshot. SV_NONE: a miss. The caller must check that the bytes belong to the key. */
MUSTCHECK struct sv memory_find(struct cache_shared *t, const struct cache_snapshot *snapshot,
                                int64_t now_us, struct arena *a, bool *current);
/* False: not stored, because the value is too large, the snapshot is no longer current, or another
 * writer has the lock. */
bool memory_store(struct cache_shared *t, pid_t self, const struct cache_snapshot *snapshot,
                  struct sv bytes, int64_t until_us);
/* Ends the life of the key's value, and waits for a store that is under way, but not for a writer
 * that was stopped in one. */
void memory_remove(struct cache_shared *t, uint64_t hash);

/* ---- cache_url.c ---- */

struct cache_endpoint {
    char host[256]; /* "": it is not known */
    int port;       /* 0: host is the path of a socket */
};
struct cache_url {
    struct cache_endpoint at[8]; /* Redis, or the Sentinels */
    size_t n_at;
    char master[128]; /* its name at the Sentinels; "": there are none */
    int db;
    char user[128], password[256], sentinel_password[256]; /* "": none */
};
/* False: why holds one line, which never contains the password. */
MUSTCHECK bool cache_url_parse(const char *text, struct cache_url *out, char *why, size_t why_n);
/* Whether the endpoint is on another machine. Names but localhost are not looked up, and count. */
bool cache_endpoint_is_remote(const struct cache_endpoint *at);

/* ---- redis_conn.c: one connection ---- */

struct redisContext;

struct cache_command {
    struct sv args[5];
    int n;               /* arguments */
    bool must;           /* an error that concerns the value alone is a failure as well */
    struct arena *arena; /* for the answer; NULL: it is not kept */
    struct sv answer;    /* out: a string, copied into the arena; absent: there is none */
    bool accepted;       /* out: the reply was no error */
    char (*words)[256];  /* out: the first two strings of an array; NULL: they are not kept */
};

/* Why Redis did not do what it was asked. */
struct cache_fault {
    bool lasting; /* it refused by rights or configuration, and will do so again */
    char why[CACHE_REASON_MAX];
};

/* Connects to Redis, authenticates, selects the database; with sentinel: to one of its Sentinels.
 * With Sentinels, whoever is no master is refused. NULL: the fault is set. */
struct redisContext *cache_conn_open(const struct cache_url *url, const struct cache_endpoint *at,
                                     bool sentinel, struct deadline until,
                                     struct cache_fault *fault);
/* Sends commands and reads every reply, up to the first fault. False: the fault is set, an error of
 * the connection or of Redis (one of a value alone counts as a success). The connection must be
 * closed then: a late reply would be taken for the answer to the next command. */
MUSTCHECK bool cache_conn_run(struct redisContext *conn, struct deadline until,
                              struct cache_command *commands, size_t n, struct cache_fault *fault);

/* ---- redis_client.c: commands on pooled connections, and a circuit breaker ---- */

enum { CACHE_KEY_MAX = 512 }; /* a session with a longer key is not kept in Redis */
struct cache_redis_key {
    char text[CACHE_KEY_MAX];
    size_t n; /* 0: too long */
};

struct cache_redis {
    struct cache_url url;
    int timeout_ms;
    struct cache_layout layout;
    _Atomic size_t sentinel;       /* the one to ask first */
    _Atomic int64_t pause_us;      /* since a command failed; 0: Redis is in use */
    _Atomic int64_t probe_at_us;   /* when the pause is over, or the last success is long ago */
    _Atomic unsigned failures;     /* those that began a pause */
    pthread_mutex_t lock;          /* for the rest, and to change the three above */
    struct cache_endpoint at;      /* Redis; with Sentinels forgotten after each failure */
    int64_t last_pause_us;         /* the newest pause, also when it is over */
    int64_t steady_at_us;          /* from then on a failure starts with the shortest pause */
    char reason[CACHE_REASON_MAX]; /* why Redis is down; "": it is up */
    struct redisContext *idle[64]; /* last in, first out */
    size_t n_idle;
};

/* NULL: no memory, or the URL cannot be used. */
struct cache_redis *cache_redis_open(const struct cache_settings *settings);
void cache_redis_close(struct cache_redis *r); /* NULL is fine */
struct cache_redis_key cache_redis_key(const struct cache_redis *r, struct cache_key key);
/* Runs commands, and reads every reply. If an idle connection turns out to be closed, runs them
 * once more on a fresh one. Takes the time-out at most, and records the outcome: an error that
 * concerns a value alone is a success. */
bool cache_redis_run(struct cache_redis *r, struct deadline until, struct cache_command *commands,
                     size_t n);
/* Whether requests may use Redis. */
bool cache_redis_is_in_use(const struct cache_redis *r);
bool cache_redis_probe_is_due(const struct cache_redis *r);
/* Asks the Sentinels if the master is not known, and Redis whether it accepts what parley sends. */
void cache_redis_probe(struct cache_redis *r);
void cache_redis_status(struct cache_redis *r, struct cache_status *out);

/* ---- redis_queue.c: commands that a thread sends ---- */

/* Each entry is one command: SET of a stored form, or DEL. */
struct cache_queue;
/* All are borrowed. memory may be NULL. NULL: no memory or no thread. */
struct cache_queue *cache_queue_open(struct cache_redis *redis, struct cache_shared *memory,
                                     struct metrics_slot *slot);
void cache_queue_close(struct cache_queue *q); /* drops what is queued; NULL is fine */
/* The newest command for a key replaces an older one. stored is copied; empty: DEL. While Redis is
 * not in use DELs wait. A SET that is not sent soon, or that Redis does not accept, becomes a DEL;
 * so does one whose snapshot is no longer current: the session may have been erased meanwhile. */
void cache_queue_push(struct cache_queue *q, const struct cache_redis_key *key,
                      const struct cache_snapshot *snapshot, struct sv stored, int64_t ttl_ms);

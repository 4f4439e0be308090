/* SPDX-License-Identifier: MIT */
/*
 * What the files of the Redis tier share: a link (one connection), the pool of links, the health of
 * the tier, and the scripts. hiredis' own names begin with redis, so ours do not.
 */
#ifndef PARLEY_CACHE_REDIS_INTERNAL_H
#define PARLEY_CACHE_REDIS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache_internal.h"

struct memory_table;
struct redisContext;
struct redisReply;

enum {
    CACHE_LEASE_MS = 1000, /* see cache_settings */
    CACHE_HOLD_MS = 3000,
    CACHE_POLL_MS = 300,
    CACHE_LINKS_MAX = 512,  /* a process; above it a call goes without Redis */
    CACHE_KEY_MAX = 400,    /* tenant and id together; a longer key is not kept at all */
    CACHE_ATTEMPTS_MAX = 8, /* of one call, all within its time */
    CACHE_SCRIPT_ARGS = 4,
    CACHE_TOKEN_MAX = 40,
    CACHE_BESIDE_MS = 10000,    /* how long a new value may lie beside its place */
    CACHE_FILL_WINDOW_MS = 1000 /* between miss and fill; the fill script has it, too */
};

/* ---- redis_scripts.c ---- */

/* The first three are loaded into each link and run by their hash. */
enum cache_script { SCRIPT_FILL, SCRIPT_FENCE, SCRIPT_SETTLE, SCRIPT_MARK };
enum { SCRIPTS_LOADED = SCRIPT_MARK };
const char *cache_script_text(enum cache_script s);
/* The key of the marker (see redis_host.c). */
#define CACHE_EPOCH_KEY "parley:epoch"

/* ---- redis_link.c ---- */

enum link_result {
    LINK_DONE,
    LINK_LOST,    /* refused, reset, closed, not understood: known at once */
    LINK_STALLED, /* no answer in time: what was sent may yet be executed */
    LINK_REFUSED, /* Redis answered with an error */
    LINK_EPOCH,   /* the marker is not the one that was expected: nothing was done */
    LINK_FOREIGN, /* the answer is not about what was asked */
    LINK_NONE     /* the process has CACHE_LINKS_MAX of them */
};

/* One connection. Owned by one thread at a time; the struct itself lives as long as the tier, so
 * that a ticket may point to it whatever became of the connection. */
struct cache_link {
    struct redisContext *c; /* NULL: closed */
    _Atomic uint64_t run;   /* another number each time the link changes hands */
    uint64_t life;          /* of the host's breaker, when the link was opened */
    char run_id[41];        /* of the Redis process at the other end */
    uint64_t expected;      /* see cache_link_expect; what follows is made of it */
    char epoch[21];         /* part of every key's name */
    char marker[64];
    char sha[SCRIPTS_LOADED][41];
    int read_ms;               /* how long a read(2) waits at most */
    int posted;                /* answers that are still to come, and that nobody waits for */
    struct metrics_slot *slot; /* where these are counted; may be NULL */
    char why[128];             /* what went wrong last */
    struct cache_link *next;   /* in the pool */
    struct cache_link *all;
};

/* Connects, authenticates, selects the database, loads the scripts, learns the run id. */
MUSTCHECK enum link_result cache_link_open(struct cache_link *l, const struct cache_url *url,
                                           struct deadline until);
/* From now on keys are of this epoch, and its marker must be in force. */
void cache_link_expect(struct cache_link *l, uint64_t epoch);
/* The marker that is in force; "" where there is none, or what is there cannot be one. */
MUSTCHECK enum link_result cache_link_marker(struct cache_link *l, struct deadline until,
                                             char out[64]);
/* Sets the marker; "" takes it away. Never to be tried again with the same one: the first try may
 * yet be executed, and a marker may not come back. */
MUSTCHECK enum link_result cache_link_mark(struct cache_link *l, const char *marker,
                                           struct deadline until);
void cache_link_close(struct cache_link *l); /* closed already is fine */
/* Queues a command of n words. */
MUSTCHECK enum link_result cache_link_append(struct cache_link *l, const struct sv *words, int n);
/* Sends what is queued and waits for the next reply; the caller frees it with freeReplyObject. An
 * error reply is given out as a reply. After any other result than LINK_DONE the link must be
 * closed: a late reply would be taken for the answer to the next command. */
MUSTCHECK enum link_result cache_link_reply(struct cache_link *l, struct deadline until,
                                            struct redisReply **out);
/* Sends what is queued, one SET, and goes: its answer is taken, and counted as a fill, ahead of the
 * next one that somebody waits for. After any other result than LINK_DONE the link must be closed.
 */
MUSTCHECK enum link_result cache_link_post(struct cache_link *l, struct deadline until);

/* ---- the tier ---- */

struct cache_redis {
    struct cache_tier tier;
    struct cache_url url;
    int timeout_ms, fence_ms;
    size_t value_max;
    struct metrics_slot *slot; /* may be NULL */
    struct cache_authority authority;
    struct memory_table *table; /* borrowed: see redis_store.c; NULL: there may be other hosts */
    bool one_host;
    int lease_ms, hold_ms, poll_ms;
    struct cache_host *host; /* in the mapping of the workers, or own */
    struct cache_host own;
    _Atomic uint64_t runs;   /* the source of cache_link.run */
    uint64_t seed;           /* random: of this process alone, in all of its tokens */
    _Atomic uint64_t tokens; /* how many it has had */
    _Atomic uint64_t mismatches;

    pthread_mutex_t lock;
    /* Under the lock: */
    struct cache_link *idle;  /* open; last in, first out, so that few are in use */
    struct cache_link *empty; /* closed */
    struct cache_link *all;
    size_t n_links;
    char reason[160];
};

/* ---- redis_pool.c ---- */

/* An open link, of its own if fresh. LINK_DONE, or why there is none; *out is then NULL, and why
 * says it in words. */
MUSTCHECK enum link_result cache_pool_take(struct cache_redis *r, bool fresh, struct deadline until,
                                           struct cache_link **out, char why[128]);
/* Gives a link back; closes it unless keep. One of another life is closed when it is taken. */
void cache_pool_put(struct cache_redis *r, struct cache_link *l, bool keep);
void cache_pool_flush(struct cache_redis *r); /* closes the idle links */
void cache_pool_free(struct cache_redis *r);

/* ---- redis_command.c ---- */

bool cache_key_fits(struct cache_key key);
struct cache_name {
    char text[CACHE_KEY_MAX + 48 + CACHE_TOKEN_MAX];
    size_t n;
};
/* The name of key's value (kind 'v') or fence ('f'); cache_key_fits(key) holds. */
struct sv cache_name_make(struct cache_name *name, struct cache_key key, const char *epoch,
                          char kind);

/* One script on one key. args: ARGV from the second on. */
struct cache_script_call {
    enum cache_script script;
    struct cache_key key;
    struct sv args[CACHE_SCRIPT_ARGS];
    int n_args;
    struct sv stored; /* the new value, or empty; a token makes the name that it gets beside */
    struct sv token;
};
/* *out, the caller's to free, is neither an error nor the answer about the epoch. old, of
 * SCRIPT_FENCE alone: the value just ahead of it, the caller's to free; of another order than the
 * script tells, it is not the one that was dropped. */
MUSTCHECK enum link_result cache_script_run(struct cache_link *l,
                                            const struct cache_script_call *call,
                                            struct deadline until, struct redisReply **old,
                                            struct redisReply **out);
/* A new token: of all writers, of other processes and hosts, too, nobody else has it. */
uint64_t cache_token_make(struct cache_redis *r);
struct sv cache_token_text(char out[CACHE_TOKEN_MAX], const struct cache_redis *r, uint64_t token);

/* Counts an answer that is not about what was asked: another session's bytes, or damaged ones.
 * Returns LINK_FOREIGN. */
enum link_result cache_value_foreign(struct cache_redis *r, struct cache_link *l,
                                     struct cache_key key);
/* Checks a stored value and copies it into the arena. LINK_NONE: the arena is full. */
MUSTCHECK enum link_result cache_value_take(struct cache_redis *r, struct cache_link *l,
                                            struct request_ctx *ctx, struct cache_key key,
                                            struct sv stored, struct cache_value *out);
struct sv cache_decimal(char out[24], int64_t v);
/* The stored form of *value, in the arena; empty when it is not to be kept. */
struct sv cache_value_form(const struct cache_redis *r, struct arena *a, struct cache_key key,
                           const struct cache_value *value);
/* How long Redis may keep it, in ms. */
int64_t cache_value_life_ms(const struct cache_value *value);
struct sv cache_value_life(char out[24], const struct cache_value *value);

/* ---- redis_read.c, redis_write.c: the calls of struct cache_tier_ops ---- */

bool cache_redis_read(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_value *out, struct cache_ticket *ticket);
void cache_redis_fill(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_ticket *ticket, const struct cache_value *value);
void cache_redis_fence(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                       struct cache_fence *fence);
void cache_redis_settle(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_fence *fence, const struct cache_value *value);
void cache_redis_poll(struct cache_tier *t); /* in redis_host.c */
struct cache_redis *cache_redis_self(struct cache_tier *t);

/* ---- redis_store.c: the same, behind a memory tier ---- */

bool cache_store_read(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_value *out, struct cache_ticket *ticket);
void cache_store_fill(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                      struct cache_ticket *ticket, const struct cache_value *value);
void cache_store_fence(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                       struct cache_fence *fence);
void cache_store_settle(struct cache_tier *t, struct request_ctx *ctx, struct cache_key key,
                        struct cache_fence *fence, const struct cache_value *value);
void cache_store_poll(struct cache_tier *t);

/* ---- redis_health.c ---- */

/* A conversation on one link, for cache_redis_attempt. */
typedef enum link_result (*cache_link_fn)(struct cache_link *l, struct deadline until, void *arg);
/* Runs fn on a pooled link, and again on a fresh one if that was lost, or if the marker was of an
 * epoch that this host knows by then; look: it asks for it. All before until. kept: where the link
 * goes that fn succeeded on; NULL gives it back. why: 128 bytes. */
MUSTCHECK enum link_result cache_redis_attempt(struct cache_redis *r, struct deadline until,
                                               cache_link_fn fn, void *arg,
                                               struct cache_link **kept, char *why, bool look);
/* The time for one call. shortened: the request ends before Redis' own time is over, so that a
 * time-out says nothing about Redis. */
struct deadline cache_redis_deadline(const struct cache_redis *r, const struct request_ctx *ctx,
                                     bool *shortened);
/* A failure that says something about Redis, and not about this request alone. */
bool cache_redis_at_fault(enum link_result result);
/* Redis failed: opens the breaker of the host. */
void cache_host_open(struct cache_redis *r, const char *why);
/* Closes it if Redis is back, when the time has come to look. */
void cache_host_probe(struct cache_redis *r);
/* Opens it if Redis is gone, when the time has come to look. */
void cache_host_check(struct cache_redis *r);

/* ---- redis_host.c ---- */

/* True for the first one of the host that comes when *at_us has passed; it is then pause_us away.
 */
bool cache_host_claim(_Atomic int64_t *at_us, int64_t pause_us);
/* The pause between two probes of a Redis that is away begins with this and doubles up to a lease.
 */
int64_t cache_pause_min_us(const struct cache_redis *r);
/* Asks for the record now, in this thread. */
void cache_host_look(struct cache_redis *r);
/* Whether a reader may trust Redis, as far as other hosts go. Asked before the epoch is taken. */
bool cache_host_leased(struct cache_redis *r, uint64_t life);

enum host_secure {
    HOST_SECURE, /* what Redis holds now will not be read by anybody */
    HOST_CLOSED, /* the breaker is closed: Redis can be told */
    HOST_EXPOSED /* neither, in time */
};
/* For a write that Redis cannot be told of: bars all hosts from Redis and waits until none has a
 * lease any more. patient: a failure of the record is tried again until the end. */
MUSTCHECK enum host_secure cache_host_secure(struct cache_redis *r, struct deadline until,
                                             bool patient);

#endif

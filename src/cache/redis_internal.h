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

struct redisContext;
struct redisReply;

enum {
    CACHE_LINKS_MAX = 512,     /* a process; above it a call goes without Redis */
    CACHE_PAUSE_MIN_MS = 50,   /* between two probes of a Redis that is away … */
    CACHE_PAUSE_MAX_MS = 1000, /* … doubling up to this */
    CACHE_KEY_MAX = 400,       /* tenant and id together; a longer key is not kept at all */
    CACHE_ATTEMPTS_MAX = 8,    /* of one call, all within its time */
    CACHE_SCRIPT_ARGS = 5,
    CACHE_FILL_WINDOW_MS = 1000 /* between miss and fill; the fill script has it, too */
};

/* ---- redis_scripts.c ---- */

/* The first three are loaded into each link and run by their hash. */
enum cache_script { SCRIPT_FILL, SCRIPT_FENCE, SCRIPT_SETTLE, SCRIPT_EPOCH };
enum { SCRIPTS_LOADED = SCRIPT_EPOCH };
const char *cache_script_text(enum cache_script s);
/* The key whose value is the epoch of this Redis (see redis_scripts.c). */
#define CACHE_EPOCH_KEY "parley:epoch"

/* ---- redis_link.c ---- */

enum link_result {
    LINK_DONE,
    LINK_LOST,    /* refused, reset, closed, not understood: known at once */
    LINK_STALLED, /* no answer in time: what was sent may yet be executed */
    LINK_REFUSED, /* Redis answered with an error */
    LINK_EPOCH,   /* the epoch was raised since the link was opened */
    LINK_FOREIGN, /* the answer is not about what was asked */
    LINK_NONE     /* the process has CACHE_LINKS_MAX of them */
};

/* One connection. Owned by one thread at a time; the struct itself lives as long as the tier, so
 * that a ticket may point to it whatever became of the connection. */
struct cache_link {
    struct redisContext *c; /* NULL: closed */
    _Atomic uint64_t run;   /* another number each time the link changes hands */
    uint64_t life;          /* of the tier, when the link was opened */
    char epoch[21];         /* of Redis, when the link was opened; part of every key's name */
    char sha[SCRIPTS_LOADED][41];
    char why[128];           /* what went wrong last */
    struct cache_link *next; /* in the pool */
    struct cache_link *all;
};

/* Connects, authenticates, selects the database, loads the scripts, learns the epoch. */
MUSTCHECK enum link_result cache_link_open(struct cache_link *l, const struct cache_url *url,
                                           struct deadline until);
/* Learns the epoch, or raises it first. */
MUSTCHECK enum link_result cache_link_epoch(struct cache_link *l, bool raise,
                                            struct deadline until);
void cache_link_close(struct cache_link *l); /* closed already is fine */
/* Queues a command of n words. */
MUSTCHECK enum link_result cache_link_append(struct cache_link *l, const struct sv *words, int n);
/* Sends what is queued and waits for the next reply; the caller frees it with freeReplyObject. An
 * error reply is given out as a reply. After any other result than LINK_DONE the link must be
 * closed: a late reply would be taken for the answer to the next command. */
MUSTCHECK enum link_result cache_link_reply(struct cache_link *l, struct deadline until,
                                            struct redisReply **out);

/* ---- the tier ---- */

struct cache_redis {
    struct cache_tier tier;
    struct cache_url url;
    int timeout_ms, fence_ms;
    size_t value_max;
    struct metrics_slot *slot; /* may be NULL */
    _Atomic bool up;           /* changed under lock */
    _Atomic uint64_t life;     /* one more each time the tier goes down; changed under lock */
    _Atomic uint64_t runs;     /* the source of cache_link.run */
    _Atomic uint64_t mismatches;

    pthread_mutex_t lock;
    /* Under the lock: */
    struct cache_link *idle;  /* open; last in, first out, so that few are in use */
    struct cache_link *empty; /* closed */
    struct cache_link *all;
    size_t n_links;
    bool stalled;       /* the last failure was a time-out: trying costs another one */
    uint64_t debts;     /* writes that Redis was not told of */
    uint64_t debts_met; /* … of which the epoch was raised for so many; equal while up */
    int pause_ms;
    int64_t probe_at_us;
    char reason[160];
};

/* ---- redis_pool.c ---- */

/* An open link, of its own if fresh. LINK_DONE, or why there is none; *out is then NULL, and why
 * says it in words. */
MUSTCHECK enum link_result cache_pool_take(struct cache_redis *r, bool fresh, struct deadline until,
                                           struct cache_link **out, char why[128]);
/* Gives a link back; closes it unless keep, or if the tier went down since it was opened. */
void cache_pool_put(struct cache_redis *r, struct cache_link *l, bool keep);
void cache_pool_flush(struct cache_redis *r); /* closes the idle links */
void cache_pool_free(struct cache_redis *r);

/* ---- redis_command.c ---- */

bool cache_key_fits(struct cache_key key);
struct cache_name {
    char text[CACHE_KEY_MAX + 48];
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
};
/* *out, the caller's to free, is neither an error nor the answer about the epoch. */
MUSTCHECK enum link_result cache_script_run(struct cache_link *l,
                                            const struct cache_script_call *call,
                                            struct deadline until, struct redisReply **out);

/* Counts an answer that is not about what was asked: another session's bytes, or damaged ones.
 * Returns LINK_FOREIGN. */
enum link_result cache_value_foreign(struct cache_redis *r, struct cache_link *l,
                                     struct cache_key key);
/* Checks a stored value and copies it into the arena. LINK_NONE: the arena is full. */
MUSTCHECK enum link_result cache_value_take(struct cache_redis *r, struct cache_link *l,
                                            struct request_ctx *ctx, struct cache_key key,
                                            const struct redisReply *reply,
                                            struct cache_value *out);
struct sv cache_decimal(char out[24], int64_t v);
/* The stored form of *value, in the arena; empty when it is not to be kept. */
struct sv cache_value_form(const struct cache_redis *r, struct arena *a, struct cache_key key,
                           const struct cache_value *value);
/* How long Redis may keep it, in ms. */
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
struct cache_redis *cache_redis_self(struct cache_tier *t);

/* ---- redis_health.c ---- */

/* A conversation on one link, for cache_redis_attempt. */
typedef enum link_result (*cache_link_fn)(struct cache_link *l, struct deadline until, void *arg);
/* Runs fn on a pooled link, and again on a fresh one if that was lost or of an old epoch, all
 * before until. kept: where the link goes that fn succeeded on; NULL gives it back. why: 128 bytes.
 */
MUSTCHECK enum link_result cache_redis_attempt(struct cache_redis *r, struct deadline until,
                                               cache_link_fn fn, void *arg,
                                               struct cache_link **kept, char *why);
/* The time for one call. shortened: the request ends before Redis' own time is over, so that a
 * time-out says nothing about Redis. */
struct deadline cache_redis_deadline(const struct cache_redis *r, const struct request_ctx *ctx,
                                     bool *shortened);
/* A failure that says something about Redis, and not about this request alone. */
bool cache_redis_at_fault(enum link_result result);
/* Redis failed: the tier is down from now on until a probe succeeds. debt: a write was not told.
 * why NULL: the reason known so far stays. */
void cache_redis_failed(struct cache_redis *r, enum link_result result, const char *why, bool debt);
void cache_redis_probe(struct cache_redis *r);
/* Whether the end of a write should be told to a tier that is down. */
bool cache_redis_worth_telling(struct cache_redis *r);

#endif

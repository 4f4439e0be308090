/* SPDX-License-Identifier: MIT */
/* A cache against the Redis of TEST_REDIS_URL, and a connection of the test's own beside it. */
#ifndef PARLEY_TESTS_CACHE_SUPPORT_H
#define PARLEY_TESTS_CACHE_SUPPORT_H

#include <CUnit/CUnit.h>
#include <pthread.h>
#include <stdatomic.h>

#include "parley/cache/cache.h"

enum { REDIS_TIMEOUT_MS = 250, FENCE_MS = 60000, VALUE_MAX = 65536 };
enum { LEASE_MS = 250, HOLD_MS = 750, POLL_MS = 20 };

/* The record of the cache epoch as PostgreSQL keeps it, for all hosts of a test. */
struct authority {
    pthread_mutex_t lock;
    uint64_t epoch;
    int64_t held_until_us;
    bool dirty;
    long looks, holds, raises; /* that succeeded */
};
void authority_init(struct authority *a);
/* One host's way to it. */
struct authority_link {
    struct authority *record;
    _Atomic bool away; /* this host cannot reach it */
};
enum err authority_ask(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                       struct cache_record *out);
/* What a cache of the tests has in common with others; shared NULL: a host of its own. */
struct cache_settings rig_settings(struct authority_link *link, struct cache_shared *shared);

struct redisContext;

struct rig {
    struct authority authority;
    struct authority_link link;
    struct cache_shared *shared; /* of the workers of the one host */
    struct cache *cache;
    struct metrics_slot *slot;
    struct redisContext *admin;
};
/* A cache on an empty, running Redis. False (and a failed assertion) without one. */
bool rig_open(struct rig *rig);
void rig_close(struct rig *rig);
/* Another worker of the same host. */
struct cache *rig_worker(struct rig *rig, struct metrics_slot *slot);
/* Somebody held: the epoch is raised, and the host knows. */
void rig_raise(struct rig *rig);
/* Connects the test's own connection again, after Redis was restarted. */
void rig_reconnect(struct rig *rig);
/* start, stop, kill, pause or resume: by process id, through the program in TEST_REDIS. */
void redis_control(const char *what);

enum cache_state state_of(struct cache *c);
/* What the worker's main thread does, until Redis is in use; false if it is not after 20 s. */
bool polled(struct cache *c);
bool is_in_use(struct cache *c);
/* "telegram:i"; the name is put into id. */
struct cache_key key_numbered(char id[16], int i);

/* One request: its arena and its context. */
struct request {
    struct arena *arena;
    struct request_ctx ctx;
};
void request_begin(struct request *r);
void request_end(struct request *r);

/* One command, words separated by a blank, on the test's own connection: its integer, or -3. */
long long admin_int(struct rig *rig, const char *command);
/* Its string into out (cut to n); false for nil. */
bool admin_text(struct rig *rig, const char *command, char *out, size_t n);
/* SET of bytes under the name of key's value ('v') or fence ('f') in the epoch in force. */
void admin_set(struct rig *rig, struct cache_key key, char kind, struct sv bytes);
void admin_delete(struct rig *rig, struct cache_key key, char kind);
long long admin_pttl(struct rig *rig, struct cache_key key, char kind);

/* A value of some version; the bytes name the key and the version. */
struct cache_value value_of(struct request *r, struct cache_key key, int64_t version);
/* The version that a read finds; 0: a miss; -1: a hit with bytes that are not of this key. */
int64_t read_version(struct cache *c, struct cache_key key);
/* Miss and fill in a request of its own. */
void fill_version(struct cache *c, struct cache_key key, int64_t version);
/* A whole write; the value is kept, and it is acknowledged at once. */
void write_version(struct cache *c, struct cache_key key, int64_t version);
/* Fills a memory tier of 1 MiB with other values, until it has nothing else. */
void push_out(struct cache *c);

#endif

/* SPDX-License-Identifier: MIT */
/* A cache on the Redis of TEST_REDIS_URL, and a connection of the test's own. */
#ifndef PARLEY_TESTS_CACHE_SUPPORT_H
#define PARLEY_TESTS_CACHE_SUPPORT_H

#include "../service.h"
#include "parley/cache/cache.h"

enum { REDIS_MS = 250, VALUE_MAX = 128 * 1024 };

struct redisContext;

/* One request: its arena and its context. */
struct request {
    struct arena *arena;
    struct request_ctx ctx;
};
void request_begin(struct request *r, int64_t ms);
void request_end(struct request *r);

struct rig {
    struct cache *cache;
    struct cache_shared *shared;
    struct metrics_slot *slot;
    struct redisContext *admin;
    struct request r; /* of 10 s */
};
/* No memory, and the layout 1.2. */
struct cache_settings rig_settings(void);
/* A cache on an empty Redis, which is in use. NULL: rig_settings. The memory of the settings ends
 * with the rig. */
struct rig *rig_open(const struct cache_settings *settings);
void rig_close(struct rig *rig);
/* Reconnects the test's own connection after a restart of Redis. */
void rig_reconnect(struct rig *rig);
/* start, stop, kill, pause or resume: by process id, through the program in TEST_REDIS. */
void redis_control(const char *what);
/* Between the two calls the log goes to a file of TEST_TMP. */
int log_begin_capture(void);
void log_end_capture(int captured);
int log_count(const char *event);

enum cache_state state_of(struct cache *c);
/* Whether Redis is down and the reason contains the text. */
bool is_down_for(struct cache *c, const char *text);
uint64_t mismatches_of(struct cache *c);
uint64_t sets_of(const struct rig *rig);
uint64_t lost_of(const struct rig *rig);
/* "telegram:i"; the name is put into id. */
struct cache_key key_numbered(char id[16], int i);

/* One command, as redisCommand has it, on the test's own connection: its integer; 0 for OK, nil and
 * strings. An error fails the test. */
long long admin(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* SET of bytes under the name that key has in Redis; whether there is one. */
void admin_set(struct rig *rig, struct cache_key key, struct sv bytes);
bool is_in_redis(struct rig *rig, struct cache_key key);

/* A value of at least n bytes, which begin with the key and the version. */
struct cache_value value_of(struct request *r, struct cache_key key, int64_t version, size_t n);
/* The version that a new request finds. 0: a miss. -1: a hit with the bytes of another key. */
int64_t find_version(struct cache *c, struct cache_key key);
/* Puts into the queue. */
void put_version(struct cache *c, struct cache_key key, int64_t version);
void put_sized(struct cache *c, struct cache_key key, int64_t version, size_t n);

#endif

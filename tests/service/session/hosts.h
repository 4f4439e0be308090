/* SPDX-License-Identifier: MIT */
/* Several hosts over the same servers. */
#ifndef PARLEY_TESTS_SESSION_HOSTS_H
#define PARLEY_TESTS_SESSION_HOSTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "../../../src/session/session_internal.h"
#include "../../unit/session/same.h"
#include "fixture.h"

/* Two hosts with memory and Redis, one without caches, and a cache that is Redis alone. */
struct hosts {
    struct fixture *a, *b, *plain;
    struct cache *redis;
};

struct hosts *hosts_open(void);
void hosts_close(struct hosts *c);

/* Kills all backends of the serving role. */
#define KILL_ALL                                                    \
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity" \
    " WHERE datname = 'parley_sessions' AND usename = 'parley_app'"
/* Does so every 3 ms, from the start to the stop. */
struct killer {
    pthread_t thread;
    _Atomic bool stop;
};
void killer_start(struct killer *k);
void killer_stop(struct killer *k);
/* Sweeps until there is nothing more to sweep. */
void hosts_sweep(struct fixture *w);
void hosts_make(struct fixture *w, const char *id);
/* Appends n messages, at most 30, each of its own content. */
MUSTCHECK enum err hosts_append(struct fixture *w, const char *id, size_t n);
/* A read by w returns exactly what PostgreSQL has, and is not marked as degraded. */
void hosts_expect_current(struct hosts *c, struct fixture *w, const char *id);
/* The version of a session of t1 in w's memory, or in Redis; 0: none. */
int64_t hosts_in_memory(struct fixture *w, const char *id);
int64_t hosts_in_redis(struct hosts *c, const char *id);
/* Waits until Redis has that version (0: none). */
bool hosts_wait_redis(struct hosts *c, const char *id, int64_t version);
/* The entity tags that every form of If-Match compares with: of the whole, of the state, and
 * LangGraph's. In the arena. */
enum { HOSTS_TAGS = 3 };
void hosts_tags(struct arena *a, const struct session *s, struct sv out[HOSTS_TAGS]);
/* Stores a value in the memory of both hosts and in Redis, as a reader would. */
void hosts_put(struct hosts *c, const char *tenant, const char *id,
               const struct cache_value *value);
/* The session of PostgreSQL as a value, in the caller's arena. */
struct cache_value hosts_value(struct hosts *c, struct fixture *caller, const char *tenant,
                               const char *id, struct session *s);

#endif

/* SPDX-License-Identifier: MIT */
/* Two hosts over one Redis and one record, of which either can be cut off from one of the two. Each
 * is a user of its own for Redis, so that one can be shut out there. */
#ifndef PARLEY_TESTS_CACHE_HOSTS_H
#define PARLEY_TESTS_CACHE_HOSTS_H

#include "support.h"

struct host {
    struct authority_link link;
    struct cache_shared *shared;
    struct cache *cache;
    bool reaches; /* Redis */
    char user[8], url[256];
};
struct hosts {
    struct authority authority;
    int lease_ms;
    struct redisContext *admin;
    struct host host[2];
};

/* Both in use, on an empty Redis. False, with a failed assertion, without one. */
bool hosts_open(struct hosts *h, int lease_ms);
void hosts_close(struct hosts *h);
/* Lets host i reach Redis, or shuts it out at once. */
void hosts_reach(struct hosts *h, int i, bool reach);
/* After Redis was started again: connects the test's own connection, makes the users anew. */
void hosts_restarted(struct hosts *h);
/* Takes away what Redis has saved. */
void hosts_forget(void);
/* Host i dies, with all of its memory; if reborn, another one takes its place. */
void hosts_die(struct hosts *h, int i, bool reborn);
/* Polls both, 20 s at most, until both are in use. */
bool hosts_polled(struct hosts *h);
/* One command to Redis, formatted like printf. */
void hosts_tell(struct hosts *h, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A whole write of a version, tried again until it is acknowledged: a stall of the machine may be
 * too long for the short times of a test. */
void host_write(struct cache *c, struct cache_key key, int64_t version);

#endif

/* SPDX-License-Identifier: MIT */
/* Several session modules over the same servers, and readers whose steps a test takes one by one.
 */
#ifndef PARLEY_TESTS_SESSION_CLUSTER_H
#define PARLEY_TESTS_SESSION_CLUSTER_H

#include "../../../src/session/session_internal.h"
#include "fixture.h"

/* Two workers over the same servers, and one that reads PostgreSQL alone. */
struct cluster {
    struct world a, b, plain;
};

bool cluster_open(struct cluster *c);
void cluster_close(struct cluster *c);

void cluster_sleep_ms(long ms);
void cluster_make(struct world *w, const char *id);
/* Appends n messages, at most 30, each of its own content. */
MUSTCHECK enum err cluster_append(struct world *w, const char *id, size_t n);
/* What w serves is what PostgreSQL has, to the last field. */
void cluster_expect_current(struct cluster *c, struct world *w, const char *id);
/* The version of what the tier holds for a session, or 0 if it holds nothing. */
int64_t cluster_cached_version(struct world *w, const char *id);

/* A reader that is late: it misses and reads PostgreSQL, and offers what it read some time later.
 */
struct cluster_reader {
    struct caller caller;
    struct cache_ticket ticket;
    struct cache_value value;
    struct cache_key key;
};

void cluster_late_read(struct cluster_reader *r, struct world *w, const char *id);
void cluster_late_fill(struct cluster_reader *r, struct world *w);

#endif

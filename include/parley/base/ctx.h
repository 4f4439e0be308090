/* SPDX-License-Identifier: MIT */
/*
 * The request context: everything that belongs to one request and to nothing else. It is the first
 * parameter of everything above db/; there are no globals and no thread-locals to hold any of it,
 * so that nothing of one request can be seen by another.
 */
#ifndef PARLEY_BASE_CTX_H
#define PARLEY_BASE_CTX_H

#include <stdbool.h>
#include <stdint.h>

#include "parley/base/arena.h"
#include "parley/base/clock.h"
#include "parley/base/err.h"
#include "parley/base/sv.h"

/* What went wrong. code, slug, field and detail are for the client; cause is for the log alone. */
struct err_info {
    enum err err;
    const char *slug;  /* stable snake_case code, static storage; NULL: err_name(err) */
    char field[128];   /* "messages[3].role", "If-Match", …; "" when no field is at fault */
    char detail[256];  /* one sentence for a person; "" when there is nothing to add */
    char cause[256];   /* what a server or the system said; nothing of a client's content */
    int retry_after_s; /* 0: none */
};

/* Where the time of a request went, for its log line and the metrics. Microseconds. */
struct request_trace {
    int64_t pool_us, sql_us, cache_us;
    uint32_t statements, round_trips;
    const char *tier; /* "memory", "redis", "postgres": who answered a read; NULL otherwise */
};

/* To be called before a request waits for another process. */
struct ctx_hook {
    void (*fn)(void *arg); /* NULL: nobody wants to know */
    void *arg;
};

struct request_ctx {
    struct arena *arena; /* borrowed from the thread; all memory of the request */
    struct deadline deadline;
    struct sv tenant;        /* "" until it is known whose request it is */
    int64_t sessions_max;    /* how many open sessions the tenant may have; 0: any number */
    bool caches_only;        /* its key could not be confirmed: as if PostgreSQL were away */
    bool in_transaction;     /* inside db_transaction */
    bool reserve;            /* may have a connection that is kept for reads */
    bool urgent;             /* a poll, for whose answer others wait: first in the queue for a
                              * connection, and not counted in the metrics as a request */
    uint64_t contention_key; /* requests that may wait for one row have the same; 0: none. They are
                              * lent a part of the connections only */
    void *ahead;             /* owned by session/: the result of reading ahead for this request */
    struct sv request_id;
    struct ctx_hook before_wait; /* see ctx_will_wait */
    struct err_info err;
    struct request_trace trace;
};

/* Clears a context for a new request. The views are borrowed and must outlive the request. */
void ctx_init(struct request_ctx *ctx, struct arena *arena, struct deadline deadline,
              struct sv tenant, struct sv request_id);

/* Records a failure and returns e, so that "return ctx_fail(…)" reads well. The first failure
 * stays (it is the root cause); ctx_clear_error forgets it. slug: static storage or NULL; field: a
 * C string or NULL; fmt: the sentence for the client, or NULL. */
enum err ctx_fail(struct request_ctx *ctx, enum err e, const char *slug, const char *field,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
/* As ctx_fail for failures that are not the client's: the text goes to the log only. */
enum err ctx_fault(struct request_ctx *ctx, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum err ctx_nomem(struct request_ctx *ctx);
void ctx_clear_error(struct request_ctx *ctx);

/* To be called ahead of anything that may take longer than work does: a connection from a pool, an
 * answer of PostgreSQL or Redis. The thread then leaves the requests of others to another thread.
 * Costs nothing the second time. */
void ctx_will_wait(struct request_ctx *ctx);

#endif

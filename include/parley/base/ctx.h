/* SPDX-License-Identifier: MIT */
/*
 * The request context: everything that belongs to one request alone. It is the first parameter of
 * everything above db/. No global and no thread-local holds any of it, so that no request can see
 * anything of another.
 */
#pragma once

#include "parley/base/arena.h"
#include "parley/base/clock.h"

/* Why a request failed. cause is for the log alone, the rest is for the client too. */
struct err_info {
    enum err err;
    const char *slug;    /* stable snake_case code, static storage; NULL: err_name(err) */
    char field[128];     /* "messages[3].role", "If-Match", …; "" when no field is at fault */
    bool field_is_sent;  /* field has a name that the client chose: not for the log */
    bool detail_is_sent; /* the same of detail */
    char detail[256];    /* one sentence for a person; "" when there is nothing to add */
    char cause[256];     /* the message of a server or the system, without content of clients */
    char members[160]; /* a JSON object with more members for the client; "" when there are none */
    int retry_after_s; /* 0: none */
};

/* How a request spent its time, for its log line and the metrics. Microseconds. */
struct request_trace {
    const char *_Atomic route; /* its name; NULL: none was found yet. Atomic: see api_hangs */
    int64_t pool_us, sql_us, cache_us;
    uint32_t round_trips;
    uint32_t batch;     /* members of its batch; 0: it was in none */
    const char *source; /* of a read: "memory", "redis" or "postgres"; NULL otherwise */
};

/* Called once before a request waits for another process: see ctx_will_wait. */
struct ctx_hook {
    void (*fn)(void *arg); /* NULL: nothing to call */
    void *arg;
};

struct request_ctx {
    struct arena *arena; /* borrowed from the thread; all memory of the request */
    struct deadline deadline;
    struct sv tenant;              /* "" until the API key is checked */
    uint64_t key_id;               /* of the API key; 0: none */
    bool read_only;                /* the key may change nothing */
    struct sv only_user;           /* the key is for this user alone; absent: for all */
    struct sv only_session;        /* the token is for this session alone; absent: for all */
    int64_t key_expires_at;        /* of the key or the token; INT64_MAX: never */
    int64_t sessions_max;          /* most open sessions of the tenant; 0: any number */
    int64_t rate_limit, rate_left; /* requests a second of the tenant (0: any number); left now */
    bool known_roles;              /* PARLEY_ROLES=known */
    bool caches_only;        /* the API key could not be confirmed: as if PostgreSQL were away */
    bool reserve;            /* may take a connection that is reserved for reads */
    bool urgent;             /* a poll that other requests depend on: first in the queue for a
                              * connection, and not counted in the metrics as a request */
    uint64_t contention_key; /* the same for requests that may wait for one row, which get a part of
                              * the connections only; 0: none */
    struct deadline acquire_by; /* ends the wait for a connection; 0: acquire_ms after it asks */
    int lock_ms;                /* the longest wait for a lock in PostgreSQL; 0: 1 s */
    void *ahead;                /* owned by session/: what was read ahead for this request */
    struct sv request_id;
    struct ctx_hook before_wait;
    struct err_info err;
    struct request_trace trace;
};

/* Clears a context for a new request. The views are borrowed and must outlive the request. */
void ctx_init(struct request_ctx *ctx, struct arena *arena, struct deadline deadline,
              struct sv tenant, struct sv request_id);

/* Records a failure and returns e. The first failure stays, since it is the root cause, until
 * ctx_clear_error. slug: static storage or NULL; field: a C string or NULL; fmt: the sentence for
 * the client, or NULL. */
enum err ctx_fail(struct request_ctx *ctx, enum err e, const char *slug, const char *field,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The same for failures that are not the client's: the text is for the log alone. */
enum err ctx_fault(struct request_ctx *ctx, enum err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
enum err ctx_nomem(struct request_ctx *ctx);
void ctx_clear_error(struct request_ctx *ctx);

/* Call it before waiting for another process: for a connection from a pool, or an answer of
 * PostgreSQL or Redis. It calls before_wait, the first time only, so that another thread takes over
 * the polling for requests. */
void ctx_will_wait(struct request_ctx *ctx);

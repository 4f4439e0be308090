/*
 * The database service: a pool of PostgreSQL connections, and statements on them. libpq is called
 * in db/ and nowhere else. The SQL of sessions is in session/sql/.
 *
 * What holds for every statement:
 *   - It runs under the request's tenant: set_config('parley.tenant', …, true) precedes it in the
 *     same pipeline. So row-level security applies, and no round trip is added.
 *   - It ends within ctx->deadline: poll(2) on this side, statement_timeout on the server. A
 *     connection that reached the deadline is closed, never reused.
 *   - Each connection prepares it on first use, in the same round trip, unless db_settings.prepare
 *     is off (for poolers without prepared statements).
 *
 * Thread rule: all threads of a worker share one struct db, which is opened after the fork. Rows
 * belong to the arena of the request that asked for them.
 */
#pragma once

#include <stdatomic.h>

#include "parley/db/values.h"
#include "parley/obs/metrics.h"

struct db;
struct db_hosts_shared;

/* What a host knows of the servers that DATABASE_URL names. Its workers share it: it lies in shared
 * memory, and any thread may read and write it. Zeroed: nothing is known. */
enum { DB_SERVERS_MAX = METRICS_SERVERS, DB_SERVER_NAME_MAX = 80 };
struct db_servers {
    atomic_int last_used; /* index in the URL */
    atomic_int highest;   /* timeline of a primary that was seen; 0: none. Lower ones are refused */
    atomic_int state[DB_SERVERS_MAX], timeline[DB_SERVERS_MAX];
    _Atomic int64_t ask_at_us; /* when the servers that are not used are asked next */
};

struct db_settings {
    struct db_hosts_shared *hosts; /* where the servers are; borrowed; NULL: the db has its own */
    const char *url;      /* libpq connection string or URI; borrowed for the life of the db */
    const char *url_name; /* the setting that holds url, for messages; NULL: DATABASE_URL */
    const char *app_name; /* application_name */
    int pool_min, pool_max;
    int acquire_ms;   /* longest wait for a connection */
    int statement_ms; /* upper bound of statement_timeout */
    int connect_ms;
    int idle_s;         /* closes a connection above pool_min that was idle for so long */
    int lifetime_s;     /* closes any connection of that age */
    int workers;        /* of this host: they share what the server allows */
    int schema_version; /* what the program needs; 0: not checked */
    bool prepare;
    bool owner; /* an operator's command: the login may own the tables, and nothing is logged */
    bool owner_may_serve; /* there is one login for all: if it owns the tables, that is a warning */
    bool warns;           /* logs that warning and "fsync is off": set for one worker of a host */
};

/* Makes the pool, and opens pool_min connections in the background: succeeds also while PostgreSQL
 * is away. slot may be NULL. NULL: no memory or no thread. */
struct db *db_open(const struct db_settings *settings, struct metrics_slot *slot);
/* All connections must have been released. Waits for an attempt to connect, connect_ms at the most.
 * NULL is fine. */
void db_close(struct db *db);

enum db_state { DB_STARTING, DB_UP, DB_DOWN, DB_MISCONFIGURED };
enum db_server_state {
    DB_SERVER_UNKNOWN,
    DB_SERVER_PRIMARY, /* may be used */
    DB_SERVER_STANDBY,
    DB_SERVER_FORMER_PRIMARY, /* its timeline is lower than the highest that was seen */
    DB_SERVER_AWAY            /* it does not answer, or refuses */
};
struct db_server {
    char name[DB_SERVER_NAME_MAX]; /* host, or host:port */
    enum db_server_state state;    /* when any worker last tried to connect */
    int timeline;                  /* of a primary; 0: not known */
};
struct db_status {
    enum db_state state;
    int schema_version;                       /* of the server; -1: not known yet */
    char reason[240];                         /* why it is not up; "" when it is */
    struct db_server servers[DB_SERVERS_MAX]; /* in the order of the URL */
    int n_servers;
    bool pooled; /* the last connection led through a pooler */
};
/* Takes the pool's lock for an instant; sends nothing. */
void db_status(struct db *db, struct db_status *out);

/* False from when PostgreSQL is found to be away, silent or unusable until it answers again. One
 * atomic read. A hint only: PostgreSQL may fail or recover at any instant. */
bool db_is_up(const struct db *db);

/* The server's clock, which alone decides what is expired: what it said last (at most a second ago,
 * unless it is away) and the time since. Never earlier than the server's, unless that was set.
 * Before the first answer it is this host's own time. */
int64_t db_now_us(const struct db *db);

/* ---- statements ---- */

/* In static storage; compared by address. */
struct db_stmt {
    const char *name; /* of the prepared statement, and in messages; NULL: never prepared */
    const char *sql;
};

/* Why the server refused, for callers that tell one violation from another. */
struct db_failure {
    char sqlstate[6]; /* "" when it was not the server that refused */
    char constraint[64];
};

enum db_retry {
    DB_READ, /* changes nothing: repeated once on a fresh connection if the first was lost */
    DB_WRITE /* never repeated once it may have been committed: ERR_OUTCOME_UNKNOWN */
};

/* One statement, one round trip, one transaction. Repeated after a serialization failure or a
 * deadlock (at most 3 times, while the deadline allows). out and failure may be NULL.
 *   ERR_OVERLOAD: no connection within acquire_ms, or (a write) too many writes wait for an answer.
 *   ERR_UNAVAILABLE: PostgreSQL is away; nothing was done. ERR_TIMEOUT: deadline or
 *   statement_timeout. ERR_BUSY: lock_timeout. ERR_CONFLICT: unique violation. ERR_INVALID: data
 *   that PostgreSQL refuses (SQLSTATE class 22). */
MUSTCHECK enum err db_query(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                            const struct db_stmt *stmt, const struct db_param *params, int n_params,
                            struct db_rows *out, struct db_failure *failure);

/* The same for several statements in one round trip and one transaction. Each sees what those
 * before it did (READ COMMITTED). */
struct db_call {
    const struct db_stmt *stmt;
    const struct db_param *params;
    int n_params;
    struct db_rows rows; /* out */
};
MUSTCHECK enum err db_batch(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                            struct db_call *calls, size_t n_calls, struct db_failure *failure);

/* ---- reads of several requests in one round trip ---- */

/* The requests of a tenant share one statement. Tenants share the round trip, but never a
 * statement: each has its own transaction under its own row-level security, and a failure of one
 * changes nothing for the others. */
enum { DB_BATCH_MAX = 16, DB_BATCH_TENANTS_MAX = 8 };

struct db_batch_member {
    struct sv tenant, key;
    bool done;           /* out: it was answered; false: its owner sends it alone */
    struct db_rows rows; /* out: those of its tenant */
    int row;             /* out: its own among them; -1: none */
};

/* Of the statement, $1 is the tenant, and $2 an array of the keys of its members. Column "n" of a
 * row is the number of its member, from 1; each member has one row or none. At most DB_BATCH_MAX
 * members, and the first DB_BATCH_TENANTS_MAX tenants; others are not done. Uses the connections
 * that are kept for reads. Ends within ctx->deadline. Rows live in ctx->arena; ctx->tenant is
 * overwritten. Nothing is repeated here. */
void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_stmt *stmt,
                   struct db_batch_member *members, size_t n);

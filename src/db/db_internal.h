/* SPDX-License-Identifier: MIT */
/*
 * What the files of db/ share. Nobody else includes it, but for the tests of db/. From the bottom
 * up: faults, connections (db_servers.c), the pipeline, the pool (db_pool.c).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <libpq-fe.h>

#include "parley/base/thread.h"
#include "parley/db/db.h"
#include "parley/db/migrate.h"

/* OIDs of the types that are encoded or decoded here. PostgreSQL never changes them. */
enum db_oid {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114,
    OID_BYTEA_ARRAY = 1001,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_TIMESTAMPTZ = 1184,
    OID_JSONB = 3802
};

/* ---- faults ---- */

/* What to do after an error. */
enum db_sqlstate_flags {
    SQLSTATE_CONFLICT = 1, /* a repeat of the transaction may succeed */
    SQLSTATE_STALE = 2,    /* close the connection and repeat once */
    SQLSTATE_SUSPECT = 4   /* close all connections and repeat once: they reach the wrong server */
};

/* How a round trip ended. */
enum db_fault_kind {
    FAULT_NONE,
    FAULT_LOCAL,  /* nothing was sent */
    FAULT_SERVER, /* the server answered with an error: nothing was changed */
    FAULT_LOST,   /* the connection ended before the answer was complete */
    FAULT_TIMEOUT /* the deadline passed before the answer was complete */
};

/* Separate from ctx->err, which holds only what the caller gets in the end: a fault that is
 * followed by a successful repeat must leave no trace there. */
struct db_fault {
    enum db_fault_kind kind;
    enum err err;   /* what it means if it is not repeated */
    bool sent;      /* a byte of the work may have reached the server */
    unsigned flags; /* enum db_sqlstate_flags */
    struct db_failure failure;
    char text[160]; /* for the log; holds nothing of a client's content */
};

void db_fault_set(struct db_fault *f, enum db_fault_kind kind, enum err e, const char *text);
/* Fills f from an error result. */
void db_fault_from_result(struct db_fault *f, const PGresult *res);
/* Sets ctx->err and failure (may be NULL). Returns the error. */
enum err db_fault_report(struct request_ctx *ctx, const struct db_fault *f,
                         struct db_failure *failure);

/* The one table from SQLSTATE to enum err. */
enum err db_sqlstate_err(const char *sqlstate, unsigned *flags);
/* Finds the SQLSTATE in a verbose libpq message ("FATAL:  53300: …"), whatever the language; "" if
 * there is none. Returns what follows it, or else the whole message. libpq writes a line
 * for each address of a host: the first one counts. */
const char *db_message_parse(const char *message, char sqlstate[6]);

/* ---- connections ---- */

enum { DB_PREPARED_MAX = 128, DB_PARAMS_MAX = 32, DB_BUFFERED_MAX = 1024 * 1024 };

enum db_conn_state {
    CONN_OPENING,   /* counts in the pool; only the thread that opens it touches it */
    CONN_IDLE,      /* open, proven clean, used by nobody */
    CONN_BUSY,      /* used by one thread */
    CONN_ABANDONED, /* a write on it got no answer in time, and its backend may wait for a standby:
                     * never used again, and closed when the backend must have ended */
    CONN_CLOSED     /* in no list; freed by the thread that moved it here */
};
enum { CONN_STATES = CONN_CLOSED, DB_REASON_MAX = sizeof(((struct db_status *)0)->reason) };

/* What the pool must know of a request that wants a connection; see struct request_ctx. */
struct db_demand {
    uint64_t contention_key;
    bool reserve, writes;
};

struct db_conn {
    PGconn *pg;
    int server;   /* of the URL */
    int timeline; /* of the server when it was asked last; 0: it was a standby */
    bool pooled;  /* through a pooler: each transaction may be on another server's connection */
    enum db_conn_state state;
    TAILQ_ENTRY(db_conn) link; /* in the list of its state */
    struct db_demand demand;   /* of the request that uses it, or that it is opened for */
    int64_t retire_us;         /* end of its lifetime */
    int64_t idle_since_us, busy_since_us;
    int64_t abandoned_us; /* by clock_boot_us */
    bool answered;        /* the server completed a round trip since busy_since_us */
    bool pinged;          /* busy with a ping, which does not end its idle time */
    bool broken;          /* after a time-out or a lost connection: must be closed */
    bool unanswered;      /* broken by a time-out: the backend may still work */
    /* The most that libpq had to buffer: all parameters of a pipeline, or one row. libpq keeps its
     * buffers as long as the connection. */
    size_t buffered;
    const struct db_stmt *prepared[DB_PREPARED_MAX];
    int n_prepared;
    int n_parsed; /* during a round trip: with those whose Parse was sent and is not answered */
};

enum db_open_result {
    OPEN_OK,
    OPEN_WRONG,   /* fails until an operator changes something */
    OPEN_REFUSED, /* the server is away or refuses for now */
    OPEN_ENDED,   /* terminated while it was being opened (57P01); it is tried again */
    OPEN_LATE,    /* the deadline passed */
    OPEN_FULL     /* too many connections (53300) */
};
/* True if nothing is readable: a FATAL or a close by the server shows without a round trip. */
bool db_conn_quiet(const struct db_conn *c);
/* Proof that another request may use the connection. */
bool db_conn_clean(struct db_conn *c);

/* ---- the servers of a URL: db_url.c, db_servers.c ---- */

struct db_url {
    PQconninfoOption *parsed;
    const char *fault; /* follows the name of the setting; NULL: none */
    int n;             /* servers */
    const char *host[DB_SERVERS_MAX], *hostaddr[DB_SERVERS_MAX], *port[DB_SERVERS_MAX];
    char name[DB_SERVERS_MAX][DB_SERVER_NAME_MAX];
    const char *options; /* sent at the start of a connection; NULL: none */
    const char *user;    /* NULL: libpq could not read the text */
};
/* Reads the text as libpq does, with what a service file and the environment say. False: no memory.
 * PQconninfoFree(u->parsed) ends it. */
MUSTCHECK bool db_url_parse(struct db_url *u, const char *text);
/* Starts to connect to one of the servers. NULL: no memory. */
PGconn *db_url_connect(const struct db_url *u, int server, const char *app_name);

/* Opens c->pg to a server that may be used, before ctx->deadline. On failure c->pg is NULL, and why
 * says in one line what is wrong, without the URL's password. */
enum db_open_result db_servers_open(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX]);
/* Unless another worker has done so within 5 s: notes the state of each server that is not used,
 * and waits for each half a second at most. If one was promoted, new connections go there, and open
 * ones are outdated. */
void db_servers_ask_others(struct db *db, struct request_ctx *ctx);

/* SQL expressions. The timeline of a primary as a number; an error on a standby. */
#define DB_TIMELINE "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int"
/* Settings of every connection; local: "true" for the transaction only.
 * - synchronous_commit: an acknowledged write is on the disk, and on a synchronous standby if there
 *   is one. Other settings than these two stay.
 * - idle_in_transaction_session_timeout ends the transaction of a worker that hangs.
 * - client_connection_check_interval ends a statement whose worker is gone.
 * - force_generic_plan: statements are written so that one plan serves every value. Otherwise
 *   PostgreSQL would plan the first five executions on each fresh connection again.
 * - enable_seqscan: the cheapest plan for an empty table is a sequential scan, and that plan would
 *   stay when the table has grown. Searches switch it on again.
 * - jit: with enable_seqscan off, a scan of a whole table seems so expensive that PostgreSQL would
 *   compile it, which takes longer than the scan. */
#define DB_SETTINGS(local)                                                                       \
    "set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit')"           \
    " IN ('off', 'local') THEN 'on' ELSE current_setting('synchronous_commit') END, " local ")," \
    " set_config('TimeZone', 'UTC', " local "),"                                                 \
    " set_config('plan_cache_mode', 'force_generic_plan', " local "),"                           \
    " set_config('enable_seqscan', 'off', " local "), set_config('jit', 'off', " local "),"      \
    " set_config('idle_in_transaction_session_timeout', '10000', " local "),"                    \
    " set_config('client_connection_check_interval', '1000', " local ")"

/* ---- the pipeline ---- */

/* Steps that are one transaction: a Sync follows them. */
struct db_group {
    struct db_call *steps;
    int n_steps;
    struct db_fault fault; /* out */
};
/* Sends all groups and reads all answers, in one round trip. A connection that may not be used
 * again is marked broken. Only the first group prepares statements. */
void db_pipeline_run_groups(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                            struct db_group *groups, int n);
/* The same for one group. */
enum db_fault_kind db_pipeline_run(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                                   struct db_call *steps, int n_steps, struct db_fault *f);
/* The statement that sets the tenant and the time limits for the transaction. limits: its
 * parameters, filled here. Through a pooler it also gives the transaction the settings of a
 * connection, and fails unless the server may be used. */
enum { DB_LIMITS_MAX = 4 };
void db_limits_step(const struct db *db, const struct db_conn *c, const struct request_ctx *ctx,
                    struct db_param limits[DB_LIMITS_MAX], struct db_call *step);

/* ---- the pool ---- */

TAILQ_HEAD(db_conns, db_conn);
TAILQ_HEAD(db_waiters, db_waiter);

struct db {
    struct db_settings set;
    struct db_url url;
    struct db_servers *known, own;       /* own: where the settings have none */
    struct metrics_slot *slot, own_slot; /* own_slot: where db_open gets none */
    struct thread_loop maintainer;
    struct arena *arena; /* of its requests */
    atomic_bool away;    /* not up, and nothing has answered since; written under the lock */
    atomic_bool warned;
    atomic_bool checked;            /* db_check_server succeeded since the server was last away */
    _Atomic int64_t clock_ahead_us; /* the server's clock minus the monotonic one; 0: not known */
    /* By clock_boot_us. The server that answers now knows no statement that was sent earlier. So an
     * abandoned connection of that age has lost its answer, or its server. */
    _Atomic int64_t finished_us;
    pthread_mutex_t lock;

    /* The lock protects all that follows. Only db_pool_move changes the lists. */
    struct db_conns lists[CONN_STATES]; /* by state; the last released comes first */
    int counts[CONN_STATES];
    struct db_waiters waiters;
    int waiting;
    int min, max; /* after lowering to what the server allows */
    int capacity; /* connections that the server has for all hosts; 0: not known yet */
    int hosts;    /* that share them; 0: not known yet */
    bool pooled;  /* the last connection was through a pooler */
    enum db_state state;
    char reason[DB_REASON_MAX];
    int schema_version;
    int backoff_ms;          /* 0: PostgreSQL is not known to be away */
    int64_t retry_at_us;     /* no connection is opened earlier */
    int64_t last_success_us; /* of a round trip or an opening */
    int64_t away_since_us;   /* of the last change of state */
};

/* db_pool.c, under the lock */
/* The one place where a connection changes its state. */
void db_pool_move(struct db *db, struct db_conn *c, enum db_conn_state to);
/* The one place where the service changes its state; logs it. */
void db_pool_set_state(struct db *db, enum db_state state, const char *why);
int db_pool_open_count(const struct db *db); /* idle and busy ones */
/* A new connection in state CONN_OPENING if one may be opened now, else NULL. extra: so many more
 * than the maximum. */
struct db_conn *db_pool_reserve(struct db *db, int extra);
/* An idle connection, which is CONN_BUSY now, or one of db_pool_reserve. NULL: there is none to
 * have. */
struct db_conn *db_pool_take(struct db *db, struct db_demand demand);
/* in_front: before those that wait already. *given is NULL if the caller is to look again. False:
 * the limit has passed, or so many writes hang that no other can have a connection. */
bool db_pool_wait(struct db *db, struct db_demand demand, struct deadline limit, bool in_front,
                  struct db_conn **given);
/* Wakes the first waiter that may have a connection, and gives it that one (NULL: lets it look
 * again). False: there is none. */
bool db_pool_wake(struct db *db, struct db_conn *given);
/* Lets a waiter look again if there is a connection to have. */
void db_pool_wake_for_room(struct db *db);

/* db_pool.c, without the lock */
/* Raises the highest timeline that this host has seen. Logs it once. */
void db_servers_saw(struct db *db, int server, int timeline);
/* Whether a primary of a higher timeline than the connection's was seen. */
bool db_conn_is_outdated(const struct db *db, const struct db_conn *c);
/* Closes and frees a connection that db_pool_move has put into CONN_CLOSED. */
void db_pool_reap(struct db *db, struct db_conn *c);
/* Closes the idle connections that are dead, too old, idle for too long or too many, and the
 * abandoned ones whose backends have ended. */
void db_pool_close_unwanted(struct db *db);
/* Closes all idle connections now, and the busy ones on their release. */
void db_pool_retire(struct db *db);
/* Sets how many connections the server has for all hosts and how many hosts share them (0: as
 * before), and makes the pool as large as this worker's share. */
void db_pool_share(struct db *db, int capacity, int hosts);

/* db_acquire.c */
/* A poll of a thread in db/. Resets the arena. */
void db_begin_request(struct request_ctx *ctx, struct arena *arena, int ms, const char *id);
/* Opens a reserved connection in the caller's time, and checks the server with it if that has not
 * been done. It is CONN_BUSY then; on failure it is freed. */
enum db_open_result db_pool_open_one(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                     struct deadline limit, char why[DB_REASON_MAX]);
MUSTCHECK enum err db_pool_acquire(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                                   struct db_conn **out);
/* Gives the connection to a waiter or to the idle ones, or closes or abandons it. */
void db_pool_release(struct db *db, struct db_conn *c);

/* Checks that server, role and schema are what this program needs, and calls db_pool_share.
 * OPEN_OK, OPEN_WRONG, or OPEN_REFUSED when the connection failed meanwhile. */
enum db_open_result db_check_server(struct db *db, struct request_ctx *ctx, struct db_conn *c,
                                    char why[DB_REASON_MAX]);

/* ---- parameters and rows ---- */

/* The wire form of a parameter; false when there is no memory. */
MUSTCHECK bool db_param_encode(struct request_ctx *ctx, const struct db_param *p,
                               const char **value, int *length);

/* ---- the schema's version ---- */

/* Over the rows s of parley_schema: the oldest program that can serve, as the schema version that
 * it knows. Before migration 12 there is no such column, and only the same version serves. */
#define DB_SCHEMA_NEEDS \
    "coalesce(max(coalesce((to_jsonb(s) ->> 'min_compatible')::int, version)), 0)"
#define DB_SCHEMA_NEWER                                                                           \
    "schema is at version %d, for programs that know %d or more; this one knows %d: use a newer " \
    "parley"

extern const char db_grants[]; /* grants.sql; made by migrations/embed.sh */

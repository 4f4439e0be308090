/* SPDX-License-Identifier: MIT */
/* What the files of db/ share. Nothing outside of this room includes it (the room's tests do). */
#ifndef PARLEY_DB_INTERNAL_H
#define PARLEY_DB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "parley/base/buf.h"
#include "parley/db/db.h"
#include "parley/db/migrate.h"

/* OIDs of the types this room encodes or decodes: fixed for ever by PostgreSQL's catalogue. */
enum db_oid {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_JSON = 114,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_TIMESTAMPTZ = 1184,
    OID_JSONB = 3802
};

/* ---- faults ---- */

/* How a piece of work ended, seen from the connection. */
enum db_fault_kind {
    FAULT_NONE,
    FAULT_LOCAL,  /* this side could not even begin: nothing was sent */
    FAULT_SERVER, /* the server answered with an error: nothing was changed */
    FAULT_LOST,   /* the connection ended before the answer was complete */
    FAULT_TIMEOUT /* the deadline ran out on this side */
};

/* Kept apart from ctx->err, which holds only what the caller is told in the end: a fault that is
 * cured by repeating must leave no trace there. */
struct db_fault {
    enum db_fault_kind kind;
    enum err err;  /* what it means if it is not repeated */
    bool sent;     /* a byte of the work may have reached the server */
    bool conflict; /* serialization failure or deadlock: the same again may succeed */
    bool stale;    /* the connection is of no more use, but another one may be */
    bool suspect;  /* and so are those that were opened with it */
    int call;      /* index among the caller's statements; -1: none of them */
    char sqlstate[6];
    char constraint[64];
    char text[160]; /* for the log; holds nothing of a client's content */
};

void db_fault_set(struct db_fault *f, enum db_fault_kind kind, enum err e, const char *text);
/* Fills f from an error result, or from the connection's own message if it names no SQLSTATE. */
void db_fault_from_result(struct db_fault *f, const PGresult *res);
/* Tells the request: ctx->err and failure (may be NULL). Returns the error. */
enum err db_fault_report(struct request_ctx *ctx, const struct db_fault *f,
                         struct db_failure *failure);

enum db_sqlstate_flags {
    SQLSTATE_CONFLICT = 1, /* repeat the transaction */
    SQLSTATE_STALE = 2,    /* close the connection and repeat once */
    SQLSTATE_SUSPECT = 4   /* close the connection: it talks to the wrong server */
};
/* THE table from SQLSTATE to enum err. flags may be NULL. */
enum err db_sqlstate_err(const char *sqlstate, unsigned *flags);

/* What the server's clock said in answer to a question that was sent at sent_us (monotonic). */
void db_clock_note(struct db *db, int64_t server_us, int64_t sent_us);

/* ---- connections ---- */

enum { DB_PREPARED_MAX = 128 };

enum db_conn_state {
    CONN_OPENING, /* holds a place in the pool; its opener alone touches it */
    CONN_IDLE,    /* open, proven clean, nobody's */
    CONN_BUSY,    /* lent to one thread */
    CONN_CLOSED   /* in no list; about to be freed by whoever closed it */
};
enum { CONN_STATES = CONN_CLOSED };

/* What the pool has to know of a request that wants a connection; see struct request_ctx. */
struct db_wants {
    uint64_t contention_key;
    bool reserve;
};

struct db_conn {
    PGconn *pg;
    enum db_conn_state state;
    struct db_conn *next, *prev; /* in the list of its state */
    const void *owner;           /* the request whose transaction it carries; else NULL */
    struct db_wants who;         /* the request it is lent to, or opened for; else all zero */
    int64_t retire_us;           /* end of its lifetime */
    int64_t idle_since_us, lent_us;
    bool answered; /* the server completed a round trip since it was lent */
    bool pinged;   /* lent for a ping: its idle time goes on */
    bool broken;   /* after a time-out or a lost connection: must be closed */
    bool dirty;    /* may carry session state: must be closed */
    const struct db_stmt *prepared[DB_PREPARED_MAX];
    int n_prepared;
};

/* Why a connection could not be opened. */
enum db_open_result {
    OPEN_OK,
    OPEN_REFUSED, /* the server is away or says no for now */
    OPEN_ENDED,   /* terminated while it was being opened (57P01); db_conn_open tries again */
    OPEN_FULL,    /* too many connections (53300) */
    OPEN_WRONG,   /* will not work until somebody changes something */
    OPEN_LATE,    /* the time given was over */
    OPEN_STOPPED  /* stop_fd became readable */
};
/* Opens c->pg within the deadline. stop_fd: -1 or a descriptor that ends the waiting. On failure
 * why says so in one line, without the URL's password, and c->pg is NULL. */
enum db_open_result db_conn_open(struct db_conn *c, const struct db_settings *settings,
                                 struct deadline deadline, int stop_fd, char *why, size_t why_n);
void db_conn_close(struct db_conn *c); /* frees c too */
/* True if nothing is readable: a close or a FATAL of the server shows without a round trip. */
bool db_conn_quiet(const struct db_conn *c);
/* Proof that the connection may serve another request. */
bool db_conn_clean(struct db_conn *c);
/* A PQnoticeReceiver that ignores the notice. */
void db_ignore_notice(void *arg, const PGresult *res);
/* Runs one statement without parameters, in text form, for the room's own business. NULL when
 * there was no answer (errno ECANCELED: stop_fd); an error of the server is a result. The caller
 * clears it. */
PGresult *db_conn_ask(struct db_conn *c, const char *sql, struct deadline deadline, int stop_fd);
/* Waits for events on fd until the deadline; -1 with errno, 0 when it is over, else revents. */
int db_wait_fd(int fd, short events, struct deadline deadline, int stop_fd);
/* The SQLSTATE in a verbose libpq message ("FATAL:  53300: …"), whatever the language; else "". */
void db_message_sqlstate(const char *message, char out[6]);
/* One line of a libpq message into out: what the server said, or else what libpq says. */
void db_message_line(const char *message, char *out, size_t out_n);

/* ---- one round trip ---- */

/* One statement of a pipeline. A db_stmt without a name is never prepared. */
struct db_step {
    const struct db_stmt *stmt;
    const struct db_param *params;
    int n_params;
    int call;         /* the caller's index, -1 for the room's own statements */
    PGresult *result; /* of its execution; belongs to the arena */
    bool parse_sent;
};
/* Steps that are one transaction: a Sync follows them. */
struct db_group {
    struct db_step *steps;
    int n_steps;
    struct db_fault fault; /* out: kind FAULT_NONE, or what happened */
    bool synced;           /* out: the server has answered the Sync */
};
/* Sends all groups, and reads all answers. Results are bound to the arena. A connection that may
 * not be used again is marked broken or dirty. Only the first group prepares statements. */
void db_pipeline_run_groups(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                            struct db_group *groups, int n);
/* The same for one group. FAULT_NONE or what happened, in f. */
enum db_fault_kind db_pipeline_run(struct db *db, struct db_conn *c, struct request_ctx *ctx,
                                   struct db_step *steps, int n_steps, struct db_fault *f);
/* The statement that takes tenant and time limits on, local to the transaction. limits: three
 * parameters, filled here. */
struct db_limits {
    struct db_param params[3];
    char statement_ms[16];
};
void db_limits_step(const struct db *db, const struct request_ctx *ctx, struct db_limits *limits,
                    struct db_step *step);
/* True if a statement may leave state behind in its session (a session-level set_config, …). */
bool db_sql_leaves_state(const char *sql);
bool db_tag_leaves_state(const char *command_tag);

/* Whether work may be done again, and the waiting before it. */
struct db_repeats {
    int conflicts, stale, lost;
};
bool db_may_repeat(struct db *db, struct request_ctx *ctx, const struct db_fault *f,
                   enum db_retry retry, struct db_repeats *r);

/* ---- the pool ---- */

/* A thread that waits for a connection; on its stack. */
struct db_waiter {
    pthread_cond_t wake;
    struct db_waiter *next;
    struct db_wants who;
    struct db_conn *given; /* handed over while it waited */
    bool room;             /* woken because a place became free: look again */
};

struct db_conn_list {
    struct db_conn *first, *last;
    int n;
};

struct db {
    struct db_settings set;
    struct metrics_slot *slot; /* may be NULL */
    pthread_t maintainer;
    int stop_fd;      /* eventfd: readable once db_close has begun */
    atomic_bool away; /* not up, and nothing has answered since; written under the lock */
    atomic_bool warned_of_loss, warned_of_owner;
    _Atomic int64_t clock_ahead_us; /* the server's clock, of the monotonic one; 0: not known */
    pthread_mutex_t lock;

    /* Everything below is guarded by lock. Only db_pool_move changes the lists. */
    struct db_conn_list lists[CONN_STATES]; /* by state; idle: the last returned comes first */
    struct db_waiter *first_waiter;
    int waiting;
    int min, max; /* after lowering to what the server allows */
    int places;   /* connections that it has for all of us; 0: not known yet */
    int hosts;    /* that share them; 0: not known yet */
    bool checked; /* the server was found fit since it was last away */
    enum db_state state;
    char reason[200];
    int schema_version;
    int backoff_ms;          /* 0: PostgreSQL is not known to be away */
    int64_t retry_at_us;     /* no connection is tried before; counts while backoff_ms > 0 */
    int64_t full_until_us;   /* the server has no place for more connections before that */
    int64_t last_success_us; /* of a round trip or a connect */
    int64_t away_since_us;   /* of the last change of state */
};

MUSTCHECK enum err db_pool_acquire(struct db *db, struct request_ctx *ctx, const void *owner,
                                   struct db_conn **out);
/* Takes back a connection: to a waiter, to the idle ones, or closes it. */
void db_pool_release(struct db *db, struct db_conn *c);
/* True if a transaction of this owner is under way. */
bool db_pool_owns(struct db *db, const void *owner);
/* Opens a reserved connection, in the caller's time; the lock is not held. It is CONN_BUSY then; on
 * failure it is freed. */
enum db_open_result db_pool_open_one(struct db *db, struct deadline deadline, int stop_fd,
                                     struct db_conn *c, char *why, size_t why_n);
/* Under the lock: a new connection in state CONN_OPENING if one may be opened now, else NULL. */
struct db_conn *db_pool_reserve(struct db *db);
/* Under the lock: the one place where a connection changes its state. */
void db_pool_move(struct db *db, struct db_conn *c, enum db_conn_state to);
/* Under the lock: the state of the whole service; logs a change. */
void db_pool_set_state(struct db *db, enum db_state state, const char *reason);
/* Under the lock: lets the first waiter look again that may have one, if there is one to have. */
void db_pool_wake_for_room(struct db *db);
/* Closes every idle connection now, and those that are lent when they come back. */
void db_pool_retire(struct db *db);
int db_pool_open_count(const struct db *db); /* under the lock: open connections */
/* Closes a connection that db_pool_move has put into CONN_CLOSED. The lock is not held. */
void db_pool_reap(struct db *db, struct db_conn *c);

/* Looks whether server, role and schema are what this program needs, and lowers the pool to what
 * the server allows. OPEN_OK, OPEN_WRONG, or OPEN_REFUSED when the connection failed meanwhile. */
enum db_open_result db_check_server(struct db *db, struct db_conn *c, struct deadline deadline,
                                    int stop_fd, char *why, size_t why_n);
/* Sets how many hosts share the server (0: not known), and adapts the size of the pool. */
void db_share(struct db *db, int hosts);
void *db_maintain_main(void *db); /* the maintenance thread */

/* ---- parameters and rows ---- */

void db_rows_from(struct db_rows *rows, void *result);

/* The wire form of a parameter; false when there is no memory. */
MUSTCHECK bool db_param_encode(struct request_ctx *ctx, const struct db_param *p,
                               const char **value, int *length);

/* The number in a parameter that db_i64 made. */
int64_t db_param_i64(const struct db_param *p);

/* Appends name as a quoted identifier. */
void db_quote_name(struct buf *b, const char *name);

/* ---- migrations ---- */

/* All, ascending from 1 without a gap, made by migrations/embed.sh; the entry behind the last one
 * has version 0. */
extern const struct db_migration db_migration_table[];
extern const size_t db_migration_count;

/* db_migrate for a table of migrations that the caller gives. */
MUSTCHECK enum err db_migrate_table(const char *admin_url, const char *url,
                                    const struct db_migration *table, size_t n, int target,
                                    db_migrate_say *say, void *arg);

#endif

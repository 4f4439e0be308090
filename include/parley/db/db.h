/*
 * The one database service: a pool of PostgreSQL connections, statements whose rows are read by
 * column name, transactions, bulk insert. libpq is called in this room and nowhere else; the SQL
 * on sessions is not here but in session/'s repository.
 *
 * What holds for every statement:
 *   - It runs under the request's tenant: set_config('parley.tenant', …, true) goes ahead of it in
 *     the same libpq pipeline, so row-level security applies and no round trip is added.
 *   - It ends within ctx->deadline: poll(2) on this side, statement_timeout on the server's. On
 *     expiry the connection is closed, never reused.
 *   - It is prepared on each connection at its first use there, in the same round trip (unless
 *     db_settings.prepare is off, for poolers that forbid it).
 *
 * Thread rule: a struct db is shared by all threads of a worker; it is opened after the fork. Rows
 * live in the arena of the request that asked for them (a deferred PQclear).
 */
#ifndef PARLEY_DB_DB_H
#define PARLEY_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/ctx.h"
#include "parley/obs/metrics.h"

struct db;
struct db_tx;

struct db_settings {
    const char *url;      /* libpq connection string or URI; borrowed for the life of the db */
    const char *url_name; /* the setting it is of, for messages; NULL: DATABASE_URL */
    const char *app_name; /* application_name */
    int pool_min, pool_max;
    int acquire_ms;   /* longest wait for a connection */
    int statement_ms; /* upper bound of statement_timeout, whatever the deadline */
    int connect_ms;
    int idle_s, lifetime_s; /* an idle connection above pool_min, any connection, is closed after */
    int workers;            /* how many pools like this share the server; for the limit below */
    int schema_version;     /* what the program needs; 0: do not look */
    bool prepare;
    bool owner; /* an operator's command: the login may own the tables, and nothing is logged */
    bool owner_may_serve; /* there is one login for all: that it owns the tables is a warning */
    bool warn_of_owner;   /* says so in the log: one worker for all */
};

/* SQL: whether the role u of pg_roles is, or can become, the owner of the tables, of their schema
 * or of the database; false where there are no tables. By SET ROLE, hence MEMBER; before PostgreSQL
 * 16 CREATEROLE is enough to become a member. */
/* clang-format off */
#define DB_OWNS_TABLES                                                                            \
    "coalesce((SELECT pg_has_role(u.oid, c.relowner, 'MEMBER')"                                   \
    " OR pg_has_role(u.oid, n.nspowner, 'MEMBER') OR pg_has_role(u.oid, d.datdba, 'MEMBER')"      \
    " OR u.rolcreaterole AND current_setting('server_version_num')::int < 160000"                 \
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d"               \
    " WHERE c.oid = to_regclass('sessions') AND d.datname = current_database()), false)"
/* clang-format on */
#define DB_OWNER_SERVES                                                                        \
    "the login of DATABASE_URL owns the tables, and can lift their row-level security: let a " \
    "login that owns nothing serve, and give the owner's in DATABASE_ADMIN_URL"

/* Makes the pool and begins to open pool_min connections in the background: succeeds also while
 * PostgreSQL is away. slot may be NULL. NULL when there is no memory or no thread. */
struct db *db_open(const struct db_settings *settings, struct metrics_slot *slot);
/* Waits for nobody: all connections must have been released. NULL is fine. */
void db_close(struct db *db);

enum db_state { DB_STARTING, DB_UP, DB_DOWN, DB_MISCONFIGURED };
struct db_status {
    enum db_state state;
    int open, idle, in_use, waiting, max; /* max: after lowering to what the server allows */
    int schema_version;                   /* of the server; -1: not known yet */
    char reason[200];                     /* why it is not up; "" when it is */
};
/* For /readyz and the logs; takes the pool's lock for an instant, asks nobody. */
void db_status(struct db *db, struct db_status *out);

/* False once PostgreSQL is known to be away, silent or unusable, until it answers again. An atomic
 * read, for every request; a hint, since PostgreSQL may go or come at any instant. */
bool db_is_up(const struct db *db);

/* The time by the server's clock, which alone decides what is expired: what it said when it was
 * last asked, at most a second ago unless it is away, and what has passed since. It is never behind
 * the server's, unless that was set. Before the first answer it is this host's own time. */
int64_t db_now_us(const struct db *db);

/* ---- statements ---- */

/* A statement: static storage, compared by address. name is its prepared name and its label. */
struct db_stmt {
    const char *name;
    const char *sql;
};

/* A parameter, always sent in binary. Values are borrowed until the call returns. */
struct db_param {
    unsigned type; /* PostgreSQL's OID */
    const void *p; /* NULL: SQL NULL */
    size_t n;
    char small[8]; /* storage for fixed-size values; p is NULL and inline_n > 0 then */
    size_t inline_n;
};
struct db_param db_text(struct sv s);  /* text; SV_NONE gives NULL */
struct db_param db_jsonb(struct sv s); /* jsonb from text; SV_NONE gives NULL. See db_jsonb_param */
struct db_param db_bytes(struct sv s); /* bytea */
struct db_param db_i64(int64_t v);
struct db_param db_i32(int32_t v);
struct db_param db_bool(bool v);
struct db_param db_null_i64(void);
/* text[] of n elements (SV_NONE: NULL element), encoded in the arena. v == NULL gives SQL NULL (of
 * the array's type), n == 0 an empty array. */
MUSTCHECK enum err db_text_array(struct request_ctx *ctx, const struct sv *v, size_t n,
                                 struct db_param *out);
MUSTCHECK enum err db_i64_array(struct request_ctx *ctx, const int64_t *v, size_t n,
                                struct db_param *out);

/* The rows of one statement. Opaque columns, read by position after db_column found it, or by
 * name. Borrowed from the arena; NULL values give SV_NONE, 0 and false. */
struct db_rows {
    void *result; /* db/'s own */
    int count;    /* rows returned, or for a statement without RETURNING rows affected */
};

/* Position of a column; aborts if the statement has none of that name: a programming error. */
int db_column(const struct db_rows *r, const char *name);
bool db_is_null(const struct db_rows *r, int row, int column);
struct sv db_get_text(const struct db_rows *r, int row, int column); /* text, json, jsonb, bytea */
int64_t db_get_i64(const struct db_rows *r, int row, int column);    /* int2, int4, int8 */
bool db_get_bool(const struct db_rows *r, int row, int column);
int64_t db_get_time(const struct db_rows *r, int row, int column); /* timestamptz: wall us */

/* Why a statement failed, for callers that tell one violation from another. */
struct db_failure {
    char sqlstate[6]; /* "" when it was not the server that refused */
    char constraint[64];
    int call; /* index of the failing call in db_batch; -1: none of them */
};

enum db_retry {
    DB_READ, /* changes nothing: repeated once on a fresh connection if the first was lost */
    DB_WRITE /* never repeated after it may have been committed: ERR_OUTCOME_UNKNOWN */
};

/* One statement, one round trip, one transaction of its own. Repeated by itself on serialization
 * failure and deadlock (SQLSTATE 40001, 40P01; at most 3 times, while the deadline allows).
 * ERR_OVERLOAD: no connection within acquire_ms. ERR_UNAVAILABLE: PostgreSQL is away, nothing was
 * done. ERR_TIMEOUT: deadline or statement_timeout. ERR_BUSY: lock_timeout. ERR_CONFLICT: unique
 * violation. ERR_INVALID: data PostgreSQL refuses (22xxx). failure may be NULL. */
MUSTCHECK enum err db_query(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                            const struct db_stmt *stmt, const struct db_param *params, int n_params,
                            struct db_rows *out, struct db_failure *failure);

/* Several statements in one round trip and one transaction; each sees what the ones before it did
 * (READ COMMITTED). */
struct db_call {
    const struct db_stmt *stmt;
    const struct db_param *params;
    int n_params;
    struct db_rows rows; /* out */
};
MUSTCHECK enum err db_batch(struct db *db, struct request_ctx *ctx, enum db_retry retry,
                            struct db_call *calls, size_t n_calls, struct db_failure *failure);

/* ---- transactions of several round trips ---- */

enum db_isolation { DB_READ_COMMITTED, DB_REPEATABLE_READ, DB_SERIALIZABLE };

/* BEGIN, fn, COMMIT; ROLLBACK on every other way out. Repeated as a whole on serialization failure
 * and deadlock (at most 3 times; the arena is rewound in between), so fn must have no effect
 * outside the database. fn's own error is returned as it is. A db_transaction inside fn is a
 * programming error and gives ERR_INTERNAL. ERR_OUTCOME_UNKNOWN: the answer to COMMIT was lost. */
typedef enum err (*db_tx_fn)(struct db_tx *tx, struct request_ctx *ctx, void *arg);
MUSTCHECK enum err db_transaction(struct db *db, struct request_ctx *ctx, enum db_isolation level,
                                  db_tx_fn fn, void *arg);
MUSTCHECK enum err db_tx_query(struct db_tx *tx, struct request_ctx *ctx,
                               const struct db_stmt *stmt, const struct db_param *params,
                               int n_params, struct db_rows *out, struct db_failure *failure);

/* ---- bulk insert ---- */

enum { DB_BULK_ROWS_MAX = 1000, DB_BULK_COLUMNS_MAX = 32 };

struct db_bulk_column {
    const char *name;
    const char *type; /* an SQL type name, such as "bigint"; a trusted constant of the caller */
};

/* Inserts n_rows rows (1 to DB_BULK_ROWS_MAX) into the named table: one statement, one round trip,
 * all or none. Names are quoted, so any name is a name and nothing else. values holds the rows one
 * after the other, a text form for each column; SV_NONE is NULL. *inserted may be NULL. */
MUSTCHECK enum err db_bulk_insert(struct db *db, struct request_ctx *ctx, const char *table,
                                  const struct db_bulk_column *columns, size_t n_columns,
                                  const struct sv *values, size_t n_rows, int *inserted);

#endif

/*
 * Several reads of one kind in one round trip. The requests of a tenant share one statement, with
 * an array for each parameter. Tenants share the round trip, but never a statement: each has its
 * own transaction under its own row-level security, and a failure of one changes nothing for the
 * others.
 *
 * Thread rule: members belong to the thread that calls db_read_batch.
 */
#ifndef PARLEY_DB_BATCH_H
#define PARLEY_DB_BATCH_H

#include "parley/db/db.h"

enum { DB_BATCH_MAX = 16, DB_BATCH_TENANTS_MAX = 8, DB_BATCH_PARAMS_MAX = 6 };

/* In static storage. $1 is the tenant; an array for each parameter of a member follows. Column "n"
 * of a row is the number of its member, from 1; each member has one row or none. */
struct db_batch_kind {
    struct db_stmt stmt;
    int n_params; /* of a member: text or bigint, never NULL */
};
struct db_batch_member {
    struct sv tenant;
    struct db_param params[DB_BATCH_PARAMS_MAX];
    bool done;           /* out: it was answered; false: its owner sends it alone */
    struct db_rows rows; /* out: those of its tenant */
    int row;             /* out: its own among them; -1: none */
};

/* At most DB_BATCH_MAX members, and the first DB_BATCH_TENANTS_MAX tenants; others are not done.
 * Uses the connections that are kept for reads. Ends within ctx->deadline. Rows live in ctx->arena;
 * ctx->tenant is overwritten. Nothing is repeated here. */
void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_batch_kind *kind,
                   struct db_batch_member *members, size_t n);

#endif

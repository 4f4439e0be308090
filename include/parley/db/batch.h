/*
 * Several reads of one kind in one round trip. All requests of a tenant share one statement, each
 * with a row of parameters. Several tenants share the round trip, but never a statement: each has a
 * transaction of its own, under its own row-level security, and a failure of one changes nothing
 * for the others.
 */
#ifndef PARLEY_DB_BATCH_H
#define PARLEY_DB_BATCH_H

#include "parley/db/db.h"

enum { DB_BATCH_MAX = 16, DB_BATCH_TENANTS_MAX = 8, DB_BATCH_PARAMS_MAX = 6 };

/* Static storage. $1 is the tenant, then comes an array for each of a member's parameters. Column
 * "n" of a row says which member it belongs to, from 1; each member has one row or none. */
struct db_batch_kind {
    struct db_stmt stmt;
    int n_params; /* of a member: text or bigint, never NULL */
};
struct db_batch_member {
    struct sv tenant;
    struct db_param params[DB_BATCH_PARAMS_MAX];
    bool done;           /* out: it was answered; false: its owner has to ask alone */
    struct db_rows rows; /* out: those of its tenant */
    int row;             /* out: its own among them; -1: none */
};

/* At most DB_BATCH_MAX members. Uses the connections that are kept for reads. Ends within
 * ctx->deadline. Rows live in ctx->arena; ctx->tenant is ignored. Nothing is repeated here: the
 * owner of a member that is not done asks alone, and the pool then knows of the failure. */
void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_batch_kind *kind,
                   struct db_batch_member *members, size_t n);

#endif

/* Transactions of several round trips. Most writes need none: one statement, or one db_batch, is a
 * transaction by itself. */
#ifndef PARLEY_DB_TRANSACTION_H
#define PARLEY_DB_TRANSACTION_H

#include "parley/db/db.h"

struct db_tx;

/* BEGIN (READ COMMITTED), fn, COMMIT; ROLLBACK if anything fails. After a serialization failure or
 * a deadlock all of it is repeated (at most 3 times, with the arena rewound), so fn must have no
 * effect outside the database. Returns fn's own error as it is. ERR_INTERNAL: called inside fn.
 * ERR_OUTCOME_UNKNOWN: the connection was lost during COMMIT. */
typedef enum err (*db_tx_fn)(struct db_tx *tx, struct request_ctx *ctx, void *arg);
MUSTCHECK enum err db_transaction(struct db *db, struct request_ctx *ctx, db_tx_fn fn, void *arg);
/* As db_query, inside fn. */
MUSTCHECK enum err db_tx_query(struct db_tx *tx, struct request_ctx *ctx,
                               const struct db_stmt *stmt, const struct db_param *params,
                               int n_params, struct db_rows *out, struct db_failure *failure);

#endif

/* Bulk insert: many rows in one statement. */
#ifndef PARLEY_DB_BULK_H
#define PARLEY_DB_BULK_H

#include "parley/db/db.h"

enum { DB_BULK_ROWS_MAX = 1000, DB_BULK_COLUMNS_MAX = 32 };

/* SQL: constants, never a client's text. */
struct db_bulk_column {
    const char *name;
    const char *type; /* such as "bigint" */
};

/* Inserts n_rows rows (1 to DB_BULK_ROWS_MAX) into the table in one round trip: all or none. table
 * is SQL, as the columns are. values holds the rows one after the other, each column in its text
 * form; SV_NONE is NULL. inserted may be NULL. ERR_TOO_LARGE: too many rows. */
MUSTCHECK enum err db_bulk_insert(struct db *db, struct request_ctx *ctx, const char *table,
                                  const struct db_bulk_column *columns, size_t n_columns,
                                  const struct sv *values, size_t n_rows, int *inserted);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Bulk insert: INSERT … SELECT unnest() of one text array a column, each cast to its column's type.
 * Unlike COPY it needs no escaping; unlike many statements or a VALUES list, its text is the same
 * for any number of rows.
 */
#include "parley/db/db.h"

#include "parley/base/buf.h"

static const char *make_sql(struct request_ctx *ctx, const char *table,
                            const struct db_bulk_column *columns, size_t n)
{
    struct buf b;
    buf_init(&b, ctx->arena, 512);
    buf_printf(&b, "INSERT INTO %s (", table);
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i > 0 ? ", " : "", columns[i].name);
    BUF_LIT(&b, ") SELECT ");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%sunnest($%zu)::%s", i > 0 ? ", " : "", i + 1, columns[i].type);
    buf_putc(&b, '\0');
    return b.failed ? NULL : b.p;
}

enum err db_bulk_insert(struct db *db, struct request_ctx *ctx, const char *table,
                        const struct db_bulk_column *columns, size_t n_columns,
                        const struct sv *values, size_t n_rows)
{
    if (n_rows == 0 || n_columns == 0 || n_columns > DB_BULK_COLUMNS_MAX)
        return ctx_fault(ctx, ERR_INTERNAL, "bulk insert of %zu rows with %zu columns", n_rows,
                         n_columns);
    if (n_rows > DB_BULK_ROWS_MAX)
        return ctx_fault(ctx, ERR_TOO_LARGE, "bulk insert of %zu rows", n_rows);
    struct db_stmt stmt = {.name = NULL, .sql = make_sql(ctx, table, columns, n_columns)};
    struct sv *column = arena_array(ctx->arena, n_rows, sizeof(*column));
    if (!stmt.sql || !column)
        return ctx_nomem(ctx);
    struct db_param params[DB_BULK_COLUMNS_MAX];
    for (size_t i = 0; i < n_columns; i++) {
        for (size_t row = 0; row < n_rows; row++)
            column[row] = values[row * n_columns + i];
        TRY(db_text_array(ctx, column, n_rows, &params[i]));
    }
    return db_query(db, ctx, DB_WRITE, &stmt, params, (int)n_columns, NULL, NULL);
}

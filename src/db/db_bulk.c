/* SPDX-License-Identifier: MIT */
/*
 * Bulk insert: INSERT … SELECT from unnest() of one text array a column, each cast to its column's
 * type. Unlike COPY it needs no escaping; unlike many statements or a VALUES list, its text is the
 * same for any number of rows.
 */
#include "parley/db/bulk.h"

#include <string.h>

#include "parley/base/buf.h"

enum { NAME_MAX_BYTES = 63 }; /* the server would cut a longer name to another one */

static void append_quoted(struct buf *b, const char *name)
{
    buf_putc(b, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_putc(b, '"');
        buf_putc(b, *name);
    }
    buf_putc(b, '"');
}

static bool name_fits(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_MAX_BYTES;
}

static const char *make_sql(struct request_ctx *ctx, const char *table,
                            const struct db_bulk_column *columns, size_t n)
{
    struct buf b;
    buf_init(&b, ctx->arena, 512);
    BUF_LIT(&b, "INSERT INTO ");
    append_quoted(&b, table);
    BUF_LIT(&b, " (");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            BUF_LIT(&b, ", ");
        append_quoted(&b, columns[i].name);
    }
    BUF_LIT(&b, ") SELECT ");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%sv.c%zu::%s", i > 0 ? ", " : "", i + 1, columns[i].type);
    BUF_LIT(&b, " FROM unnest(");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s$%zu::text[]", i > 0 ? ", " : "", i + 1);
    BUF_LIT(&b, ") AS v(");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%sc%zu", i > 0 ? ", " : "", i + 1);
    buf_putc(&b, ')');
    buf_putc(&b, '\0');
    return b.failed ? NULL : b.p;
}

static enum err check_arguments(struct request_ctx *ctx, const char *table,
                                const struct db_bulk_column *columns, size_t n_columns,
                                size_t n_rows)
{
    if (n_rows > DB_BULK_ROWS_MAX)
        return ctx_fault(ctx, ERR_TOO_LARGE, "bulk insert of %zu rows", n_rows);
    if (n_rows == 0)
        return ctx_fault(ctx, ERR_INVALID, "bulk insert without rows");
    if (n_columns == 0 || n_columns > DB_BULK_COLUMNS_MAX)
        return ctx_fault(ctx, ERR_INTERNAL, "bulk insert of %zu columns", n_columns);
    bool fit = name_fits(table);
    for (size_t i = 0; i < n_columns; i++)
        fit = fit && name_fits(columns[i].name);
    return fit ? ERR_NONE
               : ctx_fault(ctx, ERR_INTERNAL, "bulk insert: a name is empty or too long");
}

enum err db_bulk_insert(struct db *db, struct request_ctx *ctx, const char *table,
                        const struct db_bulk_column *columns, size_t n_columns,
                        const struct sv *values, size_t n_rows, int *inserted)
{
    TRY(check_arguments(ctx, table, columns, n_columns, n_rows));
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
    struct db_rows rows;
    TRY(db_query(db, ctx, DB_WRITE, &stmt, params, (int)n_columns, &rows, NULL));
    if (inserted)
        *inserted = rows.count;
    return ERR_NONE;
}

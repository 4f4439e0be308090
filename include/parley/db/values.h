/*
 * Parameters and rows of statements. Both travel in PostgreSQL's binary form: nothing is quoted,
 * nothing is converted to text and back.
 *
 * Thread rule: they belong to the thread of the request. Rows live in its arena.
 */
#pragma once

#include "parley/base/ctx.h"

/* A parameter. Its value is borrowed until the statement has returned. */
struct db_param {
    unsigned type; /* PostgreSQL's OID */
    const void *p; /* NULL: SQL NULL, unless inline_n > 0 */
    size_t n;
    char small[8]; /* holds a value of fixed size, of inline_n bytes */
    size_t inline_n;
};
/* SV_NONE gives NULL. */
struct db_param db_text(struct sv s);
struct db_param db_jsonb(struct sv s); /* s: JSON text */
struct db_param db_bytes(struct sv s); /* bytea */
struct db_param db_i64(int64_t v);
struct db_param db_i32(int32_t v);
struct db_param db_bool(bool v);
struct db_param db_null_i64(void);
/* Arrays of n elements, encoded in the arena. A text of SV_NONE is a NULL element. v == NULL gives
 * SQL NULL of the array's type, n == 0 an empty array. */
MUSTCHECK enum err db_text_array(struct request_ctx *ctx, const struct sv *v, size_t n,
                                 struct db_param *out);
MUSTCHECK enum err db_bytes_array(struct request_ctx *ctx, const struct sv *v, size_t n,
                                  struct db_param *out);
MUSTCHECK enum err db_i64_array(struct request_ctx *ctx, const int64_t *v, size_t n,
                                struct db_param *out);

/* The rows of one statement. A row that does not exist, or a column of another type than the
 * function reads, is a programming error and aborts. */
struct db_rows {
    void *result; /* private to db/ */
    int count;    /* rows returned; for a statement that returns none, rows affected */
};
int db_column(const struct db_rows *r,
              const char *name); /* its position; aborts if there is none */
bool db_is_null(const struct db_rows *r, int row, int column);
/* NULL gives SV_NONE, 0 or false. */
struct sv db_get_text(const struct db_rows *r, int row, int column); /* text, json, jsonb, bytea */
int64_t db_get_i64(const struct db_rows *r, int row, int column);    /* int2, int4, int8 */
bool db_get_bool(const struct db_rows *r, int row, int column);
int64_t db_get_time(const struct db_rows *r, int row, int column); /* timestamptz: wall us */

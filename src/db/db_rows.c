/* SPDX-License-Identifier: MIT */
/* Reads rows in PostgreSQL's binary form. A wrong column name or type is a programming error, and
 * aborts at once: to go on would serve wrong data. */
#include "db_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
static const int64_t pg_epoch_us = INT64_C(946684800000000);

static _Noreturn void abort_on_misuse(const char *what, const char *column)
{
    log_say(LOG_ERROR, "bug", "db_rows: %s: column %s", what, column ? column : "(none)");
    abort();
}

void db_rows_from(struct db_rows *rows, void *result)
{
    rows->result = result;
    rows->count = PQresultStatus(result) == PGRES_TUPLES_OK
                      ? PQntuples(result)
                      : (int)strtol(PQcmdTuples(result), NULL, 10);
}

static const PGresult *checked_result(const struct db_rows *r, int row, int column)
{
    const PGresult *res = r->result;
    if (!res || row < 0 || row >= PQntuples(res) || column < 0 || column >= PQnfields(res))
        abort_on_misuse("no such row or column", NULL);
    return res;
}

int db_column(const struct db_rows *r, const char *name)
{
    const PGresult *res = r->result;
    int n = res ? PQnfields(res) : 0;
    for (int i = 0; i < n; i++)
        if (strcmp(PQfname(res, i), name) == 0)
            return i;
    abort_on_misuse("not in the result", name);
}

bool db_is_null(const struct db_rows *r, int row, int column)
{
    return PQgetisnull(checked_result(r, row, column), row, column) != 0;
}

struct sv db_get_text(const struct db_rows *r, int row, int column)
{
    const PGresult *res = checked_result(r, row, column);
    if (PQgetisnull(res, row, column))
        return SV_NONE;
    const struct sv v = {PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column)};
    switch ((enum db_oid)PQftype(res, column)) {
    case OID_TEXT:
    case OID_NAME:
    case OID_JSON:
    case OID_BYTEA:
        return v;
    case OID_JSONB:
        return (struct sv){v.p + 1, v.n - 1}; /* without the version byte */
    default:
        abort_on_misuse("not a text", PQfname(res, column));
    }
}

static int64_t get_be64(const char *p)
{
    uint64_t be;
    memcpy(&be, p, sizeof(be));
    return (int64_t)be64toh(be);
}

int64_t db_get_i64(const struct db_rows *r, int row, int column)
{
    const PGresult *res = checked_result(r, row, column);
    if (PQgetisnull(res, row, column))
        return 0;
    const char *p = PQgetvalue(res, row, column);
    uint32_t be32;
    uint16_t be16;
    switch ((enum db_oid)PQftype(res, column)) {
    case OID_INT8:
        return get_be64(p);
    case OID_INT4:
        memcpy(&be32, p, sizeof(be32));
        return (int32_t)be32toh(be32);
    case OID_INT2:
        memcpy(&be16, p, sizeof(be16));
        return (int16_t)be16toh(be16);
    default:
        abort_on_misuse("not an integer", PQfname(res, column));
    }
}

bool db_get_bool(const struct db_rows *r, int row, int column)
{
    const PGresult *res = checked_result(r, row, column);
    if (PQftype(res, column) != OID_BOOL)
        abort_on_misuse("not a boolean", PQfname(res, column));
    return !PQgetisnull(res, row, column) && PQgetvalue(res, row, column)[0] != 0;
}

int64_t db_get_time(const struct db_rows *r, int row, int column)
{
    const PGresult *res = checked_result(r, row, column);
    if (PQftype(res, column) != OID_TIMESTAMPTZ)
        abort_on_misuse("not a timestamptz", PQfname(res, column));
    if (PQgetisnull(res, row, column))
        return 0;
    int64_t us = get_be64(PQgetvalue(res, row, column));
    /* 'infinity' is the largest value, and stays it. */
    return us > INT64_MAX - pg_epoch_us ? INT64_MAX : us + pg_epoch_us;
}

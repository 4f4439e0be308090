/* SPDX-License-Identifier: MIT */
/* Rows in PostgreSQL's binary form. Asking for a column that is not there, or for a type it has
 * not, is a mistake in the program and ends it at once: reading on would serve wrong data. */
#include "db_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* PostgreSQL counts microseconds from 2000-01-01. */
static const int64_t pg_epoch_us = INT64_C(946684800000000);

static _Noreturn void bug(const char *what, const char *column)
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

static const PGresult *result_of(const struct db_rows *r, int row, int column)
{
    const PGresult *res = r->result;
    if (!res || row < 0 || row >= PQntuples(res) || column < 0 || column >= PQnfields(res))
        bug("no such row or column", NULL);
    return res;
}

int db_column(const struct db_rows *r, const char *name)
{
    const PGresult *res = r->result;
    int n = res ? PQnfields(res) : 0;
    for (int i = 0; i < n; i++)
        if (strcmp(PQfname(res, i), name) == 0)
            return i;
    bug("not in the result", name);
}

bool db_is_null(const struct db_rows *r, int row, int column)
{
    return PQgetisnull(result_of(r, row, column), row, column) != 0;
}

struct sv db_get_text(const struct db_rows *r, int row, int column)
{
    const PGresult *res = result_of(r, row, column);
    if (PQgetisnull(res, row, column))
        return SV_NONE;
    const struct sv v = {PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column)};
    switch ((enum db_oid)PQftype(res, column)) {
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
    case OID_JSON:
    case OID_BYTEA:
        return v;
    case OID_JSONB:
        return (struct sv){v.p + 1, v.n - 1}; /* behind the version byte */
    default:
        bug("not a text", PQfname(res, column));
    }
}

static int64_t get_be64(const char *p)
{
    uint64_t be;
    memcpy(&be, p, sizeof(be));
    return (int64_t)be64toh(be);
}

static uint32_t get_be32(const char *p)
{
    uint32_t be;
    memcpy(&be, p, sizeof(be));
    return be32toh(be);
}

int64_t db_get_i64(const struct db_rows *r, int row, int column)
{
    const PGresult *res = result_of(r, row, column);
    if (PQgetisnull(res, row, column))
        return 0;
    const char *p = PQgetvalue(res, row, column);
    uint16_t be16;
    switch ((enum db_oid)PQftype(res, column)) {
    case OID_INT8:
        return get_be64(p);
    case OID_INT4:
        return (int32_t)get_be32(p);
    case OID_OID:
        return get_be32(p);
    case OID_INT2:
        memcpy(&be16, p, sizeof(be16));
        return (int16_t)be16toh(be16);
    default:
        bug("not an integer", PQfname(res, column));
    }
}

bool db_get_bool(const struct db_rows *r, int row, int column)
{
    const PGresult *res = result_of(r, row, column);
    if (PQftype(res, column) != OID_BOOL)
        bug("not a boolean", PQfname(res, column));
    return !PQgetisnull(res, row, column) && PQgetvalue(res, row, column)[0] != 0;
}

int64_t db_get_time(const struct db_rows *r, int row, int column)
{
    const PGresult *res = result_of(r, row, column);
    if (PQftype(res, column) != OID_TIMESTAMPTZ)
        bug("not a timestamptz", PQfname(res, column));
    if (PQgetisnull(res, row, column))
        return 0;
    int64_t us = get_be64(PQgetvalue(res, row, column));
    /* 'infinity' is the largest value and stays it. */
    return us > INT64_MAX - pg_epoch_us ? INT64_MAX : us + pg_epoch_us;
}

/* SPDX-License-Identifier: MIT */
/* Rows in PostgreSQL's binary form. Asking for a column that is not there, or for a type it has
 * not, is a mistake in the program and ends it at once: reading on would serve wrong data. */
#include "db_internal.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
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

static struct sv raw(const PGresult *res, int row, int column)
{
    return (struct sv){PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column)};
}

struct sv db_get_text(const struct db_rows *r, int row, int column)
{
    const PGresult *res = result_of(r, row, column);
    if (PQgetisnull(res, row, column))
        return SV_NONE;
    struct sv v = raw(res, row, column);
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

static void put_json_string(struct buf *b, struct sv s)
{
    buf_putc(b, '"');
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_put(b, s.p + from, i - from);
        from = i + 1;
        if (c < 0x20) {
            buf_printf(b, "\\u%04x", c);
        } else {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        }
    }
    buf_put(b, s.p + from, s.n - from);
    buf_putc(b, '"');
}

static void put_json_float(struct buf *b, const char *p)
{
    uint64_t bits = (uint64_t)get_be64(p);
    double d;
    memcpy(&d, &bits, sizeof(d));
    if (!isfinite(d)) {
        BUF_LIT(b, "null"); /* JSON has no other word for it */
        return;
    }
    /* The shortest form that reads back as the same number. */
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (!(strtod(text, NULL) < d || strtod(text, NULL) > d))
            break;
    }
    buf_sv(b, sv_from(text));
}

static void put_json_uuid(struct buf *b, const char *p)
{
    buf_putc(b, '"');
    for (int i = 0; i < 16; i++)
        buf_printf(b, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                   (unsigned)(unsigned char)p[i]);
    buf_putc(b, '"');
}

static void put_json_time(struct buf *b, int64_t wall_us)
{
    char text[CLOCK_RFC3339_LEN + 1];
    clock_rfc3339(wall_us, text);
    put_json_string(b, sv_from(text));
}

/* False for a type without a JSON form. */
static bool put_json_value(struct buf *b, const struct db_rows *r, int row, int column)
{
    const PGresult *res = r->result;
    if (PQgetisnull(res, row, column)) {
        BUF_LIT(b, "null");
        return true;
    }
    switch ((enum db_oid)PQftype(res, column)) {
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
        buf_i64(b, db_get_i64(r, row, column));
        return true;
    case OID_BOOL:
        buf_sv(b, db_get_bool(r, row, column) ? SV("true") : SV("false"));
        return true;
    case OID_TEXT:
    case OID_VARCHAR:
    case OID_BPCHAR:
    case OID_NAME:
        put_json_string(b, db_get_text(r, row, column));
        return true;
    case OID_JSON:
    case OID_JSONB:
        buf_sv(b, db_get_text(r, row, column));
        return true;
    case OID_TIMESTAMPTZ:
        put_json_time(b, db_get_time(r, row, column));
        return true;
    case OID_FLOAT8:
        put_json_float(b, PQgetvalue(res, row, column));
        return true;
    case OID_UUID:
        put_json_uuid(b, PQgetvalue(res, row, column));
        return true;
    default:
        return false;
    }
}

enum err db_rows_json(struct request_ctx *ctx, const struct db_rows *r, struct sv *out)
{
    const PGresult *res = r->result;
    int rows = res ? PQntuples(res) : 0, columns = res ? PQnfields(res) : 0;
    struct buf b;
    buf_init(&b, ctx->arena, 256);
    buf_putc(&b, '[');
    for (int row = 0; row < rows; row++) {
        buf_sv(&b, row > 0 ? SV(",{") : SV("{"));
        for (int column = 0; column < columns; column++) {
            if (column > 0)
                buf_putc(&b, ',');
            put_json_string(&b, sv_from(PQfname(res, column)));
            buf_putc(&b, ':');
            if (!put_json_value(&b, r, row, column))
                return ctx_fault(ctx, ERR_INTERNAL, "column %s: type %u has no JSON form",
                                 PQfname(res, column), PQftype(res, column));
        }
        buf_putc(&b, '}');
    }
    buf_putc(&b, ']');
    if (b.failed)
        return ctx_nomem(ctx);
    *out = buf_get(&b);
    return ERR_NONE;
}

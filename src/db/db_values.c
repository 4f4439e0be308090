/* SPDX-License-Identifier: MIT */
/* Parameters and rows in PostgreSQL's binary form, where text may hold any byte. A misuse aborts at
 * once, because to go on would serve wrong data. */
#include "db_internal.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "parley/obs/log.h"

/* ---- parameters ---- */

static struct db_param view(unsigned type, struct sv s)
{
    return (struct db_param){.type = type, .n = s.n, .p = s.p};
}

static struct db_param fixed(unsigned type, const void *bytes, size_t n)
{
    struct db_param p = {.type = type, .inline_n = n};
    memcpy(p.small, bytes, n);
    return p;
}

struct db_param db_text(struct sv s)
{
    return view(OID_TEXT, s);
}

struct db_param db_jsonb(struct sv s)
{
    return view(OID_JSONB, s);
}

struct db_param db_bytes(struct sv s)
{
    return view(OID_BYTEA, s);
}

struct db_param db_i64(int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);
    return fixed(OID_INT8, &be, sizeof(be));
}

struct db_param db_i32(int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    return fixed(OID_INT4, &be, sizeof(be));
}

struct db_param db_bool(bool v)
{
    char byte = v ? 1 : 0;
    return fixed(OID_BOOL, &byte, sizeof(byte));
}

struct db_param db_null_i64(void)
{
    return (struct db_param){.type = OID_INT8};
}

bool db_param_encode(struct request_ctx *ctx, const struct db_param *p, const char **value,
                     int *length)
{
    *value = p->inline_n > 0 ? p->small : p->p;
    *length = (int)(p->inline_n > 0 ? p->inline_n : p->p ? p->n : 0);
    if (p->n >= INT_MAX)
        return false;
    if (p->type != OID_JSONB || !p->p)
        return true;
    /* jsonb's binary form is a version byte, then the text. */
    char *with_version = arena_alloc(ctx->arena, p->n + 1);
    if (!with_version)
        return false;
    with_version[0] = 1;
    memcpy(with_version + 1, p->p, p->n);
    *value = with_version;
    *length += 1;
    return true;
}

static char *put_u32(char *at, uint32_t v)
{
    uint32_t be = htobe32(v);
    memcpy(at, &be, sizeof(be));
    return at + sizeof(be);
}

/* A one-dimensional array of n elements in their binary form, OID_TEXT, OID_BYTEA or OID_INT8:
 * dimensions, has-null flag, element type, length and lower bound, then each element after its
 * length. An array without elements has no dimension. */
static enum err encode_array(struct request_ctx *ctx, enum db_oid element, const struct sv *v,
                             size_t n, struct db_param *out)
{
    size_t bytes = n > 0 ? 20 : 12;
    bool has_null = false;
    *out = (struct db_param){.type = element == OID_TEXT    ? OID_TEXT_ARRAY
                                     : element == OID_BYTEA ? OID_BYTEA_ARRAY
                                                            : OID_INT8_ARRAY};
    if (!v)
        return ERR_NONE;
    for (size_t i = 0; i < n; i++) {
        has_null = has_null || !v[i].p;
        bytes += 4 + (v[i].p ? v[i].n : 0);
        if (bytes >= INT_MAX)
            return ctx_nomem(ctx);
    }
    char *at = arena_alloc(ctx->arena, bytes);
    if (!at)
        return ctx_nomem(ctx);
    out->p = at;
    out->n = bytes;
    at = put_u32(at, n > 0 ? 1 : 0);
    at = put_u32(at, has_null ? 1 : 0);
    at = put_u32(at, element);
    if (n > 0) {
        at = put_u32(at, (uint32_t)n);
        at = put_u32(at, 1);
    }
    for (size_t i = 0; i < n; i++) {
        at = put_u32(at, v[i].p ? (uint32_t)v[i].n : UINT32_MAX);
        if (v[i].p)
            memcpy(at, v[i].p, v[i].n);
        at += v[i].p ? v[i].n : 0;
    }
    return ERR_NONE;
}

enum err db_text_array(struct request_ctx *ctx, const struct sv *v, size_t n, struct db_param *out)
{
    return encode_array(ctx, OID_TEXT, v, n, out);
}

enum err db_bytes_array(struct request_ctx *ctx, const struct sv *v, size_t n, struct db_param *out)
{
    return encode_array(ctx, OID_BYTEA, v, n, out);
}

enum err db_i64_array(struct request_ctx *ctx, const int64_t *v, size_t n, struct db_param *out)
{
    if (!v)
        return encode_array(ctx, OID_INT8, NULL, 0, out);
    uint64_t *be = arena_array(ctx->arena, n, sizeof(*be));
    struct sv *elements = arena_array(ctx->arena, n, sizeof(*elements));
    if (!be || !elements)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        be[i] = htobe64((uint64_t)v[i]);
        elements[i] = (struct sv){(const char *)&be[i], sizeof(be[i])};
    }
    return encode_array(ctx, OID_INT8, elements, n, out);
}

/* ---- rows ---- */

/* PostgreSQL counts microseconds from 2000-01-01. */
static const int64_t pg_epoch_us = INT64_C(946684800000000);

static _Noreturn void abort_on_misuse(const char *what, const char *column)
{
    log_say(LOG_ERROR, "bug", "db_rows: %s: column %s", what, column ? column : "(none)");
    abort();
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
    const enum db_oid type = (enum db_oid)PQftype(res, column);
    if (type != OID_TEXT && type != OID_JSON && type != OID_BYTEA && type != OID_JSONB)
        abort_on_misuse("not a text", PQfname(res, column));
    const size_t skip = type == OID_JSONB ? 1 : 0; /* the version byte */
    return (struct sv){PQgetvalue(res, row, column) + skip,
                       (size_t)PQgetlength(res, row, column) - skip};
}

/* Of 2, 4 or 8 bytes. */
static int64_t get_integer(const PGresult *res, int row, int column)
{
    const int n = PQgetlength(res, row, column);
    uint64_t be = 0;
    memcpy(&be, PQgetvalue(res, row, column), (size_t)n);
    /* The bytes are the upper ones: the shift extends the sign. */
    return (int64_t)be64toh(be) >> (64 - 8 * n);
}

int64_t db_get_i64(const struct db_rows *r, int row, int column)
{
    const PGresult *res = checked_result(r, row, column);
    if (PQgetisnull(res, row, column))
        return 0;
    const enum db_oid type = (enum db_oid)PQftype(res, column);
    if (type != OID_INT8 && type != OID_INT4 && type != OID_INT2)
        abort_on_misuse("not an integer", PQfname(res, column));
    return get_integer(res, row, column);
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
    int64_t us = get_integer(res, row, column);
    /* 'infinity' is the largest value, and stays it. */
    return us > INT64_MAX - pg_epoch_us ? INT64_MAX : us + pg_epoch_us;
}

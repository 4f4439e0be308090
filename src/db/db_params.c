/* SPDX-License-Identifier: MIT */
/* Parameters in PostgreSQL's binary form: no quoting, no conversion, no NUL problem. */
#include "db_internal.h"

#include <endian.h>
#include <limits.h>
#include <string.h>

static struct db_param view(unsigned type, struct sv s)
{
    struct db_param p = {.type = type, .n = s.n, .p = s.p};
    return p;
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

int64_t db_param_i64(const struct db_param *p)
{
    uint64_t be;
    memcpy(&be, p->small, sizeof(be));
    return (int64_t)be64toh(be);
}

bool db_param_encode(struct request_ctx *ctx, const struct db_param *p, const char **value,
                     int *length)
{
    *value = NULL;
    *length = 0;
    if (p->inline_n > 0) {
        *value = p->small;
        *length = (int)p->inline_n;
        return true;
    }
    if (!p->p)
        return true;
    if (p->n >= INT_MAX)
        return false;
    *value = p->p;
    *length = (int)p->n;
    if (p->type != OID_JSONB)
        return true;
    /* jsonb's binary form is a version byte in front of the text. */
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

/* Room for a one-dimensional array and its header: dimensions, has-null flag, element type, then
 * length and lower bound. An array without elements has no dimension. */
static char *array_begin(struct request_ctx *ctx, size_t bytes, size_t n, uint32_t element,
                         bool has_null, char **start)
{
    size_t head = n > 0 ? 20 : 12;
    *start =
        bytes < INT_MAX - head && n <= INT_MAX / 4 ? arena_alloc(ctx->arena, head + bytes) : NULL;
    if (!*start)
        return NULL;
    char *at = put_u32(*start, n > 0 ? 1 : 0);
    at = put_u32(at, has_null ? 1 : 0);
    at = put_u32(at, element);
    if (n > 0) {
        at = put_u32(at, (uint32_t)n);
        at = put_u32(at, 1);
    }
    return at;
}

enum err db_text_array(struct request_ctx *ctx, const struct sv *v, size_t n, struct db_param *out)
{
    size_t bytes = 0;
    bool has_null = false;
    *out = (struct db_param){.type = OID_TEXT_ARRAY};
    if (!v)
        return ERR_NONE;
    for (size_t i = 0; i < n; i++) {
        has_null = has_null || !v[i].p;
        bytes += 4 + (v[i].p ? v[i].n : 0);
        if (bytes >= INT_MAX)
            return ctx_nomem(ctx);
    }
    char *start;
    char *at = array_begin(ctx, bytes, n, OID_TEXT, has_null, &start);
    if (!at)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        if (!v[i].p) {
            at = put_u32(at, UINT32_MAX);
            continue;
        }
        at = put_u32(at, (uint32_t)v[i].n);
        memcpy(at, v[i].p, v[i].n);
        at += v[i].n;
    }
    *out = (struct db_param){.type = OID_TEXT_ARRAY, .p = start, .n = (size_t)(at - start)};
    return ERR_NONE;
}

enum err db_i64_array(struct request_ctx *ctx, const int64_t *v, size_t n, struct db_param *out)
{
    char *start;
    *out = (struct db_param){.type = OID_INT8_ARRAY};
    if (!v)
        return ERR_NONE;
    char *at = n < INT_MAX / 16 ? array_begin(ctx, n * 12, n, OID_INT8, false, &start) : NULL;
    if (!at)
        return ctx_nomem(ctx);
    for (size_t i = 0; i < n; i++) {
        uint64_t be = htobe64((uint64_t)v[i]);
        at = put_u32(at, sizeof(be));
        memcpy(at, &be, sizeof(be));
        at += sizeof(be);
    }
    *out = (struct db_param){.type = OID_INT8_ARRAY, .p = start, .n = (size_t)(at - start)};
    return ERR_NONE;
}

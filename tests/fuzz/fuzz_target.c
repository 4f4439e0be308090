/* SPDX-License-Identifier: MIT */
/*
 * Input: the target of a request. It must be accepted if and only if it follows the rules below.
 * Each segment and parameter must be the bytes between its separators, decoded once, without
 * control characters and in valid UTF-8. Encoded again, the target must be parsed to the same
 * parts. Integer parameters must be those that strtoll reads.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parley/base/buf.h"
#include "parley/http/request.h"

/* Decoded once; false if it may not be. */
static bool decoded(struct fuzz *f, struct sv s, bool plus, struct sv *out)
{
    struct buf b;
    buf_init(&b, f->arena, 0);
    for (size_t i = 0; i < s.n; i++) {
        unsigned c = (unsigned char)s.p[i];
        if (c == ' ')
            return false;
        if (c == '%') {
            char pair[3] = {0};
            if (i + 2 >= s.n)
                return false;
            memcpy(pair, s.p + i + 1, 2);
            if (strspn(pair, "0123456789abcdefABCDEF") != 2)
                return false;
            c = (unsigned)strtoul(pair, NULL, 16);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        buf_putc(&b, (char)c);
    }
    *out = buf_get(&b);
    return !b.failed && utf8_valid(*out, NULL);
}

static bool next_part(struct sv *rest, char separator, struct sv *part)
{
    if (!rest->p)
        return false;
    *part = sv_cut(rest, separator);
    return true;
}

/* The parts of the target; false if it must be refused. */
static bool expected(struct fuzz *f, struct sv target, struct http_request *out)
{
    struct sv query = target, part;
    struct sv path = sv_cut(&query, '?');
    if (target.n > HTTP_URI_MAX || path.n == 0 || *path.p != '/')
        return false;
    (void)sv_cut(&path, '/');
    while (next_part(&path, '/', &part)) {
        if (out->n_segments == HTTP_SEGMENTS_MAX ||
            !decoded(f, part, false, &out->segments[out->n_segments++]))
            return false;
    }
    while (next_part(&query, '&', &part)) {
        struct http_pair param;
        if (part.n == 0)
            continue;
        struct sv name = sv_cut(&part, '=');
        if (!decoded(f, name, true, &param.name) || !decoded(f, part, true, &param.value))
            return false;
        if (out->n_params == HTTP_PARAMS_MAX)
            return false;
        out->params[out->n_params++] = param;
    }
    return true;
}

static void same_parts(const struct http_request *a, const struct http_request *b)
{
    DEMAND(a->n_segments == b->n_segments && a->n_params == b->n_params);
    for (size_t i = 0; i < a->n_segments; i++)
        DEMAND(sv_eq(a->segments[i], b->segments[i]));
    for (size_t i = 0; i < a->n_params; i++)
        DEMAND(sv_eq(a->params[i].name, b->params[i].name) &&
               sv_eq(a->params[i].value, b->params[i].value));
}

/* All bytes except letters and digits as escapes. */
static void encode(struct buf *b, struct sv s)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            buf_putc(b, (char)c);
        else
            buf_printf(b, i % 2 ? "%%%02x" : "%%%02X", c);
    }
}

static void encoded_is_the_same(struct fuzz *f, const struct http_request *req)
{
    struct http_request again = {.method = HTTP_GET};
    struct buf b;
    buf_init(&b, f->arena, 0);
    for (size_t i = 0; i < req->n_segments; i++) {
        buf_putc(&b, '/');
        encode(&b, req->segments[i]);
    }
    for (size_t i = 0; i < req->n_params; i++) {
        buf_putc(&b, i > 0 ? '&' : '?');
        encode(&b, req->params[i].name);
        buf_putc(&b, '=');
        encode(&b, req->params[i].value);
    }
    again.target = buf_get(&b);
    if (again.target.n > HTTP_URI_MAX)
        return;
    DEMAND(http_target_parse(&f->ctx, &again) == ERR_NONE);
    same_parts(req, &again);
}

static void integers_are_those_of_strtoll(struct fuzz *f, const struct http_request *req)
{
    for (size_t i = 0; i < req->n_params; i++) {
        int64_t v = 7;
        struct sv name = arena_dup(f->arena, req->params[i].name);
        DEMAND(name.p);
        struct sv text = arena_dup(f->arena, http_param_get(req, name.p));
        DEMAND(text.p);
        if (http_param_i64(&f->ctx, req, name.p, INT64_MIN, INT64_MAX, 7, &v) == ERR_NONE) {
            errno = 0;
            DEMAND(v == strtoll(text.p, NULL, 10) && errno == 0);
            DEMAND(strspn(text.p, "-0123456789") == text.n);
        } else {
            fuzz_refused(&f->ctx, ERR_INVALID);
            DEMAND(v == 7);
        }
        ctx_clear_error(&f->ctx);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct http_request req = {.target = {(const char *)data, n}}, want = {.method = HTTP_GET};
    fuzz_open(&f);
    enum err e = http_target_parse(&f.ctx, &req);
    DEMAND(expected(&f, req.target, &want) == (e == ERR_NONE));
    if (e == ERR_NONE) {
        same_parts(&want, &req);
        encoded_is_the_same(&f, &req);
        integers_are_those_of_strtoll(&f, &req);
    } else {
        fuzz_refused(&f.ctx, e);
    }
    fuzz_close(&f);
    return 0;
}

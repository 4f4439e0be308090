/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <string.h>

#include <fastcgi.h>

#include "parley/base/buf.h"

struct record {
    int version, type, id;
    struct sv content;
};

/* False at the end of what there is. */
static bool next_record(struct sv *wire, struct record *out)
{
    const unsigned char *p = (const unsigned char *)wire->p;
    if (wire->n < FCGI_HEADER_LEN)
        return false;
    const size_t n = (size_t)p[4] << 8 | p[5];
    if (wire->n < FCGI_HEADER_LEN + n + p[6])
        return false;
    *out = (struct record){p[0], p[1], p[2] << 8 | p[3], {wire->p + FCGI_HEADER_LEN, n}};
    wire->p += FCGI_HEADER_LEN + n + p[6];
    wire->n -= FCGI_HEADER_LEN + n + p[6];
    return true;
}

/* The records of one stream up to the empty one that ends it. */
static enum stream_verdict read_stream(struct sv *wire, int id, int type, struct buf *out)
{
    struct record r;
    while (next_record(wire, &r)) {
        if (r.version != FCGI_VERSION_1)
            return STREAM_BAD;
        if (r.id != id || r.type == FCGI_BEGIN_REQUEST)
            return STREAM_FOREIGN;
        if (r.type != type)
            return STREAM_BAD;
        if (r.content.n == 0)
            return STREAM_GOOD;
        buf_sv(out, r.content);
    }
    /* Of a record that is cut short libfcgi takes what there is. */
    if (wire->n > FCGI_HEADER_LEN)
        buf_put(out, wire->p + FCGI_HEADER_LEN, wire->n - FCGI_HEADER_LEN);
    return STREAM_BAD;
}

static bool take_length(struct sv *s, size_t *out)
{
    const unsigned char *p = (const unsigned char *)s->p;
    const size_t size = s->n > 0 && p[0] & 0x80 ? 4 : 1;
    if (s->n < size)
        return false;
    *out = size == 1 ? p[0]
                     : (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    s->p += size;
    s->n -= size;
    return true;
}

/* What may come once, and before PARLEY_END, which ends all but headers. */
enum { METHOD, TARGET, LENGTH, END, TYPE, ADDRESS, MSEC, N_KNOWN };
static const char *const known[N_KNOWN] = {"REQUEST_METHOD", "REQUEST_URI",  "CONTENT_LENGTH",
                                           "PARLEY_END",     "CONTENT_TYPE", "REMOTE_ADDR",
                                           "REQUEST_MSEC"};

/* libfcgi makes a C string "name=value", so that a NUL ends it. False: it may not be. */
static bool store_param(struct arena *a, struct sv values[N_KNOWN], struct sv name, struct sv value)
{
    struct buf b;
    buf_init(&b, a, name.n + value.n + 2);
    buf_sv(&b, name);
    buf_putc(&b, '=');
    buf_sv(&b, value);
    buf_putc(&b, '\0');
    value = sv_from(b.p);
    name = sv_cut(&value, '=');
    if (sv_starts_with(name, SV("HTTP_")))
        return true;
    if (values[END].p)
        return false;
    for (size_t i = 0; i < N_KNOWN; i++) {
        if (!sv_eq(name, sv_from(known[i])))
            continue;
        if (values[i].p)
            return false;
        values[i] = value;
    }
    return true;
}

struct param {
    struct sv name, value;
};

/* *greedy: more memory is asked for than there is text. False: they end here. */
static bool next_param(struct sv *text, struct param *out, bool *greedy)
{
    size_t name_n, value_n;
    if (!take_length(text, &name_n) || !take_length(text, &value_n))
        return false;
    *greedy = name_n + value_n > STREAM_GREED;
    if (name_n + value_n > text->n)
        return false;
    *out = (struct param){{text->p, name_n}, {text->p + name_n, value_n}};
    text->p += name_n + value_n;
    text->n -= name_n + value_n;
    return true;
}

static bool is_greedy(struct sv text)
{
    struct param p;
    bool greedy = false;
    while (next_param(&text, &p, &greedy))
        ;
    return greedy;
}

static bool read_params(struct arena *a, struct sv text, struct sv values[N_KNOWN])
{
    struct param p;
    bool greedy;
    while (text.n > 0)
        if (!next_param(&text, &p, &greedy) || !store_param(a, values, p.name, p.value))
            return false;
    return sv_eq(values[END], SV("1")) && values[METHOD].n > 0 && values[TARGET].n > 0;
}

/*
 * Known faults of libfcgi: it answers FCGI_GET_VALUES out of 64 bytes on its stack, and leaks 48
 * bytes for each other management record. It takes the padding of the record that ends the
 * parameters for the next record, and does not read the padding of the one that ends a body. It
 * drops the content of a record that follows an empty one of another request, so that any byte may
 * then be a parameter's length.
 */
static bool is_left_out(struct sv wire, int id)
{
    bool foreign = false, wide = false;
    for (size_t i = 0; i < wire.n && !wide; i++)
        wide = (unsigned char)wire.p[i] >= 0x80;
    for (bool more = true; more && wire.n >= FCGI_HEADER_LEN;) {
        struct record r;
        const unsigned char *h = (const unsigned char *)wire.p;
        if ((h[2] | h[3]) == 0 || ((h[4] | h[5]) == 0 && h[6] != 0))
            return true;
        foreign = foreign || (h[2] << 8 | h[3]) != id || h[1] == FCGI_BEGIN_REQUEST;
        more = next_record(&wire, &r);
    }
    return foreign && wide;
}

enum stream_verdict stream_read(struct arena *a, struct sv wire, struct stream_request *out)
{
    const size_t size = wire.n;
    const unsigned char *head = (const unsigned char *)wire.p;
    struct record begin;
    struct sv values[N_KNOWN] = {{NULL, 0}};
    struct buf params, body;
    uint64_t length = 0;
    buf_init(&params, a, 0);
    buf_init(&body, a, 0);
    if (!next_record(&wire, &begin) || begin.version != FCGI_VERSION_1 ||
        begin.type != FCGI_BEGIN_REQUEST || begin.id == 0 || begin.content.n != 8 || head[6] != 0 ||
        head[8] != 0 || head[9] != FCGI_RESPONDER)
        return STREAM_BAD;
    const struct sv rest = wire;
    enum stream_verdict v = read_stream(&wire, begin.id, FCGI_PARAMS, &params);
    if (is_left_out(rest, begin.id) || is_greedy(buf_get(&params)))
        return STREAM_LEFT_OUT;
    if (v != STREAM_GOOD)
        return v;
    /* Its parameters decide before its body is looked at. */
    if (!read_params(a, buf_get(&params), values) ||
        (values[LENGTH].n > 0 && !sv_to_u64(values[LENGTH], &length)))
        return STREAM_BAD;
    v = read_stream(&wire, begin.id, FCGI_STDIN, &body);
    if (v != STREAM_GOOD)
        return v;
    *out = (struct stream_request){size - wire.n, (head[10] & FCGI_KEEP_CONN) != 0, values[METHOD],
                                   values[TARGET], buf_get(&body)};
    return body.n == length ? STREAM_GOOD : STREAM_BAD;
}

/* SPDX-License-Identifier: MIT */
/*
 * FastCGI parameters to struct http_request.
 *
 * nginx sends what its configuration names (fastcgi_param), in that order, and then the client's
 * headers as HTTP_…; PARLEY_END ends the first part. So only headers may follow it, and the
 * parameters that decide anything come before it, once. A client cannot add to them.
 */
#include "fcgi_internal.h"

#include <ctype.h>
#include <stdlib.h>

struct params {
    struct sv method, target, content_type, content_length, remote_addr, sent_at, end;
    struct http_pair *headers; /* NULL: there was no memory for them */
    size_t n_headers;
};

static struct sv *param_named(struct params *p, struct sv name)
{
    static const struct {
        struct sv name;
        size_t at;
    } table[] = {
        {SV_INIT("REQUEST_METHOD"), offsetof(struct params, method)},
        {SV_INIT("REQUEST_URI"), offsetof(struct params, target)},
        {SV_INIT("CONTENT_TYPE"), offsetof(struct params, content_type)},
        {SV_INIT("CONTENT_LENGTH"), offsetof(struct params, content_length)},
        {SV_INIT("REMOTE_ADDR"), offsetof(struct params, remote_addr)},
        {SV_INIT("REQUEST_MSEC"), offsetof(struct params, sent_at)},
        {SV_INIT("PARLEY_END"), offsetof(struct params, end)},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (sv_eq(name, table[i].name))
            return (struct sv *)((char *)p + table[i].at);
    return NULL;
}

/* "HTTP_IF_MATCH" to "if-match". */
static struct sv header_name(struct arena *arena, struct sv name)
{
    (void)sv_cut(&name, '_');
    char *p = arena_alloc(arena, name.n);
    if (!p)
        return SV_NONE;
    for (size_t i = 0; i < name.n; i++)
        p[i] = name.p[i] == '_' ? '-' : (char)tolower((unsigned char)name.p[i]);
    return (struct sv){p, name.n};
}

static void add_header(struct params *p, struct sv name, struct sv value)
{
    if (!name.p)
        p->headers = NULL;
    if (p->headers)
        p->headers[p->n_headers++] = (struct http_pair){name, value};
}

/* False for what cannot come from our nginx configuration. */
static bool read_params(struct arena *arena, char *const *envp, struct params *p)
{
    const struct sv content_type = SV("content-type");
    bool has_type = false;
    size_t n = 0;
    while (envp[n])
        n++;
    p->headers = arena_array(arena, n + 1, sizeof *p->headers);
    for (; *envp; envp++) {
        struct sv value = sv_from(*envp);
        struct sv name = sv_cut(&value, '=');
        if (sv_starts_with(name, SV("HTTP_"))) {
            name = header_name(arena, name);
            has_type = has_type || sv_eq(name, content_type);
            add_header(p, name, value);
            continue;
        }
        if (p->end.p)
            return false;
        struct sv *to = param_named(p, name);
        if (to && to->p)
            return false;
        if (to)
            *to = value;
    }
    /* It may have come as a parameter only. */
    if (!has_type && p->content_type.n > 0)
        add_header(p, content_type, p->content_type);
    return sv_eq(p->end, SV("1")) && p->method.n > 0 && p->target.n > 0;
}

/* How long ago nginx sent the request, from its "1764000000.123" by the wall clock of this machine.
 * 0 if that is not known, or is impossible because the clock was set. */
static int64_t queued_us(struct sv sent_at)
{
    /* A double holds microseconds exactly. The value ends in a NUL, as all of envp. */
    const double sent_us = sent_at.p ? strtod(sent_at.p, NULL) * 1e6 : 0;
    const double us = (double)clock_wall_us() - sent_us;
    return us > 0 && us <= 3600 * 1e6 ? (int64_t)(us + 0.5) : 0;
}

enum err fcgi_params_read(struct arena *arena, char *const *envp, struct http_request *req,
                          uint64_t *content_length)
{
    struct params p = {.n_headers = 0};
    *content_length = 0;
    if (!read_params(arena, envp, &p))
        return ERR_INVALID;
    /* Empty is what nginx sends for a request without a body. */
    if (p.content_length.n > 0 && !sv_to_u64(p.content_length, content_length))
        return ERR_INVALID;
    req->method_text = p.method;
    req->method = http_method_parse(p.method);
    req->target = p.target;
    req->remote_addr = p.remote_addr;
    req->queued_us = queued_us(p.sent_at);
    req->headers = p.headers;
    req->n_headers = p.headers ? p.n_headers : 0;
    return p.headers ? ERR_NONE : ERR_NOMEM;
}

/* SPDX-License-Identifier: MIT */
/* Parses REDIS_URL. */
#include "cache_internal.h"

#include <stdio.h>
#include <string.h>

#include "parley/base/encode.h"

static const char syntax[] =
    "use redis://[user:password@]host[:port][/db] or unix:///path[?db=N][&password=…]";

/* Percent-decodes s into out and appends a NUL. False: it does not fit or contains a NUL. */
static bool percent_decode(struct sv s, char *out, size_t out_n)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];
        if (c == '%') {
            c = percent_read((struct sv){s.p + i, s.n - i});
            i += 2;
        }
        if (c <= 0 || n + 1 >= out_n)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

enum { DB_MAX = 1000000 };

static bool parse_number(struct sv s, unsigned max, int *out)
{
    uint64_t v = 0;
    if (!sv_to_u64(s, &v) || v > max)
        return false;
    *out = (int)v;
    return true;
}

/* Cuts off user:password@ if there is one. A password may contain an @, so the last @ ends it. */
static bool parse_credentials(struct sv *s, struct cache_url *out)
{
    const char *at = s->n ? memrchr(s->p, '@', s->n) : NULL;
    if (!at)
        return true;
    struct sv password = {s->p, (size_t)(at - s->p)};
    struct sv user = sv_cut(&password, ':');
    s->n -= (size_t)(at + 1 - s->p);
    s->p = at + 1;
    return password.p && percent_decode(user, out->user, sizeof out->user) &&
           percent_decode(password, out->password, sizeof out->password);
}

/* host, host:port, [v6] or [v6]:port. */
static bool parse_host(struct sv s, struct cache_url *out)
{
    struct sv port = s;
    struct sv host;
    if (s.n && s.p[0] == '[') {
        port.p++;
        port.n--;
        host = sv_cut(&port, ']');
        if (!port.p || (port.n && port.p[0] != ':'))
            return false;
        port = port.n ? (struct sv){port.p + 1, port.n - 1} : SV_NONE;
    } else {
        host = sv_cut(&port, ':');
    }
    out->port = 6379;
    if (port.p && (!parse_number(port, 65535, &out->port) || out->port == 0))
        return false;
    return host.n && percent_decode(host, out->host, sizeof out->host);
}

/* NULL, or what is wrong. */
static const char *parse_tcp(struct sv rest, struct cache_url *out)
{
    if (memchr(rest.p, '?', rest.n))
        return "redis:// takes no ?options";
    /* A slash in a password is written %2F, so the first slash ends the host. */
    struct sv db = rest;
    struct sv host = sv_cut(&db, '/');
    if (!parse_credentials(&host, out))
        return "the user or password is malformed or too long";
    if (!parse_host(host, out))
        return "the host or port is missing or malformed";
    return !db.n || parse_number(db, DB_MAX, &out->db) ? NULL : "the database is not a number";
}

static const char *parse_unix(struct sv rest, struct cache_url *out)
{
    struct sv options = rest;
    struct sv path = sv_cut(&options, '?');
    out->local = true;
    if (path.n < 2 || path.p[0] != '/' || !percent_decode(path, out->path, sizeof out->path))
        return "the socket's path must be absolute and shorter than 108 bytes";
    while (options.p) {
        struct sv value = sv_cut(&options, '&');
        struct sv name = sv_cut(&value, '=');
        bool ok = false;
        if (sv_eq(name, SV("db")))
            ok = parse_number(value, DB_MAX, &out->db);
        else if (sv_eq(name, SV("user")))
            ok = value.p && percent_decode(value, out->user, sizeof out->user);
        else if (sv_eq(name, SV("password")))
            ok = value.p && percent_decode(value, out->password, sizeof out->password);
        if (!ok)
            return "an option is unknown or malformed";
    }
    return NULL;
}

bool cache_url_parse(const char *text, struct cache_url *out, char *why, size_t why_n)
{
    const struct sv url = sv_from(text);
    const char *fault = "the scheme is neither redis:// nor unix://";
    memset(out, 0, sizeof *out);
    if (sv_starts_with(url, SV("redis://")))
        fault = parse_tcp((struct sv){url.p + 8, url.n - 8}, out);
    else if (sv_starts_with(url, SV("unix://")))
        fault = parse_unix((struct sv){url.p + 7, url.n - 7}, out);
    snprintf(why, why_n, "%s%s%s", fault ? fault : "", fault ? "; " : "", fault ? syntax : "");
    return !fault;
}

bool cache_url_valid(const char *url, char *why, size_t why_n)
{
    struct cache_url parsed;
    const bool valid = !url[0] || cache_url_parse(url, &parsed, why, why_n);
    explicit_bzero(&parsed, sizeof parsed);
    return valid;
}

/* SPDX-License-Identifier: MIT */
/* Parses REDIS_URL. */
#include "cache_internal.h"

#include <stdio.h>
#include <string.h>

#include "parley/base/encode.h"
#include "parley/base/names.h"
#include "parley/base/net.h"

static const char syntax[] =
    "use redis://[user:password@]host[:port][/db], unix:///path[?db=N][&password=…] or "
    "redis+sentinel://[user:password@]host[:port],…/master-name[/db]";

/* Percent-decodes s into out and appends a NUL. False: it does not fit or contains a NUL. */
static bool percent_decode(struct sv s, char *out, size_t out_n)
{
    size_t n = 0;
    for (size_t i = 0; s.p && i < s.n; i++) {
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

/* Of user:password@host,user:password@host the first host would be a part of the password. */
static bool has_two_logins(struct sv s)
{
    const char *last = s.n ? memrchr(s.p, '@', s.n) : NULL;
    const char *first = last ? memchr(s.p, '@', s.n) : NULL;
    return first && memchr(first, ',', (size_t)(last - first));
}

/* host, host:port, [v6] or [v6]:port. */
static bool parse_host(struct sv s, int default_port, struct cache_endpoint *out)
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
    out->port = default_port;
    if (port.p && (!parse_number(port, 65535, &out->port) || out->port == 0))
        return false;
    return host.n && percent_decode(host, out->host, sizeof out->host);
}

/* [user:password@]host[/db], or with sentinels: [user:password@]host,host/master[/db] */
static const char *parse_tcp(struct sv rest, bool sentinels, struct cache_url *out)
{
    const struct sv password = SV("sentinel_password=");
    struct sv options = rest;
    struct sv db = sv_cut(&options, '?');
    /* A slash in a password is written %2F, so the first slash ends the hosts. */
    struct sv hosts = sv_cut(&db, '/');
    if (options.p && (!sentinels || !sv_starts_with(options, password)))
        return sentinels ? "the only ?option is sentinel_password" : "redis:// takes no ?options";
    if (sentinels && has_two_logins(hosts))
        return "user:password@ is given once, and an @ in a password before a comma is %40";
    if (!parse_credentials(&hosts, out))
        return "the user or password is malformed or too long";
    if (!sentinels && hosts.n && memchr(hosts.p, ',', hosts.n))
        return "redis:// takes one host; several Sentinels are given as redis+sentinel://";
    do {
        if (out->n_at == ARRAY_LEN(out->at) ||
            !parse_host(sv_cut(&hosts, ','), sentinels ? 26379 : 6379, &out->at[out->n_at++]))
            return "a host or port is missing or malformed, or there are more than 8";
    } while (hosts.p);
    if (sentinels &&
        (!percent_decode(sv_cut(&db, '/'), out->master, sizeof out->master) || !out->master[0]))
        return "the name of the master is missing or malformed";
    if (db.n && !parse_number(db, DB_MAX, &out->db))
        return "the database is not a number";
    if (options.p)
        sv_skip(&options, password.n);
    return percent_decode(options, out->sentinel_password, sizeof out->sentinel_password)
               ? NULL
               : "the Sentinels' password is malformed or too long";
}

static const char *parse_unix(struct sv rest, struct cache_url *out)
{
    struct sv options = rest;
    struct sv path = sv_cut(&options, '?');
    out->n_at = 1;
    if (path.n < 2 || path.p[0] != '/' || !percent_decode(path, out->at[0].host, 108))
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
    enum { REDIS, SENTINELS, UNIX, N_SCHEMES };
    static const char *const schemes[] = {"redis", "redis+sentinel", "unix"};
    const struct names names = NAMES(schemes);
    const struct sv url = sv_from(text);
    const char *end = strstr(text, "://"), *near = NULL;
    const struct sv scheme = {text, end ? (size_t)(end - text) : 0};
    const size_t i = names_index(&names, scheme);
    const char *fault;
    memset(out, 0, sizeof *out);
    if (i < N_SCHEMES) {
        const struct sv rest = {end + 3, url.n - scheme.n - 3};
        fault = i == UNIX ? parse_unix(rest, out) : parse_tcp(rest, i == SENTINELS, out);
    } else if (sv_eq(scheme, SV("rediss"))) {
        fault = "parley's Redis library has no TLS: use redis:// to a stunnel on this host";
    } else {
        near = names_nearest(&names, scheme);
        fault = near ? "the scheme is unknown; did you mean " : "it has no scheme that is known";
    }
    snprintf(why, why_n, "%s%s%s%s%s", fault ? fault : "", near ? near : "", near ? "://?" : "",
             fault ? "; " : "", fault ? syntax : "");
    return !fault;
}

bool cache_url_valid(const char *url, char *why, size_t why_n)
{
    struct cache_url parsed;
    const bool valid = !url[0] || cache_url_parse(url, &parsed, why, why_n);
    explicit_bzero(&parsed, sizeof parsed);
    return valid;
}

bool cache_endpoint_is_remote(const struct cache_endpoint *at)
{
    return at->port > 0 && strcmp(at->host, "localhost") != 0 && !net_is_local(sv_from(at->host));
}

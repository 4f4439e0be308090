/* SPDX-License-Identifier: MIT */
/*
 * How many open files a worker needs. Some are reserved, so that connections of nginx cannot take
 * them: else PostgreSQL and Redis would seem to be away, for as long as nginx keeps those open.
 */
#include "server_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

enum {
    /* Standard ones 3, lock and sockets 3, epolls and eventfds 5, one to Redis that belongs to no
     * handler, and what libpq opens while it connects. */
    FIXED = 16,
    NGINX_MIN = 16
};

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    /* The soft limit is low for the sake of select(2), which nothing here uses. */
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int64_t process_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    return (int64_t)limit.rlim_cur;
}

static int64_t reserved(const struct config *cfg)
{
    /* Each thread: its connection to Redis, and one of nginx (see fcgi_settings.connections). */
    return 2 * cfg->threads + cfg->pool_max + DESCRIPTORS_ADMIN + FIXED;
}

int64_t descriptors_for_nginx(const struct config *cfg)
{
    const int64_t n = process_limit() - reserved(cfg);
    return n < NGINX_MIN ? NGINX_MIN : n;
}

bool descriptors_enough(const struct config *cfg, char *why, size_t n)
{
    raise_limit();
    const int64_t need = reserved(cfg) + NGINX_MIN, limit = process_limit();
    if (limit >= need)
        return true;
    snprintf(why, n,
             "a worker with PARLEY_THREADS=%" PRId64 " and PARLEY_POOL_MAX=%" PRId64
             " needs %" PRId64 " open files and may have %" PRId64
             ": raise the limit (ulimit -n, LimitNOFILE=)",
             cfg->threads, cfg->pool_max, need, limit);
    return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a worker needs of open files. What its handlers need beside the connections of nginx is kept
 * free for them: without it PostgreSQL and Redis would seem to be away, and those that nginx holds
 * idle would keep it so.
 */
#include "server_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

enum {
    /* Standard ones 3, lock and sockets 3, epolls and eventfds 5, one for Redis that is no
     * handler's; what libpq opens while it connects. */
    BESIDE = 16,
    NGINX_LEAST = 16
};

void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    /* Nothing here uses select(2), which is what the soft limit is low for. */
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int64_t limit_of_process(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX)
        return INT32_MAX;
    return (int64_t)limit.rlim_cur;
}

static int64_t own(const struct config *cfg)
{
    /* A thread: its connection to Redis, and one of nginx beyond those below. */
    return 2 * cfg->threads + cfg->pool_max + DESCRIPTORS_ADMIN + BESIDE;
}

int64_t descriptors_for_nginx(const struct config *cfg)
{
    const int64_t n = limit_of_process() - own(cfg);
    return n < NGINX_LEAST ? NGINX_LEAST : n;
}

bool descriptors_enough(const struct config *cfg, char *why, size_t n)
{
    const int64_t need = own(cfg) + NGINX_LEAST, limit = limit_of_process();
    if (limit >= need)
        return true;
    snprintf(why, n,
             "a worker with PARLEY_THREADS=%" PRId64 " and PARLEY_POOL_MAX=%" PRId64
             " needs %" PRId64 " open files and may have %" PRId64
             ": raise the limit (ulimit -n, LimitNOFILE=)",
             cfg->threads, cfg->pool_max, need, limit);
    return false;
}

/* SPDX-License-Identifier: MIT */
/*
 * How many workers share the processors, and how many open files a worker needs. Some of these are
 * reserved, so that connections of nginx cannot take them: else PostgreSQL and Redis would seem to
 * be away, for as long as nginx keeps those open.
 */
#include "server_internal.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

enum {
    /* Standard ones 3, pid file and sockets 4, a client of PARLEY_HEALTH, epolls and eventfds 5,
     * one to Redis that belongs to no handler, and what libpq opens while it connects. */
    FIXED = 18,
    NGINX_MIN = 16
};

size_t server_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : (size_t)n;
}

size_t server_workers(const struct config *cfg)
{
    /* Each worker has its own batches, so fewer workers make larger ones (measured). */
    const size_t n = cfg->workers > 0 ? (size_t)cfg->workers : (server_cores() + 1) / 2;
    return n > SERVER_WORKERS_MAX ? SERVER_WORKERS_MAX : n;
}

/* Raises the soft limit, which is low for the sake of select(2). Nothing here uses that. */
static int64_t process_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return INT32_MAX;
    const struct rlimit raised = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
        limit = raised;
    return limit.rlim_cur < INT32_MAX ? (int64_t)limit.rlim_cur : INT32_MAX;
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

/* SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

void hosts_tell(struct hosts *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    redisReply *reply = redisvCommand(h->admin, fmt, ap);
    va_end(ap);
    CU_ASSERT(reply && reply->type != REDIS_REPLY_ERROR);
    if (reply)
        freeReplyObject(reply);
}

void hosts_reach(struct hosts *h, int i, bool reach)
{
    const char *user = h->host[i].user;
    if (h->host[i].reaches == reach)
        return;
    h->host[i].reaches = reach;
    hosts_tell(h, "ACL SETUSER %s %s >sesame ~* &* +@all", user, reach ? "on" : "off");
    if (!reach)
        hosts_tell(h, "CLIENT KILL USER %s", user);
}

void hosts_restarted(struct hosts *h)
{
    const char *url = getenv("TEST_REDIS_URL");
    if (h->admin)
        redisFree(h->admin);
    h->admin = redisConnectUnix(url ? url + strlen("unix://") : "");
    for (int i = 0; i < 2; i++) {
        h->host[i].reaches = false;
        hosts_reach(h, i, true);
    }
}

void hosts_forget(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/dump.rdb", getenv("TEST_TMP"));
    unlink(path);
}

static void host_open(struct hosts *h, int i)
{
    struct host *host = &h->host[i];
    host->shared = cache_shared_map(0);
    struct cache_settings s = rig_settings(&host->link, host->shared);
    s.redis_url = host->url;
    s.one_host = false;
    s.lease_ms = h->lease_ms;
    s.hold_ms = 3 * h->lease_ms;
    s.poll_ms = h->lease_ms / 4;
    host->cache = cache_open(&s, NULL);
}

void hosts_die(struct hosts *h, int i, bool reborn)
{
    cache_close(h->host[i].cache);
    cache_shared_unmap(h->host[i].shared);
    h->host[i].cache = NULL;
    h->host[i].shared = NULL;
    if (reborn)
        host_open(h, i);
}

bool hosts_polled(struct hosts *h)
{
    struct deadline end = deadline_in_ms(20000);
    bool good;
    do {
        cache_poll(h->host[0].cache);
        cache_poll(h->host[1].cache);
        good = is_in_use(h->host[0].cache) && is_in_use(h->host[1].cache);
        usleep(500);
    } while (!good && !deadline_passed(end));
    return good;
}

bool hosts_open(struct hosts *h, int lease_ms)
{
    memset(h, 0, sizeof *h);
    signal(SIGPIPE, SIG_IGN);
    h->lease_ms = lease_ms;
    authority_init(&h->authority);
    const char *url = getenv("TEST_REDIS_URL");
    for (int i = 0; i < 2; i++) {
        struct host *host = &h->host[i];
        host->link.record = &h->authority;
        snprintf(host->user, sizeof host->user, "host%d", i);
        snprintf(host->url, sizeof host->url, "%s?user=%s&password=sesame", url ? url : "",
                 host->user);
    }
    hosts_restarted(h);
    hosts_tell(h, "FLUSHALL");
    for (int i = 0; i < 2; i++)
        host_open(h, i);
    bool good = hosts_polled(h);
    CU_ASSERT(good);
    if (!good)
        hosts_close(h);
    return good;
}

void hosts_close(struct hosts *h)
{
    for (int i = 0; i < 2; i++)
        hosts_die(h, i, false);
    redisFree(h->admin);
}

static enum err write_once(struct cache *c, struct cache_key key, int64_t version)
{
    struct request r;
    struct cache_fence fence;
    request_begin(&r);
    enum err e = cache_fence(c, &r.ctx, key, &fence);
    if (e == ERR_NONE) {
        struct cache_value v = value_of(&r, key, version);
        e = cache_settle(c, &r.ctx, key, &fence, &v);
    }
    request_end(&r);
    return e;
}

void host_write(struct cache *c, struct cache_key key, int64_t version)
{
    enum err e = ERR_UNAVAILABLE;
    for (int i = 0; i < 20 && (e == ERR_UNAVAILABLE || e == ERR_OUTCOME_UNKNOWN); i++)
        e = write_once(c, key, version);
    CU_ASSERT_EQUAL(e, ERR_NONE);
}

/* SPDX-License-Identifier: MIT */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

static const char *redis_url(void)
{
    const char *url = getenv("TEST_REDIS_URL");
    return url ? url : "";
}

void rig_reconnect(struct rig *rig)
{
    if (rig->admin)
        redisFree(rig->admin);
    rig->admin = redisConnectUnix(redis_url() + strlen("unix://"));
    CU_ASSERT_FATAL(rig->admin && !rig->admin->err);
}

struct cache_settings rig_settings(void)
{
    return (struct cache_settings){.redis_url = redis_url(),
                                   .redis_timeout_ms = REDIS_MS,
                                   .quarantine_ms = 1000,
                                   .value_seconds = 600,
                                   .value_max = VALUE_MAX,
                                   .layout = {1, 2}};
}

struct rig *rig_open(const struct cache_settings *settings)
{
    const struct cache_settings usual = settings ? *settings : rig_settings();
    struct rig *rig = calloc(1, sizeof *rig);
    CU_ASSERT_PTR_NOT_NULL_FATAL(rig);
    signal(SIGPIPE, SIG_IGN); /* as the worker does */
    rig_reconnect(rig);
    admin(rig, "FLUSHALL");
    rig->shared = usual.shared;
    rig->slot = calloc(1, sizeof *rig->slot);
    rig->cache = cache_open(&usual, rig->slot);
    CU_ASSERT_FATAL(rig->slot && rig->cache);
    EVENTUALLY(state_of(rig->cache) == CACHE_UP);
    request_begin(&rig->r, 10000);
    return rig;
}

void rig_close(struct rig *rig)
{
    request_end(&rig->r);
    cache_close(rig->cache);
    redisFree(rig->admin);
    free(rig->slot);
    free(rig);
}

void redis_control(const char *what)
{
    char command[512];
    const char *program = getenv("TEST_REDIS");
    snprintf(command, sizeof command, "'%s' %s", program ? program : "", what);
    CU_ASSERT_EQUAL(system(command), 0);
}

static void log_path(char path[256])
{
    const char *dir = getenv("TEST_TMP");
    snprintf(path, 256, "%s/captured.log", dir ? dir : "/tmp");
}

int log_begin_capture(void)
{
    char path[256];
    log_path(path);
    fflush(stderr);
    const int before = dup(2), file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    CU_ASSERT_FATAL(before >= 0 && file >= 0 && dup2(file, 2) == 2);
    close(file);
    return before;
}

void log_end_capture(int captured)
{
    dup2(captured, 2);
    close(captured);
}

int log_count(const char *event)
{
    char path[256], line[8192];
    int n = 0;
    log_path(path);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, event) != NULL;
    if (f)
        fclose(f);
    return n;
}

void request_begin(struct request *r, int64_t ms)
{
    r->arena = arena_create(1 << 22);
    ctx_init(&r->ctx, r->arena, deadline_in_ms(ms), SV("default"), SV("test"));
}

void request_end(struct request *r)
{
    arena_destroy(r->arena);
}

long long admin(struct rig *rig, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(rig->admin, format, args);
    va_end(args);
    CU_ASSERT_FATAL(reply && reply->type != REDIS_REPLY_ERROR);
    const long long n = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    return n;
}

void admin_set(struct rig *rig, struct cache_key key, struct sv bytes)
{
    const char *argv[] = {"SET", NULL, bytes.p, "PX", "60000"};
    char name[600];
    snprintf(name, sizeof name, "parley:1.2:%.*s:%.*s", SV_ARG(key.tenant), SV_ARG(key.id));
    argv[1] = name;
    const size_t n[] = {3, strlen(name), bytes.n, 2, 5};
    freeReplyObject(redisCommandArgv(rig->admin, 5, argv, n));
}

bool is_in_redis(struct rig *rig, struct cache_key key)
{
    return admin(rig, "EXISTS parley:1.2:%s:%s", key.tenant.p, key.id.p) == 1;
}

struct cache_value value_of(struct request *r, struct cache_key key, int64_t version, size_t n)
{
    const struct sv name = arena_printf(r->arena, "%.*s/%.*s/%lld", SV_ARG(key.tenant),
                                        SV_ARG(key.id), (long long)version);
    struct cache_value v = {{7, version, 9}, 60000, name};
    char *p = n > name.n ? arena_zalloc(r->arena, n) : NULL;
    if (p) {
        memcpy(p, name.p, name.n);
        v.bytes = (struct sv){p, n};
    }
    return v;
}

int64_t find_version(struct cache *c, struct cache_key key)
{
    struct request r;
    struct cache_found f;
    int64_t version = 0;
    request_begin(&r, 10000);
    const struct cache_snapshot s = cache_snapshot(c, key);
    if (cache_find(c, &r.ctx, key, &s, true, &f)) {
        version = f.value.stamp.version;
        if (!sv_eq(f.value.bytes, value_of(&r, key, version, f.value.bytes.n).bytes))
            version = -1;
    }
    request_end(&r);
    return version;
}

void put_sized(struct cache *c, struct cache_key key, int64_t version, size_t n)
{
    struct request r;
    request_begin(&r, 10000);
    const struct cache_snapshot s = cache_snapshot(c, key);
    const struct cache_value v = value_of(&r, key, version, n);
    cache_put(c, &r.ctx, key, &s, true, &v);
    request_end(&r);
}

void put_version(struct cache *c, struct cache_key key, int64_t version)
{
    put_sized(c, key, version, 0);
}

static struct cache_status status_of(struct cache *c)
{
    struct cache_status s;
    cache_status(c, &s);
    return s;
}

enum cache_state state_of(struct cache *c)
{
    const struct cache_status s = status_of(c);
    CU_ASSERT_EQUAL(s.redis == CACHE_DOWN, s.reason[0] != '\0');
    return s.redis;
}

bool is_down_for(struct cache *c, const char *text)
{
    const struct cache_status s = status_of(c);
    return s.redis == CACHE_DOWN && strstr(s.reason, text);
}

uint64_t mismatches_of(struct cache *c)
{
    return status_of(c).mismatches;
}

uint64_t sets_of(const struct rig *rig)
{
    return rig->slot->cache_sets;
}

uint64_t lost_of(const struct rig *rig)
{
    return rig->slot->cache_sets_lost;
}

struct cache_key key_numbered(char id[16], int i)
{
    int n = snprintf(id, 16, "telegram:%d", i);
    return (struct cache_key){SV("default"), {id, (size_t)n}};
}

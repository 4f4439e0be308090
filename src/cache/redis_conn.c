/* SPDX-License-Identifier: MIT */
/*
 * One connection to Redis. hiredis encodes and decodes. This file waits with poll(2), since a
 * time-out of hiredis is for each read(2) and not for the whole reply. Only functions that hiredis
 * 0.14 and 1.x have in common are used.
 */
#include "cache_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

static bool conn_failed(char why[CACHE_WHY_MAX], const char *text)
{
    snprintf(why, CACHE_WHY_MAX, "%s", text);
    return false;
}

static bool conn_lost(const redisContext *conn, char why[CACHE_WHY_MAX])
{
    return conn_failed(why, conn->errstr[0] ? conn->errstr : "the connection was lost");
}

static bool wait_for(const redisContext *conn, short events, struct deadline until,
                     char why[CACHE_WHY_MAX])
{
    /* The deadline also ends a wait where there is always something to read. */
    while (!deadline_passed(until)) {
        struct pollfd p = {.fd = conn->fd, .events = events};
        const int n = poll(&p, 1, deadline_left_ms(until));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return conn_failed(why, "poll failed");
    }
    return conn_failed(why, "no answer in time");
}

static bool append_command(redisContext *conn, const struct cache_command *command)
{
    const char *p[ARRAY_LEN(command->args)];
    size_t len[ARRAY_LEN(command->args)];
    for (int i = 0; i < command->n; i++) {
        p[i] = command->args[i].p;
        len[i] = command->args[i].n;
    }
    return redisAppendCommandArgv(conn, command->n, p, len) == REDIS_OK;
}

/* NULL: why says so. */
static redisReply *next_reply(redisContext *conn, struct deadline until, char why[CACHE_WHY_MAX])
{
    void *reply = NULL;
    bool good = redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    while (good && !reply) {
        if (!wait_for(conn, POLLIN, until, why))
            return NULL;
        good =
            redisBufferRead(conn) == REDIS_OK && redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    }
    if (!good)
        conn_lost(conn, why);
    return reply;
}

/* "Out of memory" concerns this value alone: others may be smaller. "Wrong type": another program
 * stored something else under the key, which the next SET replaces. */
static bool is_fault_of_redis(const char *error)
{
    return strncmp(error, "OOM", 3) != 0 && strncmp(error, "WRONGTYPE", 9) != 0;
}

bool cache_conn_run(redisContext *conn, struct deadline until, struct cache_command *commands,
                    size_t n, char why[CACHE_WHY_MAX])
{
    bool good = true;
    for (size_t i = 0; i < n; i++)
        if (!append_command(conn, &commands[i]))
            return conn_lost(conn, why);
    for (int done = 0; !done;) {
        if (redisBufferWrite(conn, &done) != REDIS_OK)
            return conn_lost(conn, why);
        if (!done && !wait_for(conn, POLLOUT, until, why))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = next_reply(conn, until, why);
        if (!reply)
            return false;
        commands[i].accepted = reply->type != REDIS_REPLY_ERROR;
        if (!commands[i].accepted && is_fault_of_redis(reply->str))
            good = conn_failed(why, reply->str);
        if (commands[i].arena && reply->type == REDIS_REPLY_STRING)
            commands[i].answer = arena_dup(commands[i].arena, (struct sv){reply->str, reply->len});
        freeReplyObject(reply);
    }
    return good;
}

/* At most one round trip. A connect that fails later is an error of the first write. */
static bool log_in(redisContext *conn, const struct cache_url *url, struct deadline until,
                   char why[CACHE_WHY_MAX])
{
    char db[16];
    struct cache_command commands[2];
    const struct sv user = sv_from(url->user), password = sv_from(url->password);
    size_t count = 0;
    if (user.n > 0 && password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), user, password}, .n = 3};
    else if (password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), password}, .n = 2};
    if (url->db != 0) {
        snprintf(db, sizeof db, "%d", url->db);
        commands[count++] = (struct cache_command){{SV("SELECT"), sv_from(db)}, .n = 2};
    }
    return cache_conn_run(conn, until, commands, count, why);
}

redisContext *cache_conn_open(const struct cache_url *url, struct deadline until,
                              char why[CACHE_WHY_MAX])
{
    /* This looks up a host's name with getaddrinfo, which does not know the deadline. An address or
     * a socket avoids that. */
    redisContext *conn = url->local ? redisConnectUnixNonBlock(url->path)
                                    : redisConnectNonBlock(url->host, url->port);
    if (!conn) {
        conn_failed(why, "no memory for a connection");
        return NULL;
    }
    if (conn->err || (!url->local && redisEnableKeepAlive(conn) != REDIS_OK)) {
        conn_lost(conn, why);
    } else {
        (void)fcntl(conn->fd, F_SETFD, FD_CLOEXEC);
        if (log_in(conn, url, until, why))
            return conn;
    }
    redisFree(conn);
    return NULL;
}

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
#include <sys/socket.h>

#include <hiredis/hiredis.h>

enum { ARGS_MAX = 8 };

static bool conn_failed(struct cache_conn *conn, const char *why)
{
    snprintf(conn->why, sizeof conn->why, "%s", why);
    return false;
}

static bool conn_lost(struct cache_conn *conn)
{
    return conn_failed(conn, conn->c->errstr[0] ? conn->c->errstr : "the connection was lost");
}

static bool wait_for(struct cache_conn *conn, short events, struct deadline until)
{
    /* The deadline also ends a wait where there is always something to read. */
    while (!deadline_passed(until)) {
        struct pollfd p = {.fd = conn->c->fd, .events = events};
        const int n = poll(&p, 1, deadline_left_ms(until));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return conn_failed(conn, "poll failed");
    }
    return conn_failed(conn, "no answer in time");
}

bool cache_conn_append(struct cache_conn *conn, const struct sv *args, int n)
{
    const char *p[ARGS_MAX];
    size_t len[ARGS_MAX];
    for (int i = 0; i < n && i < ARGS_MAX; i++) {
        p[i] = args[i].p;
        len[i] = args[i].n;
    }
    if (n > ARGS_MAX)
        return conn_failed(conn, "the command is too long");
    return redisAppendCommandArgv(conn->c, n, p, len) == REDIS_OK || conn_lost(conn);
}

static bool send_queued(struct cache_conn *conn, struct deadline until)
{
    for (int done = 0; !done;) {
        if (redisBufferWrite(conn->c, &done) != REDIS_OK)
            return conn_lost(conn);
        if (!done && !wait_for(conn, POLLOUT, until))
            return false;
    }
    return true;
}

bool cache_conn_reply(struct cache_conn *conn, struct deadline until, redisReply **out)
{
    void *reply = NULL;
    *out = NULL;
    if (!send_queued(conn, until))
        return false;
    for (;;) {
        if (redisGetReplyFromReader(conn->c, &reply) != REDIS_OK)
            return conn_lost(conn);
        *out = reply;
        if (reply && (*out)->type == REDIS_REPLY_ERROR)
            (void)conn_failed(conn, (*out)->str);
        if (reply)
            return true;
        if (!wait_for(conn, POLLIN, until))
            return false;
        if (redisBufferRead(conn->c) != REDIS_OK)
            return conn_lost(conn);
    }
}

bool cache_conn_reply_ok(struct cache_conn *conn, struct deadline until)
{
    redisReply *reply;
    if (!cache_conn_reply(conn, until, &reply))
        return false;
    const bool done = reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    return done;
}

static bool connect_to(struct cache_conn *conn, const struct cache_url *url, struct deadline until)
{
    int error = 0;
    socklen_t error_n = sizeof error;
    /* This looks up a host's name with getaddrinfo, which does not know the deadline. An address or
     * a socket avoids that. */
    conn->c = url->local ? redisConnectUnixNonBlock(url->path)
                         : redisConnectNonBlock(url->host, url->port);
    if (!conn->c)
        return conn_failed(conn, "no memory for a connection");
    if (conn->c->err)
        return conn_lost(conn);
    if (fcntl(conn->c->fd, F_SETFD, FD_CLOEXEC) != 0)
        return conn_failed(conn, "cannot set FD_CLOEXEC");
    if (!wait_for(conn, POLLOUT, until))
        return false;
    if (getsockopt(conn->c->fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0 || error != 0) {
        char text[64];
        return conn_failed(conn, strerror_r(error, text, sizeof text));
    }
    return url->local || redisEnableKeepAlive(conn->c) == REDIS_OK || conn_lost(conn);
}

/* One round trip after the connect. */
static bool log_in(struct cache_conn *conn, const struct cache_url *url, struct deadline until)
{
    char db[16];
    int n = 0;
    if (url->password[0]) {
        struct sv args[] = {SV("AUTH"), sv_from(url->user), sv_from(url->password)};
        if (!url->user[0])
            args[1] = args[2];
        if (!cache_conn_append(conn, args, url->user[0] ? 3 : 2))
            return false;
        n++;
    }
    if (url->db != 0) {
        snprintf(db, sizeof db, "%d", url->db);
        if (!cache_conn_append(conn, (struct sv[]){SV("SELECT"), sv_from(db)}, 2))
            return false;
        n++;
    }
    while (n > 0 && cache_conn_reply_ok(conn, until))
        n--;
    return n == 0;
}

bool cache_conn_open(struct cache_conn *conn, const struct cache_url *url, struct deadline until)
{
    if (connect_to(conn, url, until) && log_in(conn, url, until))
        return true;
    cache_conn_close(conn);
    return false;
}

void cache_conn_close(struct cache_conn *conn)
{
    if (conn->c)
        redisFree(conn->c);
    conn->c = NULL;
}

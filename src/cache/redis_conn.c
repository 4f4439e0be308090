/* SPDX-License-Identifier: MIT */
/*
 * One connection to Redis. hiredis encodes and decodes; the waiting is done here with poll(2),
 * since hiredis' own time-outs are for each read(2) and not for the answer as a whole. Only what
 * hiredis 0.14 and 1.x have in common is used.
 */
#include "cache_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>

enum { WORDS_MAX = 8 };

static bool fail(struct cache_conn *conn, const char *why)
{
    snprintf(conn->why, sizeof conn->why, "%s", why);
    return false;
}

static bool lost(struct cache_conn *conn)
{
    return fail(conn, conn->c->errstr[0] ? conn->c->errstr : "the connection was lost");
}

static bool wait_for(struct cache_conn *conn, short events, struct deadline until)
{
    /* Also where there is always something to read. */
    while (!deadline_passed(until)) {
        struct pollfd p = {.fd = conn->c->fd, .events = events};
        const int n = poll(&p, 1, deadline_left_ms(until));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return fail(conn, "poll failed");
    }
    return fail(conn, "no answer in time");
}

bool cache_conn_append(struct cache_conn *conn, const struct sv *words, int n)
{
    const char *p[WORDS_MAX];
    size_t len[WORDS_MAX];
    for (int i = 0; i < n && i < WORDS_MAX; i++) {
        p[i] = words[i].p;
        len[i] = words[i].n;
    }
    if (n > WORDS_MAX)
        return fail(conn, "the command is too long");
    return redisAppendCommandArgv(conn->c, n, p, len) == REDIS_OK || lost(conn);
}

static bool flush(struct cache_conn *conn, struct deadline until)
{
    for (int done = 0; !done;) {
        if (redisBufferWrite(conn->c, &done) != REDIS_OK)
            return lost(conn);
        if (!done && !wait_for(conn, POLLOUT, until))
            return false;
    }
    return true;
}

bool cache_conn_reply(struct cache_conn *conn, struct deadline until, redisReply **out)
{
    void *reply = NULL;
    *out = NULL;
    if (!flush(conn, until))
        return false;
    for (;;) {
        if (redisGetReplyFromReader(conn->c, &reply) != REDIS_OK)
            return lost(conn);
        *out = reply;
        if (reply && (*out)->type == REDIS_REPLY_ERROR)
            (void)fail(conn, (*out)->str);
        if (reply)
            return true;
        if (!wait_for(conn, POLLIN, until))
            return false;
        if (redisBufferRead(conn->c) != REDIS_OK)
            return lost(conn);
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

static bool reach(struct cache_conn *conn, const struct cache_url *url, struct deadline until)
{
    int error = 0;
    socklen_t error_n = sizeof error;
    /* A host's name is looked up here with getaddrinfo, which takes as long as the resolver does,
     * whatever the deadline: an address or a socket avoids that. */
    conn->c = url->local ? redisConnectUnixNonBlock(url->path)
                         : redisConnectNonBlock(url->host, url->port);
    if (!conn->c)
        return fail(conn, "no memory for a connection");
    if (conn->c->err)
        return lost(conn);
    if (fcntl(conn->c->fd, F_SETFD, FD_CLOEXEC) != 0)
        return fail(conn, "cannot set FD_CLOEXEC");
    if (!wait_for(conn, POLLOUT, until))
        return false;
    if (getsockopt(conn->c->fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0 || error != 0) {
        char text[64];
        return fail(conn, strerror_r(error, text, sizeof text));
    }
    return url->local || redisEnableKeepAlive(conn->c) == REDIS_OK || lost(conn);
}

/* One round trip after the connect. */
static bool log_in(struct cache_conn *conn, const struct cache_url *url, struct deadline until)
{
    char db[16];
    int n = 0;
    if (url->password[0]) {
        struct sv words[] = {SV("AUTH"), sv_from(url->user), sv_from(url->password)};
        if (!url->user[0])
            words[1] = words[2];
        if (!cache_conn_append(conn, words, url->user[0] ? 3 : 2))
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
    if (reach(conn, url, until) && log_in(conn, url, until))
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

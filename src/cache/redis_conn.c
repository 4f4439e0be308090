/* SPDX-License-Identifier: MIT */
/*
 * One connection to Redis or to a Sentinel.
 *
 * hiredis encodes and decodes. This file waits with poll(2), since a time-out of hiredis is for
 * each read(2) and not for the whole reply. Only functions that hiredis 0.14 and 1.x have in common
 * are used.
 */
#include "cache_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "parley/base/net.h"

static bool conn_failed(struct cache_fault *fault, const char *text)
{
    *fault = (struct cache_fault){.lasting = false};
    snprintf(fault->why, sizeof fault->why, "%s", text);
    return false;
}

static bool conn_lost(const redisContext *conn, struct cache_fault *fault)
{
    return conn_failed(fault, conn->errstr[0] ? conn->errstr : "the connection was lost");
}

static bool wait_for(const redisContext *conn, short events, struct deadline until,
                     struct cache_fault *fault)
{
    /* The deadline also ends a wait where there is always something to read. */
    const int got = deadline_passed(until) ? 0 : net_wait(conn->fd, events, until);
    return got > 0 || conn_failed(fault, got == 0 ? "no answer in time" : "poll failed");
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

/* NULL: the fault is set. */
static redisReply *next_reply(redisContext *conn, struct deadline until, struct cache_fault *fault)
{
    void *reply = NULL;
    bool good = redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    while (good && !reply) {
        if (!wait_for(conn, POLLIN, until, fault))
            return NULL;
        good =
            redisBufferRead(conn) == REDIS_OK && redisGetReplyFromReader(conn, &reply) == REDIS_OK;
    }
    if (!good)
        conn_lost(conn, fault);
    return reply;
}

/* Whether the error's first word is one of the words of codes. */
static bool is_one_of(const char *error, struct sv codes)
{
    struct sv rest = sv_from(error);
    const struct sv code = sv_cut(&rest, ' ');
    while (codes.p)
        if (sv_eq(sv_cut(&codes, ' '), code))
            return true;
    return false;
}

/* Takes what the caller wants of a reply. False: it is a fault. */
static bool take_reply(struct cache_command *command, const redisReply *reply,
                       struct cache_fault *fault)
{
    command->accepted = reply->type != REDIS_REPLY_ERROR;
    if (command->arena && reply->type == REDIS_REPLY_STRING)
        command->answer = arena_dup(command->arena, (struct sv){reply->str, reply->len});
    if (command->words && reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements && i < 2; i++)
            if (reply->element[i]->type == REDIS_REPLY_STRING)
                snprintf(command->words[i], sizeof *command->words, "%s", reply->element[i]->str);
    /* "Out of memory" may concern this value alone: others may be smaller. "Wrong type": another
     * program stored something else under the key, which the next SET replaces. */
    if (command->accepted || (!command->must && is_one_of(reply->str, SV("OOM WRONGTYPE"))))
        return true;
    /* The end of a start, a script or a failover ends these. */
    fault->lasting = !is_one_of(reply->str, SV("LOADING READONLY MASTERDOWN NOREPLICAS BUSY"));
    snprintf(fault->why, sizeof fault->why, "%s%.*s is refused: %s",
             is_one_of(reply->str, SV("MOVED ASK CROSSSLOT CLUSTERDOWN"))
                 ? "REDIS_URL names a node of a Redis Cluster, which parley cannot use: "
                 : "",
             SV_ARG(command->args[0]), reply->str);
    return false;
}

bool cache_conn_run(redisContext *conn, struct deadline until, struct cache_command *commands,
                    size_t n, struct cache_fault *fault)
{
    for (size_t i = 0; i < n; i++)
        if (!append_command(conn, &commands[i]))
            return conn_lost(conn, fault);
    for (int done = 0; !done;) {
        if (redisBufferWrite(conn, &done) != REDIS_OK)
            return conn_lost(conn, fault);
        if (!done && !wait_for(conn, POLLOUT, until, fault))
            return false;
    }
    for (size_t i = 0; i < n; i++) {
        redisReply *reply = next_reply(conn, until, fault);
        if (!reply)
            return false;
        const bool good = take_reply(&commands[i], reply, fault);
        freeReplyObject(reply);
        if (!good)
            return false;
    }
    return true;
}

/* At most one round trip. A connect that fails later is an error of the first write. */
static bool log_in(redisContext *conn, const struct cache_url *url, bool sentinel,
                   struct deadline until, struct cache_fault *fault)
{
    char db[16], role[2][256] = {"master"};
    struct cache_command commands[3];
    const struct sv user = sv_from(sentinel ? "" : url->user);
    const struct sv password = sv_from(sentinel ? url->sentinel_password : url->password);
    size_t count = 0;
    if (user.n > 0 && password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), user, password}, .n = 3};
    else if (password.n > 0)
        commands[count++] = (struct cache_command){{SV("AUTH"), password}, .n = 2};
    if (url->master[0] && !sentinel)
        commands[count++] = (struct cache_command){{SV("ROLE")}, .n = 1, .words = role};
    if (url->db != 0 && !sentinel) {
        snprintf(db, sizeof db, "%d", url->db);
        commands[count++] = (struct cache_command){{SV("SELECT"), sv_from(db)}, .n = 2};
    }
    if (!cache_conn_run(conn, until, commands, count, fault))
        return false;
    return strcmp(role[0], "master") == 0 || conn_failed(fault, "it is not the master");
}

redisContext *cache_conn_open(const struct cache_url *url, const struct cache_endpoint *at,
                              bool sentinel, struct deadline until, struct cache_fault *fault)
{
    /* hiredis would connect to the socket of the empty name, which anyone may have. */
    if (!at->host[0]) {
        conn_failed(fault, "the master is not known yet");
        return NULL;
    }
    /* This looks up a host's name with getaddrinfo, which does not know the deadline. An address or
     * a socket avoids that. */
    redisContext *conn = at->port == 0 ? redisConnectUnixNonBlock(at->host)
                                       : redisConnectNonBlock(at->host, at->port);
    if (!conn) {
        conn_failed(fault, "no memory for a connection");
        return NULL;
    }
    if (conn->err || (at->port > 0 && redisEnableKeepAlive(conn) != REDIS_OK)) {
        conn_lost(conn, fault);
    } else {
        (void)fcntl(conn->fd, F_SETFD, FD_CLOEXEC);
        if (log_in(conn, url, sentinel, until, fault))
            return conn;
    }
    redisFree(conn);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * One connection to Redis. hiredis encodes and decodes; the waiting is done here, since hiredis'
 * own time-outs are for each read(2) and not for the answer as a whole: with poll(2), or in read(2)
 * while its time-out ends no later than the caller's time. Only what hiredis 0.14 and 1.x have in
 * common is used.
 */
#include "redis_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <hiredis/hiredis.h>

enum { WORDS_MAX = 16, POSTED_MAX = 64, SEND_MS = 1 };

static enum link_result fault(struct cache_link *l, enum link_result r, const char *what)
{
    snprintf(l->why, sizeof l->why, "%s", what);
    return r;
}

static enum link_result lost(struct cache_link *l)
{
    return fault(l, LINK_LOST, l->c->errstr[0] ? l->c->errstr : "connection lost");
}

static enum link_result wait_for(struct cache_link *l, short events, struct deadline until)
{
    for (;;) {
        struct pollfd p = {.fd = l->c->fd, .events = events};
        int n = poll(&p, 1, deadline_left_ms(until));
        if (n > 0)
            return LINK_DONE;
        if (n == 0)
            return fault(l, LINK_STALLED, "no answer in time");
        if (errno != EINTR)
            return fault(l, LINK_LOST, "poll failed");
    }
}

enum link_result cache_link_append(struct cache_link *l, const struct sv *words, int n)
{
    const char *p[WORDS_MAX];
    size_t len[WORDS_MAX];
    if (n > WORDS_MAX)
        return fault(l, LINK_LOST, "command too long");
    for (int i = 0; i < n; i++) {
        p[i] = words[i].p;
        len[i] = words[i].n;
    }
    if (redisAppendCommandArgv(l->c, n, p, len) != REDIS_OK)
        return lost(l);
    return LINK_DONE;
}

static enum link_result flush(struct cache_link *l, struct deadline until)
{
    for (;;) {
        int done = 0;
        if (redisBufferWrite(l->c, &done) != REDIS_OK)
            return lost(l);
        if (done)
            return LINK_DONE;
        enum link_result r = wait_for(l, POLLOUT, until);
        if (r != LINK_DONE)
            return r;
    }
}

/* The next one to come. */
static enum link_result receive(struct cache_link *l, struct deadline until, redisReply **out)
{
    enum link_result r = LINK_DONE;
    *out = NULL;
    while (r == LINK_DONE) {
        void *reply = NULL;
        if (redisGetReplyFromReader(l->c, &reply) != REDIS_OK)
            return lost(l);
        if (reply) {
            *out = reply;
            return LINK_DONE;
        }
        if (deadline_left_ms(until) < l->read_ms)
            r = wait_for(l, POLLIN, until);
        if (r == LINK_DONE && redisBufferRead(l->c) != REDIS_OK)
            return lost(l);
    }
    return r;
}

/* Answers come in the order of their commands: those that nobody has waited for are first. */
static enum link_result take_posted(struct cache_link *l, struct deadline until)
{
    redisReply *reply;
    while (l->posted > 0) {
        enum link_result r = receive(l, until, &reply);
        if (r != LINK_DONE)
            return r;
        l->posted--;
        bool taken = reply->type != REDIS_REPLY_ERROR;
        freeReplyObject(reply);
        if (l->slot)
            metrics_add(taken ? &l->slot->cache_fills : &l->slot->cache_fills_refused, 1);
    }
    return LINK_DONE;
}

enum link_result cache_link_reply(struct cache_link *l, struct deadline until, redisReply **out)
{
    *out = NULL;
    enum link_result r = flush(l, until);
    if (r == LINK_DONE)
        r = take_posted(l, until);
    if (r == LINK_DONE)
        r = receive(l, until, out);
    return r == LINK_DONE && !*out ? LINK_LOST : r; /* whoever has LINK_DONE has a reply */
}

enum link_result cache_link_post(struct cache_link *l, struct deadline until)
{
    enum link_result r = flush(l, until);
    if (r != LINK_DONE)
        return r;
    return ++l->posted < POSTED_MAX ? LINK_DONE : take_posted(l, until);
}

/* From now on read(2) waits for so long, and then gives nothing, as it does at once on a socket
 * that does not block: hiredis goes on calling it one. */
static enum link_result let_wait(struct cache_link *l, struct deadline until)
{
    const struct timeval send = {0, SEND_MS * 1000L};
    const int left = deadline_left_ms(until);
    /* Less than a call has, so that it can wait here although a little of its time is over. */
    l->read_ms = left - left / 8;
    const struct timeval read = {l->read_ms / 1000, l->read_ms % 1000 * 1000L};
    const int flags = fcntl(l->c->fd, F_GETFL);
    if (l->read_ms == 0)
        return fault(l, LINK_STALLED, "no answer in time");
    if (flags >= 0 && setsockopt(l->c->fd, SOL_SOCKET, SO_RCVTIMEO, &read, sizeof read) == 0 &&
        setsockopt(l->c->fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send) == 0 &&
        fcntl(l->c->fd, F_SETFL, flags & ~O_NONBLOCK) == 0)
        return LINK_DONE;
    return fault(l, LINK_LOST, "no time-outs on the connection");
}

static enum link_result connect_to(struct cache_link *l, const struct cache_url *url,
                                   struct deadline until)
{
    int error = 0;
    socklen_t error_n = sizeof error;
    /* A host's name is looked up here with getaddrinfo, which takes as long as the resolver does,
     * whatever the deadline: an address or a socket avoids that. */
    l->c = url->local ? redisConnectUnixNonBlock(url->path)
                      : redisConnectNonBlock(url->host, url->port);
    if (!l->c)
        return fault(l, LINK_LOST, "no memory for a connection");
    /* REDIS_ERR_OTHER is a name that does not resolve, which may have taken long to find out. */
    if (l->c->err)
        return fault(l, l->c->err == REDIS_ERR_OTHER ? LINK_STALLED : LINK_LOST, l->c->errstr);
    if (fcntl(l->c->fd, F_SETFD, FD_CLOEXEC) != 0)
        return fault(l, LINK_LOST, "cannot set FD_CLOEXEC");
    enum link_result r = wait_for(l, POLLOUT, until);
    if (r != LINK_DONE)
        return r;
    if (getsockopt(l->c->fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0 || error != 0) {
        char text[64];
        return fault(l, LINK_LOST, strerror_r(error, text, sizeof text));
    }
    if (!url->local && redisEnableKeepAlive(l->c) != REDIS_OK)
        return lost(l);
    return let_wait(l, until);
}

/* Takes the reply to a command of the greeting. text: where its characters go, or NULL for a reply
 * that only must not be an error. */
static enum link_result greeting_reply(struct cache_link *l, struct deadline until, char *text,
                                       size_t text_n)
{
    redisReply *reply;
    enum link_result r = cache_link_reply(l, until, &reply);
    if (r != LINK_DONE)
        return r;
    if (reply->type == REDIS_REPLY_ERROR)
        r = fault(l, LINK_REFUSED, reply->str);
    else if (text && (reply->type != REDIS_REPLY_STRING || reply->len >= text_n))
        r = fault(l, LINK_LOST, "an unexpected answer to the greeting");
    else if (text)
        memcpy(text, reply->str, reply->len + 1);
    freeReplyObject(reply);
    return r;
}

void cache_link_expect(struct cache_link *l, uint64_t epoch)
{
    if (l->marker[0] && l->expected == epoch)
        return;
    l->expected = epoch;
    snprintf(l->epoch, sizeof l->epoch, "%" PRIu64, epoch);
    snprintf(l->marker, sizeof l->marker, "%s.%s", l->epoch, l->run_id);
}

enum link_result cache_link_marker(struct cache_link *l, struct deadline until, char out[64])
{
    redisReply *reply;
    out[0] = '\0';
    enum link_result r = cache_link_append(l, (struct sv[]){SV("MGET"), SV(CACHE_EPOCH_KEY)}, 2);
    if (r == LINK_DONE)
        r = cache_link_reply(l, until, &reply);
    if (r != LINK_DONE)
        return r;
    if (reply->type == REDIS_REPLY_ERROR)
        r = fault(l, LINK_REFUSED, reply->str);
    else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
             reply->element[0]->type == REDIS_REPLY_STRING && reply->element[0]->len < 64)
        snprintf(out, 64, "%s", reply->element[0]->str);
    freeReplyObject(reply);
    return r;
}

enum link_result cache_link_mark(struct cache_link *l, const char *marker, struct deadline until)
{
    struct sv words[] = {SV("EVAL"), sv_from(cache_script_text(SCRIPT_MARK)), SV("1"),
                         SV(CACHE_EPOCH_KEY), sv_from(marker)};
    enum link_result r = cache_link_append(l, words, ARRAY_LEN(words));
    return r == LINK_DONE ? greeting_reply(l, until, NULL, 0) : r;
}

/* Takes the run id out of the reply to INFO. */
static enum link_result run_id_reply(struct cache_link *l, struct deadline until)
{
    static const char name[] = "run_id:";
    redisReply *reply;
    enum link_result r = cache_link_reply(l, until, &reply);
    if (r != LINK_DONE)
        return r;
    const char *at = reply->type == REDIS_REPLY_STRING ? strstr(reply->str, name) : NULL;
    size_t n = at ? strcspn(at + strlen(name), "\r\n") : 0;
    if (reply->type == REDIS_REPLY_ERROR)
        r = fault(l, LINK_REFUSED, reply->str);
    else if (n == 0 || n >= sizeof l->run_id)
        r = fault(l, LINK_REFUSED, "INFO server names no run_id");
    else
        snprintf(l->run_id, sizeof l->run_id, "%.*s", (int)n, at + strlen(name));
    l->marker[0] = '\0'; /* to be made anew */
    freeReplyObject(reply);
    return r;
}

/* AUTH and SELECT, where the URL asks for them; *n counts their replies. */
static enum link_result login_append(struct cache_link *l, const struct cache_url *url, int *n)
{
    char db[16];
    enum link_result r = LINK_DONE;
    if (url->password[0]) {
        struct sv words[] = {SV("AUTH"), sv_from(url->user), sv_from(url->password)};
        if (!url->user[0])
            words[1] = words[2];
        r = cache_link_append(l, words, url->user[0] ? 3 : 2);
        ++*n;
    }
    if (r == LINK_DONE && url->db != 0) {
        snprintf(db, sizeof db, "%d", url->db);
        r = cache_link_append(l, (struct sv[]){SV("SELECT"), sv_from(db)}, 2);
        ++*n;
    }
    return r;
}

/* The whole greeting is one write: a new link costs one round trip after the connect. */
static enum link_result greet(struct cache_link *l, const struct cache_url *url,
                              struct deadline until)
{
    int plain = 0;
    enum link_result r = login_append(l, url, &plain);
    for (int s = 0; s < SCRIPTS_LOADED && r == LINK_DONE; s++) {
        struct sv text = sv_from(cache_script_text((enum cache_script)s));
        r = cache_link_append(l, (struct sv[]){SV("SCRIPT"), SV("LOAD"), text}, 3);
    }
    if (r == LINK_DONE)
        r = cache_link_append(l, (struct sv[]){SV("INFO"), SV("server")}, 2);
    for (int i = 0; i < plain && r == LINK_DONE; i++)
        r = greeting_reply(l, until, NULL, 0);
    for (int s = 0; s < SCRIPTS_LOADED && r == LINK_DONE; s++)
        r = greeting_reply(l, until, l->sha[s], sizeof l->sha[s]);
    return r == LINK_DONE ? run_id_reply(l, until) : r;
}

enum link_result cache_link_open(struct cache_link *l, const struct cache_url *url,
                                 struct deadline until)
{
    enum link_result r = connect_to(l, url, until);
    if (r == LINK_DONE)
        r = greet(l, url, until);
    if (r != LINK_DONE)
        cache_link_close(l);
    return r;
}

void cache_link_close(struct cache_link *l)
{
    if (l->c)
        redisFree(l->c);
    l->c = NULL;
    l->posted = 0;
}

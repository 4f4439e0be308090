/* SPDX-License-Identifier: MIT */
/* Connections from accept to close, and the listener's place in the epoll: it is there while the
 * server wants connections and has room for one more. */
#include "fcgi_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/net.h"
#include "parley/obs/log.h"

/* Long enough that a thread does not spin while the process has no descriptor left. */
enum { ACCEPT_PAUSE_MS = 20 };
/* Between two lines about peers that are not allowed. */
static const int64_t refused_pause_us = 60 * 1000000;

/* Under the lock. False: the kernel has no memory to add it. */
static bool poll_listener(struct fcgi_server *s)
{
    /* The listener is in the epoll of every worker: one of them is to be woken, not all. */
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                            .data = {.ptr = &s->settings.listen_fd}};
    if (s->polled || !s->accepting || s->n_conns >= s->settings.connections)
        return true;
    s->polled = epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->settings.listen_fd, &e) == 0;
    return s->polled;
}

/* Under the lock. */
static void unpoll_listener(struct fcgi_server *s)
{
    if (s->polled)
        (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->settings.listen_fd, NULL);
    s->polled = false;
}

/* Room for one more connection. A full server has room for one more a thread: see
 * fcgi_listener_requeue. A server that drains takes all that wait. */
static bool reserve_room(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    const size_t most = s->settings.connections + (size_t)s->settings.threads;
    const bool room = s->n_conns < most || !s->accepting;
    s->n_conns += room;
    pthread_mutex_unlock(&s->lock);
    return room;
}

/* Under the lock. */
static void release_room(struct fcgi_server *s)
{
    s->n_conns--;
    /* Fails without memory in the kernel: the next one to close tries again. */
    (void)poll_listener(s);
}

/* From then on c belongs to whoever gets its event. False: the caller still has to close it. */
static bool park_conn(struct fcgi_server *s, struct fcgi_conn *c, int op)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data = {.ptr = c}};
    const int fd = c->fcgx.ipcFd;
    atomic_store_explicit(&c->parked, true, memory_order_release);
    return epoll_ctl(s->epoll_fd, op, fd, &e) == 0;
}

void fcgi_conn_close(struct fcgi_server *s, struct fcgi_conn *c)
{
    pthread_mutex_lock(&s->lock);
    LIST_REMOVE(c, link);
    release_room(s);
    pthread_mutex_unlock(&s->lock);
    /* "detached" spares the shutdown, poll and read with which libfcgi lingers for up to 2 s. What
     * was sent stays readable for nginx, since all of its request had been read. */
    c->fcgx.detached = 1;
    FCGX_Free(&c->fcgx, 1);
    free(c);
}

void fcgi_conn_finish(struct fcgi_server *s, struct fcgi_conn *c, bool keep)
{
    if (!keep || atomic_load(&s->stopping) || !park_conn(s, c, EPOLL_CTL_MOD))
        fcgi_conn_close(s, c);
}

/* Why accept failed: whether to try again at once. */
static bool may_retry(int reason)
{
    /* EINVAL: it was shut down, and stays readable until this worker ends. */
    if (reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS ||
        reason == EINVAL)
        (void)poll(NULL, 0, ACCEPT_PAUSE_MS);
    /* EAGAIN: another thread or process was first. */
    return reason == EINTR || reason == ECONNABORTED;
}

/* A peer decides REMOTE_ADDR, and libfcgi trusts what it reads: nothing is read from others. */
static bool is_allowed(struct fcgi_server *s, const char *peer)
{
    const int64_t now = clock_mono_us(), last = atomic_load(&s->refused_at);
    if (net_allows(s->settings.allow, sv_from(peer)))
        return true;
    metrics_add(&s->settings.slot->bad_connections, 1);
    if (last == 0 || now - last > refused_pause_us) {
        atomic_store(&s->refused_at, now);
        log_say(LOG_WARN, "peer_refused",
                "a connection from %s was closed: PARLEY_LISTEN_ALLOW does not have it", peer);
    }
    return false;
}

/* Takes one connection from the listener and parks it. False when there is none, or no room. */
static bool accept_one(struct fcgi_server *s)
{
    if (!reserve_room(s))
        return false;
    char peer[INET6_ADDRSTRLEN];
    int fd = net_accept(s->settings.listen_fd, s->settings.io_timeout_ms, peer);
    const int reason = errno;
    struct fcgi_conn *c = fd >= 0 && is_allowed(s, peer) ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        pthread_mutex_lock(&s->lock);
        release_room(s);
        pthread_mutex_unlock(&s->lock);
        if (fd < 0)
            return may_retry(reason);
        close(fd);
        return true;
    }
    FCGX_InitRequest(&c->fcgx, -1, 0);
    c->fcgx.ipcFd = fd;
    if (!net_is_local(sv_from(peer)))
        memcpy(c->peer, peer, sizeof peer);
    pthread_mutex_lock(&s->lock);
    LIST_INSERT_HEAD(&s->conns, c, link);
    pthread_mutex_unlock(&s->lock);
    if (!park_conn(s, c, EPOLL_CTL_ADD))
        fcgi_conn_close(s, c);
    return true;
}

void fcgi_listener_accept_more(struct fcgi_server *s)
{
    if (!atomic_load_explicit(&s->backlog, memory_order_relaxed))
        return;
    pthread_mutex_lock(&s->lock);
    const bool room = s->accepting && s->n_conns < s->settings.connections;
    pthread_mutex_unlock(&s->lock);
    atomic_store_explicit(&s->backlog, room && accept_one(s), memory_order_relaxed);
}

/* The kernel wakes the first waiting process as long as one of its threads is idle. That process
 * would get nearly all connections, and nginx keeps them. So a process that accepted one re-adds
 * the listener, which puts it last. Re-adding also reports connections that arrived in between. A
 * full process re-adds it only when a connection closes. Its threads may then have been woken for
 * connections that woke no other process: it accepts those here. If the kernel has no memory
 * to re-add the listener, this is called again later. */
void fcgi_listener_requeue(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    unpoll_listener(s);
    const bool done = poll_listener(s);
    const bool full = done && s->accepting && !s->polled;
    atomic_store(&s->requeue_due, !done);
    pthread_mutex_unlock(&s->lock);
    while (full && accept_one(s))
        continue;
}

/* The listener's event is always followed by an accept, also while draining: with EPOLLEXCLUSIVE
 * that connection woke no other process. */
void fcgi_listener_accept(struct fcgi_server *s)
{
    atomic_store_explicit(&s->backlog, accept_one(s), memory_order_relaxed);
    fcgi_listener_accept_more(s);
    fcgi_listener_requeue(s);
}

void fcgi_listener_close(struct fcgi_server *s, bool take_waiting)
{
    pthread_mutex_lock(&s->lock);
    const bool first = s->accepting;
    s->accepting = false;
    unpoll_listener(s);
    pthread_mutex_unlock(&s->lock);
    /* A thread may have been woken for a connection that it can no longer find: with
     * EPOLLEXCLUSIVE it woke no other process, so those in the queue are taken here. */
    while (first && take_waiting && accept_one(s))
        continue;
}

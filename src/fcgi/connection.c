/* SPDX-License-Identifier: MIT */
#include "fcgi_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Long enough that a thread does not spin while the process has no descriptor left. */
enum { ACCEPT_PAUSE_MS = 20 };

static void set_timeouts(int fd, int ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    /* Without them a silent peer would hold the thread; they cannot fail on a socket of ours. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

/* Room for one more connection, some that nobody else was told of included (see
 * wait_behind_the_others). A server that leaves takes all that wait. */
static bool reserve(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    const size_t most = s->settings.connections + (size_t)s->settings.threads;
    const bool room = s->n_conns < most || !s->listening;
    s->n_conns += room;
    pthread_mutex_unlock(&s->lock);
    return room;
}

/* Under the lock. */
static void give_room(struct fcgi_server *s)
{
    s->n_conns--;
    /* Fails without memory in the kernel: the next one to close tries again. */
    (void)fcgi_listener_watch(s);
}

/* Into the room that was reserved. */
static void list_add(struct fcgi_server *s, struct fcgi_conn *c)
{
    pthread_mutex_lock(&s->lock);
    c->prev = NULL;
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    pthread_mutex_unlock(&s->lock);
}

static void list_remove(struct fcgi_server *s, struct fcgi_conn *c)
{
    pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    give_room(s);
    pthread_mutex_unlock(&s->lock);
}

/* From then on c belongs to whoever gets its event. False: the caller still has to close it. */
static bool arm(struct fcgi_server *s, struct fcgi_conn *c, int op)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data = {.ptr = c}};
    /* Read while c is ours for certain. */
    int fd = c->fcgx.ipcFd;
    atomic_store_explicit(&c->state, CONN_PARKED, memory_order_release);
    if (epoll_ctl(s->epoll_fd, op, fd, &e) == 0)
        return true;
    /* No event was armed, so no thread can have it; stop alone may have been first. */
    return !fcgi_conn_take(c);
}

/* Why accept failed: whether to try again at once. */
static bool again(int reason)
{
    /* EINVAL: it was shut down, and stays readable until this worker leaves. */
    if (reason == EMFILE || reason == ENFILE || reason == ENOMEM || reason == ENOBUFS ||
        reason == EINVAL)
        (void)poll(NULL, 0, ACCEPT_PAUSE_MS);
    /* EAGAIN: another thread or process was first. */
    return reason == EINTR || reason == ECONNABORTED;
}

bool fcgi_conn_accept(struct fcgi_server *s)
{
    if (!reserve(s))
        return false;
    int fd = accept4(s->settings.listen_fd, NULL, NULL, SOCK_CLOEXEC);
    const int reason = errno;
    struct fcgi_conn *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        pthread_mutex_lock(&s->lock);
        give_room(s);
        pthread_mutex_unlock(&s->lock);
        if (fd < 0)
            return again(reason);
        close(fd);
        return true;
    }
    set_timeouts(fd, s->settings.io_timeout_ms);
    FCGX_InitRequest(&c->fcgx, -1, 0);
    c->fcgx.ipcFd = fd;
    list_add(s, c);
    if (!arm(s, c, EPOLL_CTL_ADD))
        fcgi_conn_close(s, c);
    return true;
}

void fcgi_conn_accept_more(struct fcgi_server *s)
{
    if (!atomic_load_explicit(&s->crowded, memory_order_relaxed))
        return;
    pthread_mutex_lock(&s->lock);
    const bool room = s->listening && s->n_conns < s->settings.connections;
    pthread_mutex_unlock(&s->lock);
    atomic_store_explicit(&s->crowded, room && fcgi_conn_accept(s), memory_order_relaxed);
}

void fcgi_conn_end_turn(struct fcgi_server *s, struct fcgi_conn *c, bool keep)
{
    if (!keep || atomic_load(&s->stopping) || !arm(s, c, EPOLL_CTL_MOD))
        fcgi_conn_close(s, c);
}

bool fcgi_conn_take(struct fcgi_conn *c)
{
    int parked = CONN_PARKED;
    return atomic_compare_exchange_strong_explicit(&c->state, &parked, CONN_BUSY,
                                                   memory_order_acq_rel, memory_order_acquire);
}

void fcgi_conn_close(struct fcgi_server *s, struct fcgi_conn *c)
{
    list_remove(s, c);
    /* "detached" spares the shutdown, poll and read with which libfcgi lingers for up to 2 s. What
     * was sent stays readable for nginx, since all of its request had been read. */
    c->fcgx.detached = 1;
    FCGX_Free(&c->fcgx, 1);
    free(c);
}

void fcgi_conns_hang_up(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct fcgi_conn *c = s->conns; c; c = c->next) {
        int parked = CONN_PARKED;
        if (atomic_compare_exchange_strong(&c->state, &parked, CONN_CLOSING))
            (void)shutdown(c->fcgx.ipcFd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->lock);
}

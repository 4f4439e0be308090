/* SPDX-License-Identifier: MIT */
/* Start and stop of a FastCGI server, and the loop of its handler threads. */
#include "fcgi_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "parley/base/thread.h"

enum {
    /* What a request may need in addition to its body before a handler runs: nginx's header
     * buffers. */
    ARENA_WITHOUT_BODY = 128 * 1024,
    REQUEUE_PAUSE_MS = 20
};

enum err fcgi_library_init(void)
{
    return FCGX_Init() == 0 ? ERR_NONE : ERR_INTERNAL;
}

static void *thread_main(void *arg)
{
    struct fcgi_thread *t = arg;
    struct fcgi_server *s = t->server;
    while (fcgi_poller_begin(t)) {
        struct epoll_event e;
        const bool requeue = atomic_load(&s->requeue_due);
        const int n = epoll_wait(s->epoll_fd, &e, 1, requeue ? REQUEUE_PAUSE_MS : -1);
        if (requeue)
            fcgi_listener_requeue(s);
        if (n != 1)
            continue;
        if (e.data.ptr == &s->settings.listen_fd)
            fcgi_listener_accept(s);
        else if (e.data.ptr != &s->wake_fd)
            fcgi_serve(t, e.data.ptr);
    }
    pthread_mutex_lock(&s->lock);
    s->n_ended++;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static enum err start_thread(struct fcgi_server *s)
{
    struct fcgi_thread *t = &s->threads[s->n_threads];
    t->server = s;
    if (!fcgi_thread_arena(t, 0))
        return ERR_NOMEM;
    (void)sem_init(&t->wake, 0, 0); /* fails for values that are too large only */
    if (thread_start(&t->id, thread_main, t) != 0) {
        sem_destroy(&t->wake);
        arena_destroy(t->arenas[0]);
        return ERR_NOMEM;
    }
    s->n_threads++;
    return ERR_NONE;
}

static enum err open_epoll(struct fcgi_server *s)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->wake_fd < 0)
        return ERR_INTERNAL;
    struct epoll_event wake = {.events = EPOLLIN, .data = {.ptr = &s->wake_fd}};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &wake) != 0)
        return ERR_INTERNAL;
    s->accepting = true;
    fcgi_listener_requeue(s);
    return atomic_load(&s->requeue_due) ? ERR_INTERNAL : ERR_NONE;
}

/* No thread is left. */
static void destroy(struct fcgi_server *s)
{
    while (!LIST_EMPTY(&s->conns))
        fcgi_conn_close(s, LIST_FIRST(&s->conns));
    for (int i = 0; i < s->n_threads; i++) {
        for (size_t k = 0; k < FCGI_GATHER_MAX; k++)
            arena_destroy(s->threads[i].arenas[k]);
        sem_destroy(&s->threads[i].wake);
    }
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s->threads);
    free(s);
}

enum err fcgi_server_start(const struct fcgi_settings *settings, struct fcgi_server **out)
{
    *out = NULL;
    /* libfcgi counts in int. */
    if (settings->threads < 1 || settings->arena_limit > INT_MAX ||
        settings->arena_limit < settings->max_body + ARENA_WITHOUT_BODY)
        return ERR_INVALID;
    struct fcgi_server *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->settings = *settings;
    if (s->settings.connections == 0)
        s->settings.connections = SIZE_MAX - (size_t)settings->threads;
    if (s->settings.pollers < 1 || s->settings.pollers > settings->threads)
        s->settings.pollers = settings->threads;
    s->epoll_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    s->threads = calloc((size_t)settings->threads, sizeof *s->threads);
    if (!s->threads) {
        destroy(s);
        return ERR_NOMEM;
    }
    enum err e = open_epoll(s);
    while (e == ERR_NONE && s->n_threads < settings->threads)
        e = start_thread(s);
    if (e != ERR_NONE) {
        (void)fcgi_server_stop(s, INT_MAX);
        return e;
    }
    *out = s;
    return ERR_NONE;
}

void fcgi_server_drain(struct fcgi_server *s)
{
    fcgi_listener_close(s, true);
}

size_t fcgi_server_connections(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_conns;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned long long fcgi_server_requests(struct fcgi_server *s)
{
    return atomic_load_explicit(&s->requests, memory_order_relaxed);
}

static bool wait_for_threads(struct fcgi_server *s, int grace_ms)
{
    const int64_t until = deadline_in_ms(grace_ms).at_us;
    pthread_mutex_lock(&s->lock);
    while (s->n_ended < s->n_threads && thread_cond_wait(&s->ended, &s->lock, until))
        continue;
    const bool all = s->n_ended == s->n_threads;
    pthread_mutex_unlock(&s->lock);
    return all;
}

bool fcgi_server_stop(struct fcgi_server *s, int grace_ms)
{
    fcgi_listener_close(s, false);
    atomic_store(&s->stopping, true);
    fcgi_poller_stop(s);
    (void)eventfd_write(s->wake_fd, 1);
    if (!wait_for_threads(s, grace_ms))
        return false;
    for (int i = 0; i < s->n_threads; i++)
        pthread_join(s->threads[i].id, NULL);
    destroy(s);
    return true;
}

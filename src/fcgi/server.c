/* SPDX-License-Identifier: MIT */
/* Start and stop of a FastCGI server, and the loop of its handler threads. A thread serves the
 * request of a connection alone, or together with others that have arrived and may be gathered (see
 * fcgi_settings). */
#include "fcgi_internal.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "parley/base/thread.h"

enum { REQUEUE_PAUSE_MS = 20 };

/* ---- a connection that has a request ---- */

/* Requests that are not gathered may take long. They are served next, or by other threads as soon
 * as this one waits. Back in the epoll they could be taken and put back again and again. */
static void defer_conn(struct fcgi_thread *t, struct fcgi_conn *c)
{
    if (t->n_deferred < FCGI_GATHER_MAX)
        t->deferred[t->n_deferred++] = c;
    else
        fcgi_conn_finish(t->server, c, true);
}

/* Takes more requests that have arrived, for a thread that has one that may be gathered. */
static size_t gather(struct fcgi_thread *t, struct fcgi_job jobs[FCGI_GATHER_MAX])
{
    struct fcgi_server *s = t->server;
    struct epoll_event e[FCGI_GATHER_MAX - 1];
    size_t taken = 1;
    const int n = epoll_wait(s->epoll_fd, e, FCGI_GATHER_MAX - 1, 0);
    for (int i = 0; i < n; i++) {
        struct fcgi_conn *c = e[i].data.ptr;
        if (e[i].data.ptr == &s->settings.listen_fd) {
            fcgi_listener_accept(s);
        } else if (e[i].data.ptr != &s->wake_fd) {
            jobs[taken].conn = c;
            fcgi_request_peek(s, &jobs[taken]);
            if (jobs[taken].gather)
                taken++;
            else
                defer_conn(t, c);
        }
    }
    return taken;
}

/* Arena i of t; NULL when there is no memory. */
static struct arena *thread_arena(struct fcgi_thread *t, size_t i)
{
    if (!t->arenas[i])
        t->arenas[i] = arena_create(t->server->settings.arena_limit);
    return t->arenas[i];
}

/* Reads the requests; those whose connection has to be closed leave the list. */
static size_t read_jobs(struct fcgi_thread *t, struct fcgi_job *jobs, size_t n)
{
    size_t read = 0;
    for (size_t i = 0; i < n; i++) {
        struct fcgi_job *job = &jobs[read];
        *job = jobs[i];
        job->arena = thread_arena(t, read);
        if (job->arena && fcgi_request_read(t, job)) {
            read++;
            continue;
        }
        fcgi_conn_close(t->server, job->conn);
        if (job->arena)
            arena_reset(job->arena);
    }
    return read;
}

static void read_ahead(struct fcgi_server *s, struct fcgi_job *jobs, size_t n)
{
    struct http_request *reqs[FCGI_GATHER_MAX];
    struct arena *arenas[FCGI_GATHER_MAX];
    for (size_t i = 0; i < n; i++) {
        reqs[i] = &jobs[i].req;
        arenas[i] = jobs[i].arena;
    }
    s->settings.read_ahead(s->settings.service, arenas, reqs, n);
}

/* The first arena has what was read ahead for all. The others may hold large answers: reset now. */
static void answer_jobs(struct fcgi_thread *t, struct fcgi_job *jobs, size_t n, bool ready)
{
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].req.ready != ready)
            continue;
        fcgi_conn_finish(t->server, jobs[i].conn, fcgi_request_answer(t, &jobs[i]));
        if (i > 0)
            arena_reset(jobs[i].arena);
    }
}

static void count_ungathered(struct fcgi_server *s, bool gathers)
{
    const int n = atomic_load_explicit(&s->n_ungathered, memory_order_relaxed);
    if (gathers ? n > 0 : n < FCGI_UNGATHERED_MANY)
        atomic_store_explicit(&s->n_ungathered, gathers ? 0 : n + 1, memory_order_relaxed);
}

static void serve_one(struct fcgi_thread *t, struct fcgi_conn *c)
{
    struct fcgi_server *s = t->server;
    struct fcgi_job jobs[FCGI_GATHER_MAX];
    struct metrics_slot *slot = s->settings.slot;
    size_t taken = 1;
    atomic_fetch_add_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    jobs[0].conn = c;
    fcgi_request_peek(s, &jobs[0]);
    if (jobs[0].gather)
        taken = gather(t, jobs);
    count_ungathered(s, jobs[0].gather);
    taken = read_jobs(t, jobs, taken);
    if (taken > 1)
        read_ahead(s, jobs, taken);
    answer_jobs(t, jobs, taken, true);
    answer_jobs(t, jobs, taken, false);
    if (taken > 0)
        arena_reset(jobs[0].arena);
    atomic_fetch_sub_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    /* One connection is accepted after each request. If the listener only had its own events in
     * the epoll, the last of a thousand new clients would wait for half a million requests of the
     * others. */
    fcgi_listener_accept_more(s);
}

/* Serves the request on c, which is the thread's, and those of connections it deferred for it. */
static void serve(struct fcgi_thread *t, struct fcgi_conn *c)
{
    serve_one(t, c);
    while (t->n_deferred > 0) {
        c = t->deferred[0];
        memmove(t->deferred, t->deferred + 1, --t->n_deferred * sizeof *t->deferred);
        serve_one(t, c);
    }
}

/* ---- the server ---- */

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
            serve(t, e.data.ptr);
    }
    return NULL;
}

static enum err start_thread(struct fcgi_server *s)
{
    struct fcgi_thread *t = &s->threads[s->n_threads];
    t->server = s;
    if (!thread_arena(t, 0))
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
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->threads);
    free(s);
}

enum err fcgi_server_start(const struct fcgi_settings *settings, struct fcgi_server **out)
{
    *out = NULL;
    if (FCGX_Init() != 0)
        return ERR_INTERNAL;
    /* FCGX_Init installs a handler, where a write to a connection that was closed must only fail.
     */
    (void)signal(SIGPIPE, SIG_IGN);
    struct fcgi_server *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->settings = *settings;
    s->settings.slot = settings->slot ? settings->slot : &s->own_slot;
    if (s->settings.pollers < 1 || s->settings.pollers > settings->threads)
        s->settings.pollers = settings->threads;
    s->epoll_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->threads = calloc((size_t)settings->threads, sizeof *s->threads);
    enum err e = s->threads ? open_epoll(s) : ERR_NOMEM;
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

/* Joins it and frees what it had. False: it has not ended by then. */
static bool end_thread(struct fcgi_thread *t, struct deadline until)
{
    while (pthread_tryjoin_np(t->id, NULL) != 0) {
        if (deadline_passed(until))
            return false;
        deadline_wait(deadline_in_ms(1));
    }
    for (size_t i = 0; i < FCGI_GATHER_MAX; i++)
        arena_destroy(t->arenas[i]);
    sem_destroy(&t->wake);
    return true;
}

bool fcgi_server_stop(struct fcgi_server *s, int grace_ms)
{
    const struct deadline until = deadline_in_ms(grace_ms);
    fcgi_listener_close(s, false);
    atomic_store(&s->stopping, true);
    /* Those that are idle, and those that wait in the epoll. */
    for (int i = 0; i < s->n_threads; i++)
        (void)sem_post(&s->threads[i].wake);
    (void)eventfd_write(s->wake_fd, 1);
    for (; s->n_threads > 0; s->n_threads--)
        if (!end_thread(&s->threads[s->n_threads - 1], until))
            return false;
    destroy(s);
    return true;
}

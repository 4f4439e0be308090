/* SPDX-License-Identifier: MIT */
#include "parley/fcgi/fcgi.h"

#include "fcgi_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/thread.h"

enum {
    /* What a request may need beside its body before a handler runs: nginx's header buffers. */
    ARENA_BESIDE_BODY = 128 * 1024,
    THREAD_STACK = 1024 * 1024,
    LISTEN_PAUSE_MS = 20
};

enum err fcgi_library_init(void)
{
    return FCGX_Init() == 0 ? ERR_NONE : ERR_INTERNAL;
}

bool fcgi_listener_watch(struct fcgi_server *s)
{
    /* The listener is in the epoll of every worker: one of them is to be woken, not all. */
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                            .data = {.ptr = &s->settings.listen_fd}};
    if (s->watched || !s->listening || s->n_conns >= s->settings.connections)
        return true;
    s->watched = epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->settings.listen_fd, &e) == 0;
    return s->watched;
}

/* Under the lock. */
static void unwatch_listener(struct fcgi_server *s)
{
    if (s->watched)
        (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->settings.listen_fd, NULL);
    s->watched = false;
}

/* The kernel wakes the first waiting process as long as one of its threads is idle. That process
 * would get nearly all connections, and nginx keeps them. So a process that accepted one re-adds
 * the listener, which puts it last. Re-adding also reports connections that arrived in between. A
 * full process re-adds it only when a connection closes. Its threads may then have been woken for
 * connections that no other process was told of: it accepts those here. If the kernel has no memory
 * to re-add the listener, this is called again later. */
static void wait_behind_the_others(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    unwatch_listener(s);
    const bool done = fcgi_listener_watch(s);
    const bool full = done && s->listening && !s->watched;
    atomic_store(&s->returning, !done);
    pthread_mutex_unlock(&s->lock);
    while (full && fcgi_conn_accept(s))
        continue;
}

/* The listener's event is always followed by an accept, also while leaving: with EPOLLEXCLUSIVE no
 * other process was told of that connection. */
static void accept_new(struct fcgi_server *s)
{
    atomic_store_explicit(&s->crowded, fcgi_conn_accept(s), memory_order_relaxed);
    fcgi_conn_accept_more(s);
    wait_behind_the_others(s);
}

/* The connection is the caller's: sees what has arrived on it. */
static void begin_turn(struct fcgi_server *s, struct fcgi_conn *c, struct fcgi_turn *turn)
{
    turn->conn = c;
    fcgi_peek(s, c, &turn->peek);
}

/* Requests that are not gathered may take long. They are served next, or by other threads as soon
 * as this one waits: in the epoll they would be passed by again and again. */
static void pass_by(struct fcgi_thread *t, struct fcgi_conn *c)
{
    if (t->n_passed < FCGI_GATHER_MAX)
        t->passed[t->n_passed++] = c;
    else
        fcgi_conn_end_turn(t->server, c, true);
}

/* More requests that are here already, for a thread that has one that may be gathered. */
static size_t gather(struct fcgi_thread *t, struct fcgi_turn turns[FCGI_GATHER_MAX])
{
    struct fcgi_server *s = t->server;
    struct epoll_event e[FCGI_GATHER_MAX - 1];
    size_t taken = 1;
    const int n = epoll_wait(s->epoll_fd, e, FCGI_GATHER_MAX - 1, 0);
    for (int i = 0; i < n; i++) {
        struct fcgi_conn *c = e[i].data.ptr;
        if (e[i].data.ptr == &s->settings.listen_fd) {
            accept_new(s);
        } else if (e[i].data.ptr != &s->wake_fd && fcgi_conn_take(c)) {
            begin_turn(s, c, &turns[taken]);
            if (turns[taken].peek.gather)
                taken++;
            else
                pass_by(t, c);
        }
    }
    return taken;
}

/* The arena of turn i; NULL when there is no memory. */
static struct arena *arena_of(struct fcgi_thread *t, size_t i)
{
    if (!t->arenas[i])
        t->arenas[i] = arena_create(t->server->settings.arena_limit);
    return t->arenas[i];
}

/* Reads them; those whose connection has to be closed leave the list. */
static size_t read_turns(struct fcgi_thread *t, struct fcgi_turn *turns, size_t n)
{
    size_t read = 0;
    for (size_t i = 0; i < n; i++) {
        struct fcgi_turn *turn = &turns[read];
        *turn = turns[i];
        turn->arena = arena_of(t, read);
        if (turn->arena && fcgi_read(t, turn)) {
            read++;
            continue;
        }
        fcgi_conn_close(t->server, turn->conn);
        if (turn->arena)
            arena_reset(turn->arena);
    }
    return read;
}

static void read_ahead(struct fcgi_server *s, struct fcgi_turn *turns, size_t n)
{
    struct http_request *reqs[FCGI_GATHER_MAX];
    struct arena *arenas[FCGI_GATHER_MAX];
    for (size_t i = 0; i < n; i++) {
        reqs[i] = &turns[i].req;
        arenas[i] = turns[i].arena;
    }
    s->settings.read_ahead(s->settings.service, arenas, reqs, n);
}

/* The first arena has what was read ahead for all. The others may hold large answers: reset now. */
static void answer_turns(struct fcgi_thread *t, struct fcgi_turn *turns, size_t n, bool ready)
{
    for (size_t i = 0; i < n; i++) {
        if (turns[i].req.ready != ready)
            continue;
        fcgi_conn_end_turn(t->server, turns[i].conn, fcgi_answer(t, &turns[i]));
        if (i > 0)
            arena_reset(turns[i].arena);
    }
}

static void count_ungathered(struct fcgi_server *s, bool gathers)
{
    const int n = atomic_load_explicit(&s->n_ungathered, memory_order_relaxed);
    if (gathers ? n > 0 : n < FCGI_UNGATHERED_MANY)
        atomic_store_explicit(&s->n_ungathered, gathers ? 0 : n + 1, memory_order_relaxed);
}

/* c is the thread's. */
static void serve(struct fcgi_thread *t, struct fcgi_conn *c)
{
    struct fcgi_server *s = t->server;
    struct fcgi_turn turns[FCGI_GATHER_MAX];
    struct metrics_slot *slot = s->settings.slot;
    size_t taken = 1;
    if (slot)
        atomic_fetch_add_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    begin_turn(s, c, &turns[0]);
    const bool gathers = turns[0].peek.gather && s->settings.gathers(s->settings.service);
    if (gathers)
        taken = gather(t, turns);
    count_ungathered(s, gathers);
    taken = read_turns(t, turns, taken);
    if (taken > 1)
        read_ahead(s, turns, taken);
    answer_turns(t, turns, taken, true);
    answer_turns(t, turns, taken, false);
    if (taken > 0)
        arena_reset(turns[0].arena);
    if (slot)
        atomic_fetch_sub_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    /* The listener takes turns with all connections that have a request: on its turns alone who
     * waits for the last of a thousand would wait for half a million requests of the others. */
    fcgi_conn_accept_more(s);
}

/* c, and whoever was passed by for it. */
static void serve_all(struct fcgi_thread *t, struct fcgi_conn *c)
{
    serve(t, c);
    while (t->n_passed > 0) {
        c = t->passed[0];
        memmove(t->passed, t->passed + 1, --t->n_passed * sizeof *t->passed);
        serve(t, c);
    }
}

static void *thread_main(void *arg)
{
    struct fcgi_thread *t = arg;
    struct fcgi_server *s = t->server;
    while (fcgi_poller_take(t)) {
        struct epoll_event e;
        const bool returning = atomic_load(&s->returning);
        const int n = epoll_wait(s->epoll_fd, &e, 1, returning ? LISTEN_PAUSE_MS : -1);
        if (returning)
            wait_behind_the_others(s);
        if (n != 1)
            continue;
        if (e.data.ptr == &s->settings.listen_fd)
            accept_new(s);
        else if (e.data.ptr != &s->wake_fd && fcgi_conn_take(e.data.ptr))
            serve_all(t, e.data.ptr);
    }
    pthread_mutex_lock(&s->lock);
    s->n_live--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static enum err start_thread(struct fcgi_server *s, const pthread_attr_t *attr)
{
    struct fcgi_thread *t = &s->threads[s->n_threads];
    t->server = s;
    if (!arena_of(t, 0))
        return ERR_NOMEM;
    (void)sem_init(&t->turn, 0, 0); /* fails for values that are too large only */
    /* Held until the thread is counted, so that it cannot end uncounted. */
    pthread_mutex_lock(&s->lock);
    int e = thread_start(&t->id, attr, thread_main, t);
    if (e == 0) {
        s->n_live++;
        s->n_threads++;
    }
    pthread_mutex_unlock(&s->lock);
    if (e != 0) {
        sem_destroy(&t->turn);
        arena_destroy(t->arenas[0]);
    }
    return e == 0 ? ERR_NONE : ERR_NOMEM;
}

/* That no signal interrupts: libfcgi does not repeat a read after one. */
static enum err start_threads(struct fcgi_server *s)
{
    enum err e = ERR_NONE;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    if (pthread_attr_setstacksize(&attr, THREAD_STACK) != 0)
        e = ERR_NOMEM;
    while (e == ERR_NONE && s->n_threads < s->settings.threads)
        e = start_thread(s, &attr);
    pthread_attr_destroy(&attr);
    return e;
}

static enum err watch(struct fcgi_server *s)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->wake_fd < 0)
        return ERR_INTERNAL;
    struct epoll_event wake = {.events = EPOLLIN, .data = {.ptr = &s->wake_fd}};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &wake) != 0)
        return ERR_INTERNAL;
    s->listening = true;
    return fcgi_listener_watch(s) ? ERR_NONE : ERR_INTERNAL;
}

/* No thread is left. */
static void destroy(struct fcgi_server *s)
{
    while (s->conns)
        fcgi_conn_close(s, s->conns);
    for (int i = 0; i < s->n_threads; i++) {
        for (size_t k = 0; k < FCGI_GATHER_MAX; k++)
            arena_destroy(s->threads[i].arenas[k]);
        sem_destroy(&s->threads[i].turn);
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
        settings->arena_limit < settings->max_body + ARENA_BESIDE_BODY)
        return ERR_INVALID;
    struct fcgi_server *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->settings = *settings;
    if (s->settings.connections == 0)
        s->settings.connections = SIZE_MAX - (size_t)settings->threads;
    if (s->settings.watchers < 1 || s->settings.watchers > settings->threads)
        s->settings.watchers = settings->threads;
    s->epoll_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    thread_cond_init(&s->ended);
    s->threads = calloc((size_t)settings->threads, sizeof *s->threads);
    if (!s->threads) {
        destroy(s);
        return ERR_NOMEM;
    }
    enum err e = watch(s);
    if (e == ERR_NONE)
        e = start_threads(s);
    if (e != ERR_NONE) {
        (void)fcgi_server_stop(s, INT_MAX);
        return e;
    }
    *out = s;
    return ERR_NONE;
}

static void stop_listening(struct fcgi_server *s, bool take_waiting)
{
    pthread_mutex_lock(&s->lock);
    const bool first = s->listening;
    s->listening = false;
    unwatch_listener(s);
    pthread_mutex_unlock(&s->lock);
    if (!first)
        return;
    /* A thread may have been woken for a connection that it can no longer find: with
     * EPOLLEXCLUSIVE no other process was told, so those in the queue are taken here. */
    while (take_waiting && fcgi_conn_accept(s))
        continue;
}

void fcgi_server_leave(struct fcgi_server *s)
{
    stop_listening(s, true);
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
    while (s->n_live > 0 && thread_cond_wait(&s->ended, &s->lock, until))
        continue;
    bool all = s->n_live == 0;
    pthread_mutex_unlock(&s->lock);
    return all;
}

bool fcgi_server_stop(struct fcgi_server *s, int grace_ms)
{
    const uint64_t one = 1;
    stop_listening(s, false);
    atomic_store(&s->stopping, true);
    fcgi_conns_hang_up(s);
    fcgi_poller_end(s);
    /* Fails only when the counter is full, and then it wakes as well. */
    if (s->wake_fd >= 0 && write(s->wake_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        return false;
    if (!wait_for_threads(s, grace_ms))
        return false;
    for (int i = 0; i < s->n_threads; i++)
        pthread_join(s->threads[i].id, NULL);
    destroy(s);
    return true;
}

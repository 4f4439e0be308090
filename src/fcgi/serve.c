/* SPDX-License-Identifier: MIT */
/* What a handler thread does with a connection that has a request: it serves that request alone, or
 * together with others that have arrived and may be gathered (see fcgi_settings). */
#include "fcgi_internal.h"

#include <string.h>
#include <sys/epoll.h>

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
            if (jobs[taken].peek.gather)
                taken++;
            else
                defer_conn(t, c);
        }
    }
    return taken;
}

struct arena *fcgi_thread_arena(struct fcgi_thread *t, size_t i)
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
        job->arena = fcgi_thread_arena(t, read);
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
    if (slot)
        atomic_fetch_add_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    jobs[0].conn = c;
    fcgi_request_peek(s, &jobs[0]);
    const bool gathers = jobs[0].peek.gather && s->settings.gathers(s->settings.service);
    if (gathers)
        taken = gather(t, jobs);
    count_ungathered(s, gathers);
    taken = read_jobs(t, jobs, taken);
    if (taken > 1)
        read_ahead(s, jobs, taken);
    answer_jobs(t, jobs, taken, true);
    answer_jobs(t, jobs, taken, false);
    if (taken > 0)
        arena_reset(jobs[0].arena);
    if (slot)
        atomic_fetch_sub_explicit(&slot->threads_busy, 1, memory_order_relaxed);
    /* One connection is accepted after each request. If the listener only had its own events in
     * the epoll, the last of a thousand new clients would wait for half a million requests of the
     * others. */
    fcgi_listener_accept_more(s);
}

void fcgi_serve(struct fcgi_thread *t, struct fcgi_conn *c)
{
    serve_one(t, c);
    while (t->n_deferred > 0) {
        c = t->deferred[0];
        memmove(t->deferred, t->deferred + 1, --t->n_deferred * sizeof *t->deferred);
        serve_one(t, c);
    }
}

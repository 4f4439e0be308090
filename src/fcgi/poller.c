/* SPDX-License-Identifier: MIT */
/* Which threads poll for requests; see struct fcgi_thread. */
#include "fcgi_internal.h"

/* Twice as many while requests are not gathered. A request that waits for PostgreSQL makes its
 * thread stop polling. The last poller must wake another thread for it, which happens less often
 * if there are more of them. */
static int pollers_max(const struct fcgi_server *s)
{
    const bool ungathered = atomic_load(&s->n_ungathered) >= FCGI_UNGATHERED_MANY;
    return ungathered ? 2 * s->settings.pollers : s->settings.pollers;
}

bool fcgi_poller_begin(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    pthread_mutex_lock(&s->lock);
    const int others = t->is_poller ? s->n_pollers - 1 : s->n_pollers;
    const bool wait = others >= pollers_max(s) && !atomic_load(&s->stopping);
    t->is_poller = !wait;
    s->n_pollers = others + (wait ? 0 : 1);
    if (wait) {
        t->next = s->idle;
        s->idle = t;
    }
    pthread_mutex_unlock(&s->lock);
    while (wait && sem_wait(&t->wake) != 0) /* EINTR */
        continue;
    return !atomic_load(&s->stopping);
}

void fcgi_poller_yield(void *thread)
{
    struct fcgi_thread *t = thread;
    struct fcgi_server *s = t->server;
    struct fcgi_thread *next = NULL;
    for (size_t i = 0; i < t->n_deferred; i++)
        fcgi_conn_finish(s, t->deferred[i], true);
    t->n_deferred = 0;
    if (!t->is_poller || s->settings.pollers == s->settings.threads)
        return;
    pthread_mutex_lock(&s->lock);
    t->is_poller = false;
    /* As long as another one polls, nobody is woken: threads that are done with their work become
     * pollers by themselves. */
    if (s->n_pollers > 1 || !s->idle) {
        s->n_pollers--;
    } else {
        next = s->idle;
        s->idle = next->next;
        next->is_poller = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (next)
        (void)sem_post(&next->wake);
}

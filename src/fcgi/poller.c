/* SPDX-License-Identifier: MIT */
/* Which threads watch; see struct fcgi_thread. */
#include "fcgi_internal.h"

/* Twice as many while requests are not gathered. A request that waits for PostgreSQL makes its
 * thread give up the watch. The last watching thread must wake another for it, which happens less
 * often if more of them watch. */
static int watchers_max(const struct fcgi_server *s)
{
    const bool ungathered = atomic_load(&s->n_ungathered) >= FCGI_UNGATHERED_MANY;
    return ungathered ? 2 * s->settings.watchers : s->settings.watchers;
}

bool fcgi_poller_take(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    pthread_mutex_lock(&s->lock);
    const int others = t->watches ? s->n_watching - 1 : s->n_watching;
    const bool wait = others >= watchers_max(s) && !atomic_load(&s->stopping);
    t->watches = !wait;
    s->n_watching = others + (wait ? 0 : 1);
    if (wait) {
        t->next = s->idle;
        s->idle = t;
    }
    pthread_mutex_unlock(&s->lock);
    while (wait && sem_wait(&t->turn) != 0) /* EINTR */
        continue;
    return !atomic_load(&s->stopping);
}

void fcgi_poller_give(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    struct fcgi_thread *next = NULL;
    for (size_t i = 0; i < t->n_passed; i++)
        fcgi_conn_end_turn(s, t->passed[i], true);
    t->n_passed = 0;
    if (!t->watches || s->settings.watchers == s->settings.threads)
        return;
    pthread_mutex_lock(&s->lock);
    t->watches = false;
    /* As long as another one watches, nobody is woken for it: those that are done with their work
     * take the watch up again by themselves. */
    if (s->n_watching > 1 || !s->idle) {
        s->n_watching--;
    } else {
        next = s->idle;
        s->idle = next->next;
        next->watches = true;
    }
    pthread_mutex_unlock(&s->lock);
    if (next)
        (void)sem_post(&next->turn);
}

void fcgi_poller_end(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct fcgi_thread *t = s->idle; t; t = t->next)
        (void)sem_post(&t->turn);
    s->idle = NULL;
    pthread_mutex_unlock(&s->lock);
}

/* SPDX-License-Identifier: MIT */
/* Which threads watch; see struct fcgi_thread. */
#include "fcgi_internal.h"

bool fcgi_watch_take(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    if (t->watches)
        return !atomic_load(&s->stopping);
    pthread_mutex_lock(&s->lock);
    const bool room = s->n_watching < s->settings.watchers;
    const bool wait = !room && !atomic_load(&s->stopping);
    if (room) {
        s->n_watching++;
        t->watches = true;
    } else if (wait) {
        t->next = s->idle;
        s->idle = t;
    }
    pthread_mutex_unlock(&s->lock);
    while (wait && sem_wait(&t->turn) != 0) /* EINTR */
        continue;
    return !atomic_load(&s->stopping);
}

void fcgi_watch_give(struct fcgi_thread *t)
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

void fcgi_watch_end(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct fcgi_thread *t = s->idle; t; t = t->next)
        (void)sem_post(&t->turn);
    s->idle = NULL;
    pthread_mutex_unlock(&s->lock);
}

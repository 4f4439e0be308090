/* SPDX-License-Identifier: MIT */
/* Which threads watch; see struct fcgi_thread. */
#include "fcgi_internal.h"

bool fcgi_watch_take(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    if (t->watches)
        return !atomic_load(&s->stopping);
    pthread_mutex_lock(&s->lock);
    if (s->n_watching < s->settings.watchers) {
        s->n_watching++;
        t->watches = true;
    } else {
        t->next = s->idle;
        s->idle = t;
    }
    while (!t->watches && !atomic_load(&s->stopping))
        pthread_cond_wait(&t->turn, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return !atomic_load(&s->stopping);
}

void fcgi_watch_give(struct fcgi_thread *t)
{
    struct fcgi_server *s = t->server;
    if (!t->watches || s->settings.watchers == s->settings.threads)
        return;
    pthread_mutex_lock(&s->lock);
    t->watches = false;
    struct fcgi_thread *next = s->idle;
    if (next) {
        s->idle = next->next;
        next->watches = true;
        pthread_cond_signal(&next->turn);
    } else {
        s->n_watching--;
    }
    pthread_mutex_unlock(&s->lock);
}

void fcgi_watch_end(struct fcgi_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct fcgi_thread *t = s->idle; t; t = t->next)
        pthread_cond_signal(&t->turn);
    pthread_mutex_unlock(&s->lock);
}

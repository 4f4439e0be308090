/* SPDX-License-Identifier: MIT */
#include "threads.h"

struct member {
    struct threads *threads;
    pthread_t thread;
    int me;
};

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct fixture *c = fixture_share(m->threads->w);
    pthread_barrier_wait(&m->threads->start);
    m->threads->work(m->threads, c, m->me);
    m->threads->receipts[m->me] = c->r;
    fixture_close(c);
    return NULL;
}

void threads_run(struct threads *threads, int n,
                 void (*work)(struct threads *threads, struct fixture *c, int me))
{
    struct member members[THREADS_MAX];
    threads->work = work;
    pthread_barrier_init(&threads->start, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        members[i] = (struct member){.threads = threads, .me = i};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&members[i].thread, NULL, member_main, &members[i]),
                              0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&threads->start);
}

struct threads threads_at(struct fixture *w, const char *id)
{
    return (struct threads){.w = w, .id = id};
}

bool threads_try_again(enum err e)
{
    return e == ERR_OVERLOAD || e == ERR_BUSY;
}

enum err threads_append(struct threads *threads, struct fixture *c, size_t n, bool create,
                        const struct session_precondition *precondition)
{
    struct session_message m[3];
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", "\"x\"");
    const struct session_append a = {m, n, create};
    enum err e;
    UNTIL_DONE(e, fixture_append(c, "t1", threads->id, &a, precondition));
    return e;
}

/* SPDX-License-Identifier: MIT */
#include "crowd.h"

struct member {
    struct crowd *crowd;
    pthread_t thread;
    int me;
};

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct world *c = world_share(m->crowd->w);
    pthread_barrier_wait(&m->crowd->start);
    m->crowd->work(m->crowd, c, m->me);
    m->crowd->receipts[m->me] = c->r;
    world_close(c);
    return NULL;
}

void crowd_run(struct crowd *crowd, int n,
               void (*work)(struct crowd *crowd, struct world *c, int me))
{
    struct member members[CROWD_MAX];
    crowd->work = work;
    pthread_barrier_init(&crowd->start, NULL, (unsigned)n);
    for (int i = 0; i < n; i++) {
        members[i] = (struct member){.crowd = crowd, .me = i};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&members[i].thread, NULL, member_main, &members[i]),
                              0);
    }
    for (int i = 0; i < n; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&crowd->start);
}

struct crowd crowd_at(struct world *w, const char *id)
{
    return (struct crowd){.w = w, .id = id};
}

bool crowd_try_again(enum err e)
{
    return e == ERR_OVERLOAD || e == ERR_BUSY;
}

enum err crowd_append(struct crowd *crowd, struct world *c, size_t n, bool create,
                      const struct session_precondition *precondition)
{
    struct session_message_draft m[3];
    for (size_t i = 0; i < n; i++)
        m[i] = message_of("user", "\"x\"");
    const struct session_append a = {m, n, create, 0};
    enum err e;
    UNTIL_DONE(e, world_append(c, "t1", crowd->id, &a, precondition));
    return e;
}

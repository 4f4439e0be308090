/* SPDX-License-Identifier: MIT */
/*
 * The sweeper: one thread a worker that deletes what is expired, in bounded steps. Expiry itself
 * does not depend on it: it is a condition of every read. Any number of sweepers may run at once.
 */
#include "session_internal.h"

#include <stdlib.h>

#include "parley/base/thread.h"
#include "parley/base/uuid.h"
#include "parley/obs/log.h"

struct sweeper {
    struct sessions *sessions;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop; /* under lock */
};

enum { SWEEP_ARENA = 4 << 20 };

/* Waits about us microseconds; false when the sweeper is to end. */
static bool pause_for(struct sweeper *w, int64_t us)
{
    const int64_t until = clock_mono_us() + us;
    const struct timespec t = {until / 1000000, (until % 1000000) * 1000};
    pthread_mutex_lock(&w->lock);
    int rc = 0;
    while (!w->stop && rc == 0)
        rc = pthread_cond_timedwait(&w->wake, &w->lock, &t);
    bool go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static bool sweep_pass(struct sweeper *w, struct arena *arena)
{
    struct request_ctx ctx;
    bool more = false;
    ctx_init(&ctx, arena, deadline_in_ms(4 * (int64_t)w->sessions->settings.statement_ms), SV(""),
             SV("sweeper"));
    enum err e = repo_sweep(w->sessions, &ctx, &more);
    if (e != ERR_NONE && e != ERR_UNAVAILABLE)
        log_say(LOG_WARN, "sweep_failed", "%s: %s", err_name(e), ctx.err.cause);
    arena_reset(arena);
    return e == ERR_NONE && more;
}

static void *sweeper_main(void *arg)
{
    struct sweeper *w = arg;
    struct arena *arena = arena_create(SWEEP_ARENA);
    const int64_t pause_us = w->sessions->settings.sweep_s * 1000000;
    /* Workers start together; their passes should not. */
    int64_t wait_us = (int64_t)(random_u64() % (uint64_t)pause_us);
    while (arena && pause_for(w, wait_us))
        wait_us = sweep_pass(w, arena) ? 100000 : pause_us;
    arena_destroy(arena);
    return NULL;
}

struct sweeper *sweeper_start(struct sessions *s)
{
    struct sweeper *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->sessions = s;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (thread_start(&w->thread, NULL, sweeper_main, w) != 0) {
        pthread_cond_destroy(&w->wake);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return NULL;
    }
    return w;
}

void sweeper_stop(struct sweeper *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

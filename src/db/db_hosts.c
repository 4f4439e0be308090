/* SPDX-License-Identifier: MIT */
/* Each worker's thread for the registration of its host. The thread of one worker polls; the others
 * take over when it ends. */
#include "hosts_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "db_internal.h"

#include "parley/base/thread.h"
#include "parley/obs/log.h"

enum {
    ARENA_LIMIT = 256 * 1024,
    POLL_MS = 500,      /* a second poll fits in before the shortcut ends */
    REGISTER_MS = 3000, /* a commit, also on a slow disk */
    REFRESH_MS = 300,   /* the next poll waits for it */
    YIELD_MS = 300,     /* after a poll that failed: another worker may succeed */
    REMOVE_MS = 2000,
    LATE_MARGIN_MS = 1000
};
static const int64_t refresh_us = 2000000;
/* After so long without an answered poll, the polling worker may be stopped. */
static const int64_t silent_us = 600000;

struct db_hosts {
    struct db_hosts_settings set;
    struct db *db; /* borrowed */
    struct arena *arena;
    struct thread_loop thread;
    bool failing; /* used by the thread alone: see log_new_failure */
};

static bool try_to_poll(struct db_hosts_shared *s)
{
    const int rc = pthread_mutex_trylock(&s->polling);
    /* The last holder was killed. The next poll writes everything again. */
    if (rc == EOWNERDEAD)
        (void)pthread_mutex_consistent(&s->polling);
    return rc == 0 || rc == EOWNERDEAD;
}

/* One line when polls begin to fail for a reason that does not pass by itself. */
static void log_new_failure(struct db_hosts *h, const struct request_ctx *ctx, enum err e)
{
    const bool failing = e == ERR_INTERNAL || e == ERR_NOMEM;
    if (failing && !h->failing)
        log_say(LOG_ERROR, "hosts_unknown", "%s: %s", err_name(e), ctx->err.cause);
    h->failing = failing;
}

static void begin_request(struct db_hosts *h, struct request_ctx *ctx, int ms)
{
    ctx_init(ctx, h->arena, deadline_in_ms(ms), SV(""), SV("hosts"));
    ctx->urgent = true;
}

static enum err register_host(struct db_hosts *h, struct request_ctx *ctx)
{
    atomic_store(&h->set.shared->has_asked, true);
    ctx->deadline = deadline_in_ms(REGISTER_MS);
    const enum err e = hosts_register(h->db, ctx, h->set.shared, h->set.workers);
    ctx->deadline = deadline_in_ms(POLL_MS);
    return e;
}

/* Registers first if it must, and again if the registration is lost. */
static enum err poll_once(struct db_hosts *h, struct request_ctx *ctx, struct hosts_found *f)
{
    struct db_hosts_shared *s = h->set.shared;
    enum err e = ERR_NONE;
    for (int tries = 0; tries < 2; tries++) {
        if (atomic_load(&s->write_from_us) == 0)
            e = register_host(h, ctx);
        if (e == ERR_NONE)
            e = hosts_poll(h->db, ctx, s, f);
        if (e != ERR_NONE)
            return e;
        /* This worker was stopped, and another one may have found something newer meanwhile. */
        if (clock_boot_us() >= f->sent_us + HOSTS_WAIT_US)
            return ctx_fault(ctx, ERR_TIMEOUT, "the answer is too old");
        hosts_apply(s, f, clock_boot_us(), h->set.before_alone, h->set.arg);
        if (f->self)
            return e;
    }
    return ctx_fault(ctx, ERR_BUSY, "the registration is being removed");
}

/* False: it failed. */
static bool poll_and_refresh(struct db_hosts *h)
{
    struct request_ctx ctx;
    struct hosts_found f;
    begin_request(h, &ctx, POLL_MS);
    const enum err e = poll_once(h, &ctx, &f);
    log_new_failure(h, &ctx, e);
    if (e == ERR_NONE && (f.self_seen_ago_us < 0 || f.self_seen_ago_us >= refresh_us)) {
        begin_request(h, &ctx, REFRESH_MS);
        /* If it fails, other hosts may count this one as silent, and enlarge their pools early. */
        (void)!hosts_refresh(h->db, &ctx, h->set.shared, h->set.workers);
    }
    arena_reset(h->arena);
    return e == ERR_NONE;
}

/* If the polling worker is stopped, the others still write, and must notice that the host is being
 * forgotten. */
static void check_own_row(struct db_hosts *h)
{
    struct db_hosts_shared *s = h->set.shared;
    struct request_ctx ctx;
    struct hosts_found f;
    if (atomic_load(&s->write_from_us) == 0 ||
        clock_boot_us() < atomic_load(&s->keys_sent_us) + silent_us)
        return;
    begin_request(h, &ctx, POLL_MS);
    if (hosts_poll(h->db, &ctx, s, &f) == ERR_NONE && !f.self)
        hosts_unregistered(s);
    arena_reset(h->arena);
}

static void *hosts_main(void *arg)
{
    struct db_hosts *h = arg;
    struct db_hosts_shared *s = h->set.shared;
    bool polls = false;
    int64_t until_us;
    do {
        int pause_ms = HOSTS_TRY_MS;
        until_us = clock_mono_us();
        polls = polls || try_to_poll(s);
        if (polls) {
            pause_ms = HOSTS_POLL_MS;
            if (!poll_and_refresh(h)) {
                pause_ms = YIELD_MS;
                pthread_mutex_unlock(&s->polling);
                polls = false;
            }
        } else {
            check_own_row(h);
        }
        hosts_note_silence(s, clock_boot_us());
        db_pool_share(h->db, 0, (int)atomic_load(&s->live));
        until_us += pause_ms * INT64_C(1000);
    } while (thread_loop_pause(&h->thread, until_us));
    if (polls)
        pthread_mutex_unlock(&s->polling);
    return NULL;
}

static void dispose(struct db_hosts *h)
{
    arena_destroy(h->arena);
    free(h);
}

struct db_hosts *db_hosts_open(const struct db_hosts_settings *settings, struct db *db)
{
    struct db_hosts *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->set = *settings;
    h->db = db;
    h->arena = arena_create(ARENA_LIMIT);
    /* Before this worker checks whether it may write: see remove_registration. */
    atomic_store(&settings->shared->workers[settings->slot], getpid());
    if (h->arena && thread_loop_start(&h->thread, hosts_main, h))
        return h;
    atomic_store(&settings->shared->workers[settings->slot], 0);
    dispose(h);
    return NULL;
}

/* Waits until no statement of a killed worker can be under way: other hosts take this one for gone
 * afterwards. A worker that may not wait so long is killed, and the registration stays. */
static void await_late_commits(const struct db_hosts *h)
{
    const int64_t unclean_us = atomic_load(&h->set.shared->unclean_us);
    const int64_t late_us = (h->set.statement_ms + LATE_MARGIN_MS) * INT64_C(1000);
    const int64_t left_us = unclean_us == 0 ? 0 : unclean_us + late_us - clock_boot_us();
    deadline_wait(deadline_in_ms(left_us > 0 ? left_us / 1000 + 1 : 0));
}

/* By the last worker. A new one takes its slot, then checks whether it may write. This does it in
 * the other order: so either the new one finds that it must register, or this finds its slot taken.
 */
static void remove_registration(struct db_hosts *h)
{
    struct db_hosts_shared *s = h->set.shared;
    struct request_ctx ctx;
    await_late_commits(h);
    if (hosts_any_worker(s) || !try_to_poll(s))
        return; /* it is that worker's now */
    hosts_unregistered(s);
    if (!hosts_any_worker(s)) {
        begin_request(h, &ctx, REMOVE_MS);
        const enum err e = hosts_remove(h->db, &ctx, s);
        if (e != ERR_NONE)
            log_say(LOG_WARN, "registration_stays", "%s: %s; parley host forget %s", err_name(e),
                    ctx.err.cause, s->id);
        arena_reset(h->arena);
    }
    pthread_mutex_unlock(&s->polling);
}

void db_hosts_close(struct db_hosts *h)
{
    if (!h)
        return;
    thread_loop_stop(&h->thread);
    atomic_store(&h->set.shared->workers[h->set.slot], 0);
    if (atomic_load(&h->set.shared->has_asked) && !hosts_any_worker(h->set.shared))
        remove_registration(h);
    dispose(h);
}

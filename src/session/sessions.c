/* SPDX-License-Identifier: MIT */
/* Opens and closes the service, with its batchers and its sweeper. */
#include "session_internal.h"

#include <stdlib.h>

#include "parley/obs/log.h"

/* ---- the sweeper ---- */

/* One thread a worker that deletes expired sessions and tombstones in bounded steps. Expiry does
 * not depend on it: that is a condition of every read. Any number of sweepers may run at once. */
enum { SWEEP_ARENA = 4 << 20 };

static bool sweep_pass(struct sessions *s, struct arena *arena)
{
    struct request_ctx ctx;
    bool more = false;
    ctx_init(&ctx, arena, deadline_in_ms(4 * (int64_t)s->settings.statement_ms), SV(""),
             SV("sweeper"));
    enum err e = sql_sweep(s, &ctx, &more);
    if (e != ERR_NONE && e != ERR_UNAVAILABLE)
        log_say(LOG_WARN, "sweep_failed", "%s: %s", err_name(e), ctx.err.cause);
    arena_reset(arena);
    return e == ERR_NONE && more;
}

static void *sweeper_main(void *sessions)
{
    struct sessions *s = sessions;
    struct arena *arena = arena_create(SWEEP_ARENA);
    const int64_t pause_us = s->settings.sweep_s * 1000000;
    /* Workers start together. The random first pause keeps their passes apart. */
    int64_t wait_us = (int64_t)(random_u64() % (uint64_t)pause_us);
    while (arena && thread_loop_pause(&s->sweeper, clock_mono_us() + wait_us))
        wait_us = sweep_pass(s, arena) ? 100000 : pause_us;
    arena_destroy(arena);
    return NULL;
}

/* ---- the service ---- */

static void destroy(struct sessions *s)
{
    db_batcher_destroy(s->appends);
    db_batcher_destroy(s->creates);
    free(s);
}

struct sessions *sessions_open(const struct sessions_settings *settings, struct db *db,
                               struct cache *cache, struct metrics_slot *slot)
{
    struct sessions *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->settings = *settings;
    s->db = db;
    s->cache = cache;
    s->slot = slot;
    s->appends = db_batcher_create(db, &sql_write_kind, s, slot ? &slot->appends : NULL);
    s->creates = db_batcher_create(db, &sql_write_kind, s, slot ? &slot->creates : NULL);
    if (s->appends && s->creates &&
        (settings->sweep_s == 0 || thread_loop_start(&s->sweeper, sweeper_main, s)))
        return s;
    destroy(s);
    return NULL;
}

void sessions_close(struct sessions *s)
{
    if (!s)
        return;
    if (s->settings.sweep_s > 0)
        thread_loop_stop(&s->sweeper);
    destroy(s);
}

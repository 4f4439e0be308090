/* SPDX-License-Identifier: MIT */
/* Opens and closes the service, with its batchers, its sweeper and its indexer. */
#include "session_internal.h"

#include <stdlib.h>

#include "parley/obs/log.h"
#include "parley/session/search.h"

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

/* ---- the indexer ---- */

/* One thread in each worker if messages can be searched. A lock in PostgreSQL lets one of them all
 * index at a time. While requests use PostgreSQL, it works for a fifth of the time. */
enum { INDEX_PAUSE_US = 1000000, INDEX_SHARE = 5 };

static bool index_pass(struct sessions *s, struct arena *arena, int64_t *failures)
{
    struct request_ctx ctx;
    bool more = false;
    ctx_init(&ctx, arena, deadline_in_ms(4 * (int64_t)s->settings.statement_ms), SV(""),
             SV("indexer"));
    enum err e = db_is_up(s->db) ? session_index_step(s, &ctx, *failures, &more) : ERR_UNAVAILABLE;
    if (e != ERR_NONE && e != ERR_UNAVAILABLE)
        log_say(LOG_WARN, "index_failed", "%s: %s", err_name(e), ctx.err.cause);
    *failures = e == ERR_TIMEOUT ? *failures + 1 : 0;
    arena_reset(arena);
    return more || e == ERR_TIMEOUT;
}

static void *indexer_main(void *sessions)
{
    struct sessions *s = sessions;
    struct arena *arena = arena_create(SWEEP_ARENA);
    int64_t wait_us = (int64_t)(random_u64() % INDEX_PAUSE_US), failures = 0;
    while (arena && thread_loop_pause(&s->indexer, clock_mono_us() + wait_us)) {
        const int64_t began_us = clock_mono_us();
        const bool more = index_pass(s, arena, &failures);
        const bool busy = !s->slot || atomic_load(&s->slot->pool_in_use) > 0;
        wait_us = !more  ? INDEX_PAUSE_US
                  : busy ? (INDEX_SHARE - 1) * (clock_mono_us() - began_us)
                         : 0;
    }
    arena_destroy(arena);
    return NULL;
}

/* ---- the service ---- */

struct sessions *sessions_open(const struct sessions_settings *settings, struct db *db,
                               struct cache *cache, struct metrics_slot *slot)
{
    struct sessions *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    *s = (struct sessions){.settings = *settings, .db = db, .cache = cache, .slot = slot};
    if (s->settings.messages_max == 0)
        s->settings.messages_max = INT64_MAX;
    s->appends = db_batcher_create(db, &sql_write_kind, s, slot ? &slot->appends : NULL);
    s->creates = db_batcher_create(db, &sql_write_kind, s, slot ? &slot->creates : NULL);
    s->sweeps = settings->sweep_s > 0 && thread_loop_start(&s->sweeper, sweeper_main, s);
    s->indexes = settings->search && thread_loop_start(&s->indexer, indexer_main, s);
    if (s->appends && s->creates && s->sweeps == (settings->sweep_s > 0) &&
        s->indexes == settings->search)
        return s;
    sessions_close(s);
    return NULL;
}

void sessions_close(struct sessions *s)
{
    if (!s)
        return;
    if (s->sweeps)
        thread_loop_stop(&s->sweeper);
    if (s->indexes)
        thread_loop_stop(&s->indexer);
    db_batcher_destroy(s->appends);
    db_batcher_destroy(s->creates);
    free(s);
}

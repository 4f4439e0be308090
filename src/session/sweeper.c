/* SPDX-License-Identifier: MIT */
/*
 * The sweeper: one thread a worker that deletes expired sessions and tombstones in bounded steps.
 * Expiry does not depend on it: that is a condition of every read. Any number of sweepers may run
 * at once.
 */
#include "session_internal.h"

#include "parley/base/uuid.h"
#include "parley/obs/log.h"

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

void *sweeper_main(void *sessions)
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

/* SPDX-License-Identifier: MIT */
/* The record of the cache epoch, one row for all hosts and tenants. */
#include "session_internal.h"

/* clang-format off */
static const struct db_stmt look = {
    "cache_look",
    /* A hold that reaches further than any can was made before this clock was set back. */
    "WITH set_back AS (UPDATE cache_state"
    " SET held_until = clock_timestamp() + $1 * interval '1 millisecond'"
    " WHERE $1 > 0 AND held_until > clock_timestamp() + $1 * interval '1 millisecond')"
    " SELECT epoch, held_until > clock_timestamp() AS held, dirty FROM cache_state"};

static const struct db_stmt hold = {
    "cache_hold",
    "UPDATE cache_state SET dirty = true,"
    " held_until = greatest(held_until, clock_timestamp() + $1 * interval '1 millisecond')"
    " RETURNING epoch, true AS held, dirty"};

/* Never again an epoch that was in use, also after the row was restored from a backup: what Redis
 * holds may be of any time. */
static const struct db_stmt raise_epoch = {
    "cache_raise",
    "UPDATE cache_state SET dirty = false,"
    " epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)"
    " WHERE epoch = $1 AND held_until <= clock_timestamp()"
    " RETURNING epoch, false AS held, dirty"};
/* clang-format on */

enum { ASK_ARENA = 256 * 1024 };

static enum err ask(void *arg, enum cache_ask what, uint64_t n, struct deadline until,
                    struct cache_record *out)
{
    static const struct db_stmt *const stmt[] = {
        [CACHE_LOOK] = &look, [CACHE_HOLD] = &hold, [CACHE_RAISE] = &raise_epoch};
    const struct db_param p[] = {db_i64((int64_t)n)};
    /* A hold that is done twice is one hold; an epoch that is raised twice is two. */
    const enum db_retry retry = what == CACHE_RAISE ? DB_WRITE : DB_READ;
    struct request_ctx ctx;
    struct db_rows rows;
    *out = (struct cache_record){.epoch = 0};
    struct arena *arena = arena_create(ASK_ARENA);
    if (!arena)
        return ERR_NOMEM;
    ctx_init(&ctx, arena, until, SV(""), SV("cache"));
    enum err e = db_query(arg, &ctx, retry, stmt[what], p, 1, &rows, NULL);
    if (e == ERR_NONE && rows.count > 0) {
        out->epoch = (uint64_t)db_get_i64(&rows, 0, db_column(&rows, "epoch"));
        out->held = db_get_bool(&rows, 0, db_column(&rows, "held"));
        out->dirty = db_get_bool(&rows, 0, db_column(&rows, "dirty"));
    } else if (e == ERR_NONE && what != CACHE_RAISE) {
        e = ERR_INTERNAL; /* somebody has emptied the table */
    }
    arena_destroy(arena);
    return e;
}

struct cache_authority sessions_cache_authority(struct db *db)
{
    return (struct cache_authority){db, ask};
}

/* SPDX-License-Identifier: MIT */
/* The thread that confirms the snapshot of keys, and loads it again when any of them has changed.
 */
#include "auth_internal.h"

#include <stdlib.h>

#include "parley/obs/log.h"

enum { EVERY_MS = 200, CHECK_MS = 1000, LOAD_MS = 5000, POLL_OLD_MS = 400 };

static const struct db_stmt read_version = {"auth_version", "SELECT version FROM auth_state"};

/* What the host's last poll found, if it is recent. A poll that was sent before the question that
 * confirms the snapshot now may have seen less. */
static bool was_polled(const struct auth *a, int64_t *version, int64_t *asked)
{
    const int64_t old = atomic_load(&a->valid_until) - AUTH_VALID_US;
    int64_t sent;
    if (!db_hosts_keys_version(a->set.hosts, version, &sent) || sent < old ||
        sent < clock_boot_us() - POLL_OLD_MS * INT64_C(1000))
        return false;
    *asked = sent;
    return true;
}

/* *asked: when the question was sent that the answer belongs to. */
static enum err is_current(struct auth *a, struct request_ctx *ctx, bool *current, int64_t *asked)
{
    struct db_rows rows;
    int64_t version = 0;
    enum err e = ERR_NONE;
    if (!was_polled(a, &version, asked)) {
        *asked = clock_boot_us();
        e = db_query(a->db, ctx, DB_READ, &read_version, NULL, 0, &rows, NULL);
        if (e == ERR_NONE && rows.count == 1)
            version = db_get_i64(&rows, 0, 0);
    }
    /* Only this thread changes a->current, so it reads it without the lock. */
    *current = e == ERR_NONE && version == a->current->version;
    return e;
}

static void replace_snapshot(struct auth *a, struct snapshot *fresh)
{
    struct log_line l;
    log_begin(&l, LOG_INFO, "keys_loaded");
    log_int(&l, "keys", (int64_t)fresh->n);
    log_end(&l);
    pthread_rwlock_wrlock(&a->swap);
    struct snapshot *old = a->current;
    a->current = fresh;
    pthread_rwlock_unlock(&a->swap);
    free(old);
}

static enum err refresh(struct auth *a, struct request_ctx *ctx)
{
    bool current = false;
    struct snapshot *fresh;
    int64_t asked = 0;
    enum err e = a->current ? is_current(a, ctx, &current, &asked) : ERR_NONE;
    if (e == ERR_NONE && !current) {
        asked = clock_boot_us();
        ctx->deadline = deadline_in_ms(LOAD_MS);
        e = snapshot_load(a->db, ctx, &a->set, &fresh);
        if (e == ERR_NONE)
            replace_snapshot(a, fresh);
    }
    if (e == ERR_NONE)
        atomic_store(&a->valid_until, asked + AUTH_VALID_US);
    return e;
}

/* One line when it begins to fail. That PostgreSQL is away or busy is logged elsewhere. */
static void log_new_failure(struct auth *a, const struct request_ctx *ctx, enum err e)
{
    const bool failing = e == ERR_INTERNAL || e == ERR_NOMEM;
    if (atomic_exchange(&a->failing, failing) != failing && failing)
        log_say(LOG_ERROR, "keys_unconfirmed", "%s: %s", err_name(e), ctx->err.cause);
}

/* Wakes the requests that wait for an answer. */
static void wake_requests(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    a->answers++;
    pthread_cond_broadcast(&a->answered);
    pthread_mutex_unlock(&a->lock);
}

void *refresh_main(void *arg)
{
    struct auth *a = arg;
    struct request_ctx ctx;
    int64_t began;
    do {
        began = clock_mono_us();
        ctx_init(&ctx, a->arena, deadline_in_ms(CHECK_MS), SV(""), SV("keys"));
        ctx.urgent = true;
        log_new_failure(a, &ctx, refresh(a, &ctx));
        arena_reset(a->arena);
        wake_requests(a);
    } while (thread_loop_pause(&a->refresher, began + EVERY_MS * INT64_C(1000)));
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/* The thread that loads all keys and bounds when any of them has changed. */
#include "auth_internal.h"

#include <stdlib.h>

#include "parley/obs/log.h"

enum { ASK_EVERY_MS = 200, ASK_MS = 1000, LOAD_MS = 5000, POLL_OLD_MS = 400 };

static const struct db_stmt ask_version = {"auth_version", "SELECT version FROM auth_state"};

/* What the host's last poll found, if it is young. One that was sent before the answer that vouches
 * now may have seen less than that. */
static bool was_polled(const struct auth *a, int64_t *version, int64_t *asked)
{
    const int64_t old = atomic_load(&a->vouched_until) - VOUCH_US;
    int64_t sent;
    if (!db_hosts_keys_version(a->set.hosts, version, &sent) || sent < old ||
        sent < clock_boot_us() - POLL_OLD_MS * INT64_C(1000))
        return false;
    *asked = sent;
    return true;
}

/* *asked: when the question was sent that the answer is to. */
static enum err is_current(struct auth *a, struct request_ctx *ctx, bool *current, int64_t *asked)
{
    struct db_rows rows;
    int64_t version = 0;
    enum err e = ERR_NONE;
    if (!was_polled(a, &version, asked)) {
        *asked = clock_boot_us();
        e = db_query(a->db, ctx, DB_READ, &ask_version, NULL, 0, &rows, NULL);
        if (e == ERR_NONE && rows.count == 1)
            version = db_get_i64(&rows, 0, 0);
    }
    /* This thread alone changes what a->current is: it needs no lock to look at it. */
    *current = e == ERR_NONE && version == a->current->version;
    return e;
}

static void put(struct auth *a, struct snapshot *fresh)
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

static enum err ask(struct auth *a, struct request_ctx *ctx)
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
            put(a, fresh);
    }
    if (e == ERR_NONE)
        atomic_store(&a->vouched_until, asked + VOUCH_US);
    return e;
}

/* One line when it begins to fail. Other code logs that PostgreSQL is away or busy. */
static void note(struct auth *a, const struct request_ctx *ctx, enum err e)
{
    const bool broken = e == ERR_INTERNAL || e == ERR_NOMEM;
    if (atomic_exchange(&a->broken, broken) != broken && broken)
        log_say(LOG_ERROR, "keys_unconfirmed", "%s: %s", err_name(e), ctx->err.cause);
}

/* Wakes those that wait for an answer. */
static void announce(struct auth *a)
{
    pthread_mutex_lock(&a->lock);
    a->turn++;
    pthread_cond_broadcast(&a->news);
    pthread_mutex_unlock(&a->lock);
}

void *refresh_main(void *arg)
{
    struct auth *a = arg;
    struct request_ctx ctx;
    int64_t began;
    do {
        began = clock_mono_us();
        ctx_init(&ctx, a->arena, deadline_in_ms(ASK_MS), SV(""), SV("keys"));
        ctx.urgent = true;
        note(a, &ctx, ask(a, &ctx));
        arena_reset(a->arena);
        announce(a);
    } while (thread_loop_pause(&a->refresher, began + ASK_EVERY_MS * INT64_C(1000)));
    return NULL;
}

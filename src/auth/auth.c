/* SPDX-License-Identifier: MIT */
/* Checks who sends a request. Normally without a query, a malloc or a system call. */
#include "auth_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "parley/base/net.h"

/* LATE_MS: how often a request looks whether its key is confirmed by now. */
enum { ARENA_LIMIT = 1 << 20, LATE_MS = 10 };

static void dispose(struct auth *a)
{
    pthread_rwlock_destroy(&a->swap);
    arena_destroy(a->arena);
    free(a->current);
    free(a);
}

struct auth *auth_open(const struct auth_settings *settings, struct db *db)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    /* Readers come all the time and hold the lock for a search; a writer comes with each change. */
    *a = (struct auth){.set = *settings,
                       .db = db,
                       .swap = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP,
                       .arena = arena_create(ARENA_LIMIT)};
    if (a->arena && (!settings->keys || thread_loop_start(&a->refresher, snapshot_main, a)))
        return a;
    dispose(a);
    return NULL;
}

void auth_close(struct auth *a)
{
    if (!a)
        return;
    if (a->set.keys)
        thread_loop_stop(&a->refresher);
    dispose(a);
}

bool auth_is_ready(const struct auth *a)
{
    return !a->set.keys || atomic_load(&a->valid_until) != 0;
}

/* ---- keys ---- */

/* Takes the same time whether there is such a key or not. */
static bool look_up_key(struct auth *a, struct sv text, struct snapshot_key *out)
{
    static const struct snapshot_key none = {.tenant_n = 0};
    unsigned char hash[KEY_HASH_LEN];
    struct sv secret;
    uint64_t id;
    if (!key_parse(text, &id, &secret))
        return false;
    key_hash(secret, hash);
    pthread_rwlock_rdlock(&a->swap);
    const struct snapshot_key *found = a->current ? snapshot_find(a->current, id) : NULL;
    *out = found ? *found : none;
    const bool same = sodium_memcmp(hash, out->hash, KEY_HASH_LEN) == 0;
    const int64_t now = db_now_us(a->db);
    const bool good = same && found && now < out->expires_at;
    if (good)
        snapshot_note_use(a, found, now);
    pthread_rwlock_unlock(&a->swap);
    return good;
}

/* Whether the snapshot may decide about a key. */
enum confirmation {
    CONFIRMED, /* it was current at the look-up or later */
    LATE,      /* PostgreSQL has not answered in time, but is expected to */
    STALE,     /* PostgreSQL is away, and keys that were confirmed last may still be used */
    UNKNOWN    /* PostgreSQL is away, or answers with an error */
};

/* Call it after the look-up: a thread that was stopped in between finds that the time has passed.
 * until is read before the look-up: the snapshot is the one that it is about, or a newer one. */
static enum confirmation confirmation(const struct auth *a, int64_t until)
{
    const int64_t now = clock_boot_us();
    if (now < until)
        return CONFIRMED;
    if (db_is_up(a->db))
        return atomic_load(&a->failing) ? UNKNOWN : LATE;
    const int64_t stale_us = a->set.stale_s * 1000000;
    return until != 0 && now < until - AUTH_VALID_US + stale_us ? STALE : UNKNOWN;
}

bool auth_accepts_keys(const struct auth *a)
{
    return !a->set.keys || confirmation(a, atomic_load(&a->valid_until)) != UNKNOWN;
}

static enum err unconfirmed(struct request_ctx *ctx, const char *why)
{
    return ctx_fault(ctx, ERR_UNAVAILABLE, "the API key cannot be confirmed: %s", why);
}

static enum err check_key(struct auth *a, struct request_ctx *ctx, const struct http_request *req,
                          struct snapshot_key *out)
{
    struct sv text;
    TRY(key_presented(ctx, req, &text));
    for (;;) {
        const int64_t until = atomic_load(&a->valid_until);
        const bool good = look_up_key(a, text, out);
        switch (confirmation(a, until)) {
        case CONFIRMED:
            return good ? ERR_NONE
                        : ctx_fail(ctx, ERR_UNAUTHENTICATED, "invalid_api_key", NULL,
                                   "The API key is not valid.");
        case LATE:
            if (deadline_passed(ctx->deadline))
                return unconfirmed(ctx, "PostgreSQL has not answered in time");
            ctx_will_wait(ctx);
            deadline_wait(deadline_earlier(ctx->deadline, deadline_in_ms(LATE_MS)));
            break;
        case STALE:
            /* An unknown key may have been made since. */
            ctx->caches_only = true;
            return good ? ERR_NONE : unconfirmed(ctx, "PostgreSQL is away");
        case UNKNOWN:
            return unconfirmed(ctx, "PostgreSQL is away, or answers with an error");
        }
    }
}

/* ---- without keys ---- */

static enum err check_address(const struct auth *a, struct request_ctx *ctx, struct sv address,
                              struct snapshot_key *out)
{
    if (!net_is_local(address))
        return ctx_fail(ctx, ERR_FORBIDDEN, "auth_off", NULL,
                        "This server answers its own machine only; for others it must be run with "
                        "PARLEY_AUTH=keys.");
    *out = (struct snapshot_key){.requests = a->set.requests,
                                 .sessions = a->set.sessions,
                                 .tenant = "default",
                                 .tenant_n = sizeof("default") - 1};
    return ERR_NONE;
}

enum err auth_check(struct auth *a, struct request_ctx *ctx, const struct http_request *req)
{
    struct snapshot_key k;
    TRY(a->set.keys ? check_key(a, ctx, req, &k) : check_address(a, ctx, req->remote_addr, &k));
    const struct sv tenant = arena_dup(ctx->arena, (struct sv){k.tenant, k.tenant_n});
    if (!tenant.p)
        return ctx_nomem(ctx);
    ctx->tenant = tenant;
    ctx->key_id = k.id;
    ctx->sessions_max = k.sessions;
    ctx->rate_limit = k.requests;
    if (k.requests == 0 || limit_take(a->set.shared, tenant, k.requests, clock_mono_us(),
                                      &ctx->rate_left, &ctx->err.retry_after_s))
        return ERR_NONE;
    return ctx_fail(ctx, ERR_LIMITED, "tenant_requests", NULL,
                    "More than the %lld requests a second that the tenant may send.",
                    (long long)k.requests);
}

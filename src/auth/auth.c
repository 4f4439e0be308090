/* SPDX-License-Identifier: MIT */
/* Checks who sends a request. Normally without a query, a malloc or a system call. */
#include "auth_internal.h"

#include <stdlib.h>
#include <string.h>

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

static bool is_proven(const struct credential *c, const struct snapshot_key *k)
{
    unsigned char hash[KEY_HASH_LEN];
    struct sv user = k->text;
    (void)sv_cut(&user, ' ');
    if (!c->secret.p)
        return crypto_sign_verify_detached(c->signature, (const void *)c->signed_text.p,
                                           c->signed_text.n, k->hash) == 0 &&
               k->signing;
    key_hash(c->secret, k->read_only, user, hash);
    return sodium_memcmp(hash, k->hash, KEY_HASH_LEN) == 0 && !k->signing;
}

/* Takes the same time whether there is such a key or not. Verifies without the lock, because a
 * signature takes a hundred times as long as a hash. */
static enum err look_up_key(struct auth *a, struct request_ctx *ctx, const struct credential *c,
                            struct snapshot_key *out, bool *good)
{
    /* The base point of RFC 8032, a valid public key: an invalid one would be refused at once, and
     * the time would show that there is no such key. */
    struct snapshot_key none = {.hash = {0x58}};
    memset(none.hash + 1, 0x66, sizeof(none.hash) - 1);
    pthread_rwlock_rdlock(&a->swap);
    const struct snapshot_key *found = a->current ? snapshot_find(a->current, c->id) : NULL;
    *out = found ? *found : none;
    out->text = arena_dup(ctx->arena, out->text);
    pthread_rwlock_unlock(&a->swap);
    if (!out->text.p)
        return ctx_nomem(ctx);
    const int64_t now = db_now_us(a->db);
    *good = is_proven(c, out) && found && now < out->expires_at;
    if (*good)
        snapshot_note_use(a, c->id, now);
    return ERR_NONE;
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

static enum err find_key(struct auth *a, struct request_ctx *ctx, const struct credential *c,
                         struct snapshot_key *out)
{
    for (;;) {
        const int64_t until = atomic_load(&a->valid_until);
        bool good = false;
        if (c)
            TRY(look_up_key(a, ctx, c, out, &good));
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

static enum err check_key(struct auth *a, struct request_ctx *ctx, const struct http_request *req,
                          struct snapshot_key *out)
{
    struct credential c = {.secret = SV_NONE};
    struct sv text;
    TRY(key_presented(ctx, req, &text));
    const enum err e = credential_parse(ctx, text, &c);
    if (e != ERR_NONE && e != ERR_INVALID)
        return e;
    ctx_clear_error(ctx);
    TRY(find_key(a, ctx, e == ERR_NONE ? &c : NULL, out));
    ctx->read_only = out->read_only;
    ctx->key_expires_at = out->expires_at;
    ctx->only_user = out->text;
    (void)sv_cut(&ctx->only_user, ' ');
    return c.secret.p ? ERR_NONE : token_claims(ctx, c.claims, db_now_us(a->db));
}

/* ---- without keys ---- */

static enum err check_address(const struct auth *a, struct request_ctx *ctx, struct sv address,
                              struct snapshot_key *out)
{
    if (!net_is_local(address))
        return ctx_fail(ctx, ERR_FORBIDDEN, "auth_off", NULL,
                        "This server answers its own machine only; for others it must be run with "
                        "PARLEY_AUTH=keys.");
    ctx->key_expires_at = INT64_MAX;
    *out = (struct snapshot_key){
        .requests = a->set.requests, .sessions = a->set.sessions, .text = SV("default")};
    return ERR_NONE;
}

enum err auth_check(struct auth *a, struct request_ctx *ctx, const struct http_request *req)
{
    struct snapshot_key k;
    TRY(a->set.keys ? check_key(a, ctx, req, &k) : check_address(a, ctx, req->remote_addr, &k));
    ctx->tenant = sv_cut(&k.text, ' ');
    ctx->key_id = k.id;
    ctx->sessions_max = k.sessions;
    ctx->rate_limit = k.requests;
    if (k.requests == 0 || limit_take(a->set.shared, ctx->tenant, k.requests, clock_mono_us(),
                                      &ctx->rate_left, &ctx->err.retry_after_s))
        return ERR_NONE;
    return ctx_fail(ctx, ERR_LIMITED, "tenant_requests", NULL,
                    "More than the %lld requests a second that the tenant may send.",
                    (long long)k.requests);
}

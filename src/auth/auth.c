/* SPDX-License-Identifier: MIT */
/* The check of a request: on its way, without a query, an allocation or a call of the system. */
#include "auth_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { ARENA_LIMIT = 1 << 20 };

static void dispose(struct auth *a)
{
    pthread_cond_destroy(&a->news);
    pthread_mutex_destroy(&a->lock);
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
    a->set = *settings;
    a->db = db;
    thread_cond_init(&a->news);
    pthread_mutex_init(&a->lock, NULL);
    /* Readers hold it for a search and come without end; a writer comes once a change. */
    pthread_rwlockattr_t order;
    pthread_rwlockattr_init(&order);
    pthread_rwlockattr_setkind_np(&order, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&a->swap, &order);
    pthread_rwlockattr_destroy(&order);
    a->arena = arena_create(ARENA_LIMIT);
    if (a->arena && (!settings->keys || thread_loop_start(&a->refresher, refresh_main, a)))
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
    return !a->set.keys || atomic_load(&a->vouched_until) != 0;
}

/* ---- keys ---- */

/* The same work whether there is such a key or not. */
static bool look_up(struct auth *a, struct sv text, struct snapshot_key *out)
{
    static const struct snapshot_key nobody = {.tenant_n = 0};
    unsigned char hash[KEY_HASH_LEN];
    struct sv secret;
    uint64_t id;
    if (!key_parse(text, &id, &secret))
        return false;
    key_hash(secret, hash);
    pthread_rwlock_rdlock(&a->swap);
    const struct snapshot_key *found = a->current ? snapshot_find(a->current, id) : NULL;
    *out = found ? *found : nobody;
    pthread_rwlock_unlock(&a->swap);
    const bool same = sodium_memcmp(hash, out->hash, KEY_HASH_LEN) == 0;
    return same && found && db_now_us(a->db) < out->expires_at;
}

enum standing {
    CONFIRMED, /* what was looked up held at an instant from the look-up on */
    LATE,      /* PostgreSQL has not answered in time; it will */
    STALE,     /* it is away, and what was confirmed last may still be used */
    UNKNOWN    /* it is away, or refuses to answer */
};

/* Asked after the look-up: whoever was stopped in between finds the time over. until is read before
 * it: the snapshot that was looked into is the one that it vouches for, or a newer one. */
static enum standing standing(const struct auth *a, int64_t until)
{
    const int64_t now = clock_boot_us();
    if (now < until)
        return CONFIRMED;
    if (db_is_up(a->db))
        return atomic_load(&a->broken) ? UNKNOWN : LATE;
    const int64_t stale_us = a->set.stale_s * 1000000;
    return until != 0 && now < until - VOUCH_US + stale_us ? STALE : UNKNOWN;
}

bool auth_lets_in(const struct auth *a)
{
    return !a->set.keys || standing(a, atomic_load(&a->vouched_until)) != UNKNOWN;
}

/* Waits for the refresher's next answer, at most 100 ms: nothing wakes this thread when PostgreSQL
 * is found to be away. */
static void await_news(struct auth *a, int64_t until, struct deadline deadline)
{
    const struct deadline soon = deadline_earlier(deadline, deadline_in_ms(100));
    bool more = true;
    pthread_mutex_lock(&a->lock);
    const unsigned turn = a->turn;
    while (a->turn == turn && atomic_load(&a->vouched_until) == until && more)
        more = thread_cond_wait(&a->news, &a->lock, soon.at_us);
    pthread_mutex_unlock(&a->lock);
}

static enum err unconfirmed(struct request_ctx *ctx, const char *why)
{
    ctx->err.retry_after_s = 1;
    return ctx_fault(ctx, ERR_UNAVAILABLE, "the API key cannot be confirmed: %s", why);
}

static enum err check_key(struct auth *a, struct request_ctx *ctx, const struct auth_claim *claim,
                          struct snapshot_key *out)
{
    struct sv text;
    TRY(key_presented(ctx, claim, &text));
    for (;;) {
        const int64_t until = atomic_load(&a->vouched_until);
        const bool good = look_up(a, text, out);
        switch (standing(a, until)) {
        case CONFIRMED:
            return good ? ERR_NONE : key_refused(ctx);
        case LATE:
            if (deadline_passed(ctx->deadline))
                return unconfirmed(ctx, "PostgreSQL has not answered in time");
            ctx_will_wait(ctx);
            await_news(a, until, ctx->deadline);
            break;
        case STALE:
            /* A key that is not known may be one that was made since. */
            ctx->caches_only = true;
            return good ? ERR_NONE : unconfirmed(ctx, "PostgreSQL is away");
        case UNKNOWN:
            return unconfirmed(ctx, "PostgreSQL is away, or refuses to say");
        }
    }
}

/* ---- without keys ---- */

/* As nginx writes an address: dotted, with colons, or "unix:" for who came by a socket. */
static bool is_loopback(struct sv address)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char ip[sizeof(struct in6_addr)];
    static const unsigned char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127};
    if (sv_eq(address, SV("unix:")))
        return true;
    if (address.n == 0 || address.n >= sizeof(text))
        return false;
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (inet_pton(AF_INET, text, ip) == 1)
        return ip[0] == 127;
    return inet_pton(AF_INET6, text, ip) == 1 && (memcmp(ip, &in6addr_loopback, sizeof(ip)) == 0 ||
                                                  memcmp(ip, mapped, sizeof(mapped)) == 0);
}

static enum err check_address(const struct auth *a, struct request_ctx *ctx, struct sv address,
                              struct snapshot_key *out)
{
    static const struct sv tenant = SV_INIT("default");
    if (!is_loopback(address))
        return ctx_fail(ctx, ERR_FORBIDDEN, "auth_off", NULL,
                        "This server answers its own machine only; for others it must be run with "
                        "PARLEY_AUTH=keys.");
    memcpy(out->tenant, tenant.p, tenant.n);
    out->tenant_n = (unsigned char)tenant.n;
    out->requests = a->set.requests;
    out->sessions = a->set.sessions;
    if (out->requests > 0)
        out->tenant_mark = limit_mark(tenant);
    return ERR_NONE;
}

enum err auth_check(struct auth *a, struct request_ctx *ctx, const struct auth_claim *claim)
{
    struct snapshot_key k;
    TRY(a->set.keys ? check_key(a, ctx, claim, &k) : check_address(a, ctx, claim->remote_addr, &k));
    const struct sv tenant = arena_dup(ctx->arena, (struct sv){k.tenant, k.tenant_n});
    if (!tenant.p)
        return ctx_nomem(ctx);
    ctx->tenant = tenant;
    ctx->sessions_max = k.sessions;
    if (k.requests == 0 || limit_take(a->set.shared, k.tenant_mark, k.requests, clock_mono_us(),
                                      &ctx->err.retry_after_s))
        return ERR_NONE;
    return ctx_fail(ctx, ERR_LIMITED, "tenant_requests", NULL,
                    "More than the %lld requests a second that the tenant may send.",
                    (long long)k.requests);
}

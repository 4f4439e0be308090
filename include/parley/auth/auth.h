/* SPDX-License-Identifier: MIT */
/*
 * Who sends a request: API keys, the tenant that each belongs to, and the bounds of a tenant.
 *
 * A key is parley_<its id: 16 hex digits>_<its secret: 43 characters of base64url, 32 random
 * bytes>. PostgreSQL holds the SHA-256 of the secret. Each worker holds all valid keys in memory,
 * so that a request costs a hash and a search. Every 200 ms a thread checks whether anything has
 * changed: from the host's last poll of PostgreSQL (parley/db/hosts.h), or with a query of its own
 * if there is none. An answer confirms the keys in memory until 900 ms after its question was sent.
 * Unconfirmed keys decide nothing. So a committed change holds on every worker after AUTH_HOLDS_MS,
 * also on a busy machine and on a worker that was stopped meanwhile. The thread also writes in
 * which hour a key was last used.
 *
 * Thread rule: all threads of a worker share one struct auth, which is opened after the fork.
 */
#pragma once

#include "parley/db/hosts.h"
#include "parley/http/request.h"

struct auth;
struct auth_shared;

enum {
    AUTH_ID_LEN = 16,
    AUTH_KEY_LEN = 67,
    AUTH_SECRET_MAX = 118, /* of a key, or a private key in PEM */
    AUTH_TENANT_MAX = 64,
    AUTH_NAME_MAX = 100, /* code points */
    AUTH_HOLDS_MS = 1000,
    AUTH_COUNTED_MAX = 1000
};
#define AUTH_REQUESTS_MAX INT64_C(1000000) /* of a bound: requests a second */
#define AUTH_SESSIONS_MAX INT64_C(1000000000)

/* Counts the requests of all workers of a host. Map it before the fork; it stays until the process
 * ends. NULL: no memory. */
struct auth_shared *auth_shared_map(void);

struct auth_settings {
    bool keys;        /* false: no keys; requests of this machine belong to tenant "default" */
    int64_t stale_s;  /* how long the last confirmed keys are accepted while PostgreSQL is away */
    int64_t requests; /* a second, of a tenant that has no bound of its own; 0: unbounded */
    int64_t sessions; /* open ones; as above */
    struct auth_shared *shared;          /* borrowed */
    const struct db_hosts_shared *hosts; /* the host's polls; borrowed; NULL: none */
    int64_t counted; /* tenants that get their own counters; 0: none is counted */
};

/* Begins to load the keys in the background. db is borrowed. NULL: no memory or no thread. */
struct auth *auth_open(const struct auth_settings *settings, struct db *db);
void auth_close(struct auth *a); /* no thread may be in auth_check; NULL is fine */
/* True once keys have been loaded; without keys at once. */
bool auth_is_ready(const struct auth *a);
/* False while every key is refused: PostgreSQL is away for longer than PARLEY_KEYS_STALE (or since
 * before any key was confirmed), or it is up and the keys cannot be loaded. */
bool auth_accepts_keys(const struct auth *a);

/* Finds out whose request req is, and counts it: sets ctx->tenant (in the arena), sessions_max and
 * caches_only. Waits for unconfirmed keys, at most until ctx->deadline.
 *   ERR_UNAUTHENTICATED: no key, or one that is unknown, wrong, expired or revoked (the client
 *   cannot tell these four apart). ERR_FORBIDDEN: without keys, from another machine. ERR_LIMITED:
 *   more requests a second than the tenant may send. ERR_UNAVAILABLE: no key can be confirmed. */
MUSTCHECK enum err auth_check(struct auth *a, struct request_ctx *ctx,
                              const struct http_request *req);

/* Counts an answer to a tenant for the metrics. tenant "": does nothing. */
void auth_count(const struct auth *a, struct sv tenant, int status);
/* Writes these metrics. */
void auth_write_counts(const struct auth *a, struct buf *out);

/* ---- for an operator's commands; db logs in as the owner of the tables (db_settings.owner) ----
 */

bool auth_tenant_valid(struct sv tenant); /* 1 to AUTH_TENANT_MAX of A-Z a-z 0-9 . _ - */
bool auth_name_valid(struct sv name);     /* up to AUTH_NAME_MAX, UTF-8, no control characters */
#define AUTH_USER_RULE ID_RULE ", and without a blank at either end"
bool auth_user_valid(struct sv user); /* AUTH_USER_RULE */
/* *id: the id in a key, or the text itself if it is an id. False if it is neither. */
MUSTCHECK bool auth_key_id(struct sv text, struct sv *id);

struct auth_key {
    struct sv id, tenant, name;
    struct sv user;          /* the key is for this user alone; "": for all */
    bool read_only, signing; /* it may change nothing; it signs tokens, and is not a bearer key */
    int64_t created_at;
    int64_t expires_at, revoked_at; /* 0: never, not */
    int64_t last_used_at;           /* the beginning of the hour; 0: never */
};
/* Makes a key and stores its hash. key: tenant, name, user, read_only and signing are given.
 * lives_s 0: it does not expire. secret: the key, which cannot be shown again; ends in NUL. */
MUSTCHECK enum err auth_key_create(struct db *db, struct request_ctx *ctx, struct auth_key *key,
                                   int64_t lives_s, char secret[AUTH_SECRET_MAX + 1]);
/* Oldest first, with those that have expired or are revoked. */
MUSTCHECK enum err auth_key_list(struct db *db, struct request_ctx *ctx, struct auth_key **out,
                                 size_t *n);
/* May be repeated. Sets ctx->tenant to the tenant of the key. ERR_NOT_FOUND, with nothing in
 * ctx->err: there is no key with that id. */
MUSTCHECK enum err auth_key_revoke(struct db *db, struct request_ctx *ctx, struct sv id);
/* How many keys are valid now; also for the serving role. */
MUSTCHECK enum err auth_key_count(struct db *db, struct request_ctx *ctx, int64_t *n);

/* A bound of a tenant: a number, none, that of the settings, or (to set it) unchanged. */
enum { AUTH_BOUND_KEPT = -2, AUTH_BOUND_DEFAULT = -1, AUTH_BOUND_NONE = 0 };
struct auth_tenant {
    struct sv tenant;              /* if it was read, a NUL follows it */
    int64_t keys;                  /* valid now */
    int64_t requests, sessions;    /* AUTH_BOUND_… or the bound */
    int64_t open, messages, bytes; /* open sessions, stored messages, their bytes; 0 unless asked */
};
/* Sets both bounds of tenant->tenant, and reads back what they are now. */
MUSTCHECK enum err auth_tenant_set(struct db *db, struct request_ctx *ctx,
                                   struct auth_tenant *tenant);
/* Revokes all keys of ctx->tenant. May be repeated. */
MUSTCHECK enum err auth_tenant_revoke(struct db *db, struct request_ctx *ctx);
/* Deletes the revoked keys of ctx->tenant (*keys: how many) and its bounds. */
MUSTCHECK enum err auth_tenant_delete(struct db *db, struct request_ctx *ctx, int64_t *keys);
/* The tenants that have keys or bounds; with usage also those that have sessions. */
MUSTCHECK enum err auth_tenant_list(struct db *db, struct request_ctx *ctx, bool usage,
                                    struct auth_tenant **out, size_t *n);

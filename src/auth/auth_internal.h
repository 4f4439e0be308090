/* SPDX-License-Identifier: MIT */
/* What the files of auth/ share. Nobody else includes it, but for their tests. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <sodium.h>

#include "parley/auth/auth.h"
#include "parley/base/thread.h"

/* ---- key.c: the text of a key ---- */

enum { KEY_SECRET_LEN = 43, KEY_HASH_LEN = 32 };

/* False unless text has the form of a key. */
MUSTCHECK bool key_parse(struct sv text, uint64_t *id, struct sv *secret);
MUSTCHECK bool key_id_parse(struct sv hex, uint64_t *id);
/* user: "" for all users. */
void key_hash(struct sv secret, bool read_only, struct sv user, unsigned char out[KEY_HASH_LEN]);
/* Makes an id, a secret as key says, and its hash (of a signing key: its public key). */
void key_make(const struct auth_key *key, char id[AUTH_ID_LEN], char out[AUTH_SECRET_MAX + 1],
              unsigned char hash[KEY_HASH_LEN]);
/* The key in the headers. ERR_UNAUTHENTICATED, in ctx: there is none, or two different ones. */
MUSTCHECK enum err key_presented(struct request_ctx *ctx, const struct http_request *req,
                                 struct sv *key);

/* ---- token.c: signed tokens ---- */

/* What a request presents: the secret of a key, or a token that a key has signed. */
struct credential {
    uint64_t id;      /* of the key */
    struct sv secret; /* absent: it is a token */
    struct sv signed_text, claims;
    unsigned char signature[crypto_sign_BYTES];
};
/* ERR_INVALID unless text has the form of a key or a token. Does not read the token's claims. */
MUSTCHECK enum err credential_parse(struct request_ctx *ctx, struct sv text,
                                    struct credential *out);
/* Reads the claims of a token whose signature is valid, and adds their restrictions to those of the
 * key in ctx. now_us: wall clock. ERR_UNAUTHENTICATED, slug invalid_token: field names the claim at
 * fault. */
MUSTCHECK enum err token_claims(struct request_ctx *ctx, struct sv claims, int64_t now_us);

/* ---- snapshot.c: all live keys at one instant, and the thread that keeps them up to date ---- */

struct snapshot_key {
    uint64_t id;
    int64_t expires_at;               /* INT64_MAX: never */
    int64_t requests, sessions;       /* bounds of its tenant; 0: none */
    unsigned char hash[KEY_HASH_LEN]; /* of a signing key: its public key */
    bool read_only, signing;
    struct sv text; /* the tenant; if the key is for a user, a blank and the user */
};
/* When a key was used last, in hours since 1970; 0: not by this worker. */
struct key_use {
    _Atomic int64_t hour;
    int64_t written; /* what PostgreSQL is known to have; the refresher's alone */
};
struct snapshot {
    int64_t version; /* of auth_state */
    size_t n;
    struct key_use *use;        /* of each key; stored after the keys, and before their texts */
    struct snapshot_key keys[]; /* ascending by id */
};
const struct snapshot_key *snapshot_find(const struct snapshot *s, uint64_t id);
/* Notes that a key is used; the refresher stores it. */
void snapshot_note_use(struct auth *a, uint64_t id, int64_t now_us);
void *snapshot_main(void *auth);

/* ---- limit.c: requests a second, counted by the workers of a host together ---- */

/* Counts a request at now_us (monotonic) of a tenant that may send rate requests a second, and as
 * many at once; *left: how many more may be sent now. False: it is one too many;
 * *retry_s: when it would not be, at least 1. */
MUSTCHECK bool limit_take(struct auth_shared *shared, struct sv tenant, int64_t rate,
                          int64_t now_us, int64_t *left, int *retry_s);

/* ---- auth.c ---- */

/* How long an answer confirms the snapshot, from when its question was sent. */
#define AUTH_VALID_US INT64_C(900000)

struct auth {
    struct auth_settings set;
    struct db *db; /* borrowed */
    /* clock_boot_us, so that keys expire while the machine sleeps. 0: no keys yet. Stored after the
     * snapshot that it is about. */
    _Atomic int64_t valid_until;
    pthread_rwlock_t swap;    /* held to read the snapshot, or to replace it */
    struct snapshot *current; /* owned; NULL: none yet */
    struct thread_loop refresher;
    struct arena *arena;   /* the refresher's; owned */
    atomic_bool used;      /* the use of a key is to be written */
    int64_t write_from_us; /* not before, after a failure; the refresher's */
    atomic_bool failing;   /* the last statement failed for a reason that does not pass by itself */
};

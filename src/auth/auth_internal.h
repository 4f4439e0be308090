/* SPDX-License-Identifier: MIT */
/* What the files of auth/ share. Nobody else includes it (the room's tests do). */
#ifndef PARLEY_AUTH_INTERNAL_H
#define PARLEY_AUTH_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "parley/auth/auth.h"
#include "parley/base/thread.h"

/* ---- key.c: the text of a key ---- */

enum { KEY_SECRET_LEN = 43, KEY_HASH_LEN = 32 };

/* False unless text is a key, as far as that can be seen. */
MUSTCHECK bool key_parse(struct sv text, uint64_t *id, struct sv *secret);
MUSTCHECK bool key_id_parse(struct sv hex, uint64_t *id);
void key_hash(struct sv secret, unsigned char out[KEY_HASH_LEN]);
void key_make(char out[AUTH_KEY_LEN + 1]);
/* The key that the headers give. ERR_UNAUTHENTICATED, in ctx, for none or two different ones. */
MUSTCHECK enum err key_presented(struct request_ctx *ctx, const struct auth_claim *claim,
                                 struct sv *key);
/* The one refusal of all keys that are no good. */
enum err key_refused(struct request_ctx *ctx);

/* ---- snapshot.c: all live keys at one instant ---- */

struct snapshot_key {
    uint64_t id;
    int64_t expires_at;         /* INT64_MAX: never */
    int64_t requests, sessions; /* bounds of its tenant; 0: none */
    uint64_t tenant_mark;       /* see limit_mark */
    unsigned char hash[KEY_HASH_LEN];
    unsigned char tenant_n;
    char tenant[AUTH_TENANT_MAX];
};
struct snapshot {
    int64_t version; /* of auth_state */
    size_t n;
    struct snapshot_key keys[]; /* ascending by id */
};
/* One statement, so that keys and version are of one instant. *out is malloc'd. */
MUSTCHECK enum err snapshot_load(struct db *db, struct request_ctx *ctx,
                                 const struct auth_settings *settings, struct snapshot **out);
const struct snapshot_key *snapshot_find(const struct snapshot *s, uint64_t id);

/* ---- limit.c: requests a second, counted by the workers of a host together ---- */

/* Of a tenant's name; never 0. */
uint64_t limit_mark(struct sv tenant);
/* Counts one request at now_us (monotonic), where rate are allowed a second, and a second's worth
 * at once. False: it is one too many; *retry_s says when it would not be, at least 1. */
MUSTCHECK bool limit_take(struct auth_shared *shared, uint64_t mark, int64_t rate, int64_t now_us,
                          int *retry_s);

/* ---- auth.c ---- */

/* An answer vouches for the snapshot for so long from before it was asked for. */
#define VOUCH_US INT64_C(900000)

struct auth {
    struct auth_settings set;
    struct db *db; /* borrowed */
    /* clock_boot_us: a machine that slept holds nothing that is confirmed. 0: no keys yet. Stored
     * after the snapshot that it vouches for is in place. */
    _Atomic int64_t vouched_until;
    pthread_rwlock_t swap;    /* held to read the snapshot, or to put another one in its place */
    struct snapshot *current; /* owned; NULL: none yet */
    pthread_mutex_t lock;
    pthread_cond_t news; /* a question was answered, or failed */
    unsigned turn;       /* under lock: how many were */
    struct thread_loop refresher;
    struct arena *arena; /* the refresher's; owned */
    atomic_bool broken;  /* the last question was answered with an error that time does not cure */
};

/* refresh.c: the thread that keeps the snapshot fresh. */
void *refresh_main(void *auth);

#endif

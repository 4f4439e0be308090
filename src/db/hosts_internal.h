/* SPDX-License-Identifier: MIT */
/* What the files of the registration of hosts share, and their tests: db_hosts.c (the thread),
 * hosts_sql.c (its statements), hosts_rules.c (what follows from an answer), hosts_shared.c (the
 * shared memory). */
#ifndef PARLEY_DB_HOSTS_INTERNAL_H
#define PARLEY_DB_HOSTS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "parley/db/hosts.h"

#define HOSTS_ALONE_US INT64_C(1000000) /* how long a poll holds, from when it was sent */
#define HOSTS_WAIT_US  INT64_C(2000000) /* after which every host has noticed a registration */

enum { HOSTS_POLL_MS = 200, HOSTS_TRY_MS = 100 };

/* There are two, used in turn: nobody reads the one that is being written, even if its writer stops
 * halfway. */
enum { HOSTS_TABLE_WORDS = sizeof(struct db_host[DB_HOSTS_SHOWN_MAX]) / 8 };
struct hosts_table {
    _Atomic int64_t n, registered;
    _Atomic uint64_t words[HOSTS_TABLE_WORDS];
};

struct db_hosts_shared {
    /* Constant. */
    char id[DB_HOSTS_ID_LEN + 1];
    char address[DB_HOSTS_TEXT_MAX + 1];
    char version[DB_HOSTS_TEXT_MAX + 1];
    bool alone;
    pthread_mutex_t polling;        /* robust; its holder polls, and alone writes what follows */
    _Atomic int64_t alone_until_us; /* the shortcut is on until then; 0: it is off */
    _Atomic int64_t registered_us;  /* when a poll first found the registration */
    _Atomic int64_t write_from_us;  /* 0: this host must register first */
    _Atomic int64_t pg_started_us;  /* of the PostgreSQL that answered last; 0: none has */
    _Atomic int64_t keys_version, keys_sent_us; /* 0: being written */
    _Atomic int64_t others, live;
    _Atomic int state;     /* enum db_hosts_shortcut, as it was logged last */
    atomic_bool has_asked; /* a registration was sent */
    _Atomic unsigned turn; /* tables[turn % 2] is whole */
    struct hosts_table tables[2];
    /* Written by the worker of the slot, and by the supervisor after its end. */
    _Atomic int64_t unclean_us; /* when a worker was last killed; 0: never */
    _Atomic pid_t workers[DB_HOSTS_SLOTS_MAX];
};

/* ---- hosts_rules.c: no clock, no thread, no PostgreSQL ---- */

/* What a poll found. */
struct hosts_found {
    int64_t sent_us;
    bool self;         /* this host is registered, and not marked by db_hosts_forget */
    bool others_alone; /* one of the others was started with PARLEY_HOSTS=one */
    int64_t others;    /* registrations */
    int64_t live;      /* hosts seen within 10 s, with this one */
    int64_t keys_version;
    int64_t pg_started_us;
    int64_t self_seen_ago_us;
    size_t n; /* of the table; further registrations are left out */
    struct db_host table[DB_HOSTS_SHOWN_MAX];
};

/* Applies the rules to what was found. now_us: after the answer came. */
void hosts_apply(struct db_hosts_shared *s, const struct hosts_found *f, int64_t now_us,
                 void (*before_alone)(void *arg), void *arg);
/* From now on this host must register before it writes or takes the shortcut. */
void hosts_unregistered(struct db_hosts_shared *s);
/* Logs it if the shortcut has ended because no poll succeeded. */
void hosts_note_silence(struct db_hosts_shared *s, int64_t now_us);
bool hosts_alone_at(const struct db_hosts_shared *s, int64_t now_us);
bool hosts_may_write_at(const struct db_hosts_shared *s, int64_t now_us);
/* A sentence for db_hosts_shortcut and the log. s may be NULL. */
void hosts_describe(const struct db_hosts_shared *s, enum db_hosts_shortcut state, char *out,
                    size_t n);

/* hosts_shared.c: whether any slot has a worker. */
bool hosts_any_worker(const struct db_hosts_shared *s);

/* ---- hosts_sql.c ---- */

MUSTCHECK enum err hosts_poll(struct db *db, struct request_ctx *ctx,
                              const struct db_hosts_shared *s, struct hosts_found *out);
MUSTCHECK enum err hosts_register(struct db *db, struct request_ctx *ctx,
                                  const struct db_hosts_shared *s, int workers);
/* Sets the time at which this host was last seen. */
MUSTCHECK enum err hosts_refresh(struct db *db, struct request_ctx *ctx,
                                 const struct db_hosts_shared *s, int workers);
MUSTCHECK enum err hosts_remove(struct db *db, struct request_ctx *ctx,
                                const struct db_hosts_shared *s);

#endif

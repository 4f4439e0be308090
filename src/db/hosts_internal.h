/* SPDX-License-Identifier: MIT */
/* What the two files of the registration of hosts share, and their tests: db_hosts.c (the thread
 * and its statements), hosts_shared.c (the shared memory, and the rules by which it changes). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "parley/db/hosts.h"

#define HOSTS_ALONE_US INT64_C(1000000) /* how long a poll holds, from when it was sent */
#define HOSTS_WAIT_US  INT64_C(2000000) /* after which every host has noticed a registration */

enum { HOSTS_POLL_MS = 200, HOSTS_TRY_MS = 100 };

enum { HOSTS_FOUND_WORDS = sizeof(struct db_hosts_found) / 8 };

struct db_hosts_shared {
    /* Constant. */
    char id[DB_HOSTS_ID_LEN + 1];
    char address[DB_HOSTS_TEXT_MAX + 1];
    char version[DB_HOSTS_TEXT_MAX + 1];
    bool alone;
    pthread_mutex_t polling;        /* robust; its holder polls, and alone writes what follows */
    _Atomic int64_t alone_until_us; /* the shortcut is on until then; 0: it is off */
    _Atomic int64_t alone_timeline; /* and while the highest timeline is this one */
    _Atomic int64_t registered_us;  /* when a poll first found the registration */
    _Atomic int64_t write_from_us;  /* 0: this host must register first */
    _Atomic int64_t pg_started_us;  /* of the PostgreSQL that answered last; 0: none has */
    _Atomic int state;              /* enum db_hosts_shortcut, as it was logged last */
    atomic_bool has_asked;          /* a registration was sent */
    /* What the last poll found is in found[turn % 2]. Nobody reads the other one, even if its
     * writer stops halfway. */
    _Atomic unsigned turn;
    _Atomic uint64_t found[2][HOSTS_FOUND_WORDS];
    struct db_servers servers;
    /* Written by the worker of the slot, and by the supervisor after its end. */
    _Atomic int64_t unclean_us; /* when a worker was last killed; 0: never */
    _Atomic pid_t workers[DB_HOSTS_SLOTS_MAX];
};

/* Applies the rules to what was found. now_us: after the answer came. */
void hosts_apply(struct db_hosts_shared *s, const struct db_hosts_found *f, int64_t now_us,
                 void (*before_alone)(void *arg), void *arg);
/* From now on this host must register before it writes or takes the shortcut. */
void hosts_unregistered(struct db_hosts_shared *s);
/* Logs it if the shortcut has ended because no poll succeeded. */
void hosts_note_silence(struct db_hosts_shared *s, int64_t now_us);
/* Whether the shortcut is on at that time, by clock_boot_us. */
static inline bool hosts_alone_at(const struct db_hosts_shared *s, int64_t now_us)
{
    /* Another server was promoted: its history may lack what memory holds. */
    return now_us < atomic_load(&s->alone_until_us) &&
           atomic_load(&s->servers.highest) == atomic_load(&s->alone_timeline);
}
/* Whether any slot has a worker. */
bool hosts_any_worker(const struct db_hosts_shared *s);

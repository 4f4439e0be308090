/*
 * Who shares this PostgreSQL: each host (one service with its workers and its shared memory) is
 * registered in the table hosts under a random id. One thread of the host polls PostgreSQL every
 * 200 ms and writes what it found into shared memory: whether other hosts are registered, the
 * version of the API keys, and until when this host may take itself to be alone.
 *
 * What must hold, of a host that is alone (PARLEY_HOSTS=one) and its shortcut, answers from memory
 * that PostgreSQL was not asked for:
 *   - The shortcut is on only until 1 s after the sending of the last poll that found no other
 *     registration.
 *   - A host registers before it writes. Where that poll of another might not have seen it, which
 *     is where it found another that is `alone`, it writes only 2 s after it was registered.
 *   - So no other host has written since that poll. While the shortcut was off, one may have:
 *     before_alone is called, with the poll's answer at hand, before it is on again.
 *   - A registration never expires: whoever is stopped for an hour may still write when it goes on.
 *     It is removed by the last worker at its end, or by db_hosts_forget.
 * Times are those of clock_boot_us, which goes on while the machine sleeps.
 *
 * Thread rule: who polls has the one mutex, which is robust; everybody else only tries it. All the
 * rest of the shared memory are atomics. A process that is killed or stopped at any point holds
 * nobody up.
 */
#ifndef PARLEY_DB_HOSTS_H
#define PARLEY_DB_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "parley/db/db.h"

enum {
    DB_HOSTS_ID_LEN = 32, /* hexadecimal digits */
    DB_HOSTS_TEXT_MAX = 64,
    DB_HOSTS_SHOWN_MAX = 32,
    DB_HOSTS_SLOTS_MAX = 512 /* workers of a host at a time */
};

struct db_hosts;
struct db_hosts_shared;

/* Mapped by the supervisor before it forks, with a new id. alone: PARLEY_HOSTS=one. version: of the
 * program. NULL: no memory. */
struct db_hosts_shared *db_hosts_shared_map(bool alone, const char *version);
void db_hosts_shared_unmap(struct db_hosts_shared *shared); /* NULL is fine */
/* By the supervisor, of a worker that has ended. Not clean: what it sent may still be committed. */
void db_hosts_worker_ended(struct db_hosts_shared *shared, size_t slot, pid_t pid, bool clean);

struct db_hosts_settings {
    struct db_hosts_shared *shared; /* borrowed */
    size_t slot;                    /* of this worker */
    int workers;                    /* of the host */
    int statement_ms;               /* how long what was sent may still be committed */
    /* In the polling thread: all that is cached may be out of date. NULL: nothing is cached. */
    void (*before_alone)(void *arg);
    void *arg;
};

/* Takes part in the polling, in a thread of its own. db is borrowed, and is told how many hosts
 * share the server. NULL: no memory or no thread. */
struct db_hosts *db_hosts_open(const struct db_hosts_settings *settings, struct db *db);
/* When nothing of this worker writes any more. The last worker of the host removes the
 * registration; it waits until what a killed worker has sent is committed or not. NULL is fine. */
void db_hosts_close(struct db_hosts *h);

/* ---- for every thread of the host; none of these waits or asks; shared may be NULL ---- */

/* Whether the shortcut is on at this moment. */
bool db_hosts_is_alone(const struct db_hosts_shared *shared);
/* False until this host is registered, and has waited where it must. */
bool db_hosts_may_write(const struct db_hosts_shared *shared);
/* How many other hosts are registered, as the last poll found it. */
int64_t db_hosts_others(const struct db_hosts_shared *shared);
/* The version of the API keys as the last poll found it, and when that was sent. False: none yet,
 * or it is being written. */
bool db_hosts_keys_version(const struct db_hosts_shared *shared, int64_t *version,
                           int64_t *sent_us);

enum db_hosts_shortcut {
    DB_HOSTS_STARTING, /* the registration is missing, or younger than 2 s */
    DB_HOSTS_ON,
    DB_HOSTS_OTHERS,    /* other hosts are registered */
    DB_HOSTS_SILENT,    /* no poll has succeeded for 1 s */
    DB_HOSTS_RESTARTED, /* another PostgreSQL answers, for 2 s: rows may be lost */
    DB_HOSTS_MANY       /* not configured */
};
/* why holds a sentence, "" where it is on. */
enum db_hosts_shortcut db_hosts_shortcut(const struct db_hosts_shared *shared, char *why, size_t n);

struct db_host {
    char id[DB_HOSTS_ID_LEN + 1];
    char address[DB_HOSTS_TEXT_MAX + 1];
    char version[DB_HOSTS_TEXT_MAX + 1];
    int64_t workers;
    int64_t seen_ago_us; /* by PostgreSQL's clock */
    bool alone;          /* it was started with PARLEY_HOSTS=one */
    bool self;
};
/* What the last poll found, this host first, then those seen last. How many; *registered are all
 * there are. */
size_t db_hosts_seen(const struct db_hosts_shared *shared, struct db_host out[DB_HOSTS_SHOWN_MAX],
                     int64_t *registered);

/* ---- for an operator's commands ---- */

/* All of them, in the arena; those seen last come first. */
MUSTCHECK enum err db_hosts_list(struct db *db, struct request_ctx *ctx, struct db_host **out,
                                 size_t *n);
/* Removes the registration of that id, or (SV_NONE) of all that were not seen for stale_s seconds,
 * unless the host lives: it notices within the 2 s that this takes. What is removed can take the
 * shortcut no more. *alive: how many were kept. ERR_NOT_FOUND: there is none of that id. */
MUSTCHECK enum err db_hosts_forget(struct db *db, struct request_ctx *ctx, struct sv id,
                                   int64_t stale_s, int64_t *removed, int64_t *alive);

#endif

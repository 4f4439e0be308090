/*
 * The hosts that share this PostgreSQL. Each (one service with its workers and its shared memory)
 * is registered in the table hosts under a random id. One of its threads polls PostgreSQL every
 * 200 ms and writes into shared memory what it finds.
 *
 * A host that is alone (PARLEY_HOSTS=one) may answer from memory without asking PostgreSQL: this is
 * the shortcut. These rules must hold for it:
 *   - The shortcut is on only until 1 s after the sending of the last poll that found no other
 *     registration.
 *   - A host registers before it writes. Where that poll of another might not have seen it, which
 *     is where it found another that is `alone`, it writes only 2 s after it was registered.
 *   - So no other host has written since that poll. While the shortcut was off, one may have:
 *     before_alone is called, with the poll's answer at hand, before it is on again.
 *   - A registration never expires: a host that was stopped for an hour may still write when it is
 *     continued. The last worker removes it at its end, or db_hosts_forget does.
 * Times are those of clock_boot_us, which goes on while the machine sleeps.
 *
 * Thread rule: the polling thread holds the one mutex, which is robust; all others only try it. All
 * the rest of the shared memory are atomics. Nobody waits for a process that is killed or stopped
 * at any point.
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
/* The supervisor calls it when a worker has ended. Not clean: what it sent may still be committed.
 */
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

/* Starts a thread that takes part in the polling. It tells db, which is borrowed, how many hosts
 * share the server. NULL: no memory or no thread. */
struct db_hosts *db_hosts_open(const struct db_hosts_settings *settings, struct db *db);
/* To be called when nothing of this worker writes any more; NULL is fine. The last worker of the
 * host removes the registration, once what a killed worker has sent is committed or not. */
void db_hosts_close(struct db_hosts *h);

/* ---- for every thread of the host; none of these waits or asks; shared may be NULL ---- */

bool db_hosts_is_alone(const struct db_hosts_shared *shared); /* the shortcut is on */
/* False until this host is registered, and has waited if it must. */
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
/* The hosts of the last poll: this one first, then those seen most recently. Returns how many are
 * in out; *registered: how many there are in all. */
size_t db_hosts_seen(const struct db_hosts_shared *shared, struct db_host out[DB_HOSTS_SHOWN_MAX],
                     int64_t *registered);

/* ---- for an operator's commands ---- */

/* All of them, in the arena; those seen last come first. */
MUSTCHECK enum err db_hosts_list(struct db *db, struct request_ctx *ctx, struct db_host **out,
                                 size_t *n);
/* Removes the registration of that id, or (SV_NONE) of all that were not seen for stale_s seconds.
 * A running host is kept: it notices within the 2 s that this takes. A removed host can no longer
 * take the shortcut. *alive: how many were kept. ERR_NOT_FOUND: there is none of that id. */
MUSTCHECK enum err db_hosts_forget(struct db *db, struct request_ctx *ctx, struct sv id,
                                   int64_t stale_s, int64_t *removed, int64_t *alive);

#endif

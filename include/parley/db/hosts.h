/*
 * The hosts that share this PostgreSQL. Each (one service: its workers and their shared memory) is
 * registered in the table hosts under a random id. A thread of one worker polls PostgreSQL every
 * 200 ms and publishes what it finds in shared memory.
 *
 * A host that is alone (PARLEY_HOSTS=one) may answer from memory without asking PostgreSQL: this is
 * the shortcut. It is safe because:
 *   - It is on only until 1 s after the sending of the last poll that found no other registration.
 *   - A host registers before it writes. If it finds a host that is `alone`, whose last poll may be
 *     older than the registration, it writes only 2 s later.
 *   - So no other host has written since that poll. While the shortcut was off, one may have:
 *     before_alone is called before it is on again.
 *   - A registration never expires: a host that was stopped for an hour may still write when it is
 *     continued. The last worker removes it on its exit, or db_hosts_forget does.
 * Times are those of clock_boot_us, which includes the time in which the machine sleeps.
 *
 * Thread rule: the polling thread holds the one mutex, which is robust; all others only try it. The
 * rest of the shared memory is atomics. Nobody waits for a process that is killed or stopped.
 */
#pragma once

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

/* The supervisor maps it before it forks and keeps it until it ends. It has a new id. alone:
 * PARLEY_HOSTS=one. version: of the program. NULL: no memory. */
struct db_hosts_shared *db_hosts_shared_map(bool alone, const char *version);
/* Called by the supervisor. Not clean: what the worker sent may still be committed. */
void db_hosts_worker_ended(struct db_hosts_shared *shared, size_t slot, pid_t pid, bool clean);

struct db_hosts_settings {
    struct db_hosts_shared *shared; /* borrowed */
    size_t slot;                    /* of this worker */
    int workers;                    /* of the host */
    int statement_ms;               /* longest time of a statement */
    /* In the polling thread: every cached value may be out of date. NULL: nothing is cached. */
    void (*before_alone)(void *arg);
    void *arg;
};

/* Starts the worker's thread. It sets how many hosts share the server in db, which is borrowed.
 * NULL: no memory or no thread. */
struct db_hosts *db_hosts_open(const struct db_hosts_settings *settings, struct db *db);
/* Call it when this worker writes no more. NULL is fine. The last worker of the host removes the
 * registration, after waiting for what a killed worker may have sent. */
void db_hosts_close(struct db_hosts *h);

/* ---- for every thread of the host; they neither wait nor send; shared may be NULL ---- */

bool db_hosts_is_alone(const struct db_hosts_shared *shared); /* the shortcut is on */
/* False until this host is registered, and has waited the 2 s if it must. */
bool db_hosts_may_write(const struct db_hosts_shared *shared);

enum db_hosts_shortcut {
    DB_HOSTS_STARTING, /* the registration is missing, or younger than 2 s */
    DB_HOSTS_ON,
    DB_HOSTS_OTHERS,    /* other hosts are registered */
    DB_HOSTS_SILENT,    /* no poll has succeeded for 1 s */
    DB_HOSTS_RESTARTED, /* another PostgreSQL answers since less than 2 s: rows may be lost */
    DB_HOSTS_COMMITS,   /* commits wait for a standby: they may become visible at any time */
    DB_HOSTS_MANY       /* not configured */
};
/* why: a sentence; "" if it is on. */
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

enum { DB_STANDBY_NAMES_MAX = 488 }; /* bytes; 120 characters */

/* Replication of PostgreSQL, as this host's last successful poll found it. */
struct db_replication {
    int64_t sent_us;         /* when the poll was sent, by clock_boot_us; 0: not known yet */
    int64_t commits_waiting; /* of this login, all hosts: for a standby, for more than a second */
    int64_t overdue;     /* statements of this login that run for more than a second; with these */
    int64_t standbys;    /* connected ones */
    int64_t synchronous; /* of these; -1: the login lacks the rights of pg_read_all_stats */
    char names[DB_STANDBY_NAMES_MAX]; /* synchronous_standby_names; "": no commit waits */
};

/* What a poll found. */
struct db_hosts_found {
    int64_t sent_us;      /* 0: no poll has succeeded yet */
    int64_t timeline;     /* the highest known when it was sent */
    bool self;            /* this host is registered, and not marked by db_hosts_forget */
    bool others_alone;    /* one of the others was started with PARLEY_HOSTS=one */
    int64_t registered;   /* hosts, also those that are gone */
    int64_t others;       /* of these, without this one */
    int64_t live;         /* hosts seen within 10 s, with this one */
    int64_t keys_version; /* of the API keys */
    int64_t pg_started_us;
    struct db_replication replication;
    size_t n;                                 /* of the table; further registrations are left out */
    struct db_host table[DB_HOSTS_SHOWN_MAX]; /* this one first, then those seen most recently */
};
/* What the last poll found. */
void db_hosts_last_poll(const struct db_hosts_shared *shared, struct db_hosts_found *out);

/* ---- for an operator's commands ---- */

/* All of them, in the arena; the last seen come first. */
MUSTCHECK enum err db_hosts_list(struct db *db, struct request_ctx *ctx, struct db_host **out,
                                 size_t *n);
/* Removes the registration of that id, or (SV_NONE) of all that were not seen for stale_s seconds.
 * Takes 2 s, within which a running host notices and registers again: it is kept. A removed host no
 * longer has the shortcut. *alive: how many were kept. ERR_NOT_FOUND: there is none of that id. */
MUSTCHECK enum err db_hosts_forget(struct db *db, struct request_ctx *ctx, struct sv id,
                                   int64_t stale_s, int64_t *removed, int64_t *alive);

/* SPDX-License-Identifier: MIT */
/* The shared memory of a host's registration. Decides from the result of a poll whether this host
 * may write and take the shortcut, and answers every thread. The rules and their reason:
 * parley/db/hosts.h. */
#include "hosts_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parley/base/uuid.h"
#include "parley/obs/log.h"

_Static_assert(sizeof(struct db_hosts_found) % 8 == 0, "it is copied in words of 8 bytes");

struct db_hosts_shared *db_hosts_shared_map(bool alone, const char *version)
{
    pthread_mutexattr_t attr;
    struct db_hosts_shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    snprintf(s->id, sizeof(s->id), "%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    /* A longer name is cut off, without a NUL. The memory is zero. */
    if (gethostname(s->address, sizeof(s->address) - 1) != 0)
        snprintf(s->address, sizeof(s->address), "unknown");
    snprintf(s->version, sizeof(s->version), "%s", version);
    s->alone = alone;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&s->polling, &attr);
    pthread_mutexattr_destroy(&attr);
    atomic_store(&s->state, DB_HOSTS_STARTING);
    return s;
}

void db_hosts_worker_ended(struct db_hosts_shared *shared, size_t slot, pid_t pid, bool clean)
{
    /* Before the slot is free: a thread that finds no worker left must find this. */
    if (!clean)
        atomic_store(&shared->unclean_us, clock_boot_us());
    (void)atomic_compare_exchange_strong(&shared->workers[slot], &pid, 0);
}

bool hosts_any_worker(const struct db_hosts_shared *s)
{
    for (size_t i = 0; i < DB_HOSTS_SLOTS_MAX; i++)
        if (atomic_load(&s->workers[i]) != 0)
            return true;
    return false;
}

/* ---- what the last poll found ---- */

static void publish(struct db_hosts_shared *s, const struct db_hosts_found *f)
{
    const unsigned turn = atomic_load(&s->turn) + 1;
    uint64_t words[HOSTS_FOUND_WORDS];
    memcpy(words, f, sizeof(words));
    for (size_t i = 0; i < HOSTS_FOUND_WORDS; i++)
        atomic_store_explicit(&s->found[turn % 2][i], words[i], memory_order_relaxed);
    atomic_store(&s->turn, turn);
}

void db_hosts_last_poll(const struct db_hosts_shared *shared, struct db_hosts_found *out)
{
    uint64_t words[HOSTS_FOUND_WORDS] = {0};
    unsigned turn;
    do {
        turn = shared ? atomic_load(&shared->turn) : 0;
        for (size_t i = 0; shared && i < HOSTS_FOUND_WORDS; i++)
            words[i] = atomic_load_explicit(&shared->found[turn % 2][i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        /* The next write goes to the other copy, and the one after it to this copy. */
    } while (shared && atomic_load(&shared->turn) != turn);
    memcpy(out, words, sizeof(words));
}

/* ---- the rules ---- */

/* A sentence for db_hosts_shortcut and the log. s may be NULL. */
static void describe(const struct db_hosts_shared *s, enum db_hosts_shortcut state, char *out,
                     size_t n)
{
    static const char *const reasons[] = {
        [DB_HOSTS_STARTING] = "the registration of this host is missing, or younger than 2 s",
        [DB_HOSTS_ON] = "",
        [DB_HOSTS_SILENT] = "PostgreSQL has not confirmed for 1 s that no other host is registered",
        [DB_HOSTS_RESTARTED] =
            "PostgreSQL was restarted, or replaced by another one, within the last 2 s",
        [DB_HOSTS_COMMITS] = "commits wait for a synchronous standby",
        [DB_HOSTS_MANY] = "PARLEY_HOSTS is not one",
    };
    if (state != DB_HOSTS_OTHERS) {
        snprintf(out, n, "%s", reasons[state]);
        return;
    }
    struct db_hosts_found found;
    db_hosts_last_poll(s, &found);
    snprintf(out, n, "%lld other host%s registered: see parley host list", (long long)found.others,
             found.others == 1 ? " is" : "s are");
}

static void log_shortcut_off(const struct db_hosts_shared *s, enum db_hosts_shortcut state)
{
    char why[160];
    describe(s, state, why, sizeof(why));
    log_say(LOG_WARN, "shortcut_off", "%s", why);
}

/* The shortcut is off at a start, which is no change. */
static void log_change(struct db_hosts_shared *s, enum db_hosts_shortcut state)
{
    if (!s->alone || atomic_exchange(&s->state, (int)state) == (int)state)
        return;
    if (state == DB_HOSTS_ON)
        log_say(LOG_INFO, "shortcut_on", "reads are answered from memory: this host is alone");
    else
        log_shortcut_off(s, state);
}

static void turn_off(struct db_hosts_shared *s, enum db_hosts_shortcut why)
{
    atomic_store(&s->alone_until_us, 0);
    log_change(s, why);
}

void hosts_unregistered(struct db_hosts_shared *s)
{
    turn_off(s, DB_HOSTS_STARTING);
    atomic_store(&s->write_from_us, 0);
}

/* Why the shortcut may not be on; DB_HOSTS_ON: it may. */
static enum db_hosts_shortcut obstacle_to_shortcut(const struct db_hosts_shared *s,
                                                   const struct db_hosts_found *f, int64_t now_us)
{
    if (f->others > 0)
        return DB_HOSTS_OTHERS;
    /* What waits becomes visible a little before its statement ends. */
    const struct db_replication *r = &f->replication;
    if (r->commits_waiting > 0 || (r->overdue > 0 && atomic_load(&s->state) == DB_HOSTS_COMMITS))
        return DB_HOSTS_COMMITS;
    const int64_t started_us = atomic_load(&s->pg_started_us);
    if (started_us != 0 && started_us != f->pg_started_us)
        return DB_HOSTS_RESTARTED;
    if (now_us >= atomic_load(&s->registered_us) + HOSTS_WAIT_US)
        return DB_HOSTS_ON;
    return atomic_load(&s->state) == DB_HOSTS_RESTARTED ? DB_HOSTS_RESTARTED : DB_HOSTS_STARTING;
}

static void update_shortcut(struct db_hosts_shared *s, const struct db_hosts_found *f,
                            int64_t now_us, void (*before_alone)(void *arg), void *arg)
{
    const enum db_hosts_shortcut obstacle = obstacle_to_shortcut(s, f, now_us);
    if (obstacle != DB_HOSTS_ON)
        turn_off(s, obstacle);
    /* A failover may have kept the row of this host and lost those of others, which register again
     * within HOSTS_WAIT_US. */
    if (atomic_load(&s->pg_started_us) != f->pg_started_us)
        atomic_store(&s->registered_us, now_us);
    /* After turn_off: if this poller is killed here, the next one finds the shortcut off. */
    atomic_store(&s->pg_started_us, f->pg_started_us);
    if (obstacle != DB_HOSTS_ON || now_us >= f->sent_us + HOSTS_ALONE_US)
        return;
    /* If the shortcut has been on up to now, no other host can have written since the last poll: a
     * new host waits for longer before it writes. */
    if (!hosts_alone_at(s, now_us) && before_alone)
        before_alone(arg);
    atomic_store(&s->alone_timeline, f->timeline);
    atomic_store(&s->alone_until_us, f->sent_us + HOSTS_ALONE_US);
    log_change(s, DB_HOSTS_ON);
}

void hosts_note_silence(struct db_hosts_shared *s, int64_t now_us)
{
    int on = DB_HOSTS_ON;
    if (!hosts_alone_at(s, now_us) &&
        atomic_compare_exchange_strong(&s->state, &on, DB_HOSTS_SILENT))
        log_shortcut_off(s, DB_HOSTS_SILENT);
}

void hosts_apply(struct db_hosts_shared *s, const struct db_hosts_found *f, int64_t now_us,
                 void (*before_alone)(void *arg), void *arg)
{
    publish(s, f);
    if (!f->self) {
        hosts_unregistered(s);
        return;
    }
    if (atomic_load(&s->write_from_us) == 0) {
        /* Hosts without the shortcut ask PostgreSQL for every read, and need no time to notice. */
        const bool wait = f->others_alone || (s->alone && f->others > 0);
        atomic_store(&s->registered_us, now_us);
        atomic_store(&s->write_from_us, wait ? now_us + HOSTS_WAIT_US : now_us);
    }
    if (s->alone)
        update_shortcut(s, f, now_us, before_alone, arg);
}

/* ---- for every thread ---- */

bool db_hosts_is_alone(const struct db_hosts_shared *shared)
{
    return shared && shared->alone && hosts_alone_at(shared, clock_boot_us());
}

bool db_hosts_may_write(const struct db_hosts_shared *shared)
{
    const int64_t from_us = shared ? atomic_load(&shared->write_from_us) : 1;
    return from_us != 0 && clock_boot_us() >= from_us;
}

enum db_hosts_shortcut db_hosts_shortcut(const struct db_hosts_shared *shared, char *why, size_t n)
{
    enum db_hosts_shortcut state = DB_HOSTS_MANY;
    if (shared && shared->alone) {
        state = (enum db_hosts_shortcut)atomic_load(&shared->state);
        if (db_hosts_is_alone(shared))
            state = DB_HOSTS_ON;
        else if (state == DB_HOSTS_ON)
            state = DB_HOSTS_SILENT;
    }
    describe(shared, state, why, n);
    return state;
}

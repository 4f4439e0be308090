/* SPDX-License-Identifier: MIT */
/* Decides what follows from the result of a poll, and owns the shared memory that holds it. */
#include "hosts_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/uuid.h"
#include "parley/obs/log.h"

_Static_assert(sizeof(struct db_host) % 8 == 0, "it is copied by words");

struct db_hosts_shared *db_hosts_shared_map(bool alone, const char *version)
{
    pthread_mutexattr_t attr;
    struct db_hosts_shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    snprintf(s->id, sizeof(s->id), "%016llx%016llx", (unsigned long long)random_u64(),
             (unsigned long long)random_u64());
    /* Cut off where it is longer, and then without its end. */
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

void db_hosts_shared_unmap(struct db_hosts_shared *shared)
{
    if (shared)
        munmap(shared, sizeof(*shared));
}

void db_hosts_worker_ended(struct db_hosts_shared *shared, size_t slot, pid_t pid, bool clean)
{
    /* Before the slot is free: whoever finds no worker left must find this. */
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

/* ---- the shortcut ---- */

bool hosts_alone_at(const struct db_hosts_shared *s, int64_t now_us)
{
    return now_us < atomic_load(&s->alone_until_us);
}

bool db_hosts_is_alone(const struct db_hosts_shared *shared)
{
    return shared && shared->alone && hosts_alone_at(shared, clock_boot_us());
}

bool hosts_may_write_at(const struct db_hosts_shared *s, int64_t now_us)
{
    const int64_t from_us = atomic_load(&s->write_from_us);
    return from_us != 0 && now_us >= from_us;
}

bool db_hosts_may_write(const struct db_hosts_shared *shared)
{
    return !shared || hosts_may_write_at(shared, clock_boot_us());
}

int64_t db_hosts_others(const struct db_hosts_shared *shared)
{
    return shared ? atomic_load(&shared->others) : 0;
}

static void reason(const struct db_hosts_shared *s, enum db_hosts_shortcut state, char *out,
                   size_t n)
{
    static const char *const reasons[] = {
        [DB_HOSTS_STARTING] = "the registration of this host is missing, or younger than 2 s",
        [DB_HOSTS_ON] = "",
        [DB_HOSTS_SILENT] = "PostgreSQL has not confirmed for 1 s that no other host is registered",
        [DB_HOSTS_RESTARTED] =
            "PostgreSQL was started again, or is another one, within the last 2 s",
        [DB_HOSTS_MANY] = "PARLEY_HOSTS is not one",
    };
    const int64_t others = db_hosts_others(s);
    if (state == DB_HOSTS_OTHERS)
        snprintf(out, n, "%lld other host%s registered: see parley host list", (long long)others,
                 others == 1 ? " is" : "s are");
    else
        snprintf(out, n, "%s", reasons[state]);
}

static void log_shortcut_off(const struct db_hosts_shared *s, enum db_hosts_shortcut state)
{
    char why[160];
    reason(s, state, why, sizeof(why));
    log_say(LOG_WARN, "shortcut_off", "%s", why);
}

/* Logs a change of the shortcut. That it is not on at the start is no change. */
static void tell(struct db_hosts_shared *s, enum db_hosts_shortcut state)
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
    tell(s, why);
}

void hosts_unregistered(struct db_hosts_shared *s)
{
    turn_off(s, DB_HOSTS_STARTING);
    atomic_store(&s->write_from_us, 0);
}

/* What would be wrong with the shortcut; DB_HOSTS_ON: nothing. */
static enum db_hosts_shortcut fault(const struct db_hosts_shared *s, const struct hosts_found *f,
                                    int64_t now_us)
{
    if (f->others > 0)
        return DB_HOSTS_OTHERS;
    const int64_t started_us = atomic_load(&s->pg_started_us);
    if (started_us != 0 && started_us != f->pg_started_us)
        return DB_HOSTS_RESTARTED;
    if (now_us >= atomic_load(&s->registered_us) + HOSTS_WAIT_US)
        return DB_HOSTS_ON;
    return atomic_load(&s->state) == DB_HOSTS_RESTARTED ? DB_HOSTS_RESTARTED : DB_HOSTS_STARTING;
}

static void decide(struct db_hosts_shared *s, const struct hosts_found *f, int64_t now_us,
                   void (*before_alone)(void *arg), void *arg)
{
    const enum db_hosts_shortcut wrong = fault(s, f, now_us);
    if (wrong != DB_HOSTS_ON)
        turn_off(s, wrong);
    /* A failover may have lost the rows of others and kept this one: others have this long to be
     * registered again. */
    if (atomic_load(&s->pg_started_us) != f->pg_started_us)
        atomic_store(&s->registered_us, now_us);
    /* After it is off: who goes on for a poller that is killed here finds it off. */
    atomic_store(&s->pg_started_us, f->pg_started_us);
    if (wrong != DB_HOSTS_ON || now_us >= f->sent_us + HOSTS_ALONE_US)
        return;
    /* Where it has been on up to here, no other host can have written since the poll before: one
     * that came would wait until later than now. */
    if (!hosts_alone_at(s, now_us) && before_alone)
        before_alone(arg);
    atomic_store(&s->alone_until_us, f->sent_us + HOSTS_ALONE_US);
    tell(s, DB_HOSTS_ON);
}

void hosts_note_silence(struct db_hosts_shared *s, int64_t now_us)
{
    int on = DB_HOSTS_ON;
    if (!hosts_alone_at(s, now_us) &&
        atomic_compare_exchange_strong(&s->state, &on, DB_HOSTS_SILENT))
        log_shortcut_off(s, DB_HOSTS_SILENT);
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
    reason(shared, state, why, n);
    return state;
}

/* ---- what is shown, and the version of the keys ---- */

static void put_table(struct db_hosts_shared *s, const struct hosts_found *f)
{
    const unsigned turn = atomic_load(&s->turn) + 1;
    struct hosts_table *t = &s->tables[turn % 2];
    uint64_t words[HOSTS_TABLE_WORDS];
    memcpy(words, f->table, sizeof(words));
    for (size_t i = 0; i < HOSTS_TABLE_WORDS; i++)
        atomic_store_explicit(&t->words[i], words[i], memory_order_relaxed);
    atomic_store(&t->n, (int64_t)f->n);
    atomic_store(&t->registered, f->others + (f->self ? 1 : 0));
    atomic_store(&s->turn, turn);
}

size_t db_hosts_seen(const struct db_hosts_shared *shared, struct db_host out[DB_HOSTS_SHOWN_MAX],
                     int64_t *registered)
{
    enum { TRIES = 100 };
    *registered = 0;
    for (int i = 0; shared && i < TRIES; i++) {
        const unsigned turn = atomic_load(&shared->turn);
        const struct hosts_table *t = &shared->tables[turn % 2];
        uint64_t words[HOSTS_TABLE_WORDS];
        for (size_t w = 0; w < HOSTS_TABLE_WORDS; w++)
            words[w] = atomic_load_explicit(&t->words[w], memory_order_relaxed);
        const size_t n = (size_t)atomic_load(&t->n);
        *registered = atomic_load(&t->registered);
        memcpy(out, words, sizeof(words));
        atomic_thread_fence(memory_order_acquire);
        /* The next one to write takes the other table, and the one after it this one. */
        if (atomic_load(&shared->turn) == turn)
            return n;
    }
    *registered = 0;
    return 0;
}

bool db_hosts_keys_version(const struct db_hosts_shared *shared, int64_t *version, int64_t *sent_us)
{
    if (!shared)
        return false;
    *sent_us = atomic_load(&shared->keys_sent_us);
    *version = atomic_load(&shared->keys_version);
    /* No two polls are sent at the same time. */
    return *sent_us != 0 && atomic_load(&shared->keys_sent_us) == *sent_us;
}

static void put_keys_version(struct db_hosts_shared *s, const struct hosts_found *f)
{
    atomic_store(&s->keys_sent_us, 0);
    atomic_store(&s->keys_version, f->keys_version);
    atomic_store(&s->keys_sent_us, f->sent_us);
}

void hosts_take(struct db_hosts_shared *s, const struct hosts_found *f, int64_t now_us,
                void (*before_alone)(void *arg), void *arg)
{
    atomic_store(&s->others, f->others);
    atomic_store(&s->live, f->live);
    put_keys_version(s, f);
    put_table(s, f);
    if (!f->self) {
        hosts_unregistered(s);
        return;
    }
    if (atomic_load(&s->write_from_us) == 0) {
        /* Others that are not alone ask PostgreSQL each time, and so need no time to notice. */
        const bool wait = f->others_alone || (s->alone && f->others > 0);
        atomic_store(&s->registered_us, now_us);
        atomic_store(&s->write_from_us, wait ? now_us + HOSTS_WAIT_US : now_us);
    }
    if (s->alone)
        decide(s, f, now_us, before_alone, arg);
}

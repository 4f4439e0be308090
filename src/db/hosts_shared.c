/* SPDX-License-Identifier: MIT */
/* The shared memory of a host's registration: makes it, and answers every thread from it. */
#include "hosts_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/uuid.h"

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

void db_hosts_shared_unmap(struct db_hosts_shared *shared)
{
    if (shared)
        munmap(shared, sizeof(*shared));
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

bool db_hosts_is_alone(const struct db_hosts_shared *shared)
{
    return shared && shared->alone && hosts_alone_at(shared, clock_boot_us());
}

bool db_hosts_may_write(const struct db_hosts_shared *shared)
{
    return !shared || hosts_may_write_at(shared, clock_boot_us());
}

int64_t db_hosts_others(const struct db_hosts_shared *shared)
{
    return shared ? atomic_load(&shared->others) : 0;
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
    hosts_describe(shared, state, why, n);
    return state;
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
        /* The next writer uses the other table, and the one after it this one. */
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
    /* No two polls have the same time. */
    return *sent_us != 0 && atomic_load(&shared->keys_sent_us) == *sent_us;
}

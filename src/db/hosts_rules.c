/* SPDX-License-Identifier: MIT */
/* Decides from the result of a poll whether this host may write and take the shortcut, and
 * publishes it in shared memory. The rules and their reason: parley/db/hosts.h. */
#include "hosts_internal.h"

#include <stdio.h>
#include <string.h>

#include "parley/obs/log.h"

_Static_assert(sizeof(struct db_host) % 8 == 0, "it is copied in words of 8 bytes");

bool hosts_alone_at(const struct db_hosts_shared *s, int64_t now_us)
{
    return now_us < atomic_load(&s->alone_until_us);
}

bool hosts_may_write_at(const struct db_hosts_shared *s, int64_t now_us)
{
    const int64_t from_us = atomic_load(&s->write_from_us);
    return from_us != 0 && now_us >= from_us;
}

void hosts_describe(const struct db_hosts_shared *s, enum db_hosts_shortcut state, char *out,
                    size_t n)
{
    static const char *const reasons[] = {
        [DB_HOSTS_STARTING] = "the registration of this host is missing, or younger than 2 s",
        [DB_HOSTS_ON] = "",
        [DB_HOSTS_SILENT] = "PostgreSQL has not confirmed for 1 s that no other host is registered",
        [DB_HOSTS_RESTARTED] =
            "PostgreSQL was restarted, or replaced by another one, within the last 2 s",
        [DB_HOSTS_MANY] = "PARLEY_HOSTS is not one",
    };
    if (state != DB_HOSTS_OTHERS) {
        snprintf(out, n, "%s", reasons[state]);
        return;
    }
    const long long others = (long long)atomic_load(&s->others);
    snprintf(out, n, "%lld other host%s registered: see parley host list", others,
             others == 1 ? " is" : "s are");
}

static void log_shortcut_off(const struct db_hosts_shared *s, enum db_hosts_shortcut state)
{
    char why[160];
    hosts_describe(s, state, why, sizeof(why));
    log_say(LOG_WARN, "shortcut_off", "%s", why);
}

/* That it is not on at the start is no change. */
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
                                                   const struct hosts_found *f, int64_t now_us)
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

static void update_shortcut(struct db_hosts_shared *s, const struct hosts_found *f, int64_t now_us,
                            void (*before_alone)(void *arg), void *arg)
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
    /* If it has been on up to now, no other host can have written since the last poll: a new one
     * would wait for longer. */
    if (!hosts_alone_at(s, now_us) && before_alone)
        before_alone(arg);
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

static void publish_table(struct db_hosts_shared *s, const struct hosts_found *f)
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

static void publish_keys_version(struct db_hosts_shared *s, const struct hosts_found *f)
{
    atomic_store(&s->keys_sent_us, 0);
    atomic_store(&s->keys_version, f->keys_version);
    atomic_store(&s->keys_sent_us, f->sent_us);
}

void hosts_apply(struct db_hosts_shared *s, const struct hosts_found *f, int64_t now_us,
                 void (*before_alone)(void *arg), void *arg)
{
    atomic_store(&s->others, f->others);
    atomic_store(&s->live, f->live);
    publish_keys_version(s, f);
    publish_table(s, f);
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

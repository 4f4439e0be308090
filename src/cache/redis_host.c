/* SPDX-License-Identifier: MIT */
/*
 * How hosts agree on what Redis holds: epoch and marker, lease, breaker and hold.
 *
 * The marker in Redis, "<epoch>.<run id>", is set once for each epoch, by whoever raised the record
 * to it, and names the process it was set in. So it is in force for one stretch of time at most: an
 * emptied Redis has none, another process another one, and nothing that was stored under it can
 * come back after it. Whoever finds another marker than the one it expects does nothing there.
 *
 * A write is acknowledged when one of these holds:
 *   - The settling was executed while its marker was in force: the value is gone, late fills are
 *     barred. Readers under a later marker have read PostgreSQL after that.
 *   - There is no marker: a writer that finds another one than it should takes it away. Whoever
 *     sets the next one does so later than the commit.
 *   - Redis cannot be told, the breaker is open, and the record has been held without a gap for as
 *     long as any lease lasts, and still is (cache_host_secure). What Redis holds is read by nobody
 *     until the hold is over, and then left behind, since a record that was held is dirty and gives
 *     no lease before it is raised. With one host all readers see its breaker, so nobody's lease
 *     need be waited for: a lease is then one for this life of the breaker.
 *
 * All state is in the mapping and atomic; whoever comes first does what is due, and what it leaves
 * undone when it is killed is due again soon.
 */
#include "redis_internal.h"

#include <string.h>
#include <time.h>

enum { STEP_US = 1000, RETRY_US = 50000 };

static int64_t us(int ms)
{
    return ms * INT64_C(1000);
}

static void raise_u64(_Atomic uint64_t *at, uint64_t v)
{
    uint64_t old = atomic_load(at);
    while (old < v && !atomic_compare_exchange_weak(at, &old, v))
        ;
}

int64_t cache_pause_min_us(const struct cache_redis *r)
{
    return us(r->poll_ms) / 6;
}

bool cache_host_claim(_Atomic int64_t *at_us, int64_t pause_us)
{
    int64_t now = clock_mono_us(), due = atomic_load(at_us);
    return due <= now && atomic_compare_exchange_strong(at_us, &due, now + pause_us);
}

static bool ask(struct cache_redis *r, enum cache_ask what, uint64_t n, struct cache_record *out)
{
    memset(out, 0, sizeof *out);
    return r->authority.ask(r->authority.arg, what, n, deadline_in_ms(r->lease_ms), out) ==
           ERR_NONE;
}

/* What a question that was sent at sent_us, in that life of the breaker, says about now. */
static void learn(struct cache_redis *r, uint64_t life, int64_t sent_us,
                  const struct cache_record *record)
{
    struct cache_host *h = r->host;
    raise_u64(&h->epoch, record->epoch);
    /* A record behind what was seen is one that was restored: it is raised first. */
    if (record->held || record->dirty || record->epoch < atomic_load(&h->epoch))
        return;
    /* Epoch before lease; readers take them in the other order. */
    cache_set_at_least(&h->lease_until_us, sent_us + us(r->lease_ms));
    if (life & 1)
        raise_u64(&h->lease_life, life);
}

static bool look(struct cache_redis *r, struct cache_record *out)
{
    uint64_t life = atomic_load(&r->host->life);
    int64_t sent_us = clock_mono_us();
    if (!ask(r, CACHE_LOOK, (uint64_t)r->hold_ms, out))
        return false;
    learn(r, life, sent_us, out);
    return true;
}

void cache_host_look(struct cache_redis *r)
{
    struct cache_record record;
    (void)look(r, &record);
}

bool cache_host_leased(struct cache_redis *r, uint64_t life)
{
    if (r->one_host)
        return atomic_load(&r->host->lease_life) == life;
    return clock_mono_us() < atomic_load(&r->host->lease_until_us);
}

static bool hold(struct cache_redis *r)
{
    struct cache_host *h = r->host;
    struct cache_record record;
    int64_t sent_us = clock_mono_us();
    if (!ask(r, CACHE_HOLD, (uint64_t)r->hold_ms, &record))
        return false;
    raise_u64(&h->epoch, record.epoch);
    /* A gap: in it the epoch may have been raised, and leases given. Noted before the hold, which
     * is read first. */
    int64_t now = clock_mono_us(), before = atomic_load(&h->held_at_us);
    if (before == 0 || now - before > us(r->hold_ms) / 6 * 5)
        cache_set_at_least(&h->hold_began_us, now);
    cache_set_at_least(&h->held_at_us, sent_us);
    return true;
}

enum host_secure cache_host_secure(struct cache_redis *r, struct deadline until, bool patient)
{
    struct cache_host *h = r->host;
    for (;;) {
        int64_t held = atomic_load(&h->held_at_us), began = atomic_load(&h->hold_began_us);
        /* After what is read above: what closes it from now on looks at the record later. */
        if (atomic_load(&h->life) & 1)
            return HOST_CLOSED;
        int64_t now = clock_mono_us();
        bool is_held = held != 0 && now - held < us(r->lease_ms);
        bool alone = r->one_host || now - began >= us(r->lease_ms) / 10 * 11;
        if (is_held && alone)
            return HOST_SECURE;
        if (deadline_passed(until))
            return HOST_EXPOSED;
        if (!is_held && cache_host_claim(&h->poll_at_us, us(r->poll_ms)) && !hold(r)) {
            atomic_store(&h->poll_at_us, clock_mono_us() + RETRY_US);
            if (!patient)
                return HOST_EXPOSED;
        }
        const struct timespec step = {0, STEP_US * 1000L};
        (void)nanosleep(&step, NULL);
    }
}

struct upkeep {
    struct cache_redis *redis;
    struct cache_record record;
    uint64_t life;
    int64_t raise_at_us; /* as it was at the beginning */
};

/* Raises the record and sets the marker, once, on the link whose process it names. */
static enum link_result raise_on(struct cache_link *l, struct upkeep *k)
{
    struct cache_redis *r = k->redis;
    struct cache_record raised;
    int64_t sent_us = clock_mono_us();
    if (!ask(r, CACHE_RAISE, k->record.epoch, &raised) || raised.epoch == 0) {
        /* Somebody else was faster, or holds: soon again. */
        atomic_store(&r->host->poll_at_us, clock_mono_us() + RETRY_US);
        return LINK_DONE;
    }
    cache_link_expect(l, raised.epoch);
    enum link_result result = cache_link_mark(l, l->marker, deadline_in_ms(r->timeout_ms));
    if (clock_mono_us() >= k->raise_at_us)
        (void)atomic_compare_exchange_strong(&r->host->raise_at_us, &k->raise_at_us, 0);
    learn(r, k->life, sent_us, &raised);
    return result;
}

/* Is the marker the one that is expected, and the record clean? */
static enum link_result upkeep_on(struct cache_link *l, struct deadline until, void *arg)
{
    struct upkeep *k = arg;
    struct cache_redis *r = k->redis;
    char found[sizeof l->marker];
    enum link_result result = cache_link_marker(l, until, found);
    if (result != LINK_DONE || k->record.held)
        return result;
    const bool wrong = strcmp(found, l->marker) != 0;
    const bool dirty = k->record.dirty;
    const bool died = k->raise_at_us != 0 && clock_mono_us() >= k->raise_at_us;
    if (!wrong && !dirty && !died && k->record.epoch >= atomic_load(&r->host->epoch))
        return LINK_DONE;
    return raise_on(l, k);
}

/* Leases, holds and the marker. */
static void poll_host(struct cache_redis *r)
{
    struct cache_host *h = r->host;
    struct upkeep k = {
        .redis = r, .life = atomic_load(&h->life), .raise_at_us = atomic_load(&h->raise_at_us)};
    char why[128] = "";
    if (!cache_host_claim(&h->poll_at_us, us(r->poll_ms)))
        return;
    if (!(k.life & 1)) {
        if (k.life != 0)
            (void)hold(r);
        return;
    }
    if (!look(r, &k.record))
        return;
    enum link_result result =
        cache_redis_attempt(r, deadline_in_ms(r->timeout_ms), upkeep_on, &k, NULL, why, false);
    if (result == LINK_DONE)
        atomic_store(&h->pause_us, cache_pause_min_us(r));
    else if (cache_redis_at_fault(result))
        cache_host_open(r, why);
}

void cache_redis_poll(struct cache_tier *t)
{
    struct cache_redis *r = cache_redis_self(t);
    cache_host_probe(r);
    if (r->authority.ask)
        poll_host(r);
}

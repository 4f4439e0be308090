/* SPDX-License-Identifier: MIT */
/*
 * Limits the requests a second of each tenant, and counts them for the metrics, in memory that all
 * workers of a host share.
 *
 * The generic cell rate algorithm keeps for each tenant the time at which all its requests are paid
 * for (the theoretical arrival time). A request moves that time on by its share of a second. It is
 * one too many if the time would then be more than a second ahead.
 *
 * Nothing is locked. One compare-and-swap takes an entry and another one counts in it, so a process
 * that is killed anywhere leaves a correct entry. An entry whose time has passed carries no
 * information and may be given to another tenant; a request that counts in it at that instant may
 * be lost, or counted for the other. Entries are never emptied, so an empty one ends a search. If
 * all entries that may hold a tenant are in use (thousands of tenants within a second), its
 * requests pass.
 */
#include "auth_internal.h"

#include <sys/mman.h>

#include "parley/base/encode.h"
#include "parley/obs/metrics.h"

enum { ENTRIES = 8192, WINDOW = 32 };
#define SECOND_NS INT64_C(1000000000)

struct auth_shared {
    struct {
        _Atomic uint64_t tenant_hash; /* 0: never used */
        _Atomic int64_t due_ns;       /* the theoretical arrival time; monotonic */
    } entries[ENTRIES];
    /* For the metrics. A tenant keeps its place. All tenants without one share the last count. */
    _Atomic uint64_t counted[AUTH_COUNTED_MAX]; /* tenant_hash; 0: free, as are all behind it */
    struct tenant_count {
        _Atomic char name[AUTH_TENANT_MAX]; /* its first byte is written last */
        _Atomic uint64_t requests[3];       /* that succeeded, were refused, or failed */
    } counts[AUTH_COUNTED_MAX + 1];
};

struct auth_shared *auth_shared_map(void)
{
    void *p = mmap(NULL, sizeof(struct auth_shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Never 0. */
static uint64_t hash_of(struct sv tenant)
{
    const uint64_t hash = hash_bytes(NULL, tenant);
    return hash ? hash : 1;
}

/* The due_ns of a tenant; NULL: all entries are in use. */
static _Atomic int64_t *find_due(struct auth_shared *s, uint64_t hash, int64_t now_ns)
{
    for (;;) {
        size_t free_at = ENTRIES;
        uint64_t was = 0;
        for (size_t i = 0; i < WINDOW; i++) {
            const size_t at = (hash + i) % ENTRIES;
            const uint64_t there = atomic_load(&s->entries[at].tenant_hash);
            if (there == hash)
                return &s->entries[at].due_ns;
            if (free_at == ENTRIES && atomic_load(&s->entries[at].due_ns) <= now_ns) {
                free_at = at;
                was = there;
            }
            if (there == 0)
                break;
        }
        if (free_at == ENTRIES)
            return NULL;
        if (atomic_compare_exchange_strong(&s->entries[free_at].tenant_hash, &was, hash))
            return &s->entries[free_at].due_ns;
    }
}

bool limit_take(struct auth_shared *shared, struct sv tenant, int64_t rate, int64_t now_us,
                int64_t *left, int *retry_s)
{
    const int64_t now_ns = now_us * 1000, share_ns = SECOND_NS / rate;
    _Atomic int64_t *due = find_due(shared, hash_of(tenant), now_ns);
    *left = due ? 0 : rate;
    if (!due)
        return true;
    int64_t was = atomic_load(due), next;
    do {
        next = (was > now_ns ? was : now_ns) + share_ns;
        const int64_t over_ns = next - now_ns - SECOND_NS;
        if (over_ns > 0) {
            *retry_s = (int)((over_ns + SECOND_NS - 1) / SECOND_NS);
            return false;
        }
    } while (!atomic_compare_exchange_weak(due, &was, next));
    const int64_t fit = (SECOND_NS - (next - now_ns)) / share_ns;
    *left = fit < rate ? fit : rate; /* share_ns is rounded */
    return true;
}

static size_t place_of(struct auth_shared *s, struct sv tenant, size_t most)
{
    const uint64_t hash = hash_of(tenant);
    for (size_t i = 0; i < most; i++) {
        uint64_t there = atomic_load_explicit(&s->counted[i], memory_order_relaxed);
        if (there == hash ||
            (there == 0 &&
             (atomic_compare_exchange_strong(&s->counted[i], &there, hash) || there == hash)))
            return i;
    }
    return AUTH_COUNTED_MAX;
}

void auth_count(const struct auth *a, struct sv tenant, int status)
{
    if (a->set.counted == 0 || tenant.n == 0)
        return;
    const bool unnamed = sv_eq(tenant, SV("other"));
    const size_t at = place_of(a->set.shared, tenant, unnamed ? 0 : (size_t)a->set.counted);
    const struct sv name = at < AUTH_COUNTED_MAX ? tenant : SV("other");
    struct tenant_count *c = &a->set.shared->counts[at];
    /* Any process writes a missing name: the one that took the place may have been killed. */
    for (size_t i = atomic_load(&c->name[0]) ? 0 : name.n; i > 0; i--)
        atomic_store(&c->name[i - 1], name.p[i - 1]);
    metrics_add(&c->requests[status < 400 ? 0 : status < 500 ? 1 : 2], 1);
}

void auth_write_counts(const struct auth *a, struct buf *out)
{
    static const char *const labels[] = {"class=\"2xx\",tenant", "class=\"4xx\",tenant",
                                         "class=\"5xx\",tenant"};
    bool first = true;
    for (size_t i = 0; a->set.counted > 0 && i <= AUTH_COUNTED_MAX; i++) {
        const struct tenant_count *c = &a->set.shared->counts[i];
        char name[AUTH_TENANT_MAX + 1] = "";
        for (size_t k = 0; k < AUTH_TENANT_MAX; k++)
            name[k] = atomic_load(&c->name[k]);
        for (size_t k = 0; name[0] && k < ARRAY_LEN(labels); k++) {
            metrics_write(out, "parley_tenant_requests_total", first ? "Requests by tenant." : NULL,
                          labels[k], name, (int64_t)atomic_load(&c->requests[k]));
            first = false;
        }
    }
}

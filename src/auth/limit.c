/* SPDX-License-Identifier: MIT */
/*
 * Requests a second by tenant, in memory that all workers of a host share.
 *
 * The generic cell rate algorithm: of each tenant the time is kept at which it will have paid for
 * all its requests (its theoretical arrival time). A request moves that on by its share of a
 * second, and is one too many if it then lies more than a second ahead.
 *
 * Nothing is locked. An entry is taken by one exchange and counted in by another, so a process that
 * is killed anywhere leaves an entry that is right. One whose time is past says what no entry says,
 * and may be taken for another tenant; who counted at that very instant may be forgotten, or
 * counted for the other: one request. Entries are never emptied, so that an empty one ends a
 * search. Where all that may hold a tenant are in use (thousands of tenants within a second), it is
 * let pass.
 */
#include "auth_internal.h"

#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

enum { ENTRIES = 8192, WINDOW = 32 };
#define SECOND_NS INT64_C(1000000000)

struct auth_shared {
    struct {
        _Atomic uint64_t mark;  /* of the tenant; 0: never used */
        _Atomic int64_t due_ns; /* monotonic */
    } entries[ENTRIES];
};

struct auth_shared *auth_shared_map(void)
{
    void *p = mmap(NULL, sizeof(struct auth_shared), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void auth_shared_unmap(struct auth_shared *shared)
{
    if (shared)
        munmap(shared, sizeof(*shared));
}

uint64_t limit_mark(struct sv tenant)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    uint64_t mark;
    crypto_hash_sha256(digest, (const unsigned char *)tenant.p, tenant.n);
    memcpy(&mark, digest, sizeof(mark));
    return mark ? mark : 1;
}

/* The entry of a tenant; NULL: there is none to be had. */
static _Atomic int64_t *entry_of(struct auth_shared *s, uint64_t mark, int64_t now_ns)
{
    for (;;) {
        size_t free_at = ENTRIES;
        uint64_t was = 0;
        for (size_t i = 0; i < WINDOW; i++) {
            const size_t at = (mark + i) % ENTRIES;
            const uint64_t there = atomic_load(&s->entries[at].mark);
            if (there == mark)
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
        if (atomic_compare_exchange_strong(&s->entries[free_at].mark, &was, mark))
            return &s->entries[free_at].due_ns;
    }
}

bool limit_take(struct auth_shared *shared, uint64_t mark, int64_t rate, int64_t now_us,
                int *retry_s)
{
    const int64_t now_ns = now_us * 1000, share_ns = SECOND_NS / rate;
    _Atomic int64_t *due = entry_of(shared, mark, now_ns);
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
    return true;
}

/* SPDX-License-Identifier: MIT */
#include "proc_internal.h"

#include <stdio.h>
#include <sys/mman.h>

#include "parley/base/clock.h"

struct shared *shared_map(size_t n_slots)
{
    size_t size = sizeof(struct shared) + n_slots * sizeof(struct metrics_slot);
    struct shared *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->size = size;
    s->n_slots = n_slots;
    s->started_at = clock_wall_us();
    return s;
}

void shared_unmap(struct shared *s)
{
    if (s)
        munmap(s, s->size);
}

void shared_set_reason(struct shared *s, const char *reason)
{
    int free_state = 0;
    if (!atomic_compare_exchange_strong(&s->reason_state, &free_state, 1))
        return;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    atomic_store(&s->reason_state, 2);
}

const char *shared_reason(const struct shared *s)
{
    return atomic_load(&s->reason_state) == 2 ? s->reason : NULL;
}

void shared_clear_gauges(struct metrics_slot *slot)
{
    metrics_set(&slot->pool_open, 0);
    metrics_set(&slot->pool_idle, 0);
    metrics_set(&slot->pool_in_use, 0);
    metrics_set(&slot->pool_waiting, 0);
    metrics_set(&slot->pool_max, 0);
    metrics_set(&slot->threads_busy, 0);
    metrics_set(&slot->pid, 0);
}

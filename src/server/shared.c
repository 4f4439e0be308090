/* SPDX-License-Identifier: MIT */
/* The memory in which workers and supervisor report to each other. */
#include "server_internal.h"

#include <stdio.h>
#include <sys/mman.h>

#include "parley/base/clock.h"

struct shared *shared_map(void)
{
    struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->started_at = clock_wall_us();
    return s;
}

void shared_unmap(struct shared *s)
{
    if (s)
        munmap(s, sizeof *s);
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

void shared_clear_reason(struct shared *s)
{
    atomic_store(&s->reason_state, 0);
}

void shared_worker_begin(struct shared *s, size_t worker)
{
    atomic_store(&s->flags[worker].ready, false);
    atomic_store(&s->flags[worker].wants_replacement, false);
    atomic_store(&s->host.workers[worker].state, API_WORKER_STARTING);
    /* Before the worker counts anything, so that no later sum is smaller than an earlier one. */
    if (atomic_load(&s->host.n_slots) <= worker)
        atomic_store(&s->host.n_slots, worker + 1);
}

void shared_worker_end(struct shared *s, size_t worker)
{
    struct metrics_slot *m = &s->slots[worker];
    atomic_store(&s->host.workers[worker].pid, 0);
    metrics_set(&m->pool_open, 0);
    metrics_set(&m->pool_idle, 0);
    metrics_set(&m->pool_in_use, 0);
    metrics_set(&m->pool_waiting, 0);
    metrics_set(&m->pool_max, 0);
    metrics_set(&m->threads_busy, 0);
}

/* SPDX-License-Identifier: MIT */
/* Worker sets: how many workers a configuration asks for, and which of them run. */
#include "supervisor_internal.h"

#include <sched.h>
#include <stdlib.h>

size_t server_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : (size_t)n;
}

size_t server_workers(const struct config *cfg)
{
    const size_t n = cfg->workers > 0 ? (size_t)cfg->workers : server_cores();
    return n > 256 ? 256 : n;
}

struct worker_set *worker_set_create(const struct config *cfg, int64_t number)
{
    const size_t n = server_workers(cfg);
    struct worker_set *set = calloc(1, sizeof *set + n * sizeof set->slots[0]);
    if (!set)
        return NULL;
    set->number = number;
    set->cfg = cfg;
    set->n = n;
    for (size_t i = 0; i < n; i++)
        set->slots[i].worker = NO_WORKER;
    return set;
}

void worker_set_destroy(struct worker_set *set)
{
    if (set)
        config_free(&set->loaded);
    free(set);
}

struct worker_slot *worker_set_slot_of(struct worker_set *set, int worker)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->slots[i].worker == worker)
            return &set->slots[i];
    return NULL;
}

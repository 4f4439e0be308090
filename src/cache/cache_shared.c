/* SPDX-License-Identifier: MIT */
/* The mapping that the workers of a host share: a page for its header, then the table of values. */
#include "memory_internal.h"

#include <sys/mman.h>

#include "parley/base/uuid.h"

enum { HEADER_BYTES = 4096 /* a page for struct cache_shared */ };

/* MAP_POPULATE: if the machine or its container has too little memory for the table, the service
 * fails when it starts, and not when the table is full. */
struct cache_shared *cache_shared_map(size_t memory_bytes)
{
    const size_t fit = memory_bytes / sizeof(struct memory_stripe);
    const size_t stripes = memory_bytes > 0 && fit == 0 ? 1 : fit;
    const size_t table = sizeof(struct memory_table) + stripes * sizeof(struct memory_stripe);
    const size_t size = HEADER_BYTES + (stripes > 0 ? table : 0);
    struct cache_shared *s =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->size = size;
    if (stripes > 0) {
        s->memory = (struct memory_table *)(void *)((char *)s + HEADER_BYTES);
        s->memory->n_stripes = stripes;
        random_bytes(s->memory->key, sizeof s->memory->key);
    }
    return s;
}

void cache_shared_unmap(struct cache_shared *shared)
{
    if (shared)
        munmap(shared, shared->size);
}

void cache_shared_reap(struct cache_shared *shared, pid_t pid)
{
    if (shared->memory)
        memory_reap(shared->memory, pid, clock_mono_us());
}

void cache_shared_outdate(struct cache_shared *shared)
{
    if (shared->memory)
        memory_raise_all(shared->memory);
}

/* SPDX-License-Identifier: MIT */
#include "memory_internal.h"

#include <sys/mman.h>

#include "parley/base/uuid.h"

enum { HEADER_BYTES = 4096 /* a page for struct cache_shared */ };

/* MAP_POPULATE: if the machine, or the limit of a container, has no memory for the table, the
 * service ends at its start and not later, when the table has filled. */
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

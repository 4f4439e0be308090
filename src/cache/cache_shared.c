/* SPDX-License-Identifier: MIT */
#include "cache_internal.h"

#include <sys/mman.h>

struct cache_shared *cache_shared_map(size_t memory_bytes)
{
    size_t size = sizeof(struct cache_shared) + memory_bytes;
    struct cache_shared *s =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    s->size = size;
    s->memory_bytes = memory_bytes;
    return s;
}

void cache_shared_unmap(struct cache_shared *shared)
{
    if (shared)
        munmap(shared, shared->size);
}

void cache_shared_bury(struct cache_shared *shared, pid_t pid)
{
    (void)shared;
    (void)pid;
}

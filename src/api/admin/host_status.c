/* SPDX-License-Identifier: MIT */
/* Why the last reload was refused: the supervisor writes it, the workers show it in /status. */
#include "parley/api/api.h"

#include <string.h>

/* A sequence lock with one writer: a reader that meets a write tries again. The writer is the
 * supervisor; if it dies in the middle, the service ends. */
void api_host_set_reload_reason(struct api_host *host, const char *reason)
{
    const size_t n = strnlen(reason, API_REASON_MAX - 1);
    const unsigned turn = atomic_load_explicit(&host->reason_turn, memory_order_relaxed);
    atomic_store_explicit(&host->reason_turn, turn + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < API_REASON_MAX; i++)
        atomic_store_explicit(&host->reason[i], i < n ? reason[i] : '\0', memory_order_relaxed);
    atomic_store_explicit(&host->reason_turn, turn + 2, memory_order_release);
}

void api_host_reload_reason(const struct api_host *host, char out[API_REASON_MAX])
{
    enum { TRIES = 1000 };
    for (int try = 0; try < TRIES; try++) {
        const unsigned turn = atomic_load_explicit(&host->reason_turn, memory_order_acquire);
        for (size_t i = 0; i < API_REASON_MAX; i++)
            out[i] = atomic_load_explicit(&host->reason[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (turn % 2 == 0 && turn == atomic_load_explicit(&host->reason_turn, memory_order_relaxed))
            return;
    }
    out[0] = '\0';
}

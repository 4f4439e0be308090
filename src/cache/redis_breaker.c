/* SPDX-License-Identifier: MIT */
/*
 * The circuit breaker in front of Redis. After a failure no request asks Redis, until the queue's
 * thread has had an answer. That thread tries after pauses, which double up to some seconds. The
 * breaker only spares requests the time-out of a Redis that is away.
 */
#include "cache_internal.h"

#include <stdio.h>

#include "parley/obs/log.h"

static const int64_t pause_first_us = 100 * 1000, pause_last_us = 3 * 1000 * 1000;
static const int64_t probe_us = 1000 * 1000;

bool cache_breaker_is_closed(const struct cache_breaker *b)
{
    return atomic_load_explicit(&b->pause_until_us, memory_order_relaxed) == 0;
}

bool cache_breaker_probe_is_due(const struct cache_breaker *b)
{
    const int64_t now = clock_mono_us();
    return cache_breaker_is_closed(b) ? now - atomic_load(&b->success_us) >= probe_us
                                      : now >= atomic_load(&b->pause_until_us);
}

static void log_change(enum log_level level, const char *event, const char *reason)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_str(&line, "cache", "redis");
    if (reason[0])
        log_str(&line, "reason", reason);
    log_end(&line);
}

/* A command that ends within a pause began before it, and so does not count. */
void cache_breaker_failed(struct cache_breaker *b, const char *why)
{
    pthread_mutex_lock(&b->lock);
    const int64_t now = clock_mono_us();
    const bool opened = b->pause_us == 0;
    if (now >= atomic_load(&b->pause_until_us)) {
        const int64_t doubled = 2 * b->pause_us;
        b->pause_us = opened ? pause_first_us : doubled < pause_last_us ? doubled : pause_last_us;
        atomic_store(&b->pause_until_us, now + b->pause_us);
        snprintf(b->reason, sizeof b->reason, "%s", why);
    }
    pthread_mutex_unlock(&b->lock);
    if (opened)
        log_change(LOG_WARN, "cache_down", why);
}

void cache_breaker_succeeded(struct cache_breaker *b)
{
    pthread_mutex_lock(&b->lock);
    const int64_t now = clock_mono_us();
    const bool counts = now >= atomic_load(&b->pause_until_us);
    const bool closed = counts && b->pause_us != 0;
    if (counts) {
        atomic_store(&b->success_us, now);
        atomic_store(&b->pause_until_us, 0);
        b->pause_us = 0;
        b->reached = true;
        b->reason[0] = '\0';
    }
    pthread_mutex_unlock(&b->lock);
    if (closed)
        log_change(LOG_INFO, "cache_up", "");
}

/* SPDX-License-Identifier: MIT */
/*
 * Samples of the host's metrics over the last hour, for the page /status/, in memory that all
 * workers share. Only the supervisor takes samples; any thread of any worker may render them. They
 * are lost when the service ends.
 */
#pragma once

#include "parley/obs/metrics.h"

enum { HISTORY_SAMPLES = 360, HISTORY_PAUSE_MS = 10000, HISTORY_VALUES = 40 };

struct metrics_history {
    int64_t due_us;         /* of the next sample; only for the supervisor */
    _Atomic uint64_t taken; /* samples; the last one is sample[(taken - 1) % (SAMPLES + 1)] */
    struct {
        _Atomic int64_t at_us; /* wall clock */
        _Atomic uint64_t value[HISTORY_VALUES];
    } sample[HISTORY_SAMPLES + 1]; /* one more than is read: the next sample is written there */
};

/* Takes a sample if HISTORY_PAUSE_MS have passed since the last one. */
void metrics_history_step(struct metrics_history *h, const struct metrics_slot *slots, size_t n);
/* Writes a JSON object: "series" names the values of a sample, "samples" has them, oldest first.
 * Counters count from the start of the service. */
void metrics_history_render(struct buf *out, const struct metrics_history *h);

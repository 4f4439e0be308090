/* SPDX-License-Identifier: MIT */
/* When a worker that died is started again. */
#include "server_internal.h"

static const int64_t second_us = 1000000;

int64_t respawn_after_death(struct respawn *r, bool served, int64_t now_us)
{
    const int64_t first = second_us / 10, longest = 5 * second_us, minute = 60 * second_us;
    if (served || r->delay_us == 0)
        r->delay_us = first;
    else
        r->delay_us = r->delay_us * 2 < longest ? r->delay_us * 2 : longest;
    r->deaths[r->n_deaths++ % RESPAWN_DEATHS] = now_us;
    /* The entry that is overwritten next is the oldest of the last RESPAWN_DEATHS. */
    int64_t oldest = r->deaths[r->n_deaths % RESPAWN_DEATHS];
    const bool looping = r->n_deaths >= RESPAWN_DEATHS && now_us - oldest <= minute;
    r->looping_until_us = looping ? now_us + minute : 0;
    return r->delay_us;
}

bool respawn_is_looping(const struct respawn *r, int64_t now_us)
{
    return now_us < r->looping_until_us;
}

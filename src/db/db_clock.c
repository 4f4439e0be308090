/* SPDX-License-Identifier: MIT */
/* The server's clock, as its last answer told it. */
#include "db_internal.h"

void db_clock_note(struct db *db, int64_t server_us, int64_t sent_us)
{
    atomic_store_explicit(&db->clock_ahead_us, server_us - sent_us, memory_order_relaxed);
}

int64_t db_now_us(const struct db *db)
{
    const int64_t ahead_us = atomic_load_explicit(&db->clock_ahead_us, memory_order_relaxed);
    return ahead_us == 0 ? clock_wall_us() : clock_mono_us() + ahead_us;
}

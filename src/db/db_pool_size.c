/* SPDX-License-Identifier: MIT */
/* The size of the pool: all workers of all hosts together fit into what the server allows. */
#include "db_internal.h"

#include "parley/obs/log.h"

static int at_least_one(int n)
{
    return n > 0 ? n : 1;
}

void db_pool_share(struct db *db, int capacity, int hosts)
{
    pthread_mutex_lock(&db->lock);
    db->capacity = capacity > 0 ? capacity : db->capacity;
    db->hosts = hosts > 0 ? hosts : db->hosts;
    capacity = db->capacity;
    hosts = at_least_one(db->hosts);
    const int most = at_least_one(db->set.pool_max), before = db->max;
    const int share = at_least_one(capacity / hosts / at_least_one(db->set.workers));
    const int max = capacity == 0 ? before : share < most ? share : most;
    if (max != before) {
        db->max = max;
        db->min = db->set.pool_min < max ? db->set.pool_min : max;
        db_pool_publish(db);
        /* If it has grown, those that wait may have one. */
        db_pool_wake_for_room(db);
    }
    pthread_mutex_unlock(&db->lock);
    if (max != before && max < db->set.pool_max)
        log_say(LOG_WARN, "pool_lowered",
                "%d connections a worker instead of %d: PostgreSQL has %d for %d workers on %d "
                "host%s",
                max, db->set.pool_max, capacity, db->set.workers, hosts, hosts > 1 ? "s" : "");
}

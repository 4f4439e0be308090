/* SPDX-License-Identifier: MIT */
/* Opens and closes the service, and reports its state. */
#include "db_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "parley/base/thread.h"
#include "parley/obs/log.h"

struct db *db_open(const struct db_settings *settings, struct metrics_slot *slot)
{
    struct db *db = calloc(1, sizeof(*db));
    if (!db)
        return NULL;
    db->set = *settings;
    db->slot = slot;
    db->max = settings->pool_max > 0 ? settings->pool_max : 1;
    db->min = settings->pool_min < db->max ? settings->pool_min : db->max;
    db->state = DB_STARTING;
    snprintf(db->reason, sizeof(db->reason), "no connection has been opened yet");
    db->schema_version = -1;
    db->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&db->lock, NULL);
    if (db->stop_fd >= 0 && thread_start(&db->maintainer, db_maintain_main, db) == 0)
        return db;
    if (db->stop_fd >= 0)
        close(db->stop_fd);
    pthread_mutex_destroy(&db->lock);
    free(db);
    return NULL;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    /* Nobody reads it: it stays readable, so every later wait of the thread ends at once too. */
    if (eventfd_write(db->stop_fd, 1) != 0)
        abort();
    pthread_join(db->maintainer, NULL);
    db_pool_retire(db);
    if (db->lists[CONN_BUSY].n > 0 || db->waiting > 0) {
        /* Their threads still use the memory that would be freed here. */
        log_say(LOG_ERROR, "bug", "db_close: %d connections are in use", db->lists[CONN_BUSY].n);
        abort();
    }
    close(db->stop_fd);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

bool db_is_up(const struct db *db)
{
    return !atomic_load_explicit(&db->away, memory_order_relaxed);
}

void db_status(struct db *db, struct db_status *out)
{
    pthread_mutex_lock(&db->lock);
    *out = (struct db_status){
        .state = db->state,
        .open = db_pool_open_count(db),
        .idle = db->lists[CONN_IDLE].n,
        .in_use = db->lists[CONN_BUSY].n,
        .waiting = db->waiting,
        .max = db->max,
        .schema_version = db->schema_version,
    };
    memcpy(out->reason, db->reason, sizeof(out->reason));
    pthread_mutex_unlock(&db->lock);
}

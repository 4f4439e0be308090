/* SPDX-License-Identifier: MIT */
/* What the files of the operations routes share. */
#ifndef PARLEY_API_OPERATIONS_H
#define PARLEY_API_OPERATIONS_H

#include "api/common/handler.h"

/* What is up and what is not; asks nobody. */
struct ops_health {
    struct db_status db;
    struct cache_status cache;
    int64_t crash_looping; /* workers */
    enum db_hosts_shortcut shortcut;
    char shortcut_reason[160]; /* "" when it is on */
    const char *status;        /* "ready", "degraded" or "down" */
};
void ops_look(const struct api_service *api, struct ops_health *out);
/* Opens an object named name with its status and, unless empty, the reason; the caller closes it.
 */
void ops_open_check(struct json_writer *j, const char *name, const char *state, const char *reason);
void ops_open_database(struct json_writer *j, const struct ops_health *h);
/* Writes the whole object. */
void ops_write_shortcut(struct json_writer *j, const char *member, const struct ops_health *h);
void ops_open_redis(struct json_writer *j, const struct ops_health *h);

api_handler ops_status; /* status.c */

#endif

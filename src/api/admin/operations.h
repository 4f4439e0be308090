/* SPDX-License-Identifier: MIT */
/* What the operations routes share: the health of the host, as /readyz and /status show it. */
#ifndef PARLEY_API_OPERATIONS_H
#define PARLEY_API_OPERATIONS_H

#include "ops_json.h"

struct ops_health {
    struct db_status db;
    struct cache_status cache;
    int64_t crash_looping; /* workers */
    enum db_hosts_shortcut shortcut;
    char shortcut_reason[160];    /* "" when it is on */
    const char *status;           /* "ready", "degraded" or "down" */
    const char *database, *redis; /* "up", …: their states */
};
/* health.c: what this process knows already; sends nothing to a server. */
void ops_health_read(const struct api_service *api, struct ops_health *out);
/* Adds an object with the status of a part and, unless empty, the reason; returns it. */
struct json_object *ops_put_health(struct ops_json *t, struct json_object *in, const char *name,
                                   const char *status, const char *reason);
/* member: what the status is called there. */
void ops_put_shortcut(struct ops_json *t, struct json_object *in, const char *member,
                      const struct ops_health *h);

api_handler ops_status; /* status.c */

#endif

/* SPDX-License-Identifier: MIT */
/* What the operations routes share: the health of the host, as /readyz and /status show it. */
#ifndef PARLEY_API_OPERATIONS_H
#define PARLEY_API_OPERATIONS_H

#include "api/common/handler.h"
#include "parley/api/json_tree.h"

struct ops_health {
    struct db_status db;
    struct cache_status cache;
    int64_t crash_looping; /* workers */
    enum db_hosts_shortcut shortcut;
    char shortcut_reason[160];    /* "" when it is on */
    const char *status;           /* "ready", "degraded" or "down" */
    const char *database, *redis; /* "up", …: their states */
};
/* health.c. A tree that belongs to the request's arena. */
MUSTCHECK enum err ops_tree_init(struct request_ctx *ctx, struct json_tree *t);
/* The tree as the answer; lines: as json_tree_write. */
MUSTCHECK enum err ops_tree_answer(struct api_call *c, const struct json_tree *t, int status,
                                   int lines);
/* What this process knows already; sends nothing to a server. */
void ops_health_read(const struct api_service *api, struct ops_health *out);
/* Adds an object with the status of a part and, unless empty, the reason; returns it. */
struct json_object *ops_put_health(struct json_tree *t, struct json_object *in, const char *name,
                                   const char *status, const char *reason);
/* member: what the status is called there. */
void ops_put_shortcut(struct json_tree *t, struct json_object *in, const char *member,
                      const struct ops_health *h);

api_handler ops_status; /* status.c */

#endif
